"""Which document to go by: of the first store that has a good one; else the last one; else the image's seed."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from rolecall.errors import Fault, FetchFault
from rolecall.fleet.identity import Identity
from rolecall.fleet.schema import Fleet
from rolecall.forms.quantities import ago
from rolecall.node.node import Node
from rolecall.node.owner import own_folder, own_verified
from rolecall.node.verified import MOST, Verified, prune_documents, read_document, write_document
from rolecall.report import Report
from rolecall.store import DOCUMENT, Store, Stored
from rolecall.store.chain import all_of
from rolecall.trust.envelope import unseal
from rolecall.trust.signatures import Signer
from rolecall.trust.verification import UNSIGNED, Document, verify

_Selected = tuple[Document, Fleet, Signer]


def select_document(node: Node, identity: Identity, report: Report, patience: float) -> _Selected:
    """The document to go by, what it says, and who signed it.

    The stores are asked in order. One whose document is refused is passed over like one that is out; but if all answer
    and none is good, the refusal is the outcome. With a store out and nothing to go on with, all are asked again until
    `patience` seconds are over. Raises FetchFault or ConfigFault.
    """
    until = time.monotonic() + patience
    last = _last_verified(node, identity)
    believe = partial(verify, node, identity=identity)
    while True:
        faults: list[Fault] = []
        stores = (partial(_read, node, store, last) for store in node.store.stores)
        if selected := _first_believed(believe, stores, faults, report):
            return selected
        out = [fault for fault in faults if isinstance(fault, FetchFault)]
        if not out:
            raise faults[0]
        if selected := _first_believed(believe, _fallbacks(node, identity, last, all_of(out)), faults, report):
            return selected
        if time.monotonic() >= until:
            hint = "there is no earlier document and no seed to go on with"
            why = "; ".join(dict.fromkeys(fault.message for fault in faults))
            raise FetchFault(why, "; ".join(filter(None, (out[0].hint, hint))), out[0].cause)
        time.sleep(min(1.0, patience))


def _first_believed(
    believe: Callable[[Document, Report], tuple[Fleet, Signer]],
    reads: Iterable[Callable[[], Document]],
    faults: list[Fault],
    report: Report,
) -> _Selected | None:
    for read in reads:
        try:
            with report.step("fetch") as step:
                document = read()
                step.note = document.source
            with report.step("verify") as step:
                fleet, signer = believe(document, report)
                by = "" if signer is UNSIGNED else f", signed by {signer.name}"
                step.note = f"{fleet.fleet}, serial {fleet.serial}{by}"
        except Fault as fault:
            faults.append(fault)
            continue
        for earlier in faults:
            if not document.degraded or not isinstance(earlier, FetchFault):  # whose causes `degraded` tells
                report.warn(f"passed over: {earlier.message}")
        report.source, report.signer = document.source, "" if signer is UNSIGNED else signer.name
        report.document, report.degraded = document.sha256, document.degraded
        report.cause = faults[0].cause if document.degraded else ""
        return document, fleet, signer
    return None


def _read(node: Node, store: Store, last: Document | None) -> Document:
    source = store.location(DOCUMENT)
    cached = Stored(last.raw, last.etag) if last and last.store == store.url else None
    try:
        stored = store.get(DOCUMENT, MOST, cached)
    except FetchFault as fault:
        node.store.mark_out(store, fault)
        raise
    node.store.out.pop(store.url, None)
    return _unsealed(
        stored.data,
        source,
        store=store.url,
        etag=stored.etag,
        date=stored.date,
        revalidation=_revalidation(node, store, stored.etag),
    )


def verify_stored(node: Node, store: Store, stored: Stored, identity: Identity | None) -> Fleet:
    """What one store's document says, if this machine may believe it. Raises ConfigFault."""
    document = _unsealed(stored.data, store.location(DOCUMENT), date=stored.date)
    return verify(node, document, Report("doctor"), identity)[0]


def _revalidation(node: Node, store: Store, etag: str) -> str | None:
    """How the next refresh can ask cheaply. Not at all, while a store that is preferred to this one is out."""
    preferred = node.store.stores[: node.store.stores.index(store)]
    if store.watched_paths(DOCUMENT):
        revalidation = ""
    elif not (revalidation := store.revalidation(DOCUMENT, etag)):
        return None
    return revalidation if all(other.watched_paths(DOCUMENT) for other in preferred) else None


def _unsealed(raw: bytes, source: str, **fields: Any) -> Document:
    envelope = unseal(raw, source)
    return Document(raw, source, envelope.payload, envelope.signature, **fields)


def _last_verified(node: Node, identity: Identity) -> Document | None:
    """The last verified document, if it was verified for this instance and role."""
    folder, note = own_folder(node, identity), own_verified(node, identity)
    if folder is None or note.role != node.settings.role or identity.instance not in (None, note.instance):
        return None
    try:
        raw = read_document(folder, note.document)
    except ValueError:
        return None
    return _unsealed(raw, note.source, store=note.store, etag=note.etag) if raw else None


def _fallbacks(
    node: Node, identity: Identity, last: Document | None, out: FetchFault
) -> Iterator[Callable[[], Document]]:
    note = own_verified(node, identity)
    if last and note.fetched:
        hours = (datetime.now(UTC) - note.fetched).total_seconds() // 3600  # whole ones: other words are another report
        age = ago(hours * 3600) if hours > 0 else "less than an hour ago"
        why = f"going on with serial {note.serial}, first read {note.fetched.isoformat()}, {age}"
        yield partial(_unsealed, last.raw, last.source, degraded=f"no store answers ({out.message}); {why}")
    seed = node.settings.paths.seed
    if seed and Path(seed).is_file():
        why = f"no store answers ({out.message}); seed used"
        yield lambda: _unsealed(Path(seed).read_bytes(), f"file://{seed}", degraded=why)


def record_verified(
    node: Node, document: Document, fleet: Fleet, *, signer: Signer, instance: str | None, server: str
) -> None:
    """The last verified document: what a node goes on with when every store is out, and the serials it has seen."""
    if document.degraded:
        return
    state, before = node.settings.state, node.notes.read(Verified)
    name = write_document(state, document.raw)
    serials = before.serials if before.fleet == fleet.fleet else {}
    masters = {name: (database.epoch, database.master) for name, database in fleet.databases.items()}
    now = datetime.now(UTC).replace(microsecond=0)
    # A time in the future is that of a clock that was set back: it would stay wrong as long as the document stays.
    is_known = before.sha256 == document.sha256 and before.fetched is not None and before.fetched <= now
    note = Verified(
        fleet=fleet.fleet,
        serial=fleet.serial,
        sha256=document.sha256,
        document=name,
        role=node.settings.role,
        instance=instance or before.instance,  # an answer without an id is no reason to forget whose state this is
        server=server,
        source=document.source,
        store=document.store,
        etag=document.etag,
        signer="" if signer is UNSIGNED else signer.name,
        serials={**serials, signer.key: fleet.serial},
        masters={**before.masters, signer.key: {**before.masters.get(signer.key, {}), **masters}},
        fetched=before.fetched if is_known else now,
    )
    if replace(note, source=before.source, store=before.store, etag=before.etag) != before:
        node.notes.write(note)
    prune_documents(state, name)
