"""Servers fail while clients write, and documents promote others: nothing that was confirmed is lost, no two servers
confirm writes at the same time, and while nothing is confirmed some server's agent says why.

`make failovers` runs many rounds, each with another fault; ROLECALL_FAILOVERS is their number, and ROLECALL_SEED has
the same ones again. Each machine has a network of its own, and can be cut off from the others and from the store.
"""

import os
import random
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from database_fleet import template as template  # noqa: PLC0414 - a fixture
from database_network import Fault, NetworkFleet, networks, waits_for_room
from database_servers import SERVER
from database_traffic import Traffic
from patience import on_this_machine, wait_until

ROUNDS = int(os.environ.get("ROLECALL_FAILOVERS", {"mariadb": 30, "mysql": 10}[SERVER.name]))
SEED = int(os.environ.get("ROLECALL_SEED", random.SystemRandom().randrange(1_000_000)))
ROUNDS_OF_A_FLEET = 6
MAX_ACK_WAIT = 2.0  # seconds that a write may wait before its master is not ready
PATIENCE = 3  # passes of the agents, before a fault is mended that a promotion has to wait for
SAYS_WHY = re.compile("replication|acknowledg|upstream|writable|still takes writes")  # not any note will do
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="makes networks and mounts small disks")
KINDS = ("killed", "frozen", "cut off", "disk full")
PLANS = (
    *(f"master {kind}" for kind in KINDS),
    *(f"candidate {kind}" for kind in KINDS),
    "candidate, then master",
    "candidate, another, then master",
    "two promotions in a row",
    "master killed, two promotions in a row",
)


@dataclass
class Round:
    """One row of the table."""

    number: int
    plan: str
    words: list[str] = field(default_factory=list)  # what was done
    outage: float = 0.0  # seconds from the fault to the first write that was confirmed again
    confirmed: int = 0
    lost: int = 0
    two_writers: int = 0
    both_open: int = 0  # looks at which two servers were not read-only
    fenced: bool = False  # a master that is frozen or cut off may still say that it is open, but confirms nothing
    untold: list[str] = field(default_factory=list)  # passes of the agents in which nothing was confirmed or said

    def __str__(self) -> str:
        figures = f"{self.outage:8.1f} {self.confirmed:9} {self.lost:4} {self.two_writers:3} {self.both_open:4}"
        return f"{self.number:5}  {self.plan:38} {figures} {len(self.untold):6}  {'; '.join(self.words)}"


HEAD = f"{'round':5}  {'fault':38} {'seconds':>8} {'confirmed':>9} {'lost':>4} {'two':>3} {'open':>4} {'untold':>6}"


