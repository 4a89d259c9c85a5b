"""A machine that runs follows its document, by the timer, and keeps serving whatever goes wrong."""

import copy
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from baked import Images
from machine.container import BOOT, EVERY_2_S, NEVER, READY, REFRESH, TIMER, Machine, machine
from machine.world import DOCUMENT, PREFIX
from patience import ends_within
from rolecall.host import journal
from roots import sh

MASTERS = ("apache2.service", "php8.2-fpm.service")
SETTINGS = Path("etc/rolecall/agent.toml")
MODULE = "/usr/lib/python3/dist-packages/systemd"


class Shared:
    """A machine that serves one test after another: booting it costs more than what most of them do."""

    def __init__(self, image: list[Path], memory: Path, images: Images) -> None:
        self.image, self.memory, self.keys = image, memory, images.keys
        self.numbers, self.ends = itertools.count(1), ExitStack()
        self.machine: Machine | None = None
        self.document, self.settings = dict[str, Any](), ""

    def ready(self) -> Machine:
        """The machine as it was after its boot, but for what it remembers; a new one where that cannot be had."""
        if self.machine is None:
            name = f"rcs{os.getpid()}-{next(self.numbers)}"
            self.machine = self.ends.enter_context(machine(name, self.image, self.memory / name, self.keys))
            self.machine.world.product("blog")
            self.machine.world.publish()
            self.document = copy.deepcopy(self.machine.world.document)
            self.settings = (self.machine.root / SETTINGS).read_text()
            self.machine.boot()
            assert self.machine.failed() == [], self.machine.log()
        return self.machine

    def put_back(self) -> None:
        """Settings, timer, document and journal of the machine, which goes on."""
        node = self.ready()
        node.world.s3.heal()
        (node.root / SETTINGS).write_text(self.settings)
        node.run(f"systemctl stop {TIMER} {REFRESH}")
        node.drop_in(TIMER, NEVER)
        goes_on = {key: node.world.document[key] for key in ("serial", "databases")}  # an epoch never goes back either
        node.world.document = {**copy.deepcopy(self.document), **goes_on}
        node.world.publish()
        assert node.refresh() == 0, node.log()
        node.run(f"systemctl start {TIMER}; journalctl --quiet --rotate; rm -f /var/log/journal/*/*@*")

    def discard(self) -> None:
        """After a test that failed: nobody knows what it has left."""
        self.ends.close()
        self.machine = None


@pytest.fixture(scope="module")
def shared(image: list[Path], memory: Path, images: Images) -> Iterator[Shared]:
    kept = Shared(image, memory, images)
    yield kept
    kept.discard()


@pytest.fixture
def ready(request: pytest.FixtureRequest, shared: Shared) -> Iterator[Machine]:
    """A machine that runs and serves release 1 of the product blog."""
    failures = request.session.testsfailed
    yield shared.ready()
    if request.session.testsfailed == failures:
        shared.put_back()
    else:
        shared.discard()


def begun(node: Machine, step: str) -> None:
    """Start a refresh as the timer does, and wait until it has come to a step."""
    node.run(f"systemctl start --no-block {REFRESH}")
    node.until(lambda: node.show(REFRESH, "StatusText") == step)


def test_a_changed_document_reaches_the_machine_by_the_timer_and_no_daemon_is_restarted(ready: Machine) -> None:
    world, masters = ready.world, ready.pids(*MASTERS)
    ready.drop_in(TIMER, EVERY_2_S)
    ready.run(f"systemctl restart {TIMER}")
    world.document["databases"]["blog"] |= {"epoch": 2, "master": "db2", "candidate": "db1"}
    world.product("blog", "2")
    world.product("shop")
    world.publish()
    ready.until(lambda: "release=2 " in world.get("blog.example.com")[2])
    assert "master=db2" in world.get("blog.example.com")[2]
    ready.until(lambda: ready.states(REFRESH) == ["inactive"])
    assert world.get("shop.example.com")[0] == 200
    assert ready.pids(*MASTERS) == masters
    assert ready.failed() == []
    assert world.reported()["serial"] == world.document["serial"]
    told = ready.told(f"_SYSTEMD_UNIT={REFRESH}", f"MESSAGE_ID={journal.RUN_WELL}", "ROLECALL_OUTCOME=ready")
    assert told["ROLECALL_SERIAL"] == str(world.document["serial"])


