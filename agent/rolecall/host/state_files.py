"""Reading the files that the agent itself wrote: whatever else is in their place is told apart, and never followed."""

import errno
import os
import stat
from pathlib import Path

from rolecall.host.files import naming

_NOTHING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}  # the last two: something else is in the place of its folder
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
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


def read_below(root: Path, name: str) -> bytes | None:
    """A regular file's content, by its path below `root`, or None where there is none.

    No step follows a link: what a release has by way of its writable folders is the product's to change at any time.
    """
    *folders, last = Path(name).parts
    with naming(root / name, "read"):
        fd = os.open(root, _FOLDER)
        try:
            for folder in folders:
                below = os.open(folder, _FOLDER, dir_fd=fd)
                os.close(fd)
                fd = below
            file = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
        except OSError as error:
            if error.errno in _NOTHING:
                return None
            raise
        finally:
            os.close(fd)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            return None
        with os.fdopen(file, "rb") as content:
            return content.read()


def stamp(path: Path) -> tuple[int, int, int] | None:
    """What tells one version of a file from the next, for files that are replaced as a whole; None: there is none."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
