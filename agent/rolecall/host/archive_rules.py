"""What an archive may have in it, entry by entry; and all that is wrong with one, said at once."""

import hashlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from posixpath import basename, dirname, normpath
from typing import Any, NoReturn

from rolecall.errors import ConfigFault
from rolecall.host.new_tree import NewTree

AGAIN = "build the archive again and publish it with its new sha256"
_SHOWN = 20  # mistakes of an archive in a message, which goes into reports too
_LONGEST = 3072  # bytes of a name: leaves room within PATH_MAX for the folder before it
_WALK = 5_000_000  # parts walked for all links of an archive
_HOPS = 40  # links on the way of one: the kernel's limit
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # surrogates stand for what is not UTF-8
_INSIDE = "make it a relative link to what is in the release"
_KINDS = {b"0": "file", b"\0": "file", b"5": "folder", b"2": "link"}
_FORBIDDEN = {b"1": "a hard link", b"3": "a device", b"4": "a device", b"6": "a fifo", b"S": "a sparse file"}
_HINTS = {b"1": "pack with: tar --hard-dereference", b"S": "pack without: tar --sparse"}
_REFUSED = "refused entry"  # a kind: what follows from a mistake is none of its own


@dataclass(frozen=True)
class Limits:
    """What an archive may cost: far above an honest release, far below a full disk."""

    bytes: int = 4 * 1024**3  # unpacked, with headers and padding
    entries: int = 200_000  # in the archive, and on the disk: an entry implies the folders above it
    depth: int = 32  # parts of a name
    ratio: int = 200  # unpacked bytes for each byte of the archive, above the first 64 MiB


USUAL = Limits()


@dataclass(frozen=True)
class Mistake:
    """What is wrong at an entry, None for the archive as a whole, and what to do about it."""

    problem: str
    entry: str | None
    hint: str

    def __str__(self) -> str:
        """`repr` of the name, as it may hold newlines."""
        return self.problem if self.entry is None else f"{self.problem} at entry {self.entry[:200]!r}"


@dataclass
class Verdict:
    """What was found wrong with an archive so far: the first mistakes, and the number of all."""

    archive: str
    entry: str | None = None  # the entry that is being looked at
    mistakes: list[Mistake] = field(default_factory=list)
    count: int = 0

    def note(self, problem: str, hint: str = AGAIN) -> None:
        """Note a mistake at this entry, and go on to the next one."""
        self.count += 1
        if len(self.mistakes) < _SHOWN:
            self.mistakes.append(Mistake(problem, self.entry, hint))

    def end(self, problem: str, hint: str = AGAIN) -> NoReturn:
        """There is no way to go on. Raises ConfigFault."""
        self.count += 1
        self.mistakes.append(Mistake(problem, self.entry, hint))  # also after twenty others: it is the end
        raise self.refusal()

    def refusal(self) -> ConfigFault:
        """All mistakes, each with its remedy."""
        hints = {mistake.hint for mistake in self.mistakes}
        if self.count == 1:
            return ConfigFault(f"{self.archive}: {self.mistakes[0]}", *hints)
        lines = [
            f"  {mistake}" + (f" — {mistake.hint}" if len(hints) > 1 and mistake.hint != AGAIN else "")
            for mistake in self.mistakes
        ]
        if self.count > len(lines):
            lines.append(f"  … and {self.count - len(lines)} more")
        hint = AGAIN if len(hints) > 1 else hints.pop()
        return ConfigFault("\n".join([f"{self.archive}: it has {self.count} mistakes:", *lines]), hint)


class _Mistaken(Exception):
    """This entry is not laid. `problem`: '' where that follows from a mistake that was noted before."""

    def __init__(self, problem: str = "", hint: str = AGAIN) -> None:
        super().__init__(problem)
        self.problem, self.hint = problem, hint


