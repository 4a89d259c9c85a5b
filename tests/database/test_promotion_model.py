"""A model of promotions, by the decisions as they are shipped: every order of what documents, agents and faults do.

Three servers, one database, a few writes. The world below is a model: who is connected, who has which writes. What each
server decides is `rolecall.database.mastership` and `.replication`, and what a document says of the one before it is
`rolecall.fleet.masterships`. The promise: a server that opens has every write that was acknowledged and that any server
which is not destroyed still has.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeAlias

import pytest

from rolecall.database import mastership, replication
from rolecall.database.replication import Action, actions_for
from rolecall.database.states import RemoteState, ServerState
from rolecall.fleet.databases import Database
from rolecall.fleet.masterships import successions
from rolecall.fleet.schema import Fleet, parse_fleet
from rolecall.fleet.topology import NodeDatabase, node_databases
from rolecall.node.notes import DatabaseNote

NAMES = ("db1", "db2", "db3")
ADDRESS = {name: (f"10.0.0.2{n}", 3306) for n, name in enumerate(NAMES, 1)}
WRITES, DOCUMENTS, FAULTS = 2, 3, 3


@dataclass(frozen=True)
class Server:
    """A server with its agent's note. `writes`: those that it has, by their numbers."""

    writes: frozenset[int] = frozenset()
    open: bool = False
    waits: bool = False
    acknowledges: bool = False
    upstream: str | None = None
    silent: bool = False  # nobody reaches it, nor it anybody; its agent may read the document all the same
    destroyed: bool = False
    mark: tuple[int, str] | None = None  # in its data: whom the master waits for, and since which document
    opened: int = 0  # of the note, as the next ones
    acknowledged_since: int = 0
    candidate: str | None = None


@dataclass(frozen=True)
class World:
    """All that there is at one moment."""

    servers: tuple[Server, ...]
    document: Database
    serial: int = 1
    reported: tuple[int, ...] = (0, 0, 0)  # in which mastership each has reported to be open
    acknowledged: frozenset[int] = frozenset()
    written: int = 0
    faults: int = 0
    lost: str = ""  # the promise is broken: who opened without which writes

    def of(self, name: str) -> Server:
        return self.servers[NAMES.index(name)]

    def with_(self, name: str, **changes: Any) -> "World":
        at = NAMES.index(name)
        server = replace(self.servers[at], **changes)
        return replace(self, servers=(*self.servers[:at], server, *self.servers[at + 1 :]))


Step: TypeAlias = tuple[str, World]


def reaches(world: World, one: str, other: str) -> bool:
    """Whether two servers are connected."""
    return not any(world.of(name).silent or world.of(name).destroyed for name in (one, other))


def acknowledgers(world: World, master: str) -> list[str]:
    return [
        name
        for name in NAMES
        if world.of(name).acknowledges and world.of(name).upstream == master and reaches(world, name, master)
    ]


# What an agent finds and decides


@cache
def fleet_of(document: Database) -> Fleet:
    servers = {name: {"role": "database", "address": ADDRESS[name][0], "zone": "a"} for name in NAMES}
    header = '"format": 1, "fleet": "model", "serial": 1, "issued": "2026-01-01T00:00:00Z", '
    header += '"not_after": "2027-01-01T00:00:00Z", "products": {}, "caches": {}'
    text = f'{{{header}, "servers": {json.dumps(servers)}, "databases": {{"blog": {document.model_dump_json()}}}}}'
    return parse_fleet(text.encode())


@cache
def target_of(document: Database, name: str) -> NodeDatabase | None:
    return next(iter(node_databases(name, fleet_of(document))), None)


def note_of(server: Server) -> DatabaseNote:
    return DatabaseNote(opened=server.opened, acknowledged_since=server.acknowledged_since, candidate=server.candidate)


def remote_of(world: World, here: str, name: str) -> RemoteState:
    server = world.of(name)
    if not reaches(world, here, name):
        return RemoteState(ADDRESS[name], unreachable=True, error="ERROR 2002")
    return RemoteState(
        ADDRESS[name],
        read_only=not server.open,
        has_written=server.opened > 0,
        waits_for_acks=server.waits,
        acknowledging_replicas=len(acknowledgers(world, name)),
        acknowledges=server.acknowledges,
        upstream=ADDRESS[server.upstream] if server.upstream else None,
        receiving=server.upstream is not None,
        applying=server.upstream is not None,
    )


