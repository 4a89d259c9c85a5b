"""Where the fleet document and the releases are read and the reports are written.

To add a store: a module with a class of the methods of `Store`, its scheme in STORES and a `case` in `open_store`, both
in `node/providers.py`. A store that belongs to a cloud lies in that provider's folder, as `aws/s3.py` does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

DOCUMENT = "fleet.json"


@dataclass(frozen=True)
class Stored:
    """An object as it was read: its bytes, the tag that changes with them, and the store's own time if it tells."""

    data: bytes
    etag: str = ""
    date: datetime | None = None


class Store(Protocol):
    """A place for bytes under keys (relative paths).

    Whatever goes wrong with it is a FetchFault that names the object and the cause, within the deadline of agent.toml.
    """

    @property
    def url(self) -> str:
        """As agent.toml has it: what tells two stores apart."""

    def location(self, key: str) -> str:
        """Where an object is, in words for people."""

    def get(self, key: str, limit: int, cached: Stored | None = None) -> Stored:
        """A small object, whole, at most `limit` bytes; `cached` itself if it is still the same, without a download."""

    def stream(self, key: str, start: int = 0) -> Iterator[bytes]:
        """An object of any size, in pieces, from its byte `start` on; a connection that is cut is taken up again."""

    def put(self, key: str, data: bytes, replacing: str | None = None) -> str:
        """Write an object; readers see the old or the new one, whole. Returns its new tag.

        `replacing`: only in place of the object with this tag, '' where there must be none yet; else a ConflictFault.
        """

    def watched_paths(self, key: str) -> list[str]:
        """Local paths whose stamps tell that the object may have changed; none if that cannot be told so."""

    def revalidation(self, key: str, etag: str) -> str:
        """The small request that tells whether the object has changed, for `shortcut/request.py`; '' if none does."""