class Contents:
    """What is in the new folder so far, and the rules for what comes next. Once there is a mistake, nothing is laid."""

    def __init__(self, tree: NewTree, verdict: Verdict, limits: Limits, most: int, skip: tuple[str, ...]) -> None:
        self.tree, self.verdict, self.limits, self.most = tree, verdict, limits, most
        self.kinds = {"": "folder", ".": "folder"}  # of each name, also of the folders that it implies
        self.targets: dict[str, str] = {}  # of the links
        self.digests: dict[str, str] = {}  # of the files
        self.entries = self.walked = 0
        self.skip = tuple(f"{PurePosixPath(folder)}/" for folder in skip)
        for folder in self.skip:
            self._folder(dirname(folder[:-1]))

    def add(self, entry: Any, pieces: Iterator[bytes]) -> None:
        """Lay one entry; a link is only noted, so that nothing can be written through it."""
        self.entries += 1
        if max(self.entries, len(self.kinds) - 2) > self.limits.entries:
            self.verdict.end(f"it has more than {self.limits.entries} entries")
        try:
            kind = self._kind(entry)
            self._add(self._name(entry.name), kind, entry, pieces)
        except _Mistaken as mistake:
            self.kinds.setdefault(entry.name.removeprefix("./"), _REFUSED)
            if mistake.problem:
                self.verdict.note(mistake.problem, mistake.hint)

    def _add(self, name: str, kind: str, entry: Any, pieces: Iterator[bytes]) -> None:
        if f"{name}/".startswith(self.skip):
            return
        if kind == "folder":
            self._folder(name)
            return
        if name in self.kinds:
            raise self._conflict(kind, name)
        self._folder(dirname(name))
        if kind == "link":
            self.targets[name] = _target(entry.linkname)
        self.kinds[name] = kind
        if kind == "file" and not self.verdict.count:
            mtime = int(min(entry.mtime, time.time())) if entry.mtime > 0 else 0  # nan is not above 0 either
            digest = hashlib.sha256()
            self.tree.file(name, _hashed(pieces, digest), 0o755 if entry.mode & 0o100 else 0o644, mtime=mtime)
            self.digests[name] = digest.hexdigest()

    def finish(self) -> None:
        """Make the links, now that all they may lead to is there. Raises ConfigFault if anything was wrong."""
        if not self.entries:
            self.verdict.end("it has no entries")
        for link in self.targets:
            self.verdict.entry = link
            try:
                self._follow(link)
            except _Mistaken as mistake:
                self.verdict.note(mistake.problem, mistake.hint)
        if self.verdict.count:
            raise self.verdict.refusal()
        for link, target in self.targets.items():
            self.tree.link(link, target)

    def _kind(self, entry: Any) -> str:
        form = b"S" if any(key.startswith("GNU.sparse.") for key in entry.pax_headers) else entry.type
        if form not in _KINDS:
            name = _FORBIDDEN.get(form, f"an entry of type {form!r}")
            raise _Mistaken(f"it has {name}", _HINTS.get(form, AGAIN))
        kind = _KINDS[form]
        if not 0 <= entry.size <= (self.most if kind == "file" else 0):  # nobody knows where the next entry begins
            self.verdict.end(f"it has a {kind} of {entry.size} bytes")
        return kind

    def _name(self, name: str) -> str:
        if _UNFIT.search(name):
            raise _Mistaken("it has a name with a control character or not in UTF-8")
        if name in {".", "./"}:
            return ""
        parts = name.removeprefix("./").split("/")
        if not {"", ".", ".."}.isdisjoint(parts):
            raise _Mistaken("it has a name that is absolute or has an empty part, '.' or '..'")
        too_long = len(name.encode()) > _LONGEST or max(len(part.encode()) for part in parts) > 255
        if too_long or len(parts) > self.limits.depth:
            raise _Mistaken(f"it has a name of over {self.limits.depth} parts, 255 bytes in one, or {_LONGEST} bytes")
        return "/".join(parts)

    def _folder(self, name: str) -> None:
        """Make a folder and those above it, and keep their names from being taken by anything else."""
        at, new = name, []
        while self.kinds.get(at) != "folder":
            if at in self.kinds:
                raise self._conflict("folder", at)
            new.append(at)
            at = dirname(at)
        self.kinds.update(dict.fromkeys(new, "folder"))
        if new and not self.verdict.count:
            self.tree.folder(name)

    def _conflict(self, kind: str, name: str) -> _Mistaken:
        earlier = self.kinds[name]
        return _Mistaken("" if earlier == _REFUSED else f"it has a {kind} where it already has a {earlier}")

    def _follow(self, link: str) -> None:
        """Follow a link as the kernel will, but on the names of the archive alone."""
        at, left, hops = dirname(link) or ".", [basename(link)], 0
        while left:
            path = normpath(f"{at}/{left.pop()}")  # `..` above the top stays `..`, which no entry is named
            kind = self.kinds.get(path)
            if kind == "link":
                left += reversed(self.targets[path].split("/"))
                hops += 1
            elif kind == "folder":
                at = path
            elif kind == _REFUSED or (f"{path}/".startswith(self.skip) and ".." not in left):  # or through the caller's
                return
            elif kind is None or left:
                target = self.targets[link][:200]
                raise _Mistaken(f"it has a link to {target!r}, which is not a file or folder in it,", _INSIDE)
            self.walked += 1
            if self.walked > _WALK:
                self.verdict.end("it has links through too many links", _INSIDE)
            if hops > _HOPS:
                raise _Mistaken("it has a link through too many links", _INSIDE)


def _target(target: str) -> str:
    if not target or target[0] == "/" or _UNFIT.search(target) or len(target.encode()) > _LONGEST:
        raise _Mistaken(f"it has a link that is absolute, empty, over {_LONGEST} bytes or not plain text", _INSIDE)
    return target


def _hashed(pieces: Iterator[bytes], digest: Any) -> Iterator[bytes]:
    for piece in pieces:
        digest.update(piece)
        yield piece
