"""Reading the files that the agent itself wrote: whatever else is in their place is told apart, and never followed."""

import errno
import os
import stat
from pathlib import Path

from rolecall.host.files import naming

_NOTHING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}  # the last two: something else is in the place of its folder
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


def read(path: Path, most: int) -> bytes | None:
    """A file's content, or None where there is nothing.

    Raises ValueError, which says what is in its place, for what is no regular file or has over `most` bytes;
    HostFault where the machine fails.
    """
    with naming(path, "read"):
        try:
            status = os.lstat(path)
        except OSError as error:
            if error.errno in _NOTHING:
                return None
            raise
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"it is {_KINDS.get(stat.S_IFMT(status.st_mode), 'a device')}, not a file")
        if status.st_size > most:
            raise ValueError(f"it has {status.st_size} bytes, over {most}")
        return path.read_bytes()


def stamp(path: Path) -> tuple[int, int, int] | None:
    """What tells one version of a file from the next, for files that are replaced as a whole; None: there is none."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
