"""Publishing a document: check it, raise its serial, sign it, put it in place of the last one, or not at all.

`publish` takes a text, wherever it comes from; `publish_file` is `rolecall fleet publish`, whose text is a file's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from rolecall.causes import HINTS
from rolecall.errors import ConfigFault, ConflictFault, Fault, FetchFault, HostFault
from rolecall.fleet.schema import Fleet, Header, parse_fleet
from rolecall.fleet.succession import succession_mistakes
from rolecall.forms.editing import Edit, edited
from rolecall.forms.mistakes import Mistakes
from rolecall.host import files
from rolecall.node.verified import MOST, digest
from rolecall.operator.history import keep_document, prune_history
from rolecall.operator.masterships import succession_edits
from rolecall.operator.roles import parse_document
from rolecall.store import DOCUMENT, Store
from rolecall.store.proofs import CONDITIONS, PREFIX, bench, prove
from rolecall.trust import signatures
from rolecall.trust.envelope import NAMESPACE, seal, unseal

_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Signing:
    """How a document is signed, and for how long."""

    key: str | None  # the file of an OpenSSH key; None for a document without a signature
    signers: str | None  # the allowed_signers of the images: a key that it lacks is refused
    valid: float  # seconds until the document expires


@dataclass(frozen=True)
class Published:
    """What the store has now."""

    url: str
    fleet: Fleet
    before: int  # the serial that it had; 0 if there was none
    signer: str  # as allowed_signers calls the key, where that was looked at
    payload: bytes  # the document as it is published now
    notes: tuple[str, ...]  # what could not be done about the documents that are kept


@dataclass(frozen=True)
class _Predecessor:
    """The document that is replaced. By default none; all of it but the header may be as wrong as it likes."""

    raw: bytes = b""  # as the store has it
    payload: bytes = b"{}"
    etag: str = ""
    fleet: str = ""
    serial: int = 0

    @property
    def reference(self) -> dict[str, Any] | None:
        """How the next document names it."""
        return {"serial": self.serial, "sha256": digest(self.raw)} if self.raw else None


def publish(
    text: str,
    edits: Sequence[Edit],
    store: Store,
    signing: Signing,
    *,
    source: str,
    templates: Path | None = None,
    alone: bool = False,
) -> Published:
    """Put the text of a document, with these edits, in place of the store's. `source` names the text in messages.

    `templates`: the folder of the roles whose parameters the document may set, by default the one installed.
    `alone`: nobody else publishes, so that the store need not keep to conditions; else that is proven each time.

    The text's serial tells which document it was made from: where the store has a higher one, somebody else has
    published since, and nothing is written. Raises ConfigFault (also for a key that `signers` lacks, for a master that
    changes without its epoch, and for a product's account that changes), ConflictFault, FetchFault.
    """
    url, fleet = store.location(DOCUMENT), parse_document(text.encode(), source, templates)
    if edits:
        text = edited(text, edits, f"the change of {source}")
        source = f"{source}, changed,"
        fleet = parse_document(text.encode(), source, templates)
    predecessor = _predecessor(store, url, signed=bool(signing.key))
    _check(fleet, text, predecessor, source, url)
    now = datetime.now(UTC).replace(microsecond=0)
    # The first time too: another first document, made from nothing as well, then has a lower one.
    serial = max(fleet.serial, predecessor.serial) + 1
    changes = [Edit("add", ("history", "previous"), predecessor.reference)] if fleet.history else []
    changes += succession_edits(from_json(predecessor.payload), fleet, serial, store)
    text = edited(text, changes, "the document")
    payload = renewed(text, serial, now, now + timedelta(seconds=signing.valid)).encode()
    fleet = parse_fleet(payload, source)
    signature, signer = _signature(payload, signing, now)
    if not alone:
        _prove_conditions(store)
    data = seal(payload, signature) if signature else payload
    notes = _keep(store, predecessor.serial, predecessor.raw, alone=alone) if predecessor.raw else []
    store.put(DOCUMENT, data, replacing=None if alone else predecessor.etag)
    _read_back(store, data, serial, url)
    notes += _keep(store, serial, data, alone=alone, most=fleet.history.keep if fleet.history else None)
    return Published(url, fleet, predecessor.serial, signer, payload, tuple(notes))


def publish_file(
    path: Path,
    edits: Sequence[Edit],
    store: Store,
    signing: Signing,
    *,
    templates: Path | None = None,
    alone: bool = False,
) -> Published:
    """Publish a document's file, which then has the new serial. Raises what `publish` does, and HostFault."""
    path = path.resolve()  # a link stays one
    try:
        mode, raw = path.stat().st_mode & 0o777, path.read_bytes()
        text = raw.decode("utf-8")  # bytes, for reading as text would change the line ends
    except OSError as error:
        raise ConfigFault(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigFault(f"{path} is not UTF-8") from None
    published = publish(text, edits, store, signing, source=str(path), templates=templates, alone=alone)
    try:
        files.replace(path, published.payload, mode)
    except HostFault as fault:
        serial = published.fleet.serial
        raise HostFault(f"serial {serial} is published, but {fault.message}", f"set its serial to {serial}") from None
    return published


def renewed(text: str, serial: int, issued: datetime, not_after: datetime) -> str:
    """The same text with other values of three keys."""
    values = {"serial": serial, "issued": f"{issued:{_TIME}}", "not_after": f"{not_after:{_TIME}}"}
    return edited(text, [Edit("replace", (key,), value) for key, value in values.items()], "the document")


def _check(fleet: Fleet, text: str, predecessor: _Predecessor, source: str, url: str) -> None:
    """Whether this document may follow that one."""
    if predecessor.fleet not in ("", fleet.fleet):
        raise ConfigFault(f"{url} is the document of the fleet {predecessor.fleet!r}, {source} that of {fleet.fleet!r}")
    if predecessor.serial > fleet.serial:
        raise ConflictFault(
            f"{source} was made from serial {fleet.serial}, but {url} already has serial {predecessor.serial}",
            "`rolecall fleet fetch` shows it; take over its changes, and set the document's serial to "
            f"{predecessor.serial}",
            "conflict",
        )
    if mistakes := succession_mistakes(from_json(predecessor.payload), fleet, text):
        raise Mistakes(source, mistakes)


def _predecessor(store: Store, url: str, *, signed: bool) -> _Predecessor:
    """The document that the store has, as its author wrote it. Raises FetchFault, ConfigFault."""
    try:
        stored = store.get(DOCUMENT, MOST)
    except FetchFault as fault:
        if fault.cause == "no-key":
            return _Predecessor()
        raise
    envelope = unseal(stored.data, url)
    if envelope.signature and not signed:
        raise ConfigFault(f"{url} is signed: nodes would refuse one that is not", "publish it with --key")
    try:
        header = Header.model_validate_json(envelope.payload)
    except ValidationError:
        raise ConfigFault(
            f"{url} is not a fleet document", "look at it; to replace it, remove it from the store first"
        ) from None
    return _Predecessor(stored.data, envelope.payload, stored.etag, header.fleet, header.serial)


def _prove_conditions(store: Store) -> None:
    """Raises ConfigFault for a store that takes conditions and does not keep to them; FetchFault."""
    with bench(store) as place:
        for proof in prove(place, CONDITIONS):
            if proof.holds:
                continue
            if proof.cause in ("", "no-conditions"):
                raise ConfigFault(
                    f"{store.url} does not keep two people apart who publish at the same time: {proof.seen}",
                    HINTS["no-conditions"],
                    "no-conditions",
                )
            hint = HINTS.get(proof.cause, "")
            if proof.cause == "access-denied":
                hint = f"allow objects {PREFIX}… too, which prove that the store keeps to conditions: publisher.json"
            raise FetchFault(proof.seen, hint, proof.cause)


def _keep(store: Store, serial: int, data: bytes, *, alone: bool, most: int | None = None) -> list[str]:
    """Keep a document, and no more than so many. What fails is no reason not to publish: it is returned, in words."""
    try:
        keep_document(store, serial, data, alone=alone)
        if most:
            prune_history(store, most)
    except FetchFault as fault:
        hint = "allow objects history/… too: publisher.json" if fault.cause == "access-denied" else fault.hint
        return [f"the history is not as it should be: {fault.message}; {hint}"]
    return []


def _read_back(store: Store, data: bytes, serial: int, url: str) -> None:
    """Raises FetchFault unless the store has what was written, or a document that was published after it."""
    try:
        if store.get(DOCUMENT, MOST).data == data or _predecessor(store, url, signed=True).serial > serial:
            return
        why = "it reads as something else than was written"
    except Fault as fault:
        why = fault.message
    raise FetchFault(
        f"serial {serial} was written, but {url} does not show it: {why}", HINTS["not-as-written"], "not-as-written"
    )


def _signature(payload: bytes, signing: Signing, now: datetime) -> tuple[str, str]:
    """The signature, and whose it is by `signers`: what no node would believe is not published."""
    if not signing.key:
        return "", ""
    signature = signatures.sign(payload, signing.key, NAMESPACE)
    if not signing.signers:
        return signature, ""
    signer = signatures.signer_of(
        payload, signature, signers=signing.signers, revoked=None, namespace=NAMESPACE, when=now
    )
    return signature, signer.name
