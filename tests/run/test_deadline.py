"""A total deadline around whatever may block."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from patience import on_this_machine
from rolecall.deadline import within
from rolecall.errors import FetchFault, Stopped


def test_an_answer_in_time_is_the_answer() -> None:
    assert within(5, lambda: 42) == 42
    assert within(5, lambda: None) is None


@pytest.mark.parametrize("error", [ValueError("no"), FetchFault("no", "", "no-key"), KeyboardInterrupt(), Stopped("x")])
def test_what_the_question_raises_is_raised(error: BaseException) -> None:
    def ask() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        within(5, ask)
    assert caught.value is error


def test_a_question_without_an_end_is_left_behind() -> None:
    over = threading.Event()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        within(0.1, over.wait)
    assert 0.1 <= time.monotonic() - began < on_this_machine(5)
    over.set()


@pytest.mark.parametrize("seconds", [0.0, -1.0, -1e9])
def test_where_no_time_is_left_nobody_waits(seconds: float) -> None:
    over = threading.Event()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        within(seconds, over.wait)
    assert time.monotonic() - began < on_this_machine(5)
    over.set()


def test_an_end_of_time_of_the_question_itself_is_one_too() -> None:
    def ask() -> None:
        here, _ = socket.socketpair()
        here.settimeout(0.01)
        here.recv(1)

    with pytest.raises(TimeoutError):
        within(5, ask)


def test_what_is_left_behind_does_not_keep_the_process() -> None:
    """A run that has ended ends, whoever still waits for whom."""
    over, begun, threads = threading.Event(), threading.Event(), list[threading.Thread]()

    def ask() -> None:
        threads.append(threading.current_thread())
        begun.set()
        over.wait()

    with pytest.raises(TimeoutError):
        within(0.1, ask)
    assert begun.wait(60)
    assert [thread.daemon for thread in threads] == [True]
    over.set()


def test_what_comes_too_late_goes_to_nobody() -> None:
    too_late, over = threading.Event(), threading.Event()

    def late() -> None:
        too_late.wait()
        over.set()
        raise ValueError

    with pytest.raises(TimeoutError):
        within(0.05, late)
    too_late.set()
    assert over.wait(60)
    assert within(5, lambda: 1) == 1


def test_many_may_wait_at_once() -> None:
    everybody = threading.Barrier(20)

    def together(n: int) -> int:
        everybody.wait()  # side by side: nobody passes before the last one has come
        return n

    def wait(n: int) -> int:
        return within(60, lambda: together(n))

    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(wait, range(20))) == list(range(20))
