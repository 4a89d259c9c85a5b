"""What can go wrong, named by what the caller does next. `__main__` turns these into words and exit codes."""

import errno
import os
from typing import ClassVar

# What a machine says when it lacks something or is broken, and the remedy. It says nothing against what was asked.
_MACHINE = {
    errno.ENOSPC: "free space on that file system; nothing was changed",
    errno.EDQUOT: "raise the quota or free space; nothing was changed",
    errno.EROFS: "the file system is read-only: look for disk errors in the kernel log, then remount it",
    errno.EIO: "the disk reported an error: look in the kernel log and replace the machine",
    errno.EUCLEAN: "the file system is damaged: look in the kernel log and replace the machine",
    errno.EACCES: "run the agent as root, or give this user the folder",
    errno.EPERM: 'run the agent as root, or set accounts = "none" for a node in a folder',
    errno.EMFILE: "the agent may open too few files: raise its limit (LimitNOFILE= of its unit)",
    errno.ENFILE: "too many files are open: find out whose they are (lsof), or raise fs.file-max",
    errno.ENOMEM: "the machine has too little memory: look in the kernel log",
    errno.EAGAIN: "too many processes run: find out whose they are, or raise their limit (TasksMax=)",
    **dict.fromkeys((errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.EBUSY, errno.EINTR, errno.ENOBUFS), ""),
}
# How ld.so(8), for a library, and Python, for a thread, say it.
_LACKS = {
    "failed to map segment": errno.ENOMEM,
    "cannot allocate memory": errno.ENOMEM,
    os.strerror(errno.ENOMEM): errno.ENOMEM,
    os.strerror(errno.EMFILE): errno.EMFILE,
    "can't start new thread": errno.EAGAIN,
}
# As every program says it. Not those that a document can bring about, such as a log in a folder that is closed.
MACHINE_WORDS = tuple(
    os.strerror(number)
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EUCLEAN, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
)


class Fault(Exception):
    """A foreseeable failure: `message` says what and where, `hint` what to do next.

    `cause` is one word for machines, from the table in docs/reference/causes.md; '' where the message says all.
    `whose` fault it is: the document's (or a release's), the world's, the machine's; '' is nobody's.
    """

    exit_code = 1
    whose: ClassVar[str] = ""

    def __init__(self, message: str, hint: str = "", cause: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.cause = cause


class ConfigFault(Fault):
    """The document, a role or the settings are wrong: nothing was changed, trying again will not help (EX_CONFIG)."""

    exit_code = 78
    whose = "document"


class FetchFault(Fault):
    """The store or the metadata could not be read and nothing was there to fall back on: try again (EX_TEMPFAIL)."""

    exit_code = 75
    whose = "world"


class ConflictFault(FetchFault):
    """Somebody else has written the object meanwhile: read it, decide anew, write again.

    `doubtful`: or it was an earlier try of ours, whose answer was lost; or nobody, and both have to try again.
    """

    doubtful = False


class HostFault(Fault):
    """This machine did not do what the document asked: roll back, or stay not ready. The same is not tried at once."""

    exit_code = 1
    whose = "document"


class MachineFault(HostFault):
    """This machine lacks what any generation needs, such as space, memory or a whole disk: roll back as far as that is
    possible. No generation is at fault, so nothing waits: the next run tries again."""

    whose = "machine"


def machine_error(error: BaseException | None) -> OSError | None:
    """The error of the machine that an exception is, or comes from; None for any other."""
    while error is not None:
        if isinstance(error, MemoryError):
            return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        if isinstance(error, OSError) and error.errno in _MACHINE:
            return error
        if isinstance(error, ImportError | RuntimeError):
            for words, number in _LACKS.items():
                if words in str(error):
                    return OSError(number, os.strerror(number))
        error = error.__cause__ or error.__context__
    return None


def fault_of(error: BaseException, message: str, hint: str, otherwise: type[Fault]) -> Fault:
    """A MachineFault for an error of the machine, with its remedy; for any other, a fault of the kind `otherwise`."""
    machines = machine_error(error)
    return MachineFault(message, _MACHINE[machines.errno or 0] or hint) if machines else otherwise(message, hint)


class AilingFault(HostFault):
    """What failed before a switch fails after it as well: no reason to go back, and nothing got worse."""

    whose = ""


class UnsettledFault(HostFault):
    """This machine is not, or not yet, what the document asks, and no generation is at fault: going back to another
    would not help. Not ready; the next run looks again (EX_TEMPFAIL)."""

    exit_code = 75
    whose = "world"


class BusyFault(Fault):
    """Another run has the lock, or this one was told to stop: the next run completes the work (EX_TEMPFAIL)."""

    exit_code = 75


class Stopped(BaseException):
    """A signal said stop. No Exception: nothing may take it for a probe's failure or a template's mistake."""

    def __init__(self, signal: str) -> None:
        super().__init__(signal)
        self.fault = BusyFault(f"told to stop by {signal}", "the next run completes what was begun")
