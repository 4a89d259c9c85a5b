"""The command line as a parser: help, the man page and the completions all come from here."""

import argparse
from pathlib import Path
from typing import TypeAlias

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_EXIT_CODES = """\
exit codes:
  0   converged and healthy
  1   host fault: rolled back, or not ready
  2   usage
  75  temporary: another run, or store or metadata out and nothing to fall back on; try again
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
    top = argparse.ArgumentParser(
        prog="rolecall",
        description="Learns who this machine is, reads the fleet's one document, becomes its role and proves it.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _node_commands(commands)
    _past_commands(commands)
    _fleet_commands(commands)
    _image_commands(commands)
    demo = commands.add_parser("demo", help="the whole story on this machine, in one scratch folder, without AWS")
    demo.add_argument("--keep", action="store_true", help="leave the node running and its folder in place")
    demo.add_argument("--folder", type=Path, metavar="DIR", help="the scratch folder (default: a new one)")
    return top


def _command(commands: _Commands, name: str, text: str, *, config: bool = True) -> argparse.ArgumentParser:
    one = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    if config:
        one.add_argument(
            "--config",
            type=Path,
            metavar="FILE",
            default=Path("/etc/rolecall/agent.toml"),
            help="the settings (default: %(default)s)",
        )
    one.add_argument("--json", action="store_true", help="answer as JSON")
    return one


def _node_commands(commands: _Commands) -> None:
    boot = _command(commands, "boot", "the run at boot: become what the fleet document asks of this machine")
    boot.set_defaults(resume=False)
    refresh = _command(commands, "refresh", "the run of the timer: the same, over at once where nothing has moved")
    refresh.add_argument(
        "--resume", action="store_true", help="end a roll-back that was asked for, and try a failed generation at once"
    )
    plan = _command(commands, "plan", "what a run would change, as a diff, secrets redacted; changes nothing")
    plan.add_argument("--fleet", type=Path, metavar="FILE", help="a document on disk instead of the store's")
    plan.add_argument("--store", metavar="URL", help="the document of this store; with --fleet: what that would change")
    plan.add_argument("--as", dest="server", metavar="SERVER", help="any server of that document, on any machine")
    plan.add_argument(
        "--platform", metavar="NAME", help="with --as: the platform (default: that of agent.toml, or centos)"
    )
    plan.add_argument("--templates", type=Path, metavar="DIR", help="another folder of roles")
    plan.add_argument("--summary", action="store_true", help="the list of changes without the diff")
    drain = _command(commands, "drain", "tell others to send nobody here any more, and let requests under way end")
    drain.add_argument("--undo", action="store_true", help="send people here again")
    _command(commands, "status", "current and ready generation, the document and its age, the last run")
    _command(commands, "selftest", "the self-tests alone, of what is current")
    _command(commands, "doctor", "find why a node cannot boot: a line a cause, with its remedy")


def _past_commands(commands: _Commands) -> None:
    history = _command(commands, "history", "the runs that did something, the newest first")
    history.add_argument("-n", type=int, default=20, metavar="COUNT", help="how many (default: %(default)s)")
    rollback = _command(commands, "rollback", "back to an older generation, until the document changes or --resume")
    rollback.add_argument(
        "generation",
        nargs="?",
        metavar="GENERATION",
        help="its id or the start of it (default: the one before the current one)",
    )
    blame = _command(commands, "blame", "where the last runs spent their time, the slowest step first")
    blame.add_argument("-n", type=int, default=5, metavar="COUNT", help="how many runs (default: %(default)s)")


def _fleet_commands(commands: _Commands) -> None:
    fleet = commands.add_parser("fleet", help="work on the fleet document", description="Work on the fleet document.")
    verbs = fleet.add_subparsers(dest="verb", metavar="VERB", required=True)
    check = _command(
        verbs, "check", "all mistakes of a document at once, each with its path and line:column", config=False
    )
    check.add_argument("file", type=Path, metavar="FILE")
    show = _command(
        verbs, "show", "servers, zones and products as tables, and what is out of balance among them", config=False
    )
    show.add_argument("file", type=Path, metavar="FILE", nargs="?", help="a document on disk; or --store")
    _store(show, "the document that this store has now", required=False)
    diff = _command(verbs, "diff", "which servers would change between two documents, and how", config=False)
    diff.add_argument(
        "files", type=Path, metavar="FILE", nargs="+", help="the old and the new; or the new, with --store"
    )
    _store(diff, "the old document is the one that this store has now", required=False)
    diff.add_argument("--platform", default="centos", metavar="NAME", help="the platform (default: %(default)s)")
    diff.add_argument("--templates", type=Path, metavar="DIR", help="another folder of roles")
    publish = _command(
        verbs, "publish", "sign a document, raise its serial and put it in place of the last one", config=False
    )
    publish.epilog = _KEYS
    publish.formatter_class = argparse.RawDescriptionHelpFormatter
    publish.add_argument("file", type=Path, metavar="FILE", help="gets the new serial, and the times")
    _store(publish, "where to")
    publish.add_argument("--key", metavar="FILE", help="OpenSSH key to sign with; a .pub file asks the agent")
    publish.add_argument("--signers", metavar="FILE", help="allowed_signers of the images: a key they lack is refused")
    publish.add_argument("--unsigned", action="store_true", help="for fleets whose images have trust.unsigned")
    publish.add_argument("--valid", type=_period, default="7d", metavar="TIME", help="until it expires (default: 7d)")
    fetch = _command(verbs, "fetch", "the document that a store has now, as its author wrote it", config=False)
    _store(fetch, "where from")
    _command(verbs, "schema", "the JSON Schema of the document, for editors", config=False)


def _store(one: argparse.ArgumentParser, text: str, *, required: bool = True) -> None:
    one.add_argument("--store", metavar="URL", required=required, help=f"{text}: s3://, https:// or file://")
    one.add_argument(
        "--config", type=Path, metavar="FILE", help="an agent.toml with [aws] and [network] (default: as the AWS tools)"
    )


def _period(text: str) -> float:
    from pydantic import TypeAdapter, ValidationError

    from rolecall.forms.scalars import Duration

    try:
        return TypeAdapter(Duration).validate_python(text)
    except ValidationError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 12h or 7d") from None


def _image_commands(commands: _Commands) -> None:
    image = commands.add_parser("image", help="prepare an image", description="Prepare an image or a machine.")
    verbs = image.add_subparsers(dest="verb", metavar="VERB", required=True)
    _command(verbs, "attach", "lay the role's attachments: the fixed places where daemons look")
    _command(verbs, "detach", "take them away again: daemons read their own configuration from their next start on")
    check = _command(verbs, "check", "what an image must not have, and what it lacks: a line each, with its remedy")
    check.add_argument("--root", type=Path, metavar="DIR", default=Path("/"), help="the image's root (default: /)")
    check.add_argument("--fix", action="store_true", help="do what takes no decision, then look again")
    check.add_argument("--allow-unsigned", action="store_true", help="trust.unsigned is meant")
    check.add_argument("--machine", action="store_true", help="no image but a machine: only what it lacks")
    _command(verbs, "install", "on a baseline image: install the role that tags or user-data name, once")
