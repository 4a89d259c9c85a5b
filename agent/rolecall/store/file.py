"""A store in a folder: a mirror on disk, an NFS mount, the demo."""

import fcntl
import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rolecall.causes import conflict, fault, too_large
from rolecall.errors import FetchFault
from rolecall.store import Stored

_PIECE = 1 << 20


class FileStore:
    """`file:///folder`."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.url = f"file://{folder}"

    def location(self, key: str) -> str:
        """`file:///folder/key`."""
        return f"{self.url}/{key}"

    def get(self, key: str, limit: int, cached: Stored | None = None) -> Stored:
        """Read a file; more than `limit` bytes are a FetchFault."""
        with self._open(key) as file:
            data = self._read(file, key, limit + 1)
        if len(data) > limit:
            raise too_large(f"read {self.folder / key}", limit)
        found = Stored(data, _etag(data))
        return cached if cached and cached.etag == found.etag else found

    def stream(self, key: str, start: int = 0) -> Iterator[bytes]:
        """Read a file in pieces."""
        with self._open(key) as file:
            file.seek(start)
            while piece := self._read(file, key, _PIECE):
                yield piece

    def put(self, key: str, data: bytes, replacing: str | None = None) -> str:
        """Write beside and rename: whoever reads sees the old or the new file."""
        path = self.folder / key
        new = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            # Never the store's own folder: where nothing is mounted, nothing may be written.
            for folder in reversed(Path(key).parents[:-1]):
                (self.folder / folder).mkdir(exist_ok=True)
            with self._alone(replacing):
                if replacing is not None and replacing != (_etag(path.read_bytes()) if path.exists() else ""):
                    raise conflict(f"write {path}")
                new.write_bytes(data)
                new.replace(path)
        except OSError as error:
            hint = "is the store's folder mounted and writable?"
            raise FetchFault(f"cannot write {path}: {error.strerror}", hint, "unreachable") from None
        return _etag(data)

    def watched_paths(self, key: str) -> list[str]:
        """The file itself."""
        return [str(self.folder / key)]

    def revalidation(self, key: str, etag: str) -> str:  # noqa: ARG002 - the contract of all stores
        """None is needed: its stamp tells."""
        return ""

    @contextmanager
    def _alone(self, replacing: str | None) -> Iterator[None]:
        """Between the look and the write nobody else may write; who writes without a condition asks nobody."""
        if replacing is None:
            yield
            return
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _open(self, key: str) -> io.BufferedReader:
        try:
            return (self.folder / key).open("rb")
        except OSError as error:
            hint = "is the folder mounted, and was the file published?"
            cause = "no-key" if isinstance(error, FileNotFoundError) and self.folder.is_dir() else "unreachable"
            raise FetchFault(f"cannot read {self.folder / key}: {error.strerror}", hint, cause) from None

    def _read(self, file: io.BufferedReader, key: str, size: int) -> bytes:
        try:
            return file.read(size)
        except OSError as error:
            raise fault(f"read {self.folder / key}", error.strerror or "", "broken-answer") from None


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
