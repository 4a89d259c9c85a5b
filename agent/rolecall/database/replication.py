"""What a database server has to do to become what the document says: decided from its state, without touching it.

The chain: the candidate follows the master and acknowledges what it has received (semi-synchronous replication); the
replicas follow the candidate, and the snapshot server follows the master. Every server starts read-only, and only an
action that is decided here makes one writable. Data that a server did not get from its upstream is never overwritten.
Why a promotion is safe: docs/decisions/0024-promotion-by-hand.md.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from rolecall.errors import UnsettledFault
from rolecall.fleet.topology import Endpoint, NodeDatabase

Address: TypeAlias = tuple[str, int]  # IP address and port
EMPTY = "empty its data folder and that of its binary logs: the next run restores it from its upstream"


class Action(Enum):
    """One thing to do. The value is what the report says once it is done."""

    SET_READ_ONLY = "read-only"
    STOP_WAITING_FOR_ACKS = "no longer waits for acknowledgements"
    STOP_ACKNOWLEDGING = "no longer acknowledges"
    ACKNOWLEDGE = "acknowledges"
    RESTORE = "restored from its upstream"
    FOLLOW = "follows its upstream"
    RESUME = "follows its upstream again"
    TAKE_OVER = "has everything that the former master had"
    WAIT_FOR_ACKS = "waits for the candidate's acknowledgements"
    SET_WRITABLE = "writable"
    UPDATE_ACCOUNTS = "accounts"


@dataclass(frozen=True)
class ServerState:
    """What this node's server is now: what it tells of itself, and what the agent knows of it from earlier runs."""

    read_only: bool
    fresh: bool  # no data of any product, and no upstream
    has_history: bool  # a GTID position or an upstream: its data can be compared with that of other servers
    upstream: Address | None = None
    receiving: bool = False  # the receiver (I/O thread) runs
    applying: bool = False  # the applier (SQL thread) runs
    error: int = 0  # the last error of receiver or applier; 0 is none
    error_text: str = ""
    diverged: bool = False  # the error is one that only a person can judge
    waits_for_acks: bool = False  # semi-synchronous as a source: a commit waits for an acknowledgement
    acknowledges: bool = False  # semi-synchronous as a replica
    acknowledging_replicas: int = 0  # replicas that are connected to it and acknowledge
    channel: tuple[str, str, str] = ("", "", "")  # how it connects to its upstream: `Channel.status`

    # From the agent's notes, not from the server:
    acks_required: bool = False  # the candidate acknowledges, or has before: the master never goes on without it
    restore_incomplete: bool = False  # a restore was cut off: its data is a part of its upstream's
    password_outdated: bool = False  # it follows with a replication password that has changed
    channel_outdated: bool = False  # it connects to its upstream in another way than the document asks


@dataclass(frozen=True)
class RemoteState:
    """What another server of the database tells of itself. With `error` it answers, but does not tell."""

    address: Address
    unreachable: bool = False
    error: str = ""
    read_only: bool = True
    positions: tuple[str, ...] = ()  # GTID positions: what it has, and what it has received and will apply
    acknowledges: bool = False
    upstream: Address | None = None

    @property
    def name(self) -> str:
        """For messages."""
        return str(Endpoint("", *self.address))


def address_of(endpoint: Endpoint) -> Address:
    """Where a server of the document is."""
    return endpoint.address, endpoint.port


def actions_for(state: ServerState, target: NodeDatabase) -> tuple[Action, ...]:
    """The actions, in their order.

    The document's epoch is never older than one that this node has seen: trust/verification.py has refused it then.
    """
    actions = _master_actions(state, target) if target.upstream is None else _follower_actions(state, target)
    return tuple(action for action, needed in actions.items() if needed)


def _master_actions(state: ServerState, target: NodeDatabase) -> dict[Action, bool]:
    if blocking_fault(state, target):
        return {}
    wait = target.candidate is not None and state.acks_required
    return {
        Action.STOP_WAITING_FOR_ACKS: state.waits_for_acks and not wait,
        Action.TAKE_OVER: state.upstream is not None,
        Action.STOP_ACKNOWLEDGING: state.acknowledges,
        # Before it becomes writable, or it would confirm writes that no other server has.
        Action.WAIT_FOR_ACKS: wait and not state.waits_for_acks,
        Action.SET_WRITABLE: state.read_only,
        Action.UPDATE_ACCOUNTS: True,
    }


