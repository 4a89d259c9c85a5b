"""One run at a time. A flock(2) ends with its process, so a run that was killed never holds the lock."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from rolecall.errors import BusyFault
from rolecall.host import files


@contextmanager
def locked(run_folder: Path, command: str) -> Iterator[None]:
    """Hold `<run>/lock` for a command. Raises BusyFault, which says who holds it, if another run does."""
    files.make_folders(run_folder)
    path = run_folder / "lock"
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
            os.pwrite(fd, f"rolecall {command}, process {os.getpid()}, since {since}\n".encode(), 0)
        yield
    finally:
        os.close(fd)
