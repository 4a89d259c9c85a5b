"""From the words of a command line to its answer: find the command, run it, print the answer, return the exit code."""

import argparse
import importlib.util
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

from rolecall.cli.answers import FaultAnswer, FaultDetails
from rolecall.cli.command import Command
from rolecall.cli.parser import parser
from rolecall.cli.tables import folded, width_of
from rolecall.cli.terminal import print_json
from rolecall.errors import Fault, HostFault, Stopped
from rolecall.forms.answers import Answer
from rolecall.forms.mistakes import Mistakes
from rolecall.host import journal

# What only the commands of a node import. An operator's laptop may not have it: see decision 0033.
NODE_LIBRARY = "psutil"


def dispatch(arguments: argparse.Namespace) -> int:
    """Do what the command line asks; returns the exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup(1)
            signal.signal(number, _stop)
    if arguments.version:
        return _print_version()
    if not arguments.command:
        parser().print_help(sys.stderr)
        return 2
    command = find_command(arguments)
    answer: Answer = command.answer(arguments)
    _print(answer, command, as_json=arguments.json)
    return answer.exit_code


def find_command(arguments: argparse.Namespace) -> Command[Any]:
    """The command that was typed.

    Its module is imported only now, and that of a node's command only where a node's libraries are: an operator's
    machine can import neither. Raises HostFault where they are missing.
    """
    name = arguments.command
    if name == "fleet":
        from rolecall.cli import fleet_commands

        return fleet_commands.COMMANDS[arguments.verb]
    if name == "store":
        from rolecall.cli import store_commands

        return store_commands.COMMANDS[arguments.verb]
    if name == "plan" and (arguments.server or arguments.fleet or arguments.store):
        from rolecall.cli import plan_commands

        return plan_commands.PLAN_OF_ANY_SERVER
    _require_node_library(name)
    if name == "image":
        from rolecall.cli import image_commands

        return image_commands.COMMANDS[arguments.verb]
    if name == "plan":
        from rolecall.cli import plan_commands

        return plan_commands.PLAN_OF_THIS_NODE
    if name == "demo":
        from rolecall.cli import demo_command

        return demo_command.DEMO
    if name == "why":
        from rolecall.cli import why

        return why.WHY
    from rolecall.cli import node_commands

    return node_commands.COMMANDS[name]


def show_fault(fault: Fault, *, as_json: bool) -> int:
    """A fault on standard error; as JSON on standard output too, if that was asked for. Returns the exit code."""
    if as_json:
        mistakes = fault.mistakes if isinstance(fault, Mistakes) else ()
        details = FaultDetails(fault.message, fault.hint, fault.cause, fault.exit_code, mistakes)
        print_json(FaultAnswer(details))
    if journal.listens():
        journal.command_failed(fault)
        return fault.exit_code
    hint = f"\n  hint: {fault.hint}" if fault.hint else ""
    cause = f"\n  cause: {fault.cause} (docs/reference/causes.md)" if fault.cause else ""
    width = width_of(sys.stderr)
    for line in f"rolecall: {fault.message}{hint}{cause}".splitlines():
        print("\n".join(folded(line, width)) if width else line.rstrip(), file=sys.stderr)
    return fault.exit_code


def _print(answer: Answer, command: Command[Any], *, as_json: bool) -> None:
    if as_json and not answer.verbatim:
        print_json(answer)
    else:
        command.view(answer)


def _require_node_library(name: str) -> None:
    if importlib.util.find_spec(NODE_LIBRARY) is None:
        raise HostFault(
            f"`rolecall {name}` is a node's command, and this installation is an operator's: it lacks {NODE_LIBRARY}",
            "on a node install the package for its distribution, or 'rolecall[node]' with pipx or pip",
        )


def _stop(number: int, _: FrameType | None) -> NoReturn:
    raise Stopped(signal.Signals(number).name)


def _print_version() -> int:
    from importlib.metadata import version

    print(f"rolecall {version('rolecall')}")
    return 0
