"""Bounds of time that hold on a busy machine too."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def on_this_machine(seconds: float) -> float:
    """At most so long on a quiet machine; longer, the more processes wait for each of its processors."""
    return seconds * max(2.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))


@contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    """A generous bound: it tells a deadline that holds from one that does not, not how fast this machine is."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < on_this_machine(seconds)


def wait_until(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Ask again and again, until it is so."""
    until = time.monotonic() + on_this_machine(seconds)
    while not true():
        assert time.monotonic() < until, f"not in {seconds:g} s: {what}"
        time.sleep(0.02)
