"""Unpacks a release: regular files, folders and links that stay inside; an archive with more is refused.

Not by `TarFile.extractall(filter="data")`: older Pythons lack it, it bounds neither bytes nor entries, and it was
broken more than once (CVE-2025-4138, CVE-2025-4517). Here `tarfile` reads headers and no more.
"""

from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, normpath
from typing import Any, BinaryIO, Self

from rolecall.host import files
from rolecall.host.archive_rules import USUAL, Contents, Limits, Verdict
from rolecall.host.new_tree import NewTree

_PIECE = 64 * 1024
_HEADERS = 512 * 1024  # of one entry: tarfile holds long names, pax headers and sparse maps in memory
_FREE = 64 * 1024 * 1024  # below this the ratio says nothing: a small archive of empty files is no bomb
_WINDOW = 128 * 1024 * 1024  # what `zstd --long` needs, and all the memory that a frame may ask for


def unpack(archive: Path, into: Path, name: str, limits: Limits = USUAL, skip: tuple[str, ...] = ()) -> dict[str, str]:
    """Unpack a local file, whose format `name` tells, into the new folder `into`; returns the SHA-256 of each file.

    Folders become 0755, files 0644, or 0755 if their owner may run them; all belong to whoever runs this. A file keeps
    its time of change, in whole seconds and not in the future: Apache makes its ETag of it. The folders in `skip` are
    left out, those above them made: the caller lays links there, and links of the archive may lead there.
    Nothing of it is synced: that is the caller's, for all at once.
    Raises ConfigFault for a bad archive, with all that is wrong in it as far as it can be read. Whatever it raises,
    what it made is gone; `into` must not be there before.
    """
    with files.naming(archive, "read"):
        raw, size = archive.open("rb"), archive.stat().st_size
    with raw:
        verdict, most = Verdict(name), min(limits.bytes, max(_FREE, limits.ratio * size))
        stream = _Stream(raw, archive, verdict, most)
        files.make_folder(into, new=True)
        try:
            with NewTree(into) as tree:
                contents = Contents(tree, verdict, limits, most, skip)
                for entry, pieces in _entries(stream, verdict):
                    contents.add(entry, pieces)
                contents.finish()
        except BaseException:  # whatever ends it, a signal too: nothing stays that is half a release
            files.remove_tree(into)
            raise
    return contents.digests


def count(archive: Path, name: str, limits: Limits = USUAL, skip: tuple[str, ...] = ()) -> int:
    """How many inodes a local archive takes once it is unpacked; it is read up to the limit of entries.

    Raises ConfigFault for one that is damaged.
    """
    with files.naming(archive, "read"):
        raw, size = archive.open("rb"), archive.stat().st_size
    names: set[str] = set()
    with raw:
        verdict, most = Verdict(name), min(limits.bytes, max(_FREE, limits.ratio * size))
        for entry, _ in _entries(_Stream(raw, archive, verdict, most), verdict):
            path = normpath(entry.name)
            while path not in names and path not in (".", "/", ""):
                names.add(path)
                path = dirname(path)
            if len(names) > limits.entries:
                break
    laid = {path for path in names if not any(path.startswith(f"{folder}/") for folder in skip)}
    return len(laid) + 1


class _Stream:
    """The unpacked bytes of an archive, counted. What is wrong with them ends the unpacking."""

    def __init__(self, raw: BinaryIO, archive: Path, verdict: Verdict, most: int) -> None:
        self.archive, self.name, self.end = archive, verdict.archive, verdict.end
        self.source, self.damage = self._choose(raw)
        self.count, self.most, self.bound = 0, most, _HEADERS

    def _choose(self, raw: BinaryIO) -> tuple[Any, tuple[type[Exception], ...]]:
        if self.name.endswith((".tar.gz", ".tgz")):
            import gzip
            import zlib

            return gzip.GzipFile(fileobj=raw), (gzip.BadGzipFile, EOFError, zlib.error)
        if self.name.endswith(".tar.zst"):
            import zstandard

            reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
            return reader.stream_reader(raw, read_across_frames=True), (zstandard.ZstdError,)
        if not self.name.endswith(".tar"):
            self.end("its name has no known format", "let it end in .tar.gz (or .tgz), .tar.zst or .tar")
        return raw, ()

    def read(self, size: int) -> bytes:
        """Read on, as tarfile asks for it. Raises ConfigFault as soon as a limit is passed."""
        with files.naming(self.archive, "read"):
            try:
                data: bytes = self.source.read(size)
            except self.damage as error:  # inside `naming`, because gzip's is an OSError
                self.end(f"it is damaged, cut off or not of the format that its name says ({error})")
        self.count += len(data)
        if self.count > self.most:
            self.end(f"it unpacks to more than {self.most} bytes, the most allowed for its size,")
        if self.count > self.bound:
            self.end(f"it has more than {_HEADERS} bytes of headers or padding in one place")
        return data


def _entries(stream: _Stream, verdict: Verdict) -> Iterator[tuple[Any, Iterator[bytes]]]:
    """Each entry and its bytes; then the rest of the file, where the checksum of the compression is."""
    import tarfile

    class Header(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
            """Let only a block of zeros end an archive: tarfile stops at a damaged header too, or at none."""
            try:
                return super().frombuf(buf, encoding, errors)
            except tarfile.HeaderError as error:
                if len(buf) == 512 and not any(buf):
                    raise
                raise tarfile.ReadError(f"{error} in the place of an end marker") from error

    opened: Any = tarfile.open
    try:
        with opened(mode="r|", fileobj=stream, bufsize=_PIECE, tarinfo=Header, encoding="utf-8") as tar:
            while (entry := tar.next()) is not None:
                tar.members.clear()  # it would keep a kilobyte for each entry
                verdict.entry = entry.name
                stream.bound = tar.offset + _HEADERS  # to the next entry and its headers, whatever this one is
                yield entry, _pieces(tar.fileobj, entry.size, stream)
            while rest := tar.fileobj.read(_PIECE):
                if rest.strip(b"\0"):
                    stream.end("it continues after its end marker")
    except (tarfile.TarError, ValueError, IndexError, RecursionError) as error:
        stream.end(f"it is damaged or cut off ({error})")


def _pieces(content: Any, size: int, stream: _Stream) -> Iterator[bytes]:
    while size > 0:
        piece = content.read(min(size, _PIECE))
        if not piece:
            stream.end("it is cut off")
        size -= len(piece)
        yield piece
