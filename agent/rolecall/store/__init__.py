"""Where the fleet document and the releases are read and the reports are written.

To add a store: a module with a class of the methods of `Store`, its name in KINDS and a `case` in `open_store`.
"""

from collections.abc import Iterator
from typing import Protocol

from rolecall.errors import ConfigFault

DOCUMENT = "fleet.json"
KINDS = ("file",)


class Store(Protocol):
    """A place for bytes under keys (relative paths). Whatever goes wrong with it is a FetchFault that names it."""

    url: str

    def get(self, key: str, limit: int) -> bytes:
        """A small object, whole; at most `limit` bytes of it."""

    def stream(self, key: str) -> Iterator[bytes]:
        """An object of any size, in pieces."""

    def put(self, key: str, data: bytes) -> None:
        """Write an object; readers see the old or the new one, whole."""

    def watched(self, key: str) -> list[str]:
        """Local paths whose stamps tell that the object may have changed; none if that cannot be told so."""


def open_store(url: str) -> Store:
    """The store that a URL names. Raises ConfigFault for a kind that there is not."""
    kind, _, where = url.partition("://")
    match kind:
        case "file":
            from rolecall.store.file import FileStore

            return FileStore(where)
        case _:
            raise ConfigFault(f"there is no store of the kind {kind!r}", f"one of: {', '.join(KINDS)}")
