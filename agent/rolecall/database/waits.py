"""Writes that wait for an acknowledgement: whether there are any, and whether one would be answered."""

import time

from rolecall.database.client import Client
from rolecall.errors import FetchFault

_ACKNOWLEDGEMENT_TIMEOUT = 30  # seconds for the candidate to connect to its master
_WAITING_FOR_ACK = "Waiting for semi-sync ACK"  # a session's state in SHOW PROCESSLIST, of both servers


def has_waiting_write(client: Client) -> bool:
    """Whether a write waits for an acknowledgement."""
    return any((row["State"] or "").startswith(_WAITING_FOR_ACK) for row in client.rows("SHOW PROCESSLIST"))


def require_acknowledgements(client: Client, candidate: str | None) -> None:
    """Wait until a write would be acknowledged, if this server waits for that. Raises FetchFault if it would not be."""
    deadline = time.monotonic() + _ACKNOWLEDGEMENT_TIMEOUT
    while (state := client.state()).waits_for_acks and not state.acknowledging_replicas:
        if time.monotonic() >= deadline:
            raise FetchFault(
                f"{candidate} does not acknowledge, so every write waits; accounts were not changed",
                "look at the candidate; if it is lost, name another in the document, or none",
                "upstream",
            )
        time.sleep(0.5)
