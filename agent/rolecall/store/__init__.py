"""Where the fleet document and the releases are read and the reports are written.

To add a store: a module with a class of the methods of `Store`, its scheme in STORES and a `case` in `open_store`, both
in `node/providers.py`. A store that belongs to a cloud lies in that provider's folder, as `aws/s3.py` does.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from rolecall.errors import ConfigFault

DOCUMENT = "fleet.json"
_KEY_BYTES = 1024  # the longest key of S3


@dataclass(frozen=True)
class Stored:
    """An object as it was read: its bytes, the tag that changes with them, and the store's own time if it tells."""

    data: bytes
    etag: str = ""
    date: datetime | None = None


@dataclass(frozen=True)
class Entry:
    """An object in a listing: its size in bytes, and its tag where the listing has one."""

    key: str
    size: int
    etag: str = ""


class Store(Protocol):
    """A place for bytes under keys (relative paths, see `checked_key`).

    Whatever goes wrong with it is a FetchFault that names the object and the cause, within the deadline of agent.toml.
    A key that cannot be one is a ConfigFault.
    """

    @property
    def url(self) -> str:
        """As agent.toml has it: what tells two stores apart."""

    def location(self, key: str) -> str:
        """The URL of an object, for people."""

    def get(self, key: str, limit: int, cached: Stored | None = None) -> Stored:
        """A small object, whole, at most `limit` bytes; `cached` itself if it is still the same, without a download."""

    def stream(self, key: str, start: int = 0) -> Iterator[bytes]:
        """An object of any size, in pieces, from its byte `start` on; a connection that is cut is taken up again."""

    def resumes(self, key: str) -> bool:
        """Whether a download of this object can be taken up in its middle, without what is before."""

    def put(self, key: str, data: bytes, replacing: str | None = None) -> str:
        """Write a small object; readers see the old or the new one, whole. Returns its new tag.

        `replacing`: only in place of the object with this tag, '' where there must be none yet; else a ConflictFault.
        """

    def upload(self, key: str, pieces: Iterable[bytes], size: int | None = None) -> str:
        """Write an object of any size from its pieces, in bounded memory. Returns its new tag.

        Readers see the old or the new object, whole. If anything fails, also what `pieces` itself raises, the old
        object stays and no part of the new one is left behind. `size`: the number of bytes, if it is known.
        """

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """All objects whose keys begin with `prefix`, sorted by key."""

    def delete(self, key: str) -> None:
        """Remove an object; it is no fault if there is none."""

    def has_tag(self, etag: str, pieces: Iterable[bytes]) -> bool:
        """Whether this store gives the tag to an object of these bytes; False also where its tags do not tell that."""

    def watched_paths(self, key: str) -> tuple[str, ...]:
        """Local paths whose stamps tell that the object may have changed; none if that cannot be told so."""

    def revalidation(self, key: str, etag: str) -> str:
        """The request that tells whether the object has changed, for `shortcut/request.py`; '' if none does."""


def checked_key(key: str) -> str:
    """The key itself, if it can be one in every kind of store. Raises ConfigFault.

    A key becomes a path below a folder or a URL. A name that begins with a dot stands for an unfinished file there.
    """
    names = key.split("/")
    wrong = not all(names) or any(name.startswith(".") for name in names) or not key.isprintable()
    if wrong or len(key.encode("utf-8", "replace")) > _KEY_BYTES:
        raise ConfigFault(
            f"{key!r:.200} cannot be the key of an object in a store",
            f"a relative path of printable characters, no name of which is empty or begins with a dot; "
            f"at most {_KEY_BYTES} bytes",
        )
    return key
