"""`rolecall fleet publish`: check, raise the serial, sign, put it in place of the last one, or not at all."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from rolecall.errors import ConfigFault, ConflictFault, FetchFault, HostFault
from rolecall.fleet.schema import Fleet, Header, parse_fleet
from rolecall.forms.mistakes import Mistake, Mistakes, locate
from rolecall.forms.positions import json_positions, json_span
from rolecall.host import files
from rolecall.operator.roles import parse_document
from rolecall.store import DOCUMENT, Store, Stored
from rolecall.trust import signatures
from rolecall.trust.envelope import NAMESPACE, seal, unseal
from rolecall.trust.selection import MOST

_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Published:
    """What the store has now."""

    url: str
    fleet: Fleet
    before: int  # the serial that it had; 0 if there was none
    signer: str  # as allowed_signers calls the key, where that was looked at
    payload: bytes  # the document as it is published now


def publish(
    path: Path,
    store: Store,
    *,
    key: str | None,
    signers: str | None,
    valid: float,
    templates: Path | None = None,
) -> Published:
    """Publish a document's file. `key`: an OpenSSH key, None for unsigned; `valid`: seconds until it expires.
    `templates`: the folder of the roles whose parameters the document may set, by default the one installed.

    The file's serial tells which document it was made from: where the store has a higher one, somebody else has
    published since, and nothing is written. Afterwards the file has the new serial. Raises ConfigFault (also for a key
    that `signers` does not have, and for a master that changes without its epoch), ConflictFault, FetchFault.
    """
    path = path.resolve()  # a link stays one
    url, text = store.location(DOCUMENT), _text(path)
    mine = parse_document(text.encode(), str(path), templates)
    found = current(store)
    payload = _replaced(found, url, signed=bool(key)) if found else b""
    before = _header(payload, url) if found else None
    if before and before.fleet != mine.fleet:
        raise ConfigFault(f"{url} is the document of the fleet {before.fleet!r}, {path} that of {mine.fleet!r}")
    if before and before.serial > mine.serial:
        raise ConflictFault(
            f"{path} was made from serial {mine.serial}, but {url} has serial {before.serial} already",
            f"`rolecall fleet fetch` shows it; take over what it brought, and set the file's serial to {before.serial}",
            "conflict",
        )
    if before and (wrong := old_epochs(from_json(payload), mine, text)):
        raise Mistakes(str(path), wrong)
    now = datetime.now(UTC).replace(microsecond=0)
    # The first time too: another first document, made from nothing as well, then has a lower one.
    serial = max(mine.serial, before.serial if before else 0) + 1
    new = renewed(text, serial, now, now + timedelta(seconds=valid)).encode()
    fleet = parse_fleet(new, str(path))
    signature = signatures.sign(new, key, NAMESPACE) if key else ""
    # Before anything is written: what no node would believe is not published.
    signer = signatures.signer_of(
        new, signature, signers=signers, revoked=None, namespace=NAMESPACE, when=now
    ).name if signature and signers else ""  # fmt: skip
    store.put(DOCUMENT, seal(new, signature) if signature else new, replacing=found.etag if found else "")
    try:
        files.replace(path, new, path.stat().st_mode & 0o777)
    except HostFault as fault:
        raise HostFault(f"serial {serial} is published, but {fault.message}", f"set its serial to {serial}") from None
    return Published(url, fleet, before.serial if before else 0, signer, new)


def old_epochs(before: Any, after: Fleet, text: str) -> list[Mistake]:
    """What nodes refuse: another master in the same epoch, or an older epoch, with its place in the new text."""
    return locate(_old_epochs(before, after), json_positions(text))


def _old_epochs(before: Any, after: Fleet) -> Iterator[Mistake]:
    """`before` is raw data, which may be as wrong as it likes."""
    databases = before.get("databases") if isinstance(before, dict) else None
    for name, old in databases.items() if isinstance(databases, dict) else ():
        path, new = ("databases", name, "epoch"), after.databases.get(name)
        epoch, master = (old.get("epoch"), old.get("master")) if isinstance(old, dict) else (None, None)
        if new is None or type(epoch) is not int:
            continue
        if new.epoch < epoch:
            says = f"is {new.epoch}, and {epoch} in the document that this one replaces"
            yield Mistake(path, says, f"set it to {epoch}; to {epoch + 1}, if the master changes")
        elif new.epoch == epoch and new.master != master:
            says = f"is still {epoch}, but the master was {master!r} and is {new.master!r} now"
            yield Mistake(path, says, f"raise it to {epoch + 1}: nodes refuse another master of the same epoch")


def current(store: Store) -> Stored | None:
    """The store's document as it is; None where there is none yet. Raises FetchFault."""
    try:
        return store.get(DOCUMENT, MOST)
    except FetchFault as fault:
        if fault.cause == "no-key":
            return None
        raise


def renewed(text: str, serial: int, issued: datetime, not_after: datetime) -> str:
    """The same text with other values of three keys; all the rest, also its form, stays as its author wrote it."""
    for key, value in (
        ("serial", str(serial)), ("issued", f'"{issued:{_TIME}}"'), ("not_after", f'"{not_after:{_TIME}}"'),
    ):  # fmt: skip
        start, end = json_span(text, key)
        text = text[:start] + value + text[end:]
    return text


def _replaced(found: Stored, url: str, *, signed: bool) -> bytes:
    """The document that is to be replaced, as its author wrote it."""
    opened = unseal(found.data, url)
    if opened.signature and not signed:
        raise ConfigFault(f"{url} is signed: nodes would refuse one that is not", "publish it with --key")
    return opened.payload


def _header(payload: bytes, url: str) -> Header:
    """What must be known of the document that is to be replaced; the rest of it may be as wrong as it likes."""
    try:
        return Header.model_validate_json(payload)
    except ValidationError:
        raise ConfigFault(f"{url} is no fleet document", "look at it; to replace it, take it away first") from None


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")  # not as text, which would change its line ends
    except OSError as error:
        raise ConfigFault(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigFault(f"{path} is not UTF-8") from None