def test_refreshes_that_change_nothing_leave_no_line_in_the_journal_and_cost_little(ready: Machine) -> None:
    def runs() -> int:
        return len([one for one in ready.world.s3.requests if one.key == DOCUMENT])

    ready.refresh()
    before, lines = runs(), len(ready.journal(f"UNIT={REFRESH}")) + len(ready.journal(f"_SYSTEMD_UNIT={REFRESH}"))
    ready.drop_in(TIMER, EVERY_2_S)
    ready.run(f"systemctl restart {TIMER}")
    ready.until(lambda: runs() >= before + 2)
    assert len(ready.journal(f"UNIT={REFRESH}")) + len(ready.journal(f"_SYSTEMD_UNIT={REFRESH}")) == lines == 0


def test_a_broken_release_is_rolled_back_the_unit_fails_and_what_was_before_serves(ready: Machine) -> None:
    world, before = ready.world, ready.links
    ready.setting('selftest_deadline = "10s"', 'selftest_deadline = "2s"')
    world.product("blog", "2", health="down")
    world.publish()
    assert ready.refresh() == 1
    assert ready.failed() == [REFRESH]
    assert ready.links == before
    assert world.get("blog.example.com")[2].startswith("release=1 ")
    assert world.reported()["outcome"] == "rolled back"
    told = ready.told(f"MESSAGE_ID={journal.RUN_FAILED}")
    assert (told["PRIORITY"], told["ROLECALL_OUTCOME"]) == ("3", "rolled back")
    assert "blog: GET /health" in told["MESSAGE"]
    run = ready.rolecall("history", str(ready.rolecall("history")[0]["number"]))
    logs = {log["name"]: log["lines"]["text"] for log in run["evidence"]["logs"]}
    assert "Reload" in logs["apache2.service"], "what systemd wrote about it since the switch"
    assert "Started" not in logs["apache2.service"], "and nothing from before"

    world.product("blog", "3")
    world.publish()
    assert ready.refresh() == 0
    assert ready.failed() == []
    assert world.get("blog.example.com")[2].startswith("release=3 ")


def test_without_the_systemd_module_the_same_words_have_their_levels(ready: Machine) -> None:
    ready.run(f"mv {MODULE} /root/")
    ready.setting('selftest_deadline = "10s"', 'selftest_deadline = "1s"')
    ready.world.product("blog", "2", health="down")
    ready.world.publish()
    assert ready.refresh() == 1
    ready.run(f"mv /root/systemd {MODULE}")
    (record,) = (one for one in ready.journal(f"_SYSTEMD_UNIT={REFRESH}") if one["MESSAGE"].startswith("rolled back"))
    assert (record["PRIORITY"], record["_TRANSPORT"]) == ("3", "stdout")


def test_a_run_that_is_told_to_stop_ends_at_once_and_the_next_one_completes_it(ready: Machine) -> None:
    world = ready.world
    world.product("blog", "unseen")  # what the tests before have released is unpacked on the machine
    world.s3.fault("delay", key=f"{PREFIX}/releases/*", seconds=60)
    world.publish()
    begun(ready, "stage")
    with ends_within(15):  # the store takes a minute
        ready.run(f"systemctl stop {REFRESH}")
    assert ready.show(REFRESH, "ExecMainStatus") == "75"
    assert ready.journal(f"_SYSTEMD_UNIT={REFRESH}", "ROLECALL_OUTCOME=interrupted")
    assert world.get("blog.example.com")[2].startswith("release=1 ")
    world.s3.heal()
    assert ready.refresh() == 0
    assert world.get("blog.example.com")[2].startswith("release=unseen ")
    assert ready.failed() == []


def test_there_are_never_two_runs_at_once(ready: Machine) -> None:
    world = ready.world
    world.product("blog", "2")
    world.publish()
    # The first one is the question whether anything has moved, which a refresh asks before its steps begin.
    world.s3.fault("delay", key=DOCUMENT, method="GET", seconds=8, times=2)
    begun(ready, "fetch")
    ready.run(f"systemctl start --no-block {REFRESH}")  # joins the one that runs
    by_hand = ready.try_("rolecall refresh")
    assert by_hand.returncode == 75
    assert "lock is held by rolecall refresh" in by_hand.stderr
    ready.until(lambda: ready.states(REFRESH) == ["inactive"])
    assert len(ready.journal(f"_SYSTEMD_UNIT={REFRESH}", f"MESSAGE_ID={journal.RUN_WELL}")) == 1


