"""The standard streams. Whoever reads them, or has stopped to, decides nothing about a run.

A descriptor that was closed before we began leads to /dev/null: otherwise the next file that is opened, such as the
lock, would get its number, and whatever is printed would be written into that file. One that cannot be written any
more (a broken pipe, a full disk, a terminal that is gone) leads there from then on.
"""

import io
import os
import select
import sys
from typing import TextIO


class StandardStream(io.FileIO):
    """Standard output or error: writing to it always succeeds. `loss`: why something was lost that somebody wanted."""

    loss: OSError | None = None

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # collections.abc.Buffer is of Python 3.12
        """Write, or swallow what cannot be written."""
        try:
            while (count := super().write(data)) is None:  # non-blocking, which another program may have made it
                select.select((), (self,), ())
        except OSError as error:
            if not isinstance(error, BrokenPipeError):  # the reader of a broken pipe has read enough
                self.loss = error
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            return len(data)
        return count


def protect() -> None:
    """Make standard output and error such streams."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number, which is this one
    sys.stdout, sys.stderr = _protected(1, sys.stdout), _protected(2, sys.stderr)


def _protected(number: int, stream: TextIO | None) -> io.TextIOWrapper:
    raw: io.FileIO = StandardStream(number, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding if stream else "utf-8",
        errors="backslashreplace",
        line_buffering=number == 2 or raw.isatty(),
    )


def lost_answer() -> OSError | None:
    """Why the answer on standard output has not reached the one who wants it, or None."""
    sys.stdout.flush()
    raw = getattr(sys.stdout.buffer, "raw", None)
    return raw.loss if isinstance(raw, StandardStream) else None
