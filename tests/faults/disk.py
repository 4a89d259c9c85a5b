"""What a power cut may leave of what a run has written: a model of a disk, and every image of it that is allowed.

After rename(2), fsync(2) and what ext4 and XFS do, taken at their worst:

* the data of a file that was not synced: all of it, its first half, none, or as at its last fsync; so its mode;
* the names in a folder that were changed since the folder's last fsync: any of the changes may be on the disk and any
  may be lost, each whole (a rename is one change, and an exchange), and those of one folder say nothing about those of
  another;
* after a syncfs(2) all that was done before is on the disk, and of what was not synced before it anything may be, in
  whatever order.

Up to seven changes of a folder are tried in every combination; of more, every prefix, every one alone, and all but one.
"""

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.operations import Operation, intercepted
from faults.tiny import Picture, is_of_a_release
from samples import TIMES

Meta = tuple[int, int]  # mode, mtime
Change = tuple[tuple[str, "Inode | None"], ...]  # names, and what each is then; None: it is gone
Event = tuple[Any, ...]
ALL_COMBINATIONS = 7
COMBINATIONS = 60 * TIMES  # of several folders or files, at a moment
UID, GID = os.getuid(), os.getgid()


@dataclass(eq=False)
class Inode:
    """A file, a folder or a link: as processes see it, and as it is on the disk for certain."""

    kind: str
    data: bytes = b""
    meta: Meta = (0, 0)
    safe: tuple[bytes, Meta] | None = None
    names: dict[str, "Inode"] = field(default_factory=dict)
    safe_names: dict[str, "Inode"] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)

    def sync(self) -> None:
        """fsync(2)"""
        self.safe, self.safe_names, self.pending = (self.data, self.meta), dict(self.names), []

    def change(self, *names: tuple[str, "Inode | None"]) -> None:
        """One change of the names in a folder."""
        apply(self.names, names)
        self.pending.append(names)

    def may_be(self) -> list[tuple[bytes, Meta]]:
        """What a file may be after a power cut, the likeliest first."""
        now = (self.data, self.meta)
        if self.safe == now:
            return [now]
        data, meta = self.safe or (b"", (self.meta[0] & 0o700, 0))
        found = [now, (data, meta), (b"", self.meta), (self.data[: len(self.data) // 2], self.meta), (self.data, meta)]
        return list(dict.fromkeys(found))


def apply(names: dict[str, Inode], change: Change) -> None:
    """Change the names in a folder; on a disk where an earlier change was lost, the old name may not be there."""
    for name, inode in change:
        names.pop(name, None)
        if inode is not None:
            names[name] = inode


# What a run does


def recorded(state: Path, work: Callable[[], Any], *, deaf: Sequence[str] = ()) -> list[Event]:
    """The changes of the folder `state` and all in it that a run makes; `deaf`: calls that do nothing meanwhile."""
    events: list[Event] = []

    def note(operation: Operation, do: Callable[[], Any]) -> Any:
        new = operation.name == "open" and not os.path.lexists(operation.path)
        if operation.name in deaf:
            return None
        done = do()
        if not operation.path:
            return done
        path = os.path.relpath(operation.path, state.parent)
        inside = path == "." or path.split("/")[0] == state.name
        if operation.name == "open":  # also of what is outside: its descriptor may have been one of ours before
            mode = operation.args[2] if len(operation.args) > 2 else 0o777
            events.append(("create" if inside and new else "open", done, path if inside else None, mode))
        elif inside or operation.name in ("write", "fsync", "fchmod", "utime"):
            events.append((operation.name, *operation.args, path))
        return done

    with intercepted(note):
        work()
    return events


class Disk:
    """A disk with the folder `state` on it, or where that will be."""

    def __init__(self, state: str, before: Picture) -> None:
        self.top, self.state = Inode("folder", meta=(0o755, 0)), state
        self.open: dict[int, Inode | None] = {}
        full = {f"{state}/{path}": entry for path, entry in before.items()}
        top: Picture = {state: ("folder", 0o755, UID, GID)} if before else {}
        for path, entry in (top | full).items():
            inode = Inode(entry[0])
            if entry[0] == "link":
                inode.data = entry[1].encode()
            else:
                inode.meta = (entry[1], entry[5] if entry[0] == "file" else 0)
                inode.data = entry[4] if entry[0] == "file" else b""
            self.at(os.path.dirname(path)).names[os.path.basename(path)] = inode
        self.sync()

    def at(self, path: str) -> Inode:
        """What a path names now."""
        inode = self.top
        for name in path.split("/") if path not in ("", ".") else ():
            inode = inode.names[name]
        return inode

    def everything(self) -> list[Inode]:
        """All that has a name, now or on the disk."""
        found = {id(self.top): self.top}
        pending = [self.top]
        for folder in pending:  # grows as it goes
            changed = (inode for change in folder.pending for _, inode in change)
            for inode in (*folder.names.values(), *folder.safe_names.values(), *changed):
                if inode is not None and id(inode) not in found:
                    found[id(inode)] = inode
                    pending.append(inode)
        return list(found.values())

    def do(self, event: Event) -> None:
        """Carry out one recorded change."""
        name, first, *rest = event
        path = rest[-1] if rest else ""
        if name in ("create", "open"):
            self._open(name, *event[1:])
        elif name == "syncfs":
            self.sync()
        elif name in ("write", "fsync", "fchmod", "utime"):
            if inode := self.open.get(first):
                self._use(inode, name, rest)
        elif name == "mkdir":
            self._add(path, Inode("folder", meta=(rest[0], 0)))
        elif name == "symlink":
            self._add(path, Inode("link", data=first.encode()))
        elif name == "chmod":
            inode = self.at(path)
            inode.meta = (rest[0], inode.meta[1])
        elif name in ("unlink", "rmdir"):
            self.at(os.path.dirname(path)).change((os.path.basename(path), None))
        elif name in ("rename", "replace", "exchange"):
            self._rename(name, first, rest[0], path)
        else:
            raise AssertionError(f"{name} is not modelled")

    def sync(self) -> None:
        """syncfs(2)"""
        for inode in self.everything():
            inode.sync()

    def _open(self, name: str, fd: int, path: str | None, mode: int) -> None:
        if name == "create" and path is not None:
            self._add(path, Inode("file", meta=(mode, 0)))
        self.open[fd] = self.at(path) if path is not None else None

    def _rename(self, name: str, first: str, second: str, path: str) -> None:
        assert os.path.dirname(first) == os.path.dirname(second), "a rename between folders is not modelled"
        folder, old, new = self.at(os.path.dirname(path)), os.path.basename(first), os.path.basename(path)
        left = folder.names[new] if name == "exchange" else None
        folder.change((old, left), (new, folder.names[old]))

    def _add(self, path: str, inode: Inode) -> None:
        self.at(os.path.dirname(path)).change((os.path.basename(path), inode))

    @staticmethod
    def _use(inode: Inode, name: str, rest: list[Any]) -> None:
        if name == "fsync":
            inode.sync()
        elif name == "write":
            inode.data += bytes(rest[0])
        elif name == "fchmod":
            inode.meta = (rest[0], inode.meta[1])
        elif name == "utime":
            inode.meta = (inode.meta[0], int(rest[0][1]))

    def images(self) -> Iterator[Picture]:
        """Every picture that this disk may show after a power cut at this moment."""
        folders = [one for one in self.everything() if one.pending]
        for chosen in _choices([_subsets(one.pending) for one in folders], COMBINATIONS):
            kept = {id(one): some for one, some in zip(folders, chosen, strict=True)}
            files: dict[str, Inode] = {}
            plain: Picture = {}
            if self.state in self._names(self.top, kept):
                self._walk(self._names(self.top, kept)[self.state], "", kept, plain, files)
            unsafe = [path for path, inode in files.items() if len(inode.may_be()) > 1]
            for contents in _choices([files[path].may_be() for path in unsafe], COMBINATIONS):
                picture = dict(plain)
                for path, content in zip(unsafe, contents, strict=True):
                    picture[path] = _entry(path, *content)
                yield picture

    @staticmethod
    def _names(folder: Inode, kept: dict[int, tuple[Change, ...]]) -> dict[str, Inode]:
        names = dict(folder.safe_names)
        for change in kept.get(id(folder), ()):
            apply(names, change)
        return names

    def _walk(
        self, folder: Inode, at: str, kept: dict[int, tuple[Change, ...]], found: Picture, files: dict[str, Inode]
    ) -> None:
        for name, inode in self._names(folder, kept).items():
            path = f"{at}{name}"
            if inode.kind == "link":
                found[path] = ("link", inode.data.decode())
            elif inode.kind == "folder":
                found[path] = ("folder", inode.meta[0], UID, GID)
                self._walk(inode, f"{path}/", kept, found, files)
            else:
                files[path] = inode
                found[path] = _entry(path, inode.data, inode.meta)


def _entry(path: str, data: bytes, meta: Meta) -> tuple[Any, ...]:
    return ("file", meta[0], UID, GID, data, meta[1] if is_of_a_release(path) else 0)


def _subsets(changes: list[Change]) -> list[tuple[Change, ...]]:
    """Which changes may have reached the disk: all of them and none first."""
    count = len(changes)
    if count <= ALL_COMBINATIONS:
        sizes = range(count + 1)
        found = [one for size in sizes for one in itertools.combinations(changes, size)]
    else:
        found = [tuple(changes[:end]) for end in range(count + 1)]
        found += [(one,) for one in changes[1:]]
        found += [(*changes[:at], *changes[at + 1 :]) for at in range(count - 1)]
    return [found[-1] if count <= ALL_COMBINATIONS else tuple(changes), *found]


def _choices(options: list[list[Any]], most: int) -> Iterator[tuple[Any, ...]]:
    """One of each: every combination, or, of more than `most`, all alike and then each one differing from the rest."""
    total = 1
    for one in options:
        total *= len(one)
    if total <= most:
        yield from itertools.product(*options)
        return
    for at in range(max(map(len, options))):
        alike = [one[min(at, len(one) - 1)] for one in options]
        yield tuple(alike)
        if at < 2:  # all and none of it on the disk
            for which, one in enumerate(options):
                for other in one:
                    yield (*alike[:which], other, *alike[which + 1 :])


def lay(picture: Picture, folder: Path) -> None:
    """Make a real folder of a picture."""
    folder.mkdir()
    modes = []
    for path, entry in sorted(picture.items()):
        place = folder / path
        if entry[0] == "link":
            place.symlink_to(entry[1])
        elif entry[0] == "folder":
            place.mkdir()
            modes.append((place, entry[1]))
        else:
            place.write_bytes(entry[4])
            place.chmod(entry[1])
            if entry[5]:
                os.utime(place, (entry[5], entry[5]))
    for place, mode in reversed(modes):
        place.chmod(mode)
