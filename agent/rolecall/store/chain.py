"""Several stores in order of preference: the first one that answers is used."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from rolecall.causes import OUT, PROVIDER_OUT
from rolecall.errors import ConflictFault, Fault, FetchFault
from rolecall.store import Store, Stored

T = TypeVar("T")

# A store that failed so once will fail so again in this run, and cost its whole deadline each time.
_OUT = OUT | PROVIDER_OUT


class Chain:
    """A store made of stores. Which of their documents to go by is decided in `trust/selection.py`."""

    def __init__(self, stores: list[Store]) -> None:
        self.stores = stores
        self.out: dict[str, FetchFault] = {}

    @property
    def url(self) -> str:
        """The preferred store's."""
        return self.stores[0].url

    def mark_out(self, store: Store, fault: FetchFault) -> None:
        """Remember that a store is out, for the rest of this run."""
        if fault.cause in _OUT:
            self.out[store.url] = fault

    def usable(self) -> list[Store]:
        """Those that are not out; if all are, all: one may have come back."""
        return [store for store in self.stores if store.url not in self.out] or self.stores

    def get(self, key: str, limit: int, cached: Stored | None = None) -> Stored:
        """From the first that has it."""
        return self._first(lambda store: store.get(key, limit, cached))

    def put(self, key: str, data: bytes, replacing: str | None = None) -> str:
        """To the first that takes it."""
        return self._first(lambda store: store.put(key, data, replacing))

    def stream(self, key: str, start: int = 0) -> Iterator[bytes]:
        """From the first that has it; where one breaks off the next goes on: the SHA-256 of the whole decides."""
        causes, at = [], start
        for store in self.usable():
            try:
                for piece in store.stream(key, at):
                    at += len(piece)
                    yield piece
            except FetchFault as fault:
                self.mark_out(store, fault)
                causes.append(fault)
            else:
                return
        raise all_of(causes)

    def watched_paths(self, key: str) -> tuple[str, ...]:
        """All of them: a store that comes back is noticed too."""
        return tuple(path for store in self.stores for path in store.watched_paths(key))

    def revalidation(self, key: str, etag: str) -> str:
        """The preferred store's."""
        return self.stores[0].revalidation(key, etag)

    def _first(self, ask: Callable[[Store], T]) -> T:
        causes = []
        for store in self.usable():
            try:
                return ask(store)
            except ConflictFault:
                raise
            except FetchFault as fault:
                self.mark_out(store, fault)
                causes.append(fault)
        raise all_of(causes)


def all_of(faults: Sequence[Fault]) -> FetchFault:
    """Several stores' faults as one: every cause in the message, the first one's remedy."""
    return FetchFault("; ".join(fault.message for fault in faults), faults[0].hint, faults[0].cause)
