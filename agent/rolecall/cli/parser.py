"""The command line as a parser: help, the man page and the completions all come from here."""

import argparse
from pathlib import Path

from rolecall.cli.operator_parser import add_fleet_commands, add_store_commands
from rolecall.cli.options import Commands, add_command, add_group, add_templates
from rolecall.cli.suggestions import Parser

_EXIT_CODES = """\
exit codes:
  0   converged and healthy
  1   host fault: rolled back, or not ready
  2   usage
  75  temporary: another run holds the lock, or a store or the metadata cannot be reached; try again
  78  the document, a role or the settings are wrong; nothing was changed
"""


def parser() -> argparse.ArgumentParser:
    """The parser of `rolecall`."""
    top = Parser(
        prog="rolecall",
        description="Learns who this machine is, reads the fleet's one document, becomes its role and proves it.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_run_commands(commands)
    _add_plan_command(commands)
    _add_look_commands(commands)
    _add_adopt_command(commands)
    add_fleet_commands(commands)
    add_store_commands(commands)
    _add_image_commands(commands)
    text = "the whole story on this machine, in one scratch folder, without AWS"
    demo = add_command(commands, "demo", text, config=False)
    demo.add_argument("--keep", action="store_true", help="leave the node running and its folder in place")
    demo.add_argument("--folder", type=Path, metavar="DIR", help="the scratch folder (default: a new one)")
    return top


def _add_run_commands(commands: Commands) -> None:
    boot = add_command(commands, "boot", "the run at boot: become what the fleet document asks of this machine")
    boot.set_defaults(resume=False, secrets=False)
    refresh = add_command(commands, "refresh", "the same run, from a timer; it ends at once if nothing has changed")
    refresh.add_argument(
        "--resume", action="store_true", help="end an operator's roll-back, and try a failed generation at once"
    )
    text = "read every secret anew from its store, whether or not anything else has changed"
    refresh.add_argument("--secrets", action="store_true", help=text)
    text = "go back to an older generation, until the document changes or a refresh with --resume"
    rollback = add_command(commands, "rollback", text)
    rollback.add_argument(
        "generation",
        nargs="?",
        metavar="GENERATION",
        help="its id or the beginning of it (default: the one before the current one)",
    )
    text = "tell others to send no more requests here, and let those under way end"
    drain = add_command(commands, "drain", text)
    drain.add_argument("--undo", action="store_true", help="have requests sent here again")


def _add_plan_command(commands: Commands) -> None:
    plan = add_command(commands, "plan", "what a run would change, as a diff, secrets redacted; changes nothing")
    plan.add_argument("--fleet", type=Path, metavar="FILE", help="a document on disk instead of the store's")
    plan.add_argument(
        "--store", metavar="URL", help="the document in this store; with --fleet: what that file would change"
    )
    plan.add_argument("--as", dest="server", metavar="SERVER", help="any server of that document, on any machine")
    plan.add_argument(
        "--platform", metavar="NAME", help="with --as: the platform (default: that of agent.toml, or centos)"
    )
    add_templates(plan)
    plan.add_argument("--summary", action="store_true", help="the list of changes without the diff")


def _add_look_commands(commands: Commands) -> None:
    add_command(commands, "status", "current and ready generation, the document and its age, the last run")
    add_command(commands, "selftest", "only the self-tests of the current generation")
    doctor = add_command(commands, "doctor", "find out why a node cannot boot: a line for each cause, with its remedy")
    text = "try instead what this product's user reaches of other products and of the agent"
    doctor.add_argument("--as-product", dest="product", metavar="NAME", help=text)
    history = add_command(commands, "history", "the runs that did something, the newest first")
    text = "show this run whole, with the evidence of its failure (default: the list)"
    history.add_argument("number", type=int, nargs="?", metavar="NUMBER", help=text)
    history.add_argument("-n", type=int, default=20, metavar="COUNT", help="how many (default: %(default)s)")
    why = add_command(commands, "why", "which line of which template, and which keys of the document, a line is from")
    text = "a file that daemons read, or its name in the generation, such as apache/50-blog.conf; without a line: whole"
    why.add_argument("file", metavar="FILE[:LINE]", help=text)
    blame = add_command(commands, "blame", "where the last runs spent their time, the slowest step first")
    blame.add_argument("-n", type=int, default=5, metavar="COUNT", help="how many runs (default: %(default)s)")


def _add_adopt_command(commands: Commands) -> None:
    text = "what products had written on this disk as another instance: list it, or have it here"
    adopt = add_command(commands, "adopt", text)
    adopt.add_argument(
        "instance", nargs="?", metavar="INSTANCE", help="whose, as the list calls it (default: the list of all)"
    )
    adopt.add_argument(
        "--product", action="append", default=[], metavar="NAME", help="this product alone; may be repeated"
    )


def _add_image_commands(commands: Commands) -> None:
    image = add_group(commands, "image", "prepare an image or a machine")
    add_command(
        image,
        "attach",
        "put the role's attachments in place: the files and links through which daemons find their configuration",
    )
    add_command(image, "detach", "take them away; daemons read their own configuration from their next start on")
    text = "what an image must not have, and what it lacks: a line for each, with its remedy"
    check = add_command(image, "check", text)
    check.add_argument("--root", type=Path, metavar="DIR", default=Path("/"), help="the image's root (default: /)")
    check.add_argument("--fix", action="store_true", help="fix what needs no decision, then check again")
    check.add_argument("--allow-unsigned", action="store_true", help="trust.unsigned is intended")
    scope = check.add_mutually_exclusive_group()
    scope.add_argument("--machine", action="store_true", help="not an image but a machine: only what it lacks")
    scope.add_argument("--inputs", action="store_true", help="only what an image build is given, before it begins")
    add_command(image, "install", "on a baseline image: install the role that tags or user-data name, once")
