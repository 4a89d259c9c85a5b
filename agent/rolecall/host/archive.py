"""Unpacks a release: regular files, folders and links that stay inside; an archive with more is refused.

Not by `TarFile.extractall(filter="data")`: older Pythons lack it, it bounds neither bytes nor entries, and it was
broken more than once (CVE-2025-4138, CVE-2025-4517). Here `tarfile` reads headers and no more.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from posixpath import basename, dirname, normpath
from typing import Any, BinaryIO, NoReturn, Self

from rolecall.errors import ConfigFault
from rolecall.host import files

_PIECE = 64 * 1024
_HEADERS = 512 * 1024  # of one entry: tarfile holds long names, pax headers and sparse maps in memory
_FREE = 64 * 1024 * 1024  # below this the ratio says nothing: a small archive of empty files is no bomb
_WINDOW = 128 * 1024 * 1024  # what `zstd --long` needs, and all the memory that a frame may ask for
_LONGEST = 3072  # bytes of a name: leaves room within PATH_MAX for the folder before it
_WALK = 5_000_000  # parts walked for all links of an archive
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # surrogates stand for what is not UTF-8
_AGAIN = "build the archive again and publish it with its new sha256"
_INSIDE = "make it a relative link to what is in the release"
_KINDS = {b"0": "file", b"\0": "file", b"5": "folder", b"2": "link"}
_REFUSED = {b"1": "a hard link", b"3": "a device", b"4": "a device", b"6": "a fifo", b"S": "a sparse file"}
_HINTS = {b"1": "pack with: tar --hard-dereference", b"S": "pack without: tar --sparse"}


@dataclass(frozen=True)
class Limits:
    """What an archive may cost: far above an honest release, far below a full disk."""

    bytes: int = 4 * 1024**3  # unpacked, with headers and padding
    entries: int = 200_000  # in the archive, and on the disk: an entry implies the folders above it
    depth: int = 32  # parts of a name
    ratio: int = 200  # unpacked bytes for each byte of the archive, above the first 64 MiB


def unpack(archive: Path, into: Path, name: str, limits: Limits = Limits(), skip: tuple[str, ...] = ()) -> None:
    """Unpack a local file, whose format `name` tells, into the new folder `into`, synced.

    Folders become 0755, files 0644, or 0755 if their owner may run them; all belong to whoever runs this. A file keeps
    its time of change, in whole seconds and not in the future: Apache makes its ETag of it. The folders in `skip` are
    left out, those above them made: the caller lays links there, and links of the archive may lead there.
    Raises ConfigFault for a bad archive. Whatever it raises, what it made is gone; `into` must not be there before.
    """
    with files.naming(archive, "read"):
        raw, size = archive.open("rb"), archive.stat().st_size
    with raw:
        stream = _Stream(raw, archive, name, min(limits.bytes, max(_FREE, limits.ratio * size)))
        files.make_folder(into, new=True)
        try:
            tree = _Tree(into, stream, limits, skip)
            for entry, pieces in _entries(stream):
                tree.add(entry, pieces)
            tree.finish()
        except BaseException:
            files.remove_tree(into)
            raise


class _Stream:
    """The unpacked bytes of an archive, counted, and the words for what is wrong with them."""

    def __init__(self, raw: BinaryIO, archive: Path, name: str, most: int) -> None:
        self.archive, self.name, self.where = archive, name, ""
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
            self.refuse("its name has no known format", "let it end in .tar.gz (or .tgz), .tar.zst or .tar")
        return raw, ()

    def read(self, size: int) -> bytes:
        """Read on, as tarfile asks for it. Raises ConfigFault as soon as a limit is passed."""
        with files.naming(self.archive, "read"):
            try:
                data: bytes = self.source.read(size)
            except self.damage as error:  # inside `naming`, because gzip's is an OSError
                self.refuse(f"it is damaged, cut off or not of the format that its name says ({error})")
        self.count += len(data)
        if self.count > self.most:
            self.refuse(f"it unpacks to more than {self.most} bytes, the most allowed for its size,")
        if self.count > self.bound:
            self.refuse(f"it has more than {_HEADERS} bytes of headers or padding in one place")
        return data

    def refuse(self, problem: str, hint: str = _AGAIN) -> NoReturn:
        """Raise ConfigFault, at the entry read last."""
        raise ConfigFault(f"{self.name}: {problem}{self.where}", hint)


def _entries(stream: _Stream) -> Iterator[tuple[Any, Iterator[bytes]]]:
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
                stream.where = f" at entry {entry.name[:200]!r}"  # `repr`, as it may hold newlines
                stream.bound = stream.count + entry.size + _HEADERS
                yield entry, _pieces(tar.fileobj, entry.size, stream)
            while rest := tar.fileobj.read(_PIECE):
                if rest.strip(b"\0"):
                    stream.refuse("it continues after its end marker")
    except (tarfile.TarError, ValueError, IndexError, RecursionError) as error:
        stream.refuse(f"it is damaged or cut off ({error})")


def _pieces(content: Any, size: int, stream: _Stream) -> Iterator[bytes]:
    while size > 0:
        piece = content.read(min(size, _PIECE))
        if not piece:
            stream.refuse("it is cut off")
        size -= len(piece)
        yield piece


class _Tree:
    """What is in the new folder so far, and the rules for what comes next."""

    def __init__(self, into: Path, stream: _Stream, limits: Limits, skip: tuple[str, ...]) -> None:
        self.into, self.stream, self.refuse, self.limits = into, stream, stream.refuse, limits
        self.kinds = {"": "folder", ".": "folder"}  # of each name, also of the folders that it implies
        self.targets: dict[str, str] = {}  # of the links
        self.entries = self.walked = 0
        self.skip = tuple(f"{PurePosixPath(folder)}/" for folder in skip)
        for folder in self.skip:
            self._folder(dirname(folder[:-1]))

    def add(self, entry: Any, pieces: Iterator[bytes]) -> None:
        """Lay one entry; a link is only noted, so that nothing can be written through it."""
        kind, name = self._kind(entry), self._name(entry.name)
        self.entries += 1
        if max(self.entries, len(self.kinds) - 2) > self.limits.entries:
            self.refuse(f"it has more than {self.limits.entries} entries")
        if f"{name}/".startswith(self.skip):
            return
        if kind == "folder":
            self._folder(name)
            return
        if name in self.kinds:
            self.refuse(f"it has a {kind} where it already has a {self.kinds[name]}")
        self._folder(dirname(name))
        self.kinds[name] = kind
        if kind == "link":
            self.targets[name] = self._target(entry.linkname)
            return
        mtime = int(min(entry.mtime, time.time())) if entry.mtime > 0 else 0  # nan is not above 0 either
        files.create_below(self.into, self.into / name, pieces, 0o755 if entry.mode & 0o100 else 0o644, mtime)

    def finish(self) -> None:
        """Make the links, now that all they may lead to is there, and sync the folders."""
        if not self.entries:
            self.refuse("it has no entries")
        for link in self.targets:
            self._follow(link)
        for link, target in self.targets.items():
            files.make_link_below(self.into, self.into / link, target)
        files.sync_tree(self.into)

    def _kind(self, entry: Any) -> str:
        form = b"S" if any(key.startswith("GNU.sparse.") for key in entry.pax_headers) else entry.type
        if form not in _KINDS:
            self.refuse("it has " + _REFUSED.get(form, f"an entry of type {form!r}"), _HINTS.get(form, _AGAIN))
        kind = _KINDS[form]
        if not 0 <= entry.size <= (self.stream.most if kind == "file" else 0):
            self.refuse(f"it has a {kind} of {entry.size} bytes")
        return kind

    def _name(self, name: str) -> str:
        if _UNFIT.search(name):
            self.refuse("it has a name with a control character or not in UTF-8")
        if name in {".", "./"}:
            return ""
        parts = name.removeprefix("./").split("/")
        if not {"", ".", ".."}.isdisjoint(parts):
            self.refuse("it has a name that is absolute or has an empty part, '.' or '..'")
        too_long = len(name.encode()) > _LONGEST or max(len(part.encode()) for part in parts) > 255
        if too_long or len(parts) > self.limits.depth:
            self.refuse(f"it has a name of over {self.limits.depth} parts, 255 bytes in one, or {_LONGEST} bytes")
        return "/".join(parts)

    def _target(self, target: str) -> str:
        if not target or target[0] == "/" or _UNFIT.search(target) or len(target.encode()) > _LONGEST:
            self.refuse(f"it has a link that is absolute, empty, over {_LONGEST} bytes or not plain text", _INSIDE)
        return target

    def _folder(self, name: str) -> None:
        """Make a folder and those above it, and keep their names from being taken by anything else."""
        at = name
        while self.kinds.get(at) != "folder":
            if at in self.kinds:
                self.refuse(f"it has a folder where it already has a {self.kinds[at]}")
            self.kinds[at] = "folder"
            at = dirname(at)
        if at != name:
            files.make_folder_below(self.into, self.into / name)

    def _follow(self, link: str) -> None:
        """Follow a link as the kernel will, but on the names of the archive alone."""
        self.stream.where = f" at entry {link[:200]!r}"
        at, left, hops = dirname(link) or ".", [basename(link)], 0
        while left:
            path = normpath(f"{at}/{left.pop()}")  # `..` above the top stays `..`, which no entry is named
            kind = self.kinds.get(path)
            if kind == "link":
                left += reversed(self.targets[path].split("/"))
                hops += 1
            elif kind == "folder":
                at = path
            elif f"{path}/".startswith(self.skip) and ".." not in left:  # through the caller's link, and on
                return
            elif kind is None or left:
                self.refuse(
                    f"it has a link to {self.targets[link][:200]!r}, which is not a file or folder in it,", _INSIDE
                )
            self.walked += 1
            if hops > 40 or self.walked > _WALK:  # 40 is the kernel's limit
                self.refuse("it has a link through too many links")
