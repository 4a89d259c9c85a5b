"""Several stores in order of preference: the first one that answers is used."""

from collections.abc import Iterator

from rolecall.errors import FetchFault
from rolecall.store import Store


class Chain:
    """A store made of stores."""

    def __init__(self, stores: list[Store]) -> None:
        self.stores = stores
        self.url = stores[0].url

    def get(self, key: str, limit: int) -> bytes:
        """From the first that has it; `url` then names that one. Raises FetchFault with every store's cause."""
        causes = []
        for store in self.stores:
            try:
                data = store.get(key, limit)
            except FetchFault as fault:
                causes.append(fault.message)
                continue
            self.url = store.url
            return data
        raise FetchFault("; ".join(causes))

    def stream(self, key: str) -> Iterator[bytes]:
        """From the first that has it; a store that breaks off in the middle is an error, not a reason to splice."""
        causes = []
        for store in self.stores:
            pieces = store.stream(key)
            try:
                first = next(pieces, b"")
            except FetchFault as fault:
                causes.append(fault.message)
                continue
            yield first
            yield from pieces
            return
        raise FetchFault("; ".join(causes), "publish the release to a store of the list")

    def put(self, key: str, data: bytes) -> None:
        """To the first that takes it."""
        causes = []
        for store in self.stores:
            try:
                return store.put(key, data)
            except FetchFault as fault:
                causes.append(fault.message)
        raise FetchFault("; ".join(causes))

    def watched(self, key: str) -> list[str]:
        """All of them: a store that comes back is noticed too."""
        return [path for store in self.stores for path in store.watched(key)]
