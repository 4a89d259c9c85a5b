"""How a former master stops taking writes: read-only, or else not at all."""

import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from rolecall.database.client import Client, UnansweredFault
from rolecall.database.sessions import Wait
from rolecall.errors import FetchFault, UnsettledFault
from rolecall.host import processes
from rolecall.host.processes import Process

TRIES = 3  # runs, before a server that cannot be made read-only is stopped
_CAUSE = "former-master"
CLOSING_TIMEOUT = 15.0  # seconds for a server to become read-only
ENDING_TIMEOUT = 60.0  # seconds for a server to end; the pages that it has changed have to be written
_DYING = 10.0  # seconds for a process that was killed to be gone


def close(client: Client, tries: int) -> None:
    """Take writes no longer. `tries`: how many runs have tried that by now.

    A write that waits, for an acknowledgement or for room on a full disk, would hold this up for ever. To let it go
    would tell its client that the write is safe, which it is not. So the server is stopped then; it starts read-only.
    One that cannot be made read-only for any other reason is stopped at the third try: whoever is to be the master
    waits. Raises UnsettledFault if it still takes writes, FetchFault if it had to be stopped.
    """
    try:
        client.run(f"SET SESSION lock_wait_timeout = 5; {client.dialect.set_read_only}", CLOSING_TIMEOUT)
    except UnsettledFault as fault:
        if reason := _waiting_writes(client):
            _end(client, reason)
        end_at_last(client, tries, fault)


def end_at_last(client: Client, tries: int, fault: UnsettledFault) -> NoReturn:
    """What follows when a former master could not be closed, because of `fault`: at the third try it is stopped.

    Raises UnsettledFault before that, then FetchFault.
    """
    if tries < TRIES:
        hint = f"does a long statement run? The next run tries again; after {TRIES} tries the server is stopped"
        raise UnsettledFault(f"it cannot be made read-only yet: {fault.message}", hint, _CAUSE) from fault
    _end(client, f"{tries} runs could not make it read-only")


def _end(client: Client, reason: str) -> NoReturn:
    stop(client)
    raise FetchFault(
        f"{reason}, so the server was stopped",
        "the next run starts it, read-only; what was not acknowledged may make it diverge",
        _CAUSE,
    )


def _waiting_writes(client: Client) -> str:
    """What writes wait for that will not come by itself; '' if none does, or the server does not tell."""
    with suppress(UnsettledFault):
        waits = {session.wait for session in client.sessions()}
        if Wait.ROOM in waits:
            return "writes waited for room on a disk that is full"
        if Wait.ACKNOWLEDGEMENT in waits:
            return "writes waited for an acknowledgement that they will not get"
    return ""


def stop(client: Client) -> None:
    """Have the server end, and wait until it has: while it is at it, it neither answers nor can be started.

    One that does not end is killed: what was acknowledged is on its disk. Raises UnsettledFault if even that fails.
    """
    pidfile = Path(client.replication.pidfile)
    process = processes.process_in(pidfile)
    if process is None or not processes.speaks_for(pidfile, process):
        return
    processes.send(process, signal.SIGTERM)
    if _ends(process, ENDING_TIMEOUT if _answers(client) else 0.0):
        return
    processes.send(process, signal.SIGKILL)
    if not _ends(process, _DYING):
        raise UnsettledFault(
            f"the database server (process {process.pid}) does not end, although it was killed",
            "it is stuck in the kernel, as when a disk hangs: power this machine off",
            "server-hangs",
        )


def _answers(client: Client) -> bool:
    """Whether the server is at work at all; one that is frozen would not even notice that it is to end."""
    try:
        client.run("DO 1", 5.0)
    except UnansweredFault:
        return False
    except UnsettledFault:  # it is ending already
        return True
    return True


def _ends(process: Process, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while (alive := processes.process(process.pid) == process) and time.monotonic() < until:
        time.sleep(0.1)
    return not alive
