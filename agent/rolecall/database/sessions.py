"""What the sessions of a server wait for, by the words of SHOW PROCESSLIST: those of MariaDB and of MySQL."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum


class Wait(Enum):
    """What a write waits for that no other write gives it; the value is how the state of its session begins."""

    ACKNOWLEDGEMENT = ("Waiting for semi-sync ACK",)
    ROOM = ("Waiting for someone to free space", "Waiting for disk space")
    LOCK = ("Waiting for backup lock", "Waiting for global read lock", "Waiting for commit lock")  # of the whole server


@dataclass(frozen=True)
class Session:
    """A session that waits. `seconds`: since its statement began."""

    seconds: float
    wait: Wait


def waiting_sessions(rows: Iterable[Mapping[str, str]]) -> list[Session]:
    """Those that wait for one of these, of all that SHOW PROCESSLIST lists."""
    states = ((row["State"] or "", float(row["Time"])) for row in rows if row["Time"] not in ("", "NULL"))
    return [Session(seconds, wait) for state, seconds in states for wait in Wait if state.startswith(wait.value)]
