"""One run at a time. A flock(2) ends with its process, so a run that was killed never holds the lock.

The file is for the agent's user alone: whoever may open a file, be it for reading only, may hold it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from rolecall.errors import BusyFault
from rolecall.host import files, processes


@contextmanager
def locked(run_folder: Path, command: str) -> Iterator[None]:
    """Hold `<run>/lock` for a command. Raises BusyFault, which says who holds it, if another process does."""
    files.make_folders(run_folder)
    path = run_folder / "lock"
    fd = files.open_private(path)
    try:
        with files.naming(path, "close to others"):
            os.fchmod(fd, 0o600)  # that of an earlier version was open to all
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(path, fd) from None
        since = datetime.now().astimezone().strftime("%H:%M:%S")
        with files.naming(path, "write"):
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"rolecall {command}, process {os.getpid()}, since {since}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def _busy(path: Path, fd: int) -> BusyFault:
    """The file says which run was the last to take the lock, the kernel who has it now."""
    last = os.read(fd, 200).decode("utf-8", "replace").strip()
    holder = _holder(os.fstat(fd).st_ino)
    if holder is None or f"process {holder}," in last:
        return BusyFault(f"{path} is held by {last or 'another run'}", "wait until it has ended; the timer tries again")
    return BusyFault(
        f"{path} is held by process {holder} ({processes.description(holder)})",
        f"if that is no run of rolecall, end it: kill {holder}",
    )


def _holder(inode: int) -> int | None:
    """The process that holds a flock(2) on a file, as proc(5) tells in /proc/locks; None where it cannot be told.

    A line is `1: FLOCK ADVISORY WRITE 4711 00:18:9331 0 EOF`; one that waits has `->` before the kind.
    """
    table = files.read(Path("/proc/locks")) or b""
    for words in map(bytes.split, table.splitlines()):
        if words[1:2] == [b"FLOCK"] and words[5].endswith(b":%d" % inode) and int(words[4]) > 0:
            return int(words[4])
    return None