def _follower_actions(state: ServerState, target: NodeDatabase) -> dict[Action, bool]:
    acknowledge = target.duty == "candidate"
    unblocked = blocking_fault(state, target) is None
    follow = unblocked and _must_reconnect(state, target, acknowledge=acknowledge)
    return {
        Action.SET_READ_ONLY: not state.read_only,
        # It is read-only by now, so no client waits that would be told that its unacknowledged write is safe.
        Action.STOP_WAITING_FOR_ACKS: state.waits_for_acks,
        Action.STOP_ACKNOWLEDGING: state.acknowledges and not acknowledge,
        Action.RESTORE: state.fresh or state.restore_incomplete,  # a server may start anew for it, and forget the next
        Action.ACKNOWLEDGE: unblocked and acknowledge and not state.acknowledges,
        Action.FOLLOW: follow,
        Action.RESUME: unblocked and not follow and not state.receiving,
    }


def _must_reconnect(state: ServerState, target: NodeDatabase, *, acknowledge: bool) -> bool:
    """Whether the server has to be pointed at its upstream anew, rather than have its receiver started.

    A replica begins or ends to acknowledge only with a new connection. And a server whose applier has stopped, as
    after a crash, may not know its position any more.
    """
    return (
        _has_other_upstream(state, target)
        or state.fresh
        or state.restore_incomplete
        or state.password_outdated
        or state.channel_outdated
        or state.acknowledges != acknowledge
        or not state.applying
    )


def _has_other_upstream(state: ServerState, target: NodeDatabase) -> bool:
    return target.upstream is None or state.upstream != (target.upstream.address, target.upstream.port)


def blocking_fault(state: ServerState, target: NodeDatabase) -> UnsettledFault | None:
    """Why a person has to look before this server can become what it should be; None if nothing blocks it."""
    upstream = target.upstream
    if upstream is None:
        return _incomplete_master(target.name) if state.restore_incomplete else None
    if state.fresh or state.restore_incomplete:
        return None
    if not state.has_history:
        return UnsettledFault(
            f"this server has data of its own that {upstream.server} knows nothing of; it stays as it is",
            f"keep what you need of it, then {EMPTY}",
            "diverged",
        )
    if state.diverged and not _has_other_upstream(state, target):
        return UnsettledFault(
            f"this server and {upstream.server} have diverged: {state.error_text} (error {state.error}); "
            "nothing is overwritten",
            f"compare the two; then repair this one, or {EMPTY}",
            "diverged",
        )
    return None


def _incomplete_master(database: str) -> UnsettledFault:
    return UnsettledFault(
        f"this server is to be the master of {database}, but its restore was cut off: it has only a part of the data",
        "promote another server; this one is restored again once it has an upstream",
        "diverged",
    )


def is_behind(position: str, other: str) -> bool:
    """Whether a GTID position of MariaDB lacks a transaction of another.

    A position names the last transaction of each domain, as in `0-1-42,1-1-7`: domain, server, sequence number. The
    sequence number counts up within its domain (MariaDB Knowledge Base, "Global Transaction ID").
    """
    sequences = _sequences(position)
    return any(sequences.get(domain, 0) < sequence for domain, sequence in _sequences(other).items())


def _sequences(position: str) -> dict[str, int]:
    """Domain → sequence number."""
    gtids = (gtid.split("-") for gtid in position.split(","))
    return {gtid[0]: int(gtid[2]) for gtid in gtids if len(gtid) == 3}


def reason_to_wait(
    servers: Iterable[RemoteState], own_address: Address, leaders: Container[Address], *, complete: bool
) -> str:
    """Why this server must not become writable yet; '' if it may.

    `leaders`: the former master, and this server's upstream. `complete`: whether this server has received every write
    that was ever acknowledged, as the candidate has. Otherwise a server that cannot be reached may have some of them.
    """
    for server in servers:
        if server.unreachable:
            if not complete:
                return (
                    f"{server.name} does not answer, and may have writes that this server lacks; "
                    "if it is lost for good, take it out of the database in the document"
                )
        elif server.error:
            if server.address in leaders:
                return f"{server.name} answers, but does not tell whether it still takes writes: {server.error}"
        elif not server.read_only:
            return (
                f"{server.name} still takes writes: its next run makes it read-only; "
                "if no agent runs there any more, stop it"
            )
        elif server.acknowledges and server.upstream not in (None, own_address):
            return f"{server.name} still acknowledges writes of another master: its next run ends that"
    return ""
