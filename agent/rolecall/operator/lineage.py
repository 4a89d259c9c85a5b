"""Who published what, and when: a store's documents from the one in force backwards, and whether they belong together.

A document with `history.previous` names the one that it replaced by serial and digest, so that all of them are found
without a listing, and one that is missing or another is noticed. Where a document does not, the next lower serial is
taken for the one before it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from rolecall.errors import ConfigFault, FetchFault
from rolecall.fleet.differences import Difference, differences
from rolecall.fleet.schema import Header, History
from rolecall.forms.answers import Answer
from rolecall.node.verified import MOST, digest
from rolecall.operator.history import kept_serials, key_of, stored
from rolecall.store import DOCUMENT, Store
from rolecall.trust import signatures
from rolecall.trust.envelope import NAMESPACE, unseal


@dataclass(frozen=True)
class PastDocument:
    """A document that was published, and how it stands to the one before it."""

    serial: int
    issued: datetime | None
    signer: str  # as allowed_signers calls the key, or its fingerprint; '' where nobody has signed, or not these bytes
    sha256: str  # of the object in the store
    document: str  # of what was signed, as reports have it
    changes: tuple[Difference, ...] | None  # None where there is nothing to compare it with
    problems: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class FleetHistory(Answer):
    """The documents of a store, the newest first."""

    url: str
    fleet: str
    documents: tuple[PastDocument, ...]

    @property
    def exit_code(self) -> int:
        """1 where something is wrong with one of them."""
        return 1 if any(document.problems for document in self.documents) else 0


@dataclass(frozen=True)
class _Document:
    """A document of the store as far as it can be read; `problem` says why it cannot."""

    serial: int
    raw: bytes
    payload: bytes = b""
    signature: str = ""
    fleet: str = ""
    issued: datetime | None = None
    data: Any = None
    history: History = field(default_factory=History)
    problem: str = ""

    @property
    def is_first(self) -> bool:
        """Whether it says that it replaced none."""
        return self.history.previous is None and "previous" in self.history.model_fields_set


def read_history(store: Store, signers: str | None, count: int) -> FleetHistory:
    """The last `count` documents, the newest first, each with what is wrong with it.

    `signers`: the images' allowed_signers; without it a signature is tried with the key that it names itself.
    Raises FetchFault where the store is out, ConfigFault where its document or the file of signers is none; HostFault.
    """
    if signers:
        signatures.keys_in(signers)  # a mistake in it is said once, not of each document
    url = store.location(DOCUMENT)
    live = _parsed(store.get(DOCUMENT, MOST).data, url)
    if live.problem:
        raise ConfigFault(f"{url} {live.problem}", "look at it; publish a good one")
    lineage = _Lineage(store, live, _listed(store), signers)
    rows: list[PastDocument] = []
    document: _Document | None = live
    while document and len(rows) < count:
        before = lineage.before(document)
        rows.append(lineage.row(document, before))
        document = before
    return FleetHistory(url, live.fleet, tuple(rows))


def _listed(store: Store) -> list[int] | None:
    """The serials that are kept; None where the store has no listing."""
    try:
        return kept_serials(store)
    except FetchFault as fault:
        if fault.cause != "no-listing":
            raise
        return None


def _parsed(raw: bytes, source: str, serial: int = 0) -> _Document:
    """A document that has this serial, or any for 0."""
    try:
        envelope = unseal(raw, source)
        header, data = Header.model_validate_json(envelope.payload), from_json(envelope.payload)
    except (ConfigFault, ValidationError):
        return _Document(serial, raw, problem="is not a fleet document")
    if serial and header.serial != serial:
        return _Document(serial, raw, problem=f"has serial {header.serial}")
    try:
        history = History.model_validate(data.get("history") or {})
    except ValidationError:  # of a later version
        history = History()
    return _Document(
        header.serial, raw, envelope.payload, envelope.signature, header.fleet, header.issued, data, history
    )


@dataclass(frozen=True)
class _Lineage:
    """The documents of a store; `serials` of those that are kept, None where there is no listing."""

    store: Store
    live: _Document
    serials: list[int] | None
    signers: str | None

    def older(self, document: _Document) -> list[int]:
        """The serials below a document's, ascending, as far as there is a listing."""
        return [serial for serial in self.serials or () if serial < document.serial]

    def before(self, document: _Document) -> _Document | None:
        """The document that this one replaced; where that is not kept, the next older one that is, if there is any."""
        previous, older = document.history.previous, self.older(document)
        expected = previous.serial if previous else 0 if document.is_first else document.serial - 1
        for serial in [expected, *reversed(older)]:
            key = key_of(serial)
            if 0 < serial < document.serial and (raw := stored(self.store, key)):
                return _parsed(raw, self.store.location(key), serial)
        return None

    def row(self, document: _Document, before: _Document | None) -> PastDocument:
        """What there is to say of a document, `before` which there was that one."""
        problems = (
            [document.problem] if document.problem else [*self._problems(document), *self._breaks(document, before)]
        )
        signer = ""
        if document.signature:
            try:
                signer = self._signer(document)
            except ConfigFault as fault:
                problems.append(fault.message)
        return PastDocument(
            serial=document.serial,
            issued=document.issued,
            signer=signer,
            sha256=digest(document.raw),
            document=digest(document.payload),
            changes=None if before is None or before.problem else differences(before.data, document.data),
            problems=tuple(problems),
            notes=tuple(self._notes(document, before)),
        )

    def _signer(self, document: _Document) -> str:
        """Who signed it, by the keys that counted when it was issued. Raises ConfigFault."""
        payload, signature = document.payload, document.signature
        if not self.signers:
            return signatures.key_of(payload, signature, NAMESPACE)
        issued = document.issued or self.live.issued
        assert issued
        return signatures.signer_of(
            payload, signature, signers=self.signers, revoked=None, namespace=NAMESPACE, when=issued
        ).name

    def _problems(self, document: _Document) -> Iterator[str]:
        """What is wrong with a document by itself."""
        if document.problem:
            yield document.problem
            return
        if document.fleet != self.live.fleet:
            yield f"is of the fleet {document.fleet!r}"
        if not document.signature and (self.signers or self.live.signature):
            yield "is not signed"
        if document is not self.live:
            return
        if newer := [serial for serial in self.serials or () if serial > document.serial]:
            yield f"is older than what is kept ({_words(newer)}): somebody has put an old document in force"
        if self._kept_live() not in (None, document.raw):
            yield "is kept as another document than the one in force"

    def _breaks(self, document: _Document, before: _Document | None) -> Iterator[str]:
        """Where it does not follow what is kept of the time before it."""
        previous, older = document.history.previous, self.older(document)
        if previous is None:
            if older and document.is_first:
                yield f"says that it is the first one, and there is an older one ({_words(older)})"
            return
        if between := [serial for serial in older if serial > previous.serial]:
            yield f"replaced serial {previous.serial}, and a later one is kept ({_words(between)})"
        if before is None or before.serial != previous.serial:
            if not self._is_pruned(document):
                yield f"replaced serial {previous.serial}, which is not kept"
        elif digest(before.raw) != previous.sha256:
            yield f"replaced another document than the one that is kept as serial {previous.serial}"

    def _notes(self, document: _Document, before: _Document | None) -> Iterator[str]:
        """What may be as it should be."""
        if document is self.live and self._kept_live() is None:
            yield "is not kept yet: the next publication does that"
        if document.history.previous:
            if before is None and self._is_pruned(document):
                yield "older ones are not kept (history.keep)"
        elif before and before.serial < document.serial - 1:
            yield f"nothing is kept of {_words(range(before.serial + 1, document.serial))}, if there was anything"
        elif before is None and self.serials is None and not document.is_first:
            yield "older ones are not found: it does not name the one that it replaced, and this store has no listing"

    def _is_pruned(self, document: _Document) -> bool:
        """Whether what is older was removed because no more documents are to be kept."""
        return bool(self.live.history.keep or document.history.keep) and not self.older(document)

    def _kept_live(self) -> bytes | None:
        return stored(self.store, key_of(self.live.serial))


def _words(serials: Sequence[int]) -> str:
    """`serial 4`, `serials 4 to 9`."""
    return f"serial {serials[0]}" if len(serials) == 1 else f"serials {serials[0]} to {serials[-1]}"
