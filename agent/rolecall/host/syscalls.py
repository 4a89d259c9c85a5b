"""System calls that Python has no function for, by way of the C library. Each raises OSError, as those of `os` do."""

import errno
import os

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def syncfs(fd: int) -> None:
    """syncfs(2): all that was written to the file system of this open file is on its disk. ENOSYS: no such call."""
    _call("syncfs", fd)


def exchange(first: str, second: str) -> None:
    """renameat2(2): two paths of one file system change places. EINVAL or ENOSYS: it cannot do that."""
    _call("renameat2", _AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)


def _call(name: str, *arguments: int | bytes) -> None:
    import ctypes

    function = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if function is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if function(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
