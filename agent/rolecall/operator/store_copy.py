"""`rolecall store copy`: a fleet's objects from one store to another, so that nodes can be turned over to that one.

What is there already is passed over, so that a copy that was cut off goes on where it stopped. Everything is read back
from the target. The document comes last: whoever finds it there also finds the releases that it names.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from rolecall.errors import ConfigFault, ConflictFault, FetchFault
from rolecall.fleet.schema import Fleet, parse_fleet
from rolecall.node.verified import MOST
from rolecall.operator.answers import StoreCopy
from rolecall.store import DOCUMENT, Entry, Store, Stored
from rolecall.store.proofs import PREFIX
from rolecall.trust.envelope import unseal

# Nodes write reports into each of their stores themselves: a copy would put an older one over a newer one. And what a
# check that was killed has left behind belongs to one store.
_OF_ONE_STORE = ("reports/", PREFIX)


class Progress(Protocol):
    """Who is told how far a copy is."""

    def begin(self, objects: int, size: int) -> None:
        """So many objects, of so many bytes in all."""

    def advance(self, size: int) -> None:
        """So many more bytes are in the target, or were there already."""

    def finish(self, action: str, key: str, size: int) -> None:
        """An object is done: `copied`, `unchanged` or `deleted`."""


def copy_store(source: Store, target: Store, progress: Progress, *, delete: bool, dry_run: bool) -> StoreCopy:
    """Copy what the target lacks; with `delete` remove what the source does not have. `dry_run` writes nothing.

    Raises ConfigFault for a document, or a release, that no node would take from the target; FetchFault where a store
    is out, or has no listing and needs one; ConflictFault where somebody writes at the same time.
    """
    if source.url == target.url:
        raise ConfigFault(f"{source.url} cannot be copied to itself", "name two stores")
    # Before the listing: a release that is published from here on is of a later document than this one.
    document = source.get(DOCUMENT, MOST)
    fleet = parse_fleet(unseal(document.data, source.location(DOCUMENT)).payload, source.location(DOCUMENT))
    replaced = _replaced_document(source, target, fleet, document)
    entries = _listing(source)
    _check_releases(source, fleet, entries)
    progress.begin(len(entries) + 1, sum(entry.size for entry in entries.values()) + len(document.data))
    copying = _Copying(source, target, _digests(fleet), _target_listing(target, required=delete), dry_run)
    actions = [(copying.copy(entry, progress), entry.key, entry.size) for entry in entries.values()]
    actions.append((_copy_document(target, document, replaced, dry_run=dry_run), DOCUMENT, len(document.data)))
    progress.advance(len(document.data))
    progress.finish(*actions[-1])
    # Last of all: as long as the target had its old document, nodes could ask for what that names.
    superfluous = sorted((copying.existing or {}).keys() - entries.keys()) if delete else []
    for key in superfluous:
        if not dry_run:
            target.delete(key)
        progress.finish("deleted", key, 0)
    return StoreCopy(
        source=source.url,
        target=target.url,
        fleet=fleet.fleet,
        serial=fleet.serial,
        copied=tuple(key for action, key, _ in actions if action == "copied"),
        unchanged=sum(action == "unchanged" for action, _, _ in actions),
        deleted=tuple(superfluous),
        bytes=sum(size for action, _, size in actions if action == "copied"),
        dry_run=dry_run,
    )


@dataclass(frozen=True)
class _Copying:
    """Two stores, the digests that the document names, and what the target has; None if it has no listing."""

    source: Store
    target: Store
    digests: Mapping[str, str]
    existing: Mapping[str, Entry] | None
    dry_run: bool

    def copy(self, entry: Entry, progress: Progress) -> str:
        """Have an object in the target; returns what was done."""
        if self._is_unchanged(entry):
            action = "unchanged"
            progress.advance(entry.size)
        else:
            action = "copied"
            if self.dry_run:
                progress.advance(entry.size)
            else:
                self._upload(entry, progress)
        progress.finish(action, entry.key, entry.size)
        return action

    def _is_unchanged(self, entry: Entry) -> bool:
        """Whether the target certainly has the same bytes: told by tags as far as these tell it, else by reading."""
        unlisted = Entry(entry.key, entry.size)  # where there is no listing, reading shows whether it is there
        existing = self.existing.get(entry.key) if self.existing is not None else unlisted
        if existing is None or existing.size != entry.size or (self.existing is None and not entry.size):
            return False
        if entry.etag and entry.etag == existing.etag:
            return True
        if entry.etag and not existing.etag and self.source.has_tag(entry.etag, self._target_pieces(entry.key)):
            return True
        if existing.etag and not entry.etag:
            return self.target.has_tag(existing.etag, self.source.stream(entry.key))
        expected = self.digests.get(entry.key)
        if expected is None and not entry.etag:
            expected = _digest(self.source.stream(entry.key))
        return expected is not None and expected == _digest(self._target_pieces(entry.key))

    def _target_pieces(self, key: str) -> Iterator[bytes]:
        """The target's object, no bytes at all if there is none."""
        try:
            yield from self.target.stream(key)
        except FetchFault as fault:
            if fault.cause != "no-key":
                raise

    def _upload(self, entry: Entry, progress: Progress) -> None:
        digest = hashlib.sha256()
        self.target.upload(entry.key, self._checked_pieces(entry, digest, progress), entry.size)
        if _digest(self.target.stream(entry.key)) != digest.hexdigest():
            raise _other_bytes(self.target, entry.key)

    def _checked_pieces(self, entry: Entry, digest: "hashlib._Hash", progress: Progress) -> Iterator[bytes]:
        """The source's object. Its last piece comes only if all of it is what the listing and the document say."""
        size, last = 0, b""
        for piece in self.source.stream(entry.key):
            if last:
                yield last
            digest.update(piece)
            size, last = size + len(piece), piece
            progress.advance(len(piece))
        place = self.source.location(entry.key)
        if size != entry.size:
            raise FetchFault(
                f"{place} has changed while it was copied", "copy again: it continues from here", "conflict"
            )
        expected = self.digests.get(entry.key)
        if expected and digest.hexdigest() != expected:
            raise ConfigFault(f"{place} is not the release that the document names", "publish that release again")
        yield last


