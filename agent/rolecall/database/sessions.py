"""What the sessions of a server wait for, by the words of SHOW PROCESSLIST."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# Of MariaDB and of MySQL: stage names of their semi-synchronous replication and of mysys.
_ACKNOWLEDGEMENT = "Waiting for semi-sync ACK"
_ROOM = ("Waiting for someone to free space", "Waiting for disk space")


@dataclass(frozen=True)
class Session:
    """A session that waits for something that is not the server's own to give. `seconds`: since its statement began."""

    seconds: float
    for_room: bool  # on a disk that is full; otherwise for an acknowledgement


def waiting_sessions(rows: Iterable[Mapping[str, str]]) -> list[Session]:
    """Those that wait for an acknowledgement or for room on a full disk, of all that SHOW PROCESSLIST lists."""
    states = ((row["State"] or "", float(row["Time"])) for row in rows if row["Time"] not in ("", "NULL"))
    return [
        Session(seconds, state.startswith(_ROOM))
        for state, seconds in states
        if state.startswith((_ACKNOWLEDGEMENT, *_ROOM))
    ]
