"""Processes of this machine, as proc(5) tells of them."""

import os
import pwd
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from rolecall.host import files

_TICKS = os.sysconf("SC_CLK_TCK")
_SLACK = 1.0  # seconds: the clocks of files and of processes are not read at the same moment


@dataclass(frozen=True)
class Process:
    """A process. A number is given to another process sooner or later; number and start together never are.

    `start`: in ticks since the machine started. `uid`: its real user.
    """

    pid: int
    start: int
    uid: int

    @property
    def mark(self) -> bytes:
        """What tells it from every other process, for a file."""
        return b"%d %d" % (self.pid, self.start)


def process(pid: int) -> Process | None:
    """The process that has this number now; None if there is none, or only a zombie."""
    try:
        words = (files.read(Path(f"/proc/{pid}/stat")) or b"").rpartition(b")")[2].split()  # the name may have spaces
        owner = re.search(rb"^Uid:\s+(\d+)", files.read(Path(f"/proc/{pid}/status")) or b"", re.MULTILINE)
    except ProcessLookupError:
        return None
    return Process(pid, int(words[19]), int(owner[1])) if owner and words[0] != b"Z" else None


def process_in(pidfile: Path) -> Process | None:
    """The process whose number a pid file has. Whether the file is to be believed, `speaks_for` tells."""
    content = (files.read(pidfile) or b"").strip()
    return process(int(content)) if content.isdigit() else None


def speaks_for(pidfile: Path, named: Process) -> bool:
    """Whether a pid file is to be believed of the process that it names: written after that began, and by root, by
    whoever runs this, or by the process's own user. An older file is one that another process has left behind."""
    try:
        status = os.lstat(pidfile)
    except OSError:
        return False
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - named.start / _TICKS
    return time.time() - age <= status.st_mtime + _SLACK and status.st_uid in {0, os.geteuid(), named.uid}


def send(receiver: Process, number: signal.Signals) -> bool:
    """Signal a process, and no other one that has its number by now. Returns whether it was there."""
    try:
        fd = os.pidfd_open(receiver.pid)
    except ProcessLookupError:
        return False
    try:
        if process(receiver.pid) != receiver:
            return False
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


def description(pid: int) -> str:
    """The user and the command line of a process, for people."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        words = ""
    if (described := process(pid)) is None:
        return "it has ended meanwhile"
    try:
        user = pwd.getpwuid(described.uid).pw_name
    except KeyError:
        user = str(described.uid)
    return f"user {user}: {words[:100] or 'a thread of the kernel'}"
