"""A total deadline around whatever may block.

A socket's timeout bounds the wait for the next byte; a server that sends a byte a second, or a resolver that does not
answer, passes it for hours. So the question is asked in a thread, which is left behind when its time is over: it is a
daemon thread, and the process is a short one.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, ask: Callable[[], T]) -> T:
    """The answer of `ask`, or what it raised. Raises TimeoutError if neither comes in time."""
    answer: Future[T] = Future()

    def work() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread, which knows what it called
            answer.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return answer.result(max(seconds, 0.0))
