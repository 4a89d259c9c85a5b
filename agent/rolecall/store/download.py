"""A long download, taken up again where the connection was cut, within one deadline."""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from rolecall.causes import replaced, too_slow
from rolecall.deadline import within
from rolecall.errors import FetchFault

PIECE = 1 << 18
_TRIES = 3  # in a row that bring nothing
_LASTING = ("no-key", "no-bucket", "access-denied", "conflict", "clock-skew", "moved", "tls", "wrong-region")
# What begins a download: from which byte, of the object with which tag; → its pieces, its tag.
Begin = Callable[[int, str], tuple[Iterator[bytes], str]]


def without_start(pieces: Iterable[bytes], count: int) -> Iterator[bytes]:
    """The bytes from `count` on: of a server that sends the whole where its end was asked for."""
    for piece in pieces:
        rest = piece[count:]
        count = max(count - len(piece), 0)
        if rest:
            yield rest


def resumed(action: str, seconds: float, start: int, begin: Begin) -> Iterator[bytes]:
    """All pieces from the byte `start` on. Raises FetchFault once it is clear that the rest will not come."""
    until = time.monotonic() + seconds
    at, etag, failed = start, "", 0
    while True:
        try:
            pieces, tag = within(until - time.monotonic(), partial(begin, at, etag))
            if etag and tag not in ("", etag):  # for a server that does not look at If-Match
                raise replaced(action)
            etag = tag
            while piece := within(until - time.monotonic(), partial(next, pieces, b"")):
                at, failed = at + len(piece), 0
                yield piece
        except TimeoutError:
            raise too_slow(action, seconds) from None
        except FetchFault as fault:
            failed += 1
            pause = 0.1 * 2**failed
            if failed >= _TRIES or fault.cause in _LASTING or time.monotonic() + pause >= until:
                raise
            time.sleep(pause)
        else:
            return