def state_of(world: World, name: str, target: NodeDatabase) -> ServerState:
    server, note = world.of(name), note_of(world.of(name))
    state = ServerState(
        read_only=not server.open,
        fresh=False,
        has_history=True,
        upstream=ADDRESS[server.upstream] if server.upstream else None,
        receiving=server.upstream is not None and reaches(world, name, server.upstream),
        applying=server.upstream is not None,
        waits_for_acks=server.waits,
        acknowledges=server.acknowledges,
        acknowledging_replicas=len(acknowledgers(world, name)),
    )
    succession = target.succession
    state = replace(
        state,
        marked=succession is not None and server.mark == (succession.since, target.candidate),
        opened=mastership.was_opened(note, target),
        complete=mastership.has_every_write(note, target, state),
    )
    if target.upstream is None and target.candidate:
        candidate = remote_of(world, name, target.candidate)
        before = mastership.has_been_acknowledged(note, target, state)
        state = replace(state, acks_required=before or mastership.acknowledges_now(target, state, candidate))
    return state


def obstacle(world: World, name: str, target: NodeDatabase, state: ServerState) -> str:
    """As `Promotion.obstacle`: what the others tell against this server as the master."""
    others = {member.server for member in target.members} - {name}
    leaders = {state.upstream} if state.upstream else set()
    asked = [remote_of(world, name, other) for other in NAMES if other in others or ADDRESS[other] in leaders]
    relevant = [remote for remote in asked if not remote.unreachable or remote.address in {ADDRESS[o] for o in others}]
    to_hear = mastership.members_to_hear(state, target, relevant)
    return mastership.reason_to_wait(relevant, ADDRESS[name], leaders, to_hear)


def run(world: World, name: str) -> World:
    """A run of the agent on this server, with the newest document, up to where it ends."""
    target = target_of(world.document, name)
    if target is None:
        return world.with_(name, open=False, waits=False, acknowledges=False, candidate=None)
    state = state_of(world, name, target)
    for action in actions_for(state, target):
        after = performed(world, name, action, target, state)
        if after is None:
            return world
        world = after
    world = world.with_(name, candidate=target.candidate if state.acks_required else None)
    server = world.of(name)
    waiting = replace(state, acknowledging_replicas=len(acknowledgers(world, name)))
    if server.open and not state.marked and mastership.waits_for_nobody_else(waiting):
        assert target.succession
        assert target.candidate
        world = world.with_(name, mark=(target.succession.since, target.candidate))
        for acknowledger in acknowledgers(world, name)[:1]:
            world = received(world, acknowledger)
    if server.open:
        at = NAMES.index(name)
        reported = (*world.reported[:at], server.opened, *world.reported[at + 1 :])
        world = judged(replace(world, reported=reported), name)
    return noted(world, name, target)


FLAGS: dict[Action, dict[str, bool]] = {
    Action.STOP_WAITING_FOR_ACKS: {"waits": False},
    Action.STOP_ACKNOWLEDGING: {"acknowledges": False},
    Action.ACKNOWLEDGE: {"acknowledges": True},
    Action.WAIT_FOR_ACKS: {"waits": True},
}


def performed(world: World, name: str, action: Action, target: NodeDatabase, state: ServerState) -> World | None:
    """The world after one action of a run; None where the run ends before it."""
    server = world.of(name)
    match action:
        case Action.SET_READ_ONLY:
            return world.with_(name, open=False) if may_close(world, name, target, state) else None
        case Action.FOLLOW:
            assert target.upstream
            upstream = target.upstream.server
            lags = reaches(world, name, upstream) and not server.writes <= world.of(upstream).writes
            return None if lags else world.with_(name, upstream=upstream)
        case Action.TAKE_OVER:
            if obstacle(world, name, target, state):
                return None
            others = (world.of(other).writes for other in NAMES if other != name and reaches(world, name, other))
            return world.with_(name, writes=server.writes.union(*others), upstream=None)
        case Action.SET_WRITABLE:
            if not mastership.must_take_over(state) and obstacle(world, name, target, state):
                return None
            return world.with_(name, opened=target.mastership, open=True)
    return world.with_(name, **FLAGS.get(action, {}))


