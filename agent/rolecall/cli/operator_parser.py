"""The part of the parser for an operator's commands: on the fleet document, and on stores."""

import argparse
from pathlib import Path

from rolecall.cli.options import Commands, add_access, add_command, add_group, add_store, add_templates

_KEYS = """\
keys are OpenSSH's own:
  ssh-keygen -t ed25519 -f fleet-key                 makes one (or -t ed25519-sk, on a token)
  echo "ops@example.com namespaces=\\"rolecall-fleet\\" $(cat fleet-key.pub)" >> allowed_signers
                                                     allows it; images have that file as trust.signers
"""


def add_fleet_commands(commands: Commands) -> None:
    """The group `fleet`."""
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
    _add_past_commands(fleet)
    text = "the certificates that database servers report, written into a document's file"
    certificates = add_command(fleet, "certificates", text, config=False)
    certificates.add_argument("file", type=Path, metavar="FILE", help="the document; publish it afterwards")
    certificates.add_argument(
        "servers", metavar="SERVER", nargs="*", help="take another certificate of it than the document has"
    )
    add_store(certificates, "where the reports are")
    schema = add_command(fleet, "schema", "the JSON Schema of the document, for editors", config=False)
    add_templates(schema)


def _add_past_commands(fleet: Commands) -> None:
    text = "who published what, and when: the documents that a store keeps, the newest first"
    history = add_command(fleet, "history", text, config=False)
    add_store(history, "the store")
    history.add_argument(
        "--signers", metavar="FILE", help="the images' allowed_signers, which gives keys their names and judges them"
    )
    history.add_argument("-n", type=int, default=20, metavar="COUNT", help="how many (default: %(default)s)")
    fetch = add_command(fleet, "fetch", "the document that a store has now, as its author wrote it", config=False)
    add_store(fetch, "where from")
    fetch.add_argument("--serial", type=int, metavar="NUMBER", help="the one that had this serial, if it is kept")


def add_store_commands(commands: Commands) -> None:
    """The group `store`."""
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
