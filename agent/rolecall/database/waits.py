"""Writes that wait: for the candidate's acknowledgement, or for room on a full disk. Nobody tells their clients."""

import time

from rolecall.database.client import FULL_HINT, TRUE, Client
from rolecall.errors import UnsettledFault
from rolecall.forms.quantities import duration

_CAUSE = "acknowledgement"


def oldest_wait(client: Client) -> float:
    """For how many seconds the oldest of the sessions that wait has been at its statement; 0 if none waits."""
    return max((session.seconds for session in client.sessions()), default=0.0)


def waiting_problem(client: Client, candidate: str | None) -> UnsettledFault | None:
    """That writes wait, or would wait, for longer than the role allows; None if they are answered."""
    limit, name = client.replication.max_ack_wait, candidate or "the candidate"
    hint = f"look at {name}: its server, its disks, its network; if it is lost, name another in the document, or none"
    state = client.rows(client.dialect.server_state)[0]
    if state["waits_for_acks"] in TRUE and not int(state["acknowledging_replicas"] or 0):
        return UnsettledFault(f"{name} does not acknowledge, so every write waits", hint, _CAUSE)
    waiting = [session for session in client.sessions() if session.seconds > limit]
    if not waiting:
        return None
    oldest = max(waiting, key=lambda session: session.seconds)
    waited = f"has waited {duration(oldest.seconds)} for"
    if oldest.for_room:
        return UnsettledFault(f"the database server {waited} room on a disk that is full", FULL_HINT, "disk-full")
    words = f"the oldest write {waited} {name}'s acknowledgement (at most {duration(limit)})"
    return UnsettledFault(words, hint, _CAUSE)


def require_answers(client: Client, candidate: str | None) -> None:
    """Wait until writes are answered, no longer than a write may wait. Raises UnsettledFault if they are not.

    A long statement that has come to its end waits for a moment only: whoever waits at each look is stuck.
    """
    deadline = time.monotonic() + client.replication.max_ack_wait
    while fault := waiting_problem(client, candidate):
        if time.monotonic() >= deadline:
            raise fault
        time.sleep(0.5)
