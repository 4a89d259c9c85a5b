# ruff: noqa: INP001 (a script, in no package)
"""Make the man page and the shell completions from the command line's own parser: they cannot disagree.

`make docs` writes them; `generate.py --check`, a part of `make check`, says which are out of date.
The same parser gives the same bytes on every day and every terminal.
"""

import argparse
import os
import re
import sys
import tomllib
from pathlib import Path

import shtab
from argparse_manpage.manpage import Manpage  # type: ignore[import-untyped]

from rolecall.cli.parser import parser as command_line

HERE = Path(__file__).resolve().parent

FILES = """\
.TP
\\fI/etc/rolecall/agent.toml\\fR
The settings, baked into the image.
.TP
\\fI/var/lib/rolecall/current\\fR
The generation that the daemons read.
.TP
\\fI/var/lib/rolecall/ready\\fR
The generation that last passed its self-tests."""


def generated() -> dict[Path, str]:
    """Every generated file and what belongs into it."""
    return {
        HERE / "rolecall.8": man_page(),
        HERE / "completion" / "rolecall.bash": completion("bash"),
        HERE / "completion" / "rolecall.zsh": completion("zsh"),
    }


def man_page() -> str:
    """rolecall(8)."""
    os.environ["COLUMNS"] = "100"  # argparse wraps at the width of the terminal
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
    about = {
        "project_name": "rolecall",
        "version": project["version"],
        "description": "node bootstrap agent",
        "manual_section": 8,
        "manual_title": "System Administration",
        "format": "single-commands-section",
    }
    parser = command_line()
    without_repetition(parser)
    codes = re.findall(r"^ +(\d+) +(.+)$", parser.epilog or "", re.MULTILINE)
    parser.epilog = None  # argparse-manpage would call it COMMENTS
    page = Manpage(parser, about, format=about["format"])
    page.date = ""  # the day it was generated says nothing
    page.add_section("EXIT STATUS", ">", "\n".join(f".TP\n\\fB{code}\\fR\n{text}" for code, text in codes))
    page.add_section("FILES", ">", FILES)
    return str(page)


def without_repetition(parser: argparse.ArgumentParser) -> None:
    """Drop the description of each command: its help, which the page has too, says the same."""
    for action in parser._actions:  # noqa: SLF001 (argparse has no public way to list commands)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command in action.choices.values():
                command.description = None
                without_repetition(command)


def completion(shell: str) -> str:
    """What bash or zsh reads to complete a command line."""
    return str(shtab.complete(command_line(), shell)).rstrip("\n") + "\n"


def main() -> int:
    """Write what is out of date, or with --check name it and fail."""
    stale = {path: text for path, text in generated().items() if not path.is_file() or path.read_text() != text}
    if sys.argv[1:] == ["--check"]:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(HERE.parent)} is out of date: run `make docs`\n")
        return 1 if stale else 0
    for path, text in stale.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