class Story:
    """Rounds of one fleet. `random` decides everything."""

    def __init__(self, fleet: NetworkFleet, chance: random.Random) -> None:
        self.fleet, self.random = fleet, chance
        self.confirmed: set[str] = set()  # in all rounds
        self.down: set[str] = set()  # servers whose agent does not run
        self.last: dict[str, str] = {}  # what each agent has said last

    def begin(self) -> None:
        """All are well, and there is a table to write to."""
        for name, node in self.fleet.nodes.items():
            node.boot(ok=name == "db1")  # a busy machine may take longer for a handshake than its servers wait
        self.fleet.follow("db2", "db3", "db4", "db1")
        self.fleet.settle()
        self.fleet.follow("db2", "db3", "db4", "db1")

    @property
    def database(self) -> dict[str, object]:
        data: dict[str, object] = self.fleet.document["databases"]["blog"]
        return data

    @property
    def master(self) -> str:
        return str(self.database["master"])

    @property
    def candidate(self) -> str:
        return str(self.database["candidate"])

    def others(self) -> list[str]:
        """The members that are neither, in a random order."""
        names = [name for name in self.fleet.nodes if name not in (self.master, self.candidate)]
        return self.random.sample(names, len(names))

    def name(self, master: str, candidate: str, without: str = "") -> None:
        """A new document, as an operator publishes it."""
        epoch = int(str(self.database["epoch"])) + (master != self.master)
        rest = [name for name in self.fleet.nodes if name not in (master, candidate, without)]
        self.fleet.become(epoch=epoch, master=master, candidate=candidate, replicas=rest)
        self.row.words.append(f"{master}+{candidate}{' without ' + without if without else ''}")

    # A round

    def play(self, row: Round) -> None:
        """Strike, publish, have the agents run, mend; and read all that was confirmed, before and after."""
        self.row, former = row, self.master
        with Traffic(self.fleet, self.master, f"{row.number}") as self.traffic:
            self.pause(1.0)
            self.began = time.monotonic()
            faults = self.strike_and_publish(row.plan)
            self.traffic.target = self.master
            self.wait_for_writes()
            if self.traffic.since(self.published):
                self.read()
            self.mend(faults)
            self.converge()
            self.writes_go_on()
        row.outage = self.traffic.outage(self.began)
        row.confirmed, row.both_open = len(self.traffic.confirmations), len(self.traffic.both)
        row.two_writers = len(self.traffic.two_writers())
        self.confirmed |= {item.key for item in self.traffic.confirmations}
        row.lost = max(row.lost, len(self.confirmed - self.fleet.keys(self.master)))
        self.fleet.arrives(self.master, *(self.fleet.nodes.keys() - {self.master}))
        row.words.append(f"{former}→{self.master}")

    def strike_and_publish(self, plan: str) -> list[Fault]:
        """What happens to machines, and the documents that somebody publishes because of it."""
        master, candidate, (third, fourth) = self.master, self.candidate, self.others()
        server, _, kind = plan.partition(" ")
        faults: list[Fault] = []
        without = self.random.random() < 0.5
        if plan == "two promotions in a row":
            self.name(candidate, third)
            self.name(third, self.random.choice([candidate, fourth]))
        elif plan == "master killed, two promotions in a row":
            faults.append(self.strike(master, "killed"))
            self.name(candidate, third)
            self.name(third, self.random.choice([candidate, fourth]))
        elif plan == "candidate, then master":
            faults.append(self.strike(candidate))
            self.passes(self.random.randint(0, 2))
            faults.append(self.strike(master))
            self.name(candidate, third)
        elif plan == "candidate, another, then master":
            faults.append(self.strike(candidate))
            self.name(master, third)
            self.passes(self.random.randint(0, 2))
            faults.append(self.strike(master))
            self.name(third, fourth)
        elif server == "master":
            faults.append(self.strike(master, kind))
            self.passes(self.random.choice([0, 2]))  # the second one looks at what has lasted
            self.name(candidate, third, master if without else "")
        else:
            faults.append(self.strike(candidate, kind))
            self.passes(1)
            if self.random.random() < 0.7:
                self.name(master, third, candidate if without else "")
        self.published = time.monotonic()
        return faults

    def strike(self, server: str, kind: str = "") -> Fault:
        kind = kind or self.random.choice(KINDS)
        fault = Fault(self.fleet, kind, server, agent_runs=self.random.random() < 0.5)
        fault.strike()
        self.row.fenced |= server == self.master and kind in ("frozen", "cut off")
        if kind == "disk full":
            waits_for_room(self.fleet, server)
        if not fault.agent_runs:
            self.down.add(server)
        self.row.words.append(f"{server} {kind}{'' if fault.agent_runs else ', no agent'}")
        self.pause(1.0)
        return fault

    def mend(self, faults: list[Fault]) -> None:
        """The machines are back; those that were taken out of the document are named again."""
        for fault in self.random.sample(faults, len(faults)):
            fault.mend()
            self.down.discard(fault.server)
            if fault.kind == "killed" and self.random.random() < 0.5:
                self.fleet.start(fault.server)
            self.pause(0.5)
        if len(self.database["replicas"]) < 2:  # type: ignore[arg-type]
            self.name(self.master, self.candidate)

    def pause(self, most: float) -> None:
        time.sleep(self.random.uniform(0, most))

    # The agents

    def run_all(self) -> bool:
        """Each agent that runs, at moments of its own, as their timers have it; returns whether all are well."""
        began = time.monotonic()
        silent = not self.traffic.since(began - MAX_ACK_WAIT - 1)
        names = [name for name in self.fleet.nodes if name not in self.down]
        delays = {name: self.random.uniform(0, 1) for name in names}

        def refresh(name: str) -> tuple[int, str]:
            time.sleep(delays[name])
            done = self.fleet.nodes[name].rolecall("refresh", ok=False, timeout=300)
            return done.returncode, done.stderr.strip()

        with ThreadPoolExecutor() as timers:
            answers = dict(zip(names, timers.map(refresh, names), strict=True))
        for name, (code, message) in answers.items():
            assert code in (0, 1, 75), f"{name}: {code} {message}"  # 1: on a busy machine a server takes long to start
            assert "Traceback" not in message, f"{name}: {message}"
            if "cause: diverged" in message and "cause: diverged" in self.last.get(name, ""):
                self.set_aside(name)
            self.last[name] = message
        told = any(code or SAYS_WHY.search(message) for code, message in answers.values())
        if silent and not told and not self.traffic.since(began):
            self.row.untold.append(f"{names} said nothing")
        return not any(code for code, _ in answers.values())

    def set_aside(self, name: str) -> None:
        """It has said twice that it has diverged; as a person does who reads that."""
        if name != self.master:
            self.fleet.set_aside(name)
            self.row.words.append(f"{name} set aside")

    def passes(self, count: int) -> None:
        for _ in range(count):
            self.run_all()

    def wait_for_writes(self) -> None:
        """The agents run until writes are confirmed under the newest document, or until that needs the lost servers."""
        for _ in range(PATIENCE):
            if self.written_at_target():
                return
            self.run_all()
        self.row.words.append("waited for the mending")

    def written_at_target(self) -> bool:
        return any(item.server == self.master for item in self.traffic.since(self.published))

    def converge(self) -> None:
        """The agents run until all of them are well."""
        until = time.monotonic() + on_this_machine(240)
        while not (self.run_all() and self.run_all()):
            assert time.monotonic() < until, f"{self.row}\n" + "\n".join(f"{n}: {w}" for n, w in self.last.items())

    def writes_go_on(self) -> None:
        moment = time.monotonic()
        wait_until(lambda: len(self.traffic.since(moment)) > 20, "writes are confirmed at the end")

    def read(self) -> None:
        """All that was confirmed until now is on the master."""
        keys = self.confirmed | {item.key for item in self.traffic.confirmations.copy()}
        self.row.lost = len(keys - self.fleet.keys(self.master))


