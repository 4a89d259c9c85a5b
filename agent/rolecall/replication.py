"""What a database server has to do to become what the document says: decided from what it is, without touching it.

The chain: the candidate follows the master and acknowledges what it has received (semi-synchronous replication); the
replicas follow the candidate, the snapshot server the master. Every server starts read-only, and only what is decided
here opens one. Data that this node did not get from its upstream is never overwritten.
"""

from dataclasses import dataclass
from enum import Enum

from rolecall.errors import ConfigFault, HostFault
from rolecall.topology import NodeDatabase

# Server has diverged; a transaction that the upstream does not have, or has thrown away; strict mode (MariaDB 10.11).
DIVERGED = (1236, 1943, 1945, 1947, 1950)
# A row that is not there, or is there already, and the like: the data is not what the upstream's was.
BROKEN = (1032, 1062, 1396, 1007, 1008)


class Step(Enum):
    """One thing to do, in words for the report."""

    CLOSE = "read-only"
    NO_ACK = "acknowledges no more"
    ACK = "acknowledges"
    UNACKED = "waits for no acknowledgement"
    ACKED = "waits for the candidate's acknowledgement"
    JOIN = "restored from its upstream"
    FOLLOW = "follows its upstream"
    START = "goes on following"
    TAKE_OVER = "has everything that the former master had"
    OPEN = "writable"
    ACCOUNTS = "accounts"


@dataclass(frozen=True)
class Standing:
    """What a server is now."""

    read_only: bool
    fresh: bool  # neither data nor a history
    known: bool  # its history is one of replication: it may be compared by GTID
    upstream: tuple[str, int] | None = None  # address and port
    receiving: bool = False
    applying: bool = False
    error: int = 0
    words: str = ""
    acked: bool = False  # it waits for acknowledgements
    acks: bool = False  # it gives them
    ackers: int = 0  # who gives them to it


def decide(now: Standing, wanted: NodeDatabase, epoch: int) -> tuple[Step, ...]:
    """The steps, in their order; `epoch` is the highest that this server has seen. Raises ConfigFault, HostFault."""
    if wanted.epoch < epoch:
        raise ConfigFault(
            f"databases.{wanted.name}.epoch is {wanted.epoch}, but this server has seen {epoch}: an older document",
            "publish the document with the higher epoch; a change of the master raises it",
            "old-epoch",
        )
    return _master(now, wanted) if wanted.upstream is None else _follower(now, wanted)


def _master(now: Standing, wanted: NodeDatabase) -> tuple[Step, ...]:
    candidate = any(one != wanted.master for one in wanted.members)
    steps = {
        Step.TAKE_OVER: now.upstream is not None,
        Step.NO_ACK: now.acks,
        # Only once somebody acknowledges: from then on no write is told to have been done that only one server has.
        Step.ACKED: candidate and not now.acked and now.ackers > 0,
        Step.OPEN: now.read_only,
        Step.ACCOUNTS: True,
    }
    return tuple(step for step, needed in steps.items() if needed)


def _follower(now: Standing, wanted: NodeDatabase) -> tuple[Step, ...]:
    assert wanted.upstream
    upstream = (wanted.upstream.address, wanted.upstream.port)
    acks = wanted.duty == "candidate"
    moved = now.upstream != upstream
    if not now.fresh and not now.known:
        raise HostFault(
            f"this server has data of its own that {wanted.upstream.server} knows nothing of; it stays as it is",
            "keep what you need of it, then empty the data folder: the next run restores it from its upstream",
            "diverged",
        )
    if not moved and now.error in (*DIVERGED, *BROKEN):
        raise HostFault(
            f"this server and {wanted.upstream.server} have diverged: {now.words} (error {now.error}); nothing is "
            "overwritten",
            "compare the two; then repair it, or empty its data folder: the next run restores it",
            "diverged",
        )
    steps = {
        Step.CLOSE: not now.read_only,
        Step.UNACKED: now.acked,
        Step.NO_ACK: now.acks and not acks,
        Step.ACK: acks and not now.acks,
        Step.JOIN: now.fresh,
        Step.FOLLOW: moved or now.fresh or (acks and not now.acks),
        Step.START: not moved and not (now.receiving and now.applying),
    }
    chosen = [step for step, needed in steps.items() if needed]
    return tuple(one for one in chosen if one is not Step.START or Step.FOLLOW not in chosen)
