"""What a database server has to do to become what the document says: decided from what it is, without touching it.

The chain: the candidate follows the master and acknowledges what it has received (semi-synchronous replication); the
replicas follow the candidate, the snapshot server the master. Every server starts read-only, and only what is decided
here opens one. Data that this node did not get from its upstream is never overwritten. Why a promotion is safe:
docs/decisions/0024-promotion-by-hand.md.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from enum import Enum

from rolecall.errors import UnsettledFault
from rolecall.fleet.topology import NodeDatabase

Location = tuple[str, int]  # address and port
EMPTY = "empty its data folder and that of its binary logs: the next run restores it from its upstream"


class Action(Enum):
    """One thing to do, in words for the report."""

    CLOSE = "read-only"
    UNACKED = "waits for no acknowledgement"
    NO_ACK = "acknowledges no more"
    ACK = "acknowledges"
    JOIN = "restored from its upstream"
    FOLLOW = "follows its upstream"
    START = "goes on following"
    TAKE_OVER = "has everything that the former master had"
    ACKED = "waits for the candidate's acknowledgement"
    OPEN = "writable"
    ACCOUNTS = "accounts"


@dataclass(frozen=True)
class Standing:
    """What a server is now."""

    read_only: bool
    fresh: bool  # no data of anybody, and it follows nobody
    known: bool  # its history is one of replication: it may be compared by GTID
    upstream: Location | None = None
    receiving: bool = False
    applying: bool = False
    error: int = 0
    diverged: bool = False  # the error is one that only a person can judge
    words: str = ""
    acked: bool = False  # it waits for acknowledgements
    acks: bool = False  # it gives them
    ackers: int = 0  # who gives them to it
    # What the agent has noted, rather than what the server tells:
    promised: bool = False  # the candidate acknowledges, or has done so before: the master never goes on without
    torn: bool = False  # a restore was cut off: what it has is a part of its upstream's
    outdated: bool = False  # it follows with a password that has changed


@dataclass(frozen=True)
class Neighbour:
    """What another server of the database tells of itself. `refusal`: it is there, but will not tell."""

    place: Location
    silent: bool = False
    refusal: str = ""
    read_only: bool = True
    positions: tuple[str, ...] = ()
    acks: bool = False
    upstream: Location | None = None

    @property
    def name(self) -> str:
        """For messages."""
        return f"{self.place[0]}:{self.place[1]}"


def actions_for(now: Standing, wanted: NodeDatabase) -> tuple[Action, ...]:
    """The steps, in their order.

    The document is none of an older epoch: trust/verification.py has seen to that.
    """
    steps = _master(now, wanted) if wanted.upstream is None else _follower(now, wanted)
    return tuple(step for step, needed in steps.items() if needed)


def _master(now: Standing, wanted: NodeDatabase) -> dict[Action, bool]:
    wait = wanted.candidate is not None and now.promised
    if stuck(now, wanted):
        return {}
    return {
        Action.UNACKED: now.acked and not wait,
        Action.TAKE_OVER: now.upstream is not None,
        Action.NO_ACK: now.acks,
        Action.ACKED: wait and not now.acked,  # before it opens: no write is told to be done that only this server has
        Action.OPEN: now.read_only,
        Action.ACCOUNTS: True,
    }


def _follower(now: Standing, wanted: NodeDatabase) -> dict[Action, bool]:
    assert wanted.upstream
    acks, good = wanted.duty == "candidate", stuck(now, wanted) is None
    # Who acknowledges changes only once it has connected anew; and after a crash it may not know where it is.
    anew = now.fresh or now.torn or now.outdated or acks != now.acks or not now.applying
    follow = good and (_moved(now, wanted) or anew)
    return {
        Action.CLOSE: not now.read_only,
        Action.UNACKED: now.acked,  # closed by now: nobody waits whom this would let go with a false OK
        Action.NO_ACK: now.acks and not acks,
        Action.ACK: good and acks and not now.acks,
        Action.JOIN: now.fresh or now.torn,
        Action.FOLLOW: follow,
        Action.START: good and not follow and not now.receiving,
    }


def _moved(now: Standing, wanted: NodeDatabase) -> bool:
    assert wanted.upstream
    return now.upstream != (wanted.upstream.address, wanted.upstream.port)


def stuck(now: Standing, wanted: NodeDatabase) -> UnsettledFault | None:
    """Why a person has to look before this server can be what it should be; None if there is nothing."""
    name, upstream = wanted.name, wanted.upstream
    if upstream is None:
        return None if not now.torn else UnsettledFault(
            f"this server is to be the master of {name}, but its restore was cut off: it has a part of the data",
            "promote another one; this one is restored anew once it has an upstream",
            "diverged",
        )  # fmt: skip
    if now.fresh or now.torn:
        return None
    if not now.known:
        return UnsettledFault(
            f"this server has data of its own that {upstream.server} knows nothing of; it stays as it is",
            f"keep what you need of it, then {EMPTY}",
            "diverged",
        )
    if now.diverged and not _moved(now, wanted):
        return UnsettledFault(
            f"this server and {upstream.server} have diverged: {now.words} (error {now.error}); nothing is overwritten",
            f"compare the two; then repair it, or {EMPTY}",
            "diverged",
        )
    return None


def older(one: str, other: str) -> bool:
    """Whether a position of MariaDB, 0-1-42,1-1-7, lacks some of another: the last number counts up in each domain."""
    have, want = ({words[0]: int(words[2]) for part in text.split(",") if len(words := part.split("-")) == 3}
                  for text in (one, other))  # fmt: skip
    return any(have.get(domain, 0) < number for domain, number in want.items())


def held_up(there: Iterable[Neighbour], me: Location, leaders: Container[Location], *, complete: bool) -> str:
    """Why this server must not be opened yet; '' if it may.

    `leaders`: the former master, and whom it follows. `complete`: whether it has received all that was ever
    acknowledged, as the candidate has. If not, whoever is silent may have more.
    """
    for one in there:
        if one.silent:
            if not complete:
                words = f"{one.name} does not answer, and may have more than this server"
                return f"{words}; if it is lost for good, take it out of the database in the document"
        elif one.refusal:
            if one.place in leaders:
                return f"{one.name} is there, but does not tell whether it still writes: {one.refusal}"
        elif not one.read_only:
            return f"{one.name} still writes: its next run makes it read-only; if it has no agent any more, stop it"
        elif one.acks and one.upstream not in (None, me):
            return f"{one.name} still acknowledges writes of another master: its next run ends that"
    return ""