@contextmanager
def story(folder: Path, template: Path, chance: random.Random) -> Iterator[Story]:
    with networks(tuple(NetworkFleet.addresses)) as switch:
        fleet = NetworkFleet(folder, switch)
        fleet.document.setdefault("roles", {}).setdefault("database", {})["max_ack_wait"] = f"{MAX_ACK_WAIT:g}s"
        try:
            fleet.install(template)
            fleet.publish()
            fresh = Story(fleet, chance)
            fresh.begin()
            yield fresh
        finally:
            fleet.stop()


def plans(count: int) -> list[str]:
    """Each plan as often as any other, in a random order."""
    chance = random.Random(SEED)
    return [plan for _ in range(0, count, len(PLANS)) for plan in chance.sample(PLANS, len(PLANS))][:count]


def play(
    folder: Path, template: Path, numbered: dict[int, str], record_property: Callable[[str, object], None]
) -> None:
    """Rounds of one fleet. The table stands in the summary of the run, also of rounds that fail."""
    rows: list[Round] = []
    record_property("figure", f"failovers of {SERVER.name}, ROLECALL_SEED={SEED}\n{HEAD}")
    with story(folder, template, random.Random(f"{SEED} {min(numbered)}")) as fresh:
        for number, plan in numbered.items():
            rows.append(Round(number, plan))
            try:
                fresh.play(rows[-1])
            finally:
                record_property("figure", str(rows[-1]))
                print(rows[-1], flush=True)
    assert [row.number for row in rows if row.lost] == [], "confirmed writes were lost"
    assert [row.number for row in rows if row.two_writers] == [], "two servers have confirmed writes"
    assert [row.number for row in rows if row.both_open and not row.fenced] == [], "two servers were open"
    assert [row.number for row in rows if row.untold] == [], "nothing was confirmed, and nobody said why"


@AS_ROOT
def test_after_a_fault_of_the_master_and_one_of_the_candidate_nothing_is_lost_and_writes_go_on(
    folder: Path, template: Path, record_property: Callable[[str, object], None]
) -> None:
    chosen = [next(plan for plan in plans(len(PLANS)) if plan.startswith(server)) for server in ("master", "candidate")]
    play(folder, template, dict(enumerate(chosen, 1)), record_property)


@AS_ROOT
@pytest.mark.long
@pytest.mark.timeout(0)
@pytest.mark.parametrize("first", range(1, ROUNDS + 1, ROUNDS_OF_A_FLEET))
def test_through_many_faults_and_promotions_nothing_is_lost_and_writes_go_on(
    folder: Path, template: Path, first: int, record_property: Callable[[str, object], None]
) -> None:
    numbered = dict(enumerate(plans(ROUNDS), 1))
    last = min(first + ROUNDS_OF_A_FLEET - 1, ROUNDS)
    play(folder, template, {number: numbered[number] for number in range(first, last + 1)}, record_property)
