"""What was written to log files since a moment: each has a position then, and what lies behind it is new."""

import glob
import os
import stat
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from rolecall.host.files import naming

Positions: TypeAlias = Mapping[str, tuple[int, int]]  # path of a log → its inode, and its size in bytes


def positions(patterns: Iterable[str]) -> Positions:
    """Where the logs that these patterns of paths name (glob(7)) end now; one that cannot be looked at is left out."""
    places = {}
    for path in sorted({path for pattern in patterns for path in glob.glob(pattern)}):
        try:
            status = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            places[path] = status.st_ino, status.st_size
    return places


def text_since(before: Positions, path: str, most: int) -> tuple[str, int]:
    """What a log has had since, and how many bytes of it are left out: at most the last `most` bytes, in whole lines.

    A log that was rotated meanwhile is new from its beginning. No link is followed. Raises HostFault.
    """
    with naming(path, "read"), open(path, "rb", opener=_opener) as file:
        status = os.fstat(file.fileno())
        inode, size = before.get(path, (0, 0))
        start = size if inode == status.st_ino and size <= status.st_size else 0
        left_out = max(0, status.st_size - start - most)
        file.seek(start + left_out)
        data = file.read(most)
    if left_out:
        partial, _, data = data.partition(b"\n")
        left_out += len(partial) + 1
    return data.decode("utf-8", "replace"), left_out


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
