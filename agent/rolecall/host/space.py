"""The room on a file system: bytes and inodes, of which either may run out first."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rolecall.host import files

_BLOCK = 512  # bytes: what stat(2) counts in, whatever the file system does


@dataclass(frozen=True)
class Room:
    """Bytes and inodes, free or needed."""

    bytes: int = 0
    inodes: int = 0

    def __add__(self, other: "Room") -> "Room":
        return Room(self.bytes + other.bytes, self.inodes + other.inodes)


def free(folder: Path) -> Room:
    """What an ordinary user may still take of the file system of a folder, or of the nearest one above that is there.

    Raises HostFault.
    """
    with files.naming(folder, "look at"):
        status = os.statvfs(next(path for path in (folder, *folder.parents) if path.is_dir()))
    # A file system that makes inodes as they are needed, such as btrfs, says that it has none at all.
    return Room(status.f_bavail * status.f_frsize, status.f_favail if status.f_files else sys.maxsize)


def taken(paths: Iterable[Path]) -> Room:
    """What some files and folders take, with all that is below them; nothing where there are none. Raises HostFault."""
    room = Room()
    for top in paths:
        with files.naming(top, "look at"):
            for path in (str(top), *_below(top)):
                with suppress(FileNotFoundError):  # removed meanwhile, or never there
                    room += Room(os.lstat(path).st_blocks * _BLOCK, 1)
    return room


def _below(top: Path) -> Iterator[str]:
    for base, folders, names in os.walk(top):
        yield from (os.path.join(base, name) for name in (*folders, *names))


def shortage(folder: Path, subject: str, needed: Room, available: Room) -> str:
    """In words, what the file system of a folder lacks for a subject, such as "the releases a, b"; '' for nothing."""
    lacks = []
    if needed.bytes > available.bytes:
        lacks.append(
            f"{folder} has {_mib(available.bytes)} MiB left, and {subject} need {_mib(needed.bytes)} MiB at least: "
            f"{_mib(needed.bytes - available.bytes)} MiB are missing"
        )
    if needed.inodes > available.inodes:
        lacks.append(
            f"{folder} has {available.inodes:,} inodes left, and {subject} need {needed.inodes:,} at least: "
            f"{needed.inodes - available.inodes:,} are missing"
        )
    return "; ".join(lacks)


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f}"
