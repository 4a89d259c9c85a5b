"""What many commands of the parser have in common: groups, and options that several of them take."""

import argparse
from pathlib import Path
from typing import TypeAlias

from rolecall.cli.suggestions import Parser

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def add_command(commands: Commands, name: str, text: str, *, config: bool = True) -> argparse.ArgumentParser:
    """A command with the options that all have; `config`: it works on a node, and so has the node's settings."""
    command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    if config:
        command.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            default=Path("/etc/rolecall/agent.toml"),
            help="the settings (default: %(default)s)",
        )
    command.add_argument("--json", action="store_true", help="answer as JSON")
    return command


def add_group(commands: Commands, name: str, text: str) -> Commands:
    """A group of commands, such as `fleet`; returns what its commands are added to."""
    group = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    return group.add_subparsers(dest="verb", metavar="VERB", required=True)


def add_store(command: argparse.ArgumentParser, text: str, *, required: bool = True) -> None:
    """`--store URL`, and the settings by which an operator reaches it."""
    command.add_argument("--store", metavar="URL", required=required, help=f"{text}: s3://, https:// or file://")
    add_access(command)


def add_access(command: argparse.ArgumentParser) -> None:
    """`--config FILE`: the settings by which an operator reaches a store."""
    command.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="an agent.toml with [aws] and [network] (default: the settings of the AWS tools)",
    )


def add_templates(command: argparse.ArgumentParser) -> None:
    """`--templates DIR`: the roles, for an operator who has some of their own."""
    command.add_argument("--templates", type=Path, metavar="DIR", help="another folder of roles")
