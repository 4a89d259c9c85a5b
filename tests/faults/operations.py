"""Every operation by which a run changes the machine, one by one: to count them, to break them off, to note them down.

The functions of `os` and `syscalls` are wrapped, in this process, while a run goes on: those that change files (as the
agent's two doors to the disk call them, and everybody else), the signals it sends and the programs it starts.
"""

import gc
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from rolecall.host import processes, syscalls

WRITES = os.O_CREAT | os.O_WRONLY | os.O_RDWR | os.O_TRUNC
ON_DISK = ("open", "write", "pwrite", "ftruncate", "fsync", "rename", "replace", "unlink", "mkdir", "rmdir", "symlink",
           "chmod", "fchmod", "fchown", "utime")  # fmt: skip
BY_THE_C_LIBRARY = ("syncfs", "exchange")
Around = Callable[["Operation", Callable[[], Any]], Any]


@dataclass(frozen=True)
class Operation:
    """A call, its arguments, and the path it is about: of a rename the new name; '' of a program or a signal."""

    name: str
    args: tuple[Any, ...]
    named: dict[str, Any]
    path: str

    @property
    def changes(self) -> bool:
        """Whether it is more than opening a file to read it or to sync it."""
        if self.path == os.devnull:
            return False
        return self.name != "open" or bool(self.args[1] & WRITES)

    def __str__(self) -> str:
        """`rename …/current`"""
        return f"{self.name} {self.path}"


@contextmanager
def intercepted(around: Around) -> Iterator[None]:
    """Hand every operation to `around`, with what carries it out."""
    owners: list[tuple[Any, str]] = [(os, name) for name in ON_DISK] + [(processes, "send"), (subprocess, "run")]
    owners += [(syscalls, name) for name in BY_THE_C_LIBRARY]
    real = [(owner, name, getattr(owner, name)) for owner, name in owners]

    def wrapped(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            return around(Operation(name, args, named, path_of(name, args, named)), lambda: function(*args, **named))

        return call

    for owner, name, function in real:
        setattr(owner, name, wrapped(name, function))
    try:
        yield
    finally:
        for owner, name, function in real:
            setattr(owner, name, function)


def path_of(name: str, args: tuple[Any, ...], named: dict[str, Any]) -> str:
    """The path that a call is about, in full."""
    if name in ("send", "run"):
        return ""
    what = args[1] if name in ("rename", "replace", "symlink", "exchange") else args[0]
    if isinstance(what, int):
        return os.readlink(f"/proc/self/fd/{what}")
    folder = named.get("dir_fd")
    return os.path.join(os.readlink(f"/proc/self/fd/{folder}"), what) if folder is not None else os.fspath(what)


def listed(work: Callable[[], Any]) -> list[Operation]:
    """The operations of a run that nothing disturbs."""
    found = []

    def note(operation: Operation, do: Callable[[], Any]) -> Any:
        if operation.changes:
            found.append(operation)
        return do()

    with intercepted(note):
        work()
    return found


@contextmanager
def broken_off(
    at: int, when: str, how: Callable[[], Any], every: Callable[[Operation], bool] = lambda _: False
) -> Iterator[None]:
    """Call `how` before or after the operation number `at`, and before each later one of the kind `every`."""
    count = 0

    def around(operation: Operation, do: Callable[[], Any]) -> Any:
        nonlocal count
        mine = operation.changes and count == at
        later = operation.changes and count > at
        count += operation.changes
        if (mine and when == "before") or (later and every(operation)):
            how()
        try:
            return do()
        finally:
            if mine and when == "after":
                how()

    with intercepted(around):
        yield


_kill = os.kill


def die() -> NoReturn:
    """As a process ends that the kernel has no memory for."""
    _kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def in_a_child(work: Callable[[], int]) -> int:
    """Do it in a child of this process; returns its exit status, negative if a signal ended it."""
    pid = os.fork()
    if pid == 0:
        gc.disable()  # it would touch, and so copy, every page that the child shares with us
        try:
            os._exit(work())
        except BaseException as error:  # noqa: BLE001 - it is told, and the child must end here
            os.write(2, f"{Path(__file__).name}: {error!r}\n".encode())
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
