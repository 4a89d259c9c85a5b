"""The first question of every refresh: has anything moved since the last run found all well?

The record is a list of stamps, one for each file and link that the last run went by, and a time until which it holds.
Checking it is a stat(2) each; it is in the run folder, so that a reboot asks everything anew. This module is loaded by
every refresh on every machine: it imports nothing that the interpreter has not loaded already.
"""

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NAME = "steady"


def stamp(path: str) -> str:
    """What tells a change of a file, a folder or a link: times, inode, size, mode, owner; '-' if it is not there."""
    try:
        s = os.lstat(path)
    except OSError:
        return "-"
    return f"{s.st_mtime_ns},{s.st_ctime_ns},{s.st_ino},{s.st_size},{s.st_mode},{s.st_uid},{s.st_gid}"


def holds(config: str) -> bool:
    """Whether the last run with these settings left a record, and it still describes this machine."""
    try:
        with open(f"{_run_folder(config)}/{NAME}", encoding="utf-8") as record:
            start, end = record.readline().split()
            # A record from the future is one of a clock that was set back: ask everything anew.
            if not float(start) <= time.time() < float(end):
                return False
            return all(stamp(line[line.index(" ") + 1 : -1]) == line[: line.index(" ")] for line in record)
    except (OSError, ValueError):
        return False


def _run_folder(config: str) -> str:
    """The run folder by a glance at agent.toml: reading it wrongly finds no record, and then the run itself decides."""
    with open(config, encoding="utf-8") as settings:
        for line in settings:
            if line.startswith(("run ", "run=")):
                return line.split('"')[1] if '"' in line else ""
    return "/run/rolecall"


def forget(run: "Path") -> None:
    """Nothing is known to be well any more: a run has begun."""
    from rolecall.host import files

    files.remove(run / NAME)


def remember(run: "Path", paths: "Iterable[str]", seconds: float) -> None:
    """All is well now; ask again when one of these moves, or after so many seconds."""
    from rolecall.host import files

    now = time.time()
    lines = [f"{now} {now + seconds}\n", *(f"{stamp(path)} {path}\n" for path in sorted(set(paths)))]
    files.replace(run / NAME, "".join(lines).encode(), 0o644)
