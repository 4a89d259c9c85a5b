"""The first question of every refresh: has anything moved since the last run found all well?

The record is a time until which it holds, the request that revalidates the document ('' where that is a local file), a
question to this machine's database server with its answer ('' where there is none), and a list of stamps, one for each
file and link that the last run went by. Checking it is a stat(2) each, one glance at the database, and one small
request; it is in the run folder, so that a reboot asks everything anew. This module is loaded by every refresh on every
machine: it imports nothing that the interpreter has not loaded already.
"""

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

NAME = "steady"
_TYPE, _LINK = 0o170000, 0o120000  # of st_mode; the module `stat` would be one more


def stamp(path: str) -> str:
    """What tells a change of a file, a folder, or a link and its target; '-' if it is not there."""
    try:
        s = os.lstat(path)
        target = "" if s.st_mode & _TYPE != _LINK else f",{_stamp(os.stat(path))}"
    except OSError:
        return "-"
    return _stamp(s) + target


def _stamp(s: os.stat_result) -> str:
    """Times, inode, size, mode, owner."""
    return f"{s.st_mtime_ns},{s.st_ctime_ns},{s.st_ino},{s.st_size},{s.st_mode},{s.st_uid},{s.st_gid}"


def holds(config: str) -> bool:
    """Whether the last run with these settings left a record, and it still describes this machine and the store."""
    try:
        run = _run_folder(config)
        with open(f"{run}/{NAME}", encoding="utf-8") as record:
            start, end = record.readline().split()
            # A record from the future is one of a clock that was set back: ask everything anew.
            if not float(start) <= time.time() < float(end):
                return False
            revalidation, question = record.readline()[:-1], record.readline()[:-1]
            if not all(stamp(line[line.index(" ") + 1 : -1]) == line[: line.index(" ")] for line in record):
                return False
    except (OSError, ValueError):
        return False
    if question:
        from rolecall.shortcut.look import unmoved

        if not unmoved(question):
            return False
    if not revalidation:
        return True
    from rolecall.shortcut.request import unchanged

    return unchanged(revalidation, run)


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

    files.remove_tree(run / NAME)


def stamps_of(paths: "Iterable[str]") -> dict[str, str]:
    """The stamp of each of these paths now."""
    return {path: stamp(path) for path in paths}


def write_record(run: "Path", questions: tuple[str, str], stamps: "Mapping[str, str]", seconds: float) -> None:
    """All is well as long as nothing has another stamp, and store and database answer as they did; look again in
    `seconds`. `questions`: to the store, and to the database server."""
    from rolecall.host import files

    now = time.time()
    head = "\n".join((f"{now} {now + seconds}", *questions))
    lines = [f"{head}\n", *(f"{mark} {path}\n" for path, mark in sorted(stamps.items()))]
    files.replace(run / NAME, "".join(lines).encode(), 0o644)


def write_signing_file(path: "Path", text: str) -> None:
    """Credentials for the next refreshes, which so need not ask for any: 0600, in the folder that a reboot empties."""
    from rolecall.host import files

    if files.read(path) != text.encode():
        files.replace(path, text.encode(), 0o600)
