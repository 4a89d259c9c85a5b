"""An argument parser that says what was probably meant: of commands, options, and values to choose from."""

import argparse
from collections.abc import Sequence
from typing import Any

from rolecall.forms.mistakes import suggest


class Parser(argparse.ArgumentParser):
    """`rolecall: error: there is no 'stauts'; did you mean 'status'?`. Its sub-commands have such parsers too."""

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """What the words mean; one that nobody knows is an error of the command that it was given to."""
        arguments, unknown = super().parse_known_args(args, namespace)
        if unknown:
            options = [option for action in self._actions for option in action.option_strings]
            nearest = suggest(unknown[0].partition("=")[0], options)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{nearest and f'; {nearest}'}")
        return arguments, unknown

    def commands(self) -> set[str]:
        """The names of its sub-commands."""
        return {name for action in self._actions if isinstance(action.choices, dict) for name in action.choices}

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        names = list(map(str, action.choices))
        parsers = action.choices.items() if isinstance(action.choices, dict) else ()
        names_with_group = [f"{name} {value}" for name, parser in parsers if value in parser.commands()]
        nearest = suggest(str(value), names_with_group or names)
        self.error(f"there is no {str(value)!r}{'; ' if nearest else ', but: '}{nearest or ', '.join(names)}")
