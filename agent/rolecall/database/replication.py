"""What a database server has to do to become what the document says: decided from its state, without touching it.

The chain: the candidate follows the master and acknowledges what it has received (semi-synchronous replication); the
replicas follow the candidate, and the snapshot server follows the master. Every server starts read-only, and only an
action that is decided here makes one writable. Data that a server did not get from its upstream is never overwritten.
Why a promotion is safe: docs/decisions/0024-promotion-by-hand.md.
"""

from enum import Enum

from rolecall.database.mastership import must_take_over
from rolecall.database.states import ServerState
from rolecall.errors import UnsettledFault
from rolecall.fleet.topology import NodeDatabase

SET_ASIDE = (
    "move its data folder and that of its binary logs aside, and keep them until nobody needs them: the next run "
    "restores it from its upstream; docs/how-to/databases.md has the steps"
)


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
    take_over = must_take_over(state)
    return {
        # It is open from an earlier time: others may have been master since.
        Action.SET_READ_ONLY: take_over and not state.read_only,
        # What it gets from others it writes too, and would wait for somebody to acknowledge that.
        Action.STOP_WAITING_FOR_ACKS: state.waits_for_acks and (take_over or not wait),
        Action.TAKE_OVER: take_over,
        Action.STOP_ACKNOWLEDGING: state.acknowledges,
        # Before it becomes writable, or it would confirm writes that no other server has.
        Action.WAIT_FOR_ACKS: wait and (take_over or not state.waits_for_acks),
        Action.SET_WRITABLE: take_over or state.read_only,
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
            SET_ASIDE,
            "diverged",
        )
    if state.diverged and not _has_other_upstream(state, target):
        return UnsettledFault(
            f"this server and {upstream.server} have diverged: {state.error_text} (error {state.error}); "
            "nothing is overwritten",
            f"compare the two; then repair this one, or {SET_ASIDE}",
            "diverged",
        )
    return None


def _incomplete_master(database: str) -> UnsettledFault:
    return UnsettledFault(
        f"this server is to be the master of {database}, but its restore was cut off: it has only a part of the data",
        "promote another server; this one is restored again once it has an upstream",
        "diverged",
    )