def _listing(store: Store) -> dict[str, Entry]:
    return {
        entry.key: entry for entry in store.list() if entry.key != DOCUMENT and not entry.key.startswith(_OF_ONE_STORE)
    }


def _target_listing(target: Store, *, required: bool) -> dict[str, Entry] | None:
    try:
        return _listing(target)
    except FetchFault as fault:
        if fault.cause != "no-listing" or required:
            raise
        return None


def _digests(fleet: Fleet) -> dict[str, str]:
    """The SHA-256 of each release that the document names."""
    return {product.release.artifact: product.release.sha256 for product in fleet.products.values()}


def _check_releases(source: Store, fleet: Fleet, entries: Mapping[str, Entry]) -> None:
    if missing := sorted(_digests(fleet).keys() - entries.keys()):
        raise ConfigFault(
            f"{source.location(DOCUMENT)} names releases that its store does not have: {', '.join(missing)}",
            "publish them, or a document that does not name them",
        )


def _replaced_document(source: Store, target: Store, fleet: Fleet, document: Stored) -> Stored | None:
    """The target's document, which must not be of another fleet or newer: nodes would refuse what replaces it."""
    try:
        replaced = target.get(DOCUMENT, MOST)
    except FetchFault as fault:
        if fault.cause != "no-key":
            raise
        return None
    url = target.location(DOCUMENT)
    payload = unseal(replaced.data, url).payload
    old = parse_fleet(payload, url)
    if old.fleet != fleet.fleet:
        raise ConfigFault(f"{url} is the document of the fleet {old.fleet!r}, {source.url} that of {fleet.fleet!r}")
    changed = payload != unseal(document.data, source.location(DOCUMENT)).payload
    if old.serial > fleet.serial or (old.serial == fleet.serial and changed):
        raise ConflictFault(
            f"{url} has serial {old.serial}, but {source.location(DOCUMENT)} has serial {fleet.serial}: "
            "nodes would refuse it",
            "copy in the other direction, or publish the older content with a new serial",
            "conflict",
        )
    return replaced


def _copy_document(target: Store, document: Stored, replaced: Stored | None, *, dry_run: bool) -> str:
    if replaced and replaced.data == document.data:
        return "unchanged"
    if not dry_run:
        replacing = replaced.etag or None if replaced else ""  # None: a web server that gives no tags
        target.put(DOCUMENT, document.data, replacing)
        if target.get(DOCUMENT, MOST).data != document.data:
            raise _other_bytes(target, DOCUMENT)
    return "copied"


def _other_bytes(target: Store, key: str) -> FetchFault:
    return FetchFault(
        f"{target.location(key)} does not read as it was written",
        "copy again; if this persists, check that store's disk, and who else writes to it",
        "broken-answer",
    )


def _digest(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
