"""Writes that wait for what may never come: an acknowledgement, room on a full disk, a lock. No client is told why."""

import time

from rolecall.database.client import FULL_HINT, TRUE, Client
from rolecall.database.sessions import Session, Wait
from rolecall.errors import UnsettledFault
from rolecall.forms.quantities import duration

_CAUSE = "acknowledgement"


def oldest_wait(client: Client) -> float:
    """For how many seconds the oldest of the sessions that wait has been at its statement; 0 if none waits."""
    return max((session.seconds for session in client.sessions()), default=0.0)


def waiting_problem(client: Client, candidate: str | None) -> UnsettledFault | None:
    """That writes wait, or would wait, for longer than the role allows; None if they are answered."""
    name, state = candidate or "the candidate", client.rows(client.dialect.server_state)[0]
    if state["waits_for_acks"] in TRUE and not int(state["acknowledging_replicas"] or 0):
        return UnsettledFault(f"{name} does not acknowledge, so every write waits", _candidate_hint(name), _CAUSE)
    limit, is_read_only = client.replication.max_ack_wait, state["read_only"] in TRUE
    waiting = [session for session in client.sessions() if session.seconds > limit]
    if is_read_only:  # a backup may lock a server that nobody writes to; its lag tells if that takes too long
        waiting = [session for session in waiting if session.wait is not Wait.LOCK]
    return _fault(max(waiting, key=lambda session: session.seconds), name, limit) if waiting else None


def _fault(oldest: Session, candidate: str, limit: float) -> UnsettledFault:
    waited = f"has waited {duration(oldest.seconds)} for"
    match oldest.wait:
        case Wait.ROOM:
            words = f"the database server {waited} room on a disk that is full"
            return UnsettledFault(words, FULL_HINT, "disk-full")
        case Wait.LOCK:
            words = f"the oldest write {waited} a lock of the whole server (at most {duration(limit)})"
            hint = "a backup, or FLUSH TABLES WITH READ LOCK: SHOW PROCESSLIST tells whose it is; end that session"
            return UnsettledFault(words, hint, "long-statement")
        case Wait.ACKNOWLEDGEMENT:
            words = f"the oldest write {waited} {candidate}'s acknowledgement (at most {duration(limit)})"
            return UnsettledFault(words, _candidate_hint(candidate), _CAUSE)


def _candidate_hint(name: str) -> str:
    return f"look at {name}: its server, its disks, its network; if it is lost, name another in the document, or none"


def require_answers(client: Client, candidate: str | None) -> None:
    """Wait until writes are answered, no longer than a write may wait. Raises UnsettledFault if they are not.

    A long statement that has come to its end waits for a moment only: whoever waits at each look is stuck.
    """
    deadline = time.monotonic() + client.replication.max_ack_wait
    while fault := waiting_problem(client, candidate):
        if time.monotonic() >= deadline:
            raise fault
        time.sleep(0.5)
