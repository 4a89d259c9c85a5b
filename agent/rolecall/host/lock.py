"""One run at a time. flock(2): the lock goes with the process, so a dead run never holds it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from rolecall.errors import BusyFault
from rolecall.host import files


@contextmanager
def locked(run: Path, doing: str) -> Iterator[None]:
    """Hold `<run>/lock`. Raises BusyFault that says who holds it, if somebody does."""
    files.make_folders(run)
    path = run / "lock"
    fd = files.open_shared(path)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(fd, 200).decode("utf-8", "replace").strip() or "another run"
            raise BusyFault(f"{path} is held by {holder}", "wait until it has ended; the timer tries again") from None
        since = datetime.now().astimezone().strftime("%H:%M:%S")
        with files.naming(path, "write"):
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"rolecall {doing}, process {os.getpid()}, since {since}\n".encode(), 0)
        yield
    finally:
        os.close(fd)
