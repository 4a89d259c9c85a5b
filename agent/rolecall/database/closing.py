"""How a server stops taking writes: read-only, or not at all."""

import time
from pathlib import Path

from rolecall.database.client import Client
from rolecall.database.waits import has_waiting_write
from rolecall.errors import FetchFault, HostFault, UnsettledFault

_STOPPING = 60.0  # seconds for a server to end; the pages that it has changed have to be written


def set_read_only(client: Client) -> None:
    """Take writes no longer. Raises UnsettledFault, or FetchFault if the server had to be stopped.

    A write that waits for an acknowledgement would hold this up for ever. To let it go would tell its client that
    the write is safe, which it is not. So the server is stopped then; it starts read-only.
    """
    try:
        client.run(f"SET SESSION lock_wait_timeout = 5; {client.dialect.set_read_only}")
    except HostFault as fault:
        if not has_waiting_write(client):
            raise UnsettledFault(
                f"it cannot be made read-only yet: {fault.message}",
                "does a long statement run? The next run tries again",
                "former-master",
            ) from fault
        _stop(client)
        raise FetchFault(
            "writes waited for an acknowledgement that they will not get, so the server was stopped",
            "the next run starts it, read-only; what was not acknowledged may make it diverge",
            "former-master",
        ) from fault


def _stop(client: Client) -> None:
    """Have the server end, and wait until it has: while it is at it, it neither answers nor can be started."""
    pid_file = Path(client.rows("SELECT @@pid_file AS path")[0]["path"])
    client.run("SHUTDOWN")
    until = time.monotonic() + _STOPPING
    while pid_file.exists() and time.monotonic() < until:
        time.sleep(0.1)