def may_close(world: World, name: str, target: NodeDatabase, state: ServerState) -> bool:
    """As `DatabaseServer._require_successor`."""
    if target.upstream is None:
        return not obstacle(world, name, target, state)
    if mastership.opened_before(note_of(world.of(name)), target):
        return not mastership.successor_problem(remote_of(world, name, target.master.server), state)
    return True


def noted(world: World, name: str, target: NodeDatabase) -> World:
    """As `Follower.note_acknowledgement`."""
    succession = target.succession
    if target.duty != "candidate" or not succession:
        return world
    if mastership.may_speak_for_all(state_of(world, name, target), target):
        return world.with_(name, acknowledged_since=succession.since)
    return world


def received(world: World, name: str) -> World:
    """A server gets all that its upstream has, in its order."""
    server = world.of(name)
    assert server.upstream
    upstream = world.of(server.upstream)
    return world.with_(name, writes=server.writes | upstream.writes, mark=upstream.mark)


def judged(world: World, name: str) -> World:
    """The promise, of a server that its agent has found or made open."""
    elsewhere = frozenset[int]().union(*(server.writes for server in world.servers if not server.destroyed))
    lost = (world.acknowledged & elsewhere) - world.of(name).writes
    return replace(world, lost=f"{name} is open without {sorted(lost)}") if lost else world


# What may happen


def steps(world: World) -> Iterator[Step]:
    """Each thing that may happen next, and the world after it."""
    for name in NAMES:
        if not world.of(name).destroyed:
            yield f"the agent of {name} runs", run(world, name)
            yield from writes_of(world, name)
            yield from faults_of(world, name)
    if world.serial <= DOCUMENTS:
        for words, document in documents(world):
            yield words, published(world, document, world.reported)
            if any(world.reported):
                yield f"{words}, and nobody reads its report", published(world, document, (0, 0, 0))


def writes_of(world: World, name: str) -> Iterator[Step]:
    server = world.of(name)
    if server.open and world.written < WRITES:
        for other in acknowledgers(world, name):
            yield f"{name} acknowledges a write that {other} has", write(world, name, other)
        if not server.waits:
            yield f"{name} acknowledges a write", write(world, name, None)
    if server.upstream and reaches(world, name, server.upstream):
        yield f"{name} receives", received(world, name)


def faults_of(world: World, name: str) -> Iterator[Step]:
    if world.of(name).silent:
        yield f"{name} is back", world.with_(name, silent=False)
    elif world.faults < FAULTS:
        faulty = replace(world, faults=world.faults + 1)
        yield f"{name} is cut off", faulty.with_(name, silent=True)
        yield f"{name} is destroyed", faulty.with_(name, destroyed=True, open=False)


def write(world: World, master: str, acknowledger: str | None) -> World:
    number = world.written
    world = world.with_(master, writes=world.of(master).writes | {number})
    if acknowledger:
        world = received(world, acknowledger)
    return replace(world, written=number + 1, acknowledged=world.acknowledged | {number})


def documents(world: World) -> Iterator[tuple[str, Database]]:
    """What a person may publish next. They take out a server only if it is destroyed."""
    members = tuple(name for name in NAMES if not world.of(name).destroyed)
    now = world.document
    for master in members:
        for candidate in (None, *members):
            if candidate == master or (master, candidate) == (now.master, now.candidate):
                continue
            epoch = now.epoch + (master != now.master)
            replicas = tuple(name for name in members if name not in (master, candidate))
            changes = {"epoch": epoch, "master": master, "candidate": candidate, "replicas": replicas}
            yield f"a document names {master} master and {candidate} candidate", now.model_copy(update=changes)


def published(world: World, document: Database, reported: tuple[int, ...]) -> World:
    serial = world.serial + 1
    before = {"databases": {"blog": world.document.model_dump(mode="json")}}
    opened = {"blog": reported[NAMES.index(world.document.master)]}
    stamp = successions(before, fleet_of(document.model_copy(update={"succession": None})), serial, opened)["blog"]
    return replace(world, document=document.model_copy(update={"succession": stamp}), serial=serial)


def beginning() -> World:
    """A chain that is well: db1 is the master, db2 its candidate, db3 a replica."""
    database = Database(epoch=1, master="db1", candidate="db2", replicas=("db3",), replication_password="file:/p")
    stamp = successions({}, fleet_of(database), 1, {})["blog"]
    servers = (Server(), Server(upstream="db1"), Server(upstream="db2"))
    world = World(servers, database.model_copy(update={"succession": stamp}))
    for name in ("db1", "db2", "db3", "db1", "db2", "db1", "db2"):
        world = run(world, name)
    assert world.of("db1").open
    assert world.of("db1").waits
    assert world.of("db2").acknowledged_since == 1
    return world