def test_each_machine_asks_at_a_second_of_its_own_and_keeps_it(
    ready: Machine, new: Callable[[list[Path]], Machine], image: list[Path]
) -> None:
    def offset(node: Machine) -> int:
        """Microseconds within the minute, which systemctl would round: these are hashes, and two are not the same."""
        path = "/org/freedesktop/systemd1/unit/rolecall_2drefresh_2etimer"
        ask = "busctl get-property org.freedesktop.systemd1 {} org.freedesktop.systemd1.Timer NextElapseUSecRealtime"
        return int(node.run(ask.format(path)).removeprefix("t ")) % 60_000_000

    ready.own_timer()
    mine = offset(ready)
    ready.reboot()
    assert offset(ready) == mine
    second = new(image)
    second.own_timer()
    second.boot(wait=False)
    second.until(lambda: second.states(TIMER) == ["active"])
    assert offset(second) != mine


def test_on_a_full_disk_nothing_changes_and_once_there_is_room_again_the_machine_goes_on(node: Machine) -> None:
    world, disk = node.world, node.folder / "state"
    disk.mkdir()
    sh("mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", disk)
    try:
        world.product("blog")
        world.publish()
        node.boot(extra=[f"--bind={disk}:/var/lib/rolecall"])
        assert node.failed() == [], node.log()
        before = node.run("readlink /var/lib/rolecall/current")
        node.try_("cat /dev/zero >/var/lib/rolecall/ballast")
        world.product("blog", "2", padding=4 << 20)
        world.publish()
        assert node.refresh() == 1
        assert node.failed() == [REFRESH]
        told = node.told("PRIORITY=3", f"_SYSTEMD_UNIT={REFRESH}")
        assert "No space left on device" in told["MESSAGE"]
        assert node.run("readlink /var/lib/rolecall/current") == before
        assert world.get("blog.example.com")[2].startswith("release=1 ")

        node.run("rm /var/lib/rolecall/ballast")
        assert node.refresh() == 0, node.log()
        assert world.get("blog.example.com")[2].startswith("release=2 ")
        assert node.failed() == []
        node.cut()
    finally:
        sh("umount", disk)


def test_a_boot_unit_that_is_restarted_by_hand_finds_its_daemons_running(ready: Machine) -> None:
    masters = ready.pids(*MASTERS)
    ready.world.product("blog", "2")
    ready.world.publish()
    ready.run(f"systemctl restart {BOOT}", timeout=30)
    assert ready.world.get("blog.example.com")[2].startswith("release=2 ")
    assert ready.pids(*MASTERS) == masters
    ready.until(lambda: ready.states(READY) == ["active"])


def test_at_shutdown_others_are_told_and_requests_end_before_the_daemons_stop(ready: Machine) -> None:
    world = ready.world
    ready.write(
        "/etc/rolecall/agent.toml", (ready.root / "etc/rolecall/agent.toml").read_text() + '\n[drain]\nwait = "3s"\n'
    )
    ready.run("systemctl poweroff")
    ready.until(lambda: world.reported()["outcome"] == "drained")
    assert world.reported()["leaving"] == "drained by `rolecall drain`"
    assert world.get("blog.example.com")[0] == 200, "while it is told, and a little longer, it still serves"
    ready.gone()
    ready.boot()
    assert ready.failed() == []
    assert world.reported()["leaving"] == ""

    drained = ready.journal("UNIT=rolecall-drain.service", "JOB_TYPE=stop", "JOB_RESULT=done")
    stopped = ready.journal("UNIT=apache2.service", "JOB_TYPE=stop", "JOB_RESULT=done")
    assert int(drained[0]["__REALTIME_TIMESTAMP"]) < int(stopped[0]["__REALTIME_TIMESTAMP"])


def test_a_machine_can_be_drained_by_hand_and_taken_back(ready: Machine) -> None:
    masters = ready.pids(*MASTERS)
    ready.run("systemctl stop rolecall-drain")
    assert ready.world.reported()["outcome"] == "drained"
    ready.run("systemctl start rolecall-drain")
    assert ready.refresh() == 0
    assert (ready.world.reported()["outcome"], ready.world.reported()["leaving"]) == ("unchanged", "")
    assert ready.pids(*MASTERS) == masters
