"""The command line as a parser: help, the man page and the completions all come from here."""

import argparse
from pathlib import Path
from typing import TypeAlias

from rolecall.cli.suggestions import Parser

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"

_EXIT_CODES = """\
exit codes:
  0   converged and healthy
  1   host fault: rolled back, or not ready
  2   usage
  75  temporary: another run holds the lock, or a store or the metadata cannot be reached; try again
  78  the document, a role or the settings are wrong; nothing was changed
"""

_KEYS = """\
keys are OpenSSH's own:
  ssh-keygen -t ed25519 -f fleet-key                 makes one (or -t ed25519-sk, on a token)
  echo "ops@example.com namespaces=\\"rolecall-fleet\\" $(cat fleet-key.pub)" >> allowed_signers
                                                     allows it; images have that file as trust.signers
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
    _add_fleet_commands(commands)
    _add_store_commands(commands)
    _add_image_commands(commands)
    text = "the whole story on this machine, in one scratch folder, without AWS"
    demo = add_command(commands, "demo", text, config=False)
    demo.add_argument("--keep", action="store_true", help="leave the node running and its folder in place")
    demo.add_argument("--folder", type=Path, metavar="DIR", help="the scratch folder (default: a new one)")
    return top


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


def _add_run_commands(commands: Commands) -> None:
    boot = add_command(commands, "boot", "the run at boot: become what the fleet document asks of this machine")
    boot.set_defaults(resume=False)
    refresh = add_command(commands, "refresh", "the same run, from a timer; it ends at once if nothing has changed")
    refresh.add_argument(
        "--resume", action="store_true", help="end an operator's roll-back, and try a failed generation at once"
    )
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


def _add_fleet_commands(commands: Commands) -> None:
    fleet = add_group(commands, "fleet", "work on the fleet document")
    text = "all mistakes of a document at once, each with its path and line:column"
    check = add_command(fleet, "check", text, config=False)
    check.add_argument("file", type=Path, metavar="FILE")
    add_templates(check)
    text = "servers, zones and products as tables, and what is out of balance among them"
    show = add_command(fleet, "show", text, config=False)
    show.add_argument("file", type=Path, metavar="FILE", nargs="?", help="a document on disk; or --store")
    add_store(show, "the document that this store has now", required=False)
    for name in ("role", "product", "zone"):
        show.add_argument(f"--{name}", metavar="NAME", help=f"only the servers of this {name}, and what they are for")
    diff = add_command(fleet, "diff", "which servers would change between two documents, and how", config=False)
    diff.add_argument(
        "files", type=Path, metavar="FILE", nargs="+", help="the old and the new; or the new, with --store"
    )
    add_store(diff, "the old document is the one that this store has now", required=False)
    diff.add_argument("--platform", default="centos", metavar="NAME", help="the platform (default: %(default)s)")
    add_templates(diff)
    _add_publish_command(fleet)
    fetch = add_command(fleet, "fetch", "the document that a store has now, as its author wrote it", config=False)
    add_store(fetch, "where from")
    schema = add_command(fleet, "schema", "the JSON Schema of the document, for editors", config=False)
    add_templates(schema)


def _add_store_commands(commands: Commands) -> None:
    store = add_group(commands, "store", "work on the stores of a fleet")
    text = "prove by experiments that a store does what is relied on: conditions, tags, ranges, large objects"
    check = add_command(store, "check", text, config=False)
    check.add_argument("url", metavar="URL", help="the store: s3://, https:// or file://")
    add_access(check)
    text = "copy a fleet's objects to another store, so that nodes can be turned over to it"
    copy = add_command(store, "copy", text, config=False)
    copy.add_argument("source", metavar="FROM", help="the URL of a store that has a listing: s3:// or file://")
    copy.add_argument("target", metavar="TO", help="the URL of the other store")
    copy.add_argument("--delete", action="store_true", help="remove from TO what FROM does not have")
    copy.add_argument("--dry-run", action="store_true", help="tell what would be copied and deleted; write nothing")
    add_access(copy)


def _add_publish_command(fleet: Commands) -> None:
    text = "sign a document, raise its serial and replace the store's document with it"
    publish = add_command(fleet, "publish", text, config=False)
    publish.epilog = _KEYS
    publish.formatter_class = argparse.RawDescriptionHelpFormatter
    publish.add_argument("file", type=Path, metavar="FILE", help="the document; it gets the new serial and the dates")
    add_store(publish, "where to")
    publish.add_argument("--key", metavar="FILE", help="OpenSSH key to sign with; for a .pub file the SSH agent signs")
    publish.add_argument(
        "--signers", metavar="FILE", help="the images' allowed_signers: a key that is not in it is refused"
    )
    publish.add_argument("--unsigned", action="store_true", help="for fleets whose images have trust.unsigned")
    publish.add_argument(
        "--valid", type=_duration, default="7d", metavar="TIME", help="how long it is valid (default: 7d)"
    )
    publish.add_argument(
        "--alone", action="store_true", help="nobody else publishes to this store, which does not keep to conditions"
    )
    add_templates(publish)


def _duration(text: str) -> float:
    from pydantic import TypeAdapter, ValidationError

    from rolecall.forms.scalars import Duration

    try:
        return TypeAdapter(Duration).validate_python(text)
    except ValidationError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 12h or 7d") from None


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
    check.add_argument("--machine", action="store_true", help="not an image but a machine: only what it lacks")
    add_command(image, "install", "on a baseline image: install the role that tags or user-data name, once")