def explored(first: World, limit: int) -> tuple[int, list[str]]:
    """How many worlds there are, at most so many; and the shortest way to a lost write, if there is one."""
    came_by: dict[World, tuple[World, str] | None] = {first: None}
    queue = deque([first])
    while queue and len(came_by) < limit:
        world = queue.popleft()
        for words, after in steps(world):
            if after.lost:
                return len(came_by), [*way(came_by, world), words, after.lost]
            if after not in came_by:
                came_by[after] = (world, words)
                queue.append(after)
    return len(came_by), []


def way(came_by: dict[World, tuple[World, str] | None], world: World) -> list[str]:
    words = []
    while step := came_by[world]:
        world = step[0]
        words.append(step[1])
    return words[::-1]


def after(*story: str) -> World:
    """The world after all this has happened."""
    world = beginning()
    for words in story:
        world = dict(steps(world))[words]
        assert not world.lost
    return world


def test_whatever_happens_in_whatever_order_no_server_opens_without_a_write_that_was_acknowledged() -> None:
    count, loss = explored(beginning(), 30_000)
    assert loss == []
    assert count >= 30_000


def believes_itself(note: DatabaseNote, target: NodeDatabase, state: ServerState) -> bool:
    return state.acknowledges and state.applying


def believes_an_old_note(note: DatabaseNote, target: NodeDatabase, state: ServerState) -> bool:
    return note.acknowledged_since > 0 and state.acknowledges and state.applying


def without(*names: str) -> Callable[..., frozenset[tuple[str, int]]]:
    """`members_to_hear` of a document whose succession lacks these."""
    shipped = mastership.members_to_hear

    def members_to_hear(state: ServerState, target: NodeDatabase, servers: Any) -> frozenset[tuple[str, int]]:
        succession = target.succession
        if succession and succession.former and "relieved" in names:
            former = succession.former.model_copy(update={"relieved": ()})
            succession = succession.model_copy(update={"former": former})
        if succession and "between" in names:
            succession = succession.model_copy(update={"between": ()})
        return shipped(state, replace(target, succession=succession), servers)

    return members_to_hear


ALONE = "a document names db1 master and None candidate"
WITHDRAWN = ("db2 is cut off", ALONE, "the agent of db1 runs", "db1 acknowledges a write")
PROMOTED = ("db1 is cut off", "a document names db2 master and db3 candidate", "the agent of db2 runs")
REPLACED = "a document names db1 master and db3 candidate"
UNREAD = "a document names db3 master and db1 candidate, and nobody reads its report"
MUTANTS: dict[str, tuple[dict[str, Callable[..., Any]], tuple[str, ...]]] = {
    "a candidate believes itself": ({"has_every_write": believes_itself}, WITHDRAWN),
    "a candidate believes what it has noted of another document": (
        {"has_every_write": believes_an_old_note},
        (*WITHDRAWN, "a document names db1 master and db2 candidate"),
    ),
    "a master goes on where it was": ({"must_take_over": lambda state: state.upstream is not None}, PROMOTED),
    "a master of any time is taken for this one": ({"was_opened": lambda note, _: note.opened > 0}, PROMOTED),
    "a candidate does without its master's word": (
        {"may_speak_for_all": lambda state, _: state.acknowledges},
        (REPLACED, "the agent of db2 runs", "the agent of db3 runs", "db1 is cut off"),
    ),
    "a candidate that was relieved is not heard": (
        {"members_to_hear": without("relieved")},
        ("db2 is cut off", REPLACED, "the agent of db3 runs", "the agent of db1 runs", "the agent of db1 runs",
         "the agent of db3 runs", "db2 is back", "db1 acknowledges a write that db2 has"),
    ),
    "a master that nobody has seen open is not heard": (
        {"members_to_hear": without("between")},
        (*PROMOTED, "the agent of db3 runs", UNREAD),
    ),
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_without_any_of_the_rules_a_write_is_lost(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rules, story = MUTANTS[mutant]
    first = after(*story)
    assert explored(first, 6_000)[1] == [], "with the rule nothing is"
    for name, rule in rules.items():
        for module in (mastership, replication):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, rule)
    assert explored(first, 30_000)[1]
