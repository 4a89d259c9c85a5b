"""`rolecall store check`: what a store does of what we rely on, each proven by an experiment."""

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime

from rolecall.causes import is_skewed
from rolecall.errors import FetchFault
from rolecall.forms.quantities import duration
from rolecall.node.verified import MOST
from rolecall.operator.answers import StoreCheck
from rolecall.store import DOCUMENT, Store, Stored
from rolecall.store.proofs import CONDITIONS, LIMIT, RACES, Bench, Disproof, Experiment, Proof, bench, prove

_TEXT = b'{"servers": {"web1": {"role": "web"}}}\n' * 100  # a proxy that compresses would compress this
_LARGE = 9 << 20  # bytes; two parts in S3, and more than web servers take by default
_PIECE = 1 << 18


def check_store(store: Store) -> StoreCheck:
    """Try everything; what was written is removed. Raises FetchFault where the store is out."""
    with bench(store) as place:
        proofs = tuple(_proofs(place))
    return StoreCheck(url=store.url, publish=all(proof.holds for proof in proofs if proof.purpose == "publish"),
                      writable=proofs[0].holds, proofs=proofs)  # fmt: skip


def reading_proofs(store: Store, key: str, stored: Stored) -> list[Proof]:
    """What can be proven of a store by reading an object that it has: nothing is written."""
    return list(prove(Bench(store), reading_experiments(key, stored)))


def reading_experiments(key: str, stored: Stored) -> tuple[Experiment, ...]:
    """Those that need an object, as it was read just now, and nothing else."""
    return (
        Experiment("unchanged", "refresh", lambda place: _unchanged(place.store, key, stored),
                   "each refresh downloads the document and compares it"),
        Experiment("ranges", "releases", lambda place: _ranges(place.store, key),
                   "a download that was cut begins again at its first byte"),
        Experiment("clock", "refresh", lambda _: _clock(stored),
                   "S3 refuses requests from 15 minutes on; validity is judged by this machine's clock"),
    )  # fmt: skip


def _proofs(place: Bench) -> Iterator[Proof]:
    """Where nothing can be written, the document shows how the store is read."""
    write_proofs = list(prove(place, (_WRITE,)))
    yield from write_proofs
    if write_proofs[0].holds:
        yield from prove(place, (_ABSENCE, *CONDITIONS, *RACES))
        key, stored = place.written("read", _TEXT)
        yield from prove(place, (*reading_experiments(key, stored), _LARGE_OBJECTS, _LISTING, _DELETION))
        return
    yield from prove(place, (_ABSENCE,))
    try:
        stored = place.store.get(DOCUMENT, MOST)
    except FetchFault as fault:
        if fault.cause == "no-key":
            return
        raise
    yield from prove(place, reading_experiments(DOCUMENT, stored))


def _write(place: Bench) -> str:
    for data in (_TEXT, _TEXT[::-1]):
        key, stored = place.written("write", data)
        if stored.data != data:
            raise Disproof(f"{key} was written, and reads as something else")
    return "what was written reads the same, also after it was replaced"


def _absence(place: Bench) -> str:
    try:
        place.store.get(place.key("absent"), LIMIT)
    except FetchFault as fault:
        if fault.cause == "no-key":
            return "what is not there is said not to be there"
        raise
    raise Disproof("an object that was never written can be read: is this a page for mistyped addresses?")


def _unchanged(store: Store, key: str, stored: Stored) -> str:
    """Other bytes with the same tag tell whether the store sent its own."""
    if not stored.etag:
        raise Disproof("it gives no tag (ETag)")
    if store.get(key, MOST, Stored(b"", stored.etag)).data:
        raise Disproof("it sends the whole object though the tag is still the same (no 304)")
    return "an object that is still the same is not sent again"


def _ranges(store: Store, key: str) -> str:
    if not store.resumes(key):
        raise Disproof("it sends the whole object where its end was asked for (no 206)")
    return "the end of an object can be asked for"


def _clock(stored: Stored) -> str:
    if stored.date is None:
        return "it does not tell its time"
    seconds = (datetime.now(UTC) - stored.date).total_seconds()
    side = "ahead of" if seconds > 0 else "behind"
    words = f"this machine's clock is {duration(round(abs(seconds)))} {side} the store's"
    if is_skewed(stored.date):
        raise Disproof(words)
    return words


def _large(place: Bench) -> str:
    key, digest, piece = place.key("large"), hashlib.sha256(), os.urandom(_PIECE)
    place.store.upload(key, (piece for _ in range(0, _LARGE, _PIECE)), _LARGE)
    for data in place.store.stream(key):
        digest.update(data)
    if digest.digest() != hashlib.sha256(piece * (_LARGE // _PIECE)).digest():
        raise Disproof(f"an object of {_LARGE >> 20} MiB reads as something else")
    return f"an object of {_LARGE >> 20} MiB reads as it was written"


def _listing(place: Bench) -> str:
    key, stored = place.written("listed")
    sizes = {entry.key: entry.size for entry in place.store.list(place.name)}
    if sizes.get(key) != len(stored.data):
        raise Disproof("an object that was just written is not in the listing, or has another size there")
    return "what was written is listed with its size"


def _deletion(place: Bench) -> str:
    key, _ = place.written("deleted")
    place.store.delete(key)
    try:
        place.store.get(key, LIMIT)
    except FetchFault as fault:
        if fault.cause == "no-key":
            return "what was deleted is gone"
        raise
    raise Disproof("what was deleted can still be read")


_WRITE = Experiment("write", "publish", _write, "nothing can be published here; nodes' reports go to other stores")
_ABSENCE = Experiment("absence", "publish", _absence, "the first publication cannot tell that it is the first")
_LARGE_OBJECTS = Experiment("large objects", "releases", _large, "releases cannot be put here")
_LISTING = Experiment("listing", "copy", _listing, "it can be copied to, not from")
_DELETION = Experiment(
    "deletion", "copy", _deletion, "`store copy --delete` fails here, and checks leave their objects"
)
