"""A store in a folder: a mirror on disk, an NFS mount, the demo."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

from rolecall.errors import FetchFault

_PIECE = 1 << 20


class FileStore:
    """`file:///folder`."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.url = f"file://{folder}"

    def get(self, key: str, limit: int) -> bytes:
        """Read a file; more than `limit` bytes are a FetchFault."""
        with self._open(key) as file:
            data = self._read(file, key, limit + 1)
        if len(data) > limit:
            raise FetchFault(f"{self.folder / key} is larger than {limit} bytes", "that is no fleet document")
        return data

    def stream(self, key: str) -> Iterator[bytes]:
        """Read a file in pieces."""
        with self._open(key) as file:
            while piece := self._read(file, key, _PIECE):
                yield piece

    def put(self, key: str, data: bytes) -> None:
        """Write beside and rename: whoever reads sees the old or the new file."""
        path = self.folder / key
        new = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            # Never the store's own folder: where nothing is mounted, nothing may be written.
            for folder in reversed(Path(key).parents[:-1]):
                (self.folder / folder).mkdir(exist_ok=True)
            new.write_bytes(data)
            new.replace(path)
        except OSError as error:
            raise FetchFault(f"cannot write {path}: {error.strerror}", "is the store's folder writable?") from None

    def watched(self, key: str) -> list[str]:
        """The file itself."""
        return [str(self.folder / key)]

    def _open(self, key: str) -> io.BufferedReader:
        try:
            return (self.folder / key).open("rb")
        except OSError as error:
            hint = "is the folder mounted, and was the file published?"
            raise FetchFault(f"cannot read {self.folder / key}: {error.strerror}", hint) from None

    def _read(self, file: io.BufferedReader, key: str, size: int) -> bytes:
        try:
            return file.read(size)
        except OSError as error:
            raise FetchFault(f"cannot read {self.folder / key}: {error.strerror}") from None
