"""What a store has to do for us, each as a small experiment: servers take a condition, and do not keep to it.

An experiment writes objects of its own names and removes them, whatever happens. What it needs of a store is in the
contract of `Store`, so that the experiments are the same for every kind of store.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from rolecall.causes import OUT, PROVIDER_OUT
from rolecall.errors import ConflictFault, FetchFault
from rolecall.store import Store, Stored

PREFIX = "check-"  # of the names of all experiments' objects; no folder, for not every web server makes one
LIMIT = 1 << 16  # bytes; more than such an object has
_WRITERS = 8  # at once
_SETTLING = 3  # seconds: Apache's tag of a file that was changed within the last second is a weak one
_NO_OBJECT = '"00000000000000000000000000000000"'  # a tag that no object has


class Disproof(Exception):
    """A store does not do what it has to; the text says what was seen."""


@dataclass
class Bench:
    """A store, and the objects that the experiments have written into it."""

    store: Store
    name: str = field(default_factory=lambda: f"{PREFIX}{secrets.token_hex(6)}")
    keys: set[str] = field(default_factory=set)

    def key(self, subject: str) -> str:
        """The key of an object, which is removed in the end. It cannot be the key of anything else."""
        key = f"{self.name}-{subject}"
        self.keys.add(key)
        return key

    def written(self, subject: str, data: bytes = b"first") -> tuple[str, Stored]:
        """The key of an object that was written unconditionally, and the object as it is read: with its tag."""
        key = self.key(subject)
        self.store.put(key, data)
        return key, self.store.get(key, LIMIT)

    def tagged(self, subject: str) -> tuple[str, str]:
        """The key of an object that was written, and a tag that a condition can name. Raises Disproof."""
        key, stored = self.written(subject)
        for _ in range(_SETTLING):
            if not stored.etag.startswith("W/"):
                break
            time.sleep(1)
            stored = self.store.get(key, LIMIT)
        if not stored.etag:
            raise Disproof("it gives no tag (ETag), so that no condition can name what is to be replaced")
        if stored.etag.startswith("W/"):
            raise Disproof(f"its tag {stored.etag} is a weak one, which no If-Match may name")
        return key, stored.etag

    def is_refused(self, key: str, replacing: str, data: bytes = b"second") -> bool:
        """Whether a conditional write is refused."""
        try:
            self.store.put(key, data, replacing)
        except ConflictFault:
            return True
        return False


@contextmanager
def bench(store: Store) -> Iterator[Bench]:
    """A bench whose objects are removed in the end, as far as the store lets us."""
    place = Bench(store)
    try:
        yield place
    finally:
        for key in sorted(place.keys):
            with suppress(FetchFault):
                store.delete(key)


@dataclass(frozen=True)
class Experiment:
    """What is tried: `run` returns what was seen. It raises Disproof or FetchFault where the store does not do it."""

    name: str
    purpose: str  # publish | refresh | releases | copy: what relies on it
    run: Callable[[Bench], str]
    consequence: str  # of a store that does not do it


@dataclass(frozen=True)
class Proof:
    """How an experiment ended. `cause` is a word of docs/reference/causes.md, or ''."""

    name: str
    purpose: str
    holds: bool
    seen: str
    consequence: str  # '' if it holds
    cause: str = ""


def prove(place: Bench, experiments: Iterable[Experiment]) -> Iterator[Proof]:
    """Each experiment's end. Raises FetchFault where the store is out: that says nothing about what it does."""
    for experiment in experiments:
        try:
            observation, holds, cause = experiment.run(place), True, ""
        except Disproof as disproof:
            observation, holds, cause = str(disproof), False, ""
        except FetchFault as fault:
            if fault.cause in OUT | PROVIDER_OUT:
                raise
            observation, holds, cause = fault.message, False, fault.cause
        consequence = "" if holds else experiment.consequence
        yield Proof(experiment.name, experiment.purpose, holds, observation, consequence, cause)


def _create_once(place: Bench) -> str:
    key = place.key("create")
    place.store.put(key, b"first", "")
    if not place.is_refused(key, ""):
        raise Disproof("a second write with If-None-Match: * was accepted too")
    return "a second write with If-None-Match: * is refused"


def _replace_the_old_one(place: Bench) -> str:
    key, _ = place.written("stale")
    if not place.is_refused(key, _NO_OBJECT):
        raise Disproof("a write with the If-Match of another object was accepted")
    return "a write with the If-Match of another object is refused"


def _replace_the_right_one(place: Bench) -> str:
    key, etag = place.tagged("match")
    if place.is_refused(key, etag):
        raise Disproof("a write with the right If-Match is refused")
    return "a write with the right If-Match is accepted"


def _tag_each_write(place: Bench) -> str:
    key, first = place.written("tag", b"first")
    place.store.put(key, b"other")
    if place.store.get(key, LIMIT).etag == first.etag:
        raise Disproof("two contents of the same size have the same tag, one shortly after the other")
    return "two contents of the same size have two tags"


def _one_creator(place: Bench) -> str:
    return _one_of(place, place.key("creators"), "")


def _one_replacer(place: Bench) -> str:
    return _one_of(place, *place.tagged("replacers"))


def _one_of(place: Bench, key: str, replacing: str) -> str:
    """Of several who write on the same condition at once, one may succeed, and its content is there."""
    contents = [f"writer {number}".encode() for number in range(_WRITERS)]
    with ThreadPoolExecutor(_WRITERS) as pool:
        refusals = list(pool.map(lambda data: place.is_refused(key, replacing, data), contents))
    winners = [data for data, refused in zip(contents, refusals, strict=True) if not refused]
    if len(winners) != 1:
        raise Disproof(f"of {_WRITERS} who wrote at once on the same condition, {len(winners)} were accepted")
    if place.store.get(key, LIMIT).data != winners[0]:
        raise Disproof(f"of {_WRITERS} who wrote at once, another one's content is there than that of the accepted one")
    return f"of {_WRITERS} who write at once on the same condition, one is accepted"


_LOST = "two people who publish at the same time overwrite each other, and neither learns of it"
_SAME_TAG = "of two documents that are published within a second, nodes may keep the first one"
# The first writes without a condition too, so that a server that takes no writes at all says so.
CONDITIONS = (
    Experiment("replace no other", "publish", _replace_the_old_one, _LOST),
    Experiment("create once", "publish", _create_once, _LOST),
    Experiment("replace the same", "publish", _replace_the_right_one, "every publication after the first is refused"),
)
RACES = (
    Experiment(
        "a tag for each content",
        "refresh",
        _tag_each_write,
        _SAME_TAG,
    ),
    Experiment("one of many creators", "publish", _one_creator, _LOST),
    Experiment("one of many replacers", "publish", _one_replacer, _LOST),
)
