"""A store in a folder: a mirror on disk, an NFS mount, the demo."""

import fcntl
import hashlib
import io
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rolecall.causes import HINTS, conflict, too_large
from rolecall.errors import FetchFault
from rolecall.store import Entry, Stored, checked_key

_PIECE = 1 << 20  # bytes


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
            raise too_large(f"read {self._path(key)}", limit)
        stored = Stored(data, _etag(data))
        return cached if cached and cached.etag == stored.etag else stored

    def stream(self, key: str, start: int = 0) -> Iterator[bytes]:
        """Read a file in pieces."""
        with self._open(key) as file:
            file.seek(start)
            while piece := self._read(file, key, _PIECE):
                yield piece

    def resumes(self, key: str) -> bool:  # noqa: ARG002 - the contract of all stores
        """Always."""
        return True

    def put(self, key: str, data: bytes, replacing: str | None = None) -> str:
        """Write beside and rename: whoever reads sees the old or the new file."""
        path = self._path(key)
        with self._writing(path):
            self._make_folders(key)
            with self._locked(replacing):
                if replacing is not None and replacing != (_etag(path.read_bytes()) if path.exists() else ""):
                    raise conflict(f"write {path}")
                return _write(path, (data,))

    def upload(self, key: str, pieces: Iterable[bytes], size: int | None = None) -> str:  # noqa: ARG002
        """Write beside, piece by piece, and rename."""
        path = self._path(key)
        with self._writing(path):
            self._make_folders(key)
            return _write(path, pieces)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every file below the folder, links to files too. No tags: they would cost reading all of it."""
        yield from sorted(self._entries(prefix), key=lambda entry: entry.key)

    def delete(self, key: str) -> None:
        """Unlink the file; its folder stays."""
        path = self._path(key)
        with self._writing(path):
            try:
                path.unlink()
            except FileNotFoundError:
                if not self.folder.is_dir():
                    raise

    def has_tag(self, etag: str, pieces: Iterable[bytes]) -> bool:
        """A tag is the SHA-256 of the content."""
        digest = hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
        return etag == digest.hexdigest()

    def watched_paths(self, key: str) -> tuple[str, ...]:
        """The file itself."""
        return (str(self._path(key)),)

    def revalidation(self, key: str, etag: str) -> str:  # noqa: ARG002 - the contract of all stores
        """None is needed: the file's stamp tells."""
        return ""

    def _path(self, key: str) -> Path:
        return self.folder / checked_key(key)

    def _entries(self, prefix: str) -> Iterator[Entry]:
        try:
            for folder, _, names in os.walk(self.folder, onerror=_raise):
                for name in names:
                    path = Path(folder, name)
                    key = path.relative_to(self.folder).as_posix()
                    if key.startswith(prefix) and not name.startswith(".") and path.is_file():
                        yield Entry(key, path.stat().st_size)
        except OSError as error:
            raise FetchFault(
                f"cannot list {error.filename or self.folder}: {error.strerror}",
                "is the store's folder mounted, and may this user read all of it?",
                "unreachable",
            ) from None

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            hint = "is the store's folder mounted and writable?"
            raise FetchFault(f"cannot write {path}: {error.strerror}", hint, "unreachable") from None

    def _make_folders(self, key: str) -> None:
        """Never the store's own folder: where nothing is mounted, nothing may be written."""
        for folder in reversed(Path(key).parents[:-1]):
            (self.folder / folder).mkdir(exist_ok=True)

    @contextmanager
    def _locked(self, replacing: str | None) -> Iterator[None]:
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
        path = self._path(key)
        try:
            return path.open("rb")
        except OSError as error:
            cause, hint = "unreachable", "is the folder mounted?"
            if isinstance(error, PermissionError):
                cause, hint = "access-denied", "let whoever reads the store read this file and its folders"
            elif isinstance(error, FileNotFoundError) and self.folder.is_dir():
                cause, hint = "no-key", HINTS["no-key"]
            raise FetchFault(f"cannot read {path}: {error.strerror}", hint, cause) from None

    def _read(self, file: io.BufferedReader, key: str, size: int) -> bytes:
        try:
            return file.read(size)
        except OSError as error:
            words = f"cannot read {self.folder / key}: {error.strerror}"
            raise FetchFault(words, "look at the mount, and in the kernel log", "broken-answer") from None


def _write(path: Path, pieces: Iterable[bytes]) -> str:
    """Write beside, sync and rename; returns the tag."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    digest = hashlib.sha256()
    try:
        with unfinished.open("wb") as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())  # before the rename: after a power cut there is the old file or the whole new one
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return digest.hexdigest()


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _raise(error: OSError) -> None:
    raise error
