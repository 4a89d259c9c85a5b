"""Whether a server may become the master: who has to be heard first, and who speaks against it.

Decided from what the servers tell, without touching them. Why it is safe: docs/decisions/0024-promotion-by-hand.md and
docs/decisions/0049-who-has-every-write.md.
"""

from collections.abc import Collection, Container, Iterable

from rolecall.database.states import Address, RemoteState, ServerState
from rolecall.fleet.topology import NodeDatabase
from rolecall.node.notes import DatabaseNote


def was_opened(note: DatabaseNote, target: NodeDatabase) -> bool:
    """Whether this server was opened as the master that the document names, and so has been it ever since."""
    if note.opened or (target.succession and target.succession.former):
        return note.opened == target.mastership
    # A note of a version that did not tell: it was open when it was last the master.
    return note.master == (target.master.address, target.master.port) and target.upstream is None


def opened_before(note: DatabaseNote, target: NodeDatabase) -> bool:
    """Whether this server is the master before the one that the document names."""
    former = target.succession.former if target.succession else None
    return former is not None and former.master == target.server and bool(note.opened)


def has_every_write(note: DatabaseNote, target: NodeDatabase, state: ServerState) -> bool:
    """Whether it has all that was acknowledged in the time of the former master.

    It was that master, or the former master waited for it, and for nobody else, until the document named another one.
    What was received and not yet applied is thrown away with a restart, which also ends that a server acknowledges.
    """
    former = target.succession.former if target.succession else None
    if former is None:
        return False
    if former.master == target.server:
        return note.opened == former.epoch
    noted = former.candidate == target.server and former.since == note.acknowledged_since
    return noted and state.acknowledges and state.applying


def must_take_over(state: ServerState) -> bool:
    """Whether a server that is to be the master has to get first what others have more than it.

    One that was opened as this master before has not: nobody else can have been master since.
    """
    return state.upstream is not None or not (state.opened or state.fresh)


def members_to_hear(state: ServerState, target: NodeDatabase, servers: Collection[RemoteState]) -> frozenset[Address]:
    """The servers whose silence forbids this one to become the master, for they may have writes that it lacks.

    `servers`: what the others tell.
    """
    succession = target.succession
    former = succession.former if succession else None
    members = {member.server: (member.address, member.port) for member in target.members}
    own = (target.master.address, target.master.port)
    names: Collection[str] = members
    if state.fresh:
        # Nobody knows of any data before the first master was opened.
        names = members if state.opened or (succession and (succession.opened or former)) else ()
    elif not must_take_over(state):
        names = ()
    elif succession and former and former.opened and _tells(members.get(former.master), servers):
        names = succession.between  # nobody has more of that time than its master
    elif succession and former and state.complete and members.keys() >= set(former.relieved):
        # Candidates before this one may have acknowledged too, as long as they had not heard that they no longer are.
        # What one has acknowledged that is lost for good, the former master alone may have.
        names = (*former.relieved, *succession.between)
    return frozenset(members[name] for name in names if name in members) - {own}


def _tells(address: Address | None, servers: Iterable[RemoteState]) -> bool:
    """Whether the master that was at this address tells all that it has, and gets no more.

    Another machine may have its name by now, or its data may have been restored from a server that had less.
    """
    return any(
        server.address == address and server.answers and server.read_only and server.has_written for server in servers
    )


def reason_to_wait(
    servers: Iterable[RemoteState],
    own_address: Address,
    leaders: Container[Address],
    to_hear: Container[Address],
) -> str:
    """Why this server must not become writable yet; '' if it may.

    `leaders`: the former master, and this server's upstream. `to_hear`: those whose silence forbids it.
    """
    for server in sorted(servers, key=lambda server: server.read_only):  # first whoever takes writes
        if server.unreachable:
            if server.address in to_hear:
                return (
                    f"{server.name} does not answer, and may have writes that this server lacks; "
                    "if it is lost for good, take it out of the database in the document"
                )
        elif server.error:
            if server.address in leaders or (server.address in to_hear and not server.has_no_account):
                return f"{server.name} answers, but does not tell what it has: {server.error}"
        elif not server.read_only:
            return (
                f"{server.name} still takes writes: its next run makes it read-only; "
                "if no agent runs there any more, stop it"
            )
        elif server.acknowledges and server.upstream not in (None, own_address):
            return f"{server.name} still acknowledges writes of another master: its next run ends that"
    return ""


def has_been_acknowledged(note: DatabaseNote, target: NodeDatabase, state: ServerState) -> bool:
    """Whether the master has waited for this candidate before: it never goes on without it then."""
    return state.marked or (was_opened(note, target) and note.candidate == target.candidate)


def acknowledges_now(target: NodeDatabase, state: ServerState, candidate: RemoteState) -> bool:
    """Whether the candidate acknowledges what this master writes."""
    own_address = (target.master.address, target.master.port)
    return state.acknowledging_replicas > 0 and candidate.acknowledges and candidate.upstream == own_address


def successor_problem(successor: RemoteState, state: ServerState) -> str:
    """Why the server that is to be the next master cannot take over from this one; '' if it can, or has already.

    `state`: of this one, which still takes writes.
    """
    if successor.unreachable:
        # Without the acknowledgement of another, nothing is written here, and the successor may be open by now.
        return "" if state.waits_for_acks and not state.acknowledging_replicas else "it does not answer"
    if successor.error:
        return f"it does not tell what it has: {successor.error}"
    if not successor.read_only:
        return ""
    if successor.upstream is None:
        return "it follows nobody"
    if not (successor.receiving and successor.applying):
        return f"it does not follow its upstream: {successor.replication_error or 'replication is stopped'}"
    return ""


def waits_for_nobody_else(state: ServerState) -> bool:
    """Whether the master waits for its candidate alone: one before it that has not heard of it may acknowledge too."""
    return state.acks_required and state.acknowledging_replicas == 1


def may_speak_for_all(state: ServerState, target: NodeDatabase) -> bool:
    """Whether nothing is acknowledged any more without this candidate: its master has said so, and it follows still."""
    own_master = state.upstream == (target.master.address, target.master.port)
    return state.marked and own_master and state.acknowledges and state.receiving and state.applying
