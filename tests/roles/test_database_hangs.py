"""What hangs is told: a write that nobody acknowledges, a server that is frozen or has no room, a long statement.

Whatever the reason, no generation is rolled back for it, and when it is over all is well again by itself.
"""

import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from bench.test_noop import ALLOWED, cpu, modules
from box import alive
from database_fleet import ADDRESSES, Fleet, Load
from database_fleet import fleet as fleet  # noqa: PLC0414 - a fixture
from database_fleet import template as template  # noqa: PLC0414 - a fixture
from database_servers import SERVER
from patience import on_this_machine, wait_until
from rolecall import run
from rolecall.database import client, closing
from rolecall.node.node import open_node
from rolecall.settings import load_settings

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")


def impatient(fleet: Fleet) -> None:
    """Writes may wait for some seconds."""
    fleet.document.setdefault("roles", {}).setdefault("database", {})["max_ack_wait"] = "4s"
    fleet.publish()


def has_waited(fleet: Fleet) -> Callable[[], bool]:
    statement = "SELECT MAX(TIME) > 4 FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for semi-sync%'"
    return lambda: fleet.sql("db1", statement) == "1"


def has_nothing_to_do(fleet: Fleet, name: str) -> bool:
    """Whether a refresh asks nothing but whether something has moved: it says nothing then."""
    done = fleet.nodes[name].rolecall("refresh", ok=False)
    return (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_master_whose_writes_nobody_acknowledges_is_not_ready_until_they_are(fleet: Fleet) -> None:
    """Each refresh sees it: the one before had nothing to do."""
    impatient(fleet)
    fleet.settle("db1", "db2")
    fleet.run("db1", "db2")
    node = fleet.nodes["db1"]
    metrics = node.state / "metrics/rolecall.prom"
    assert 'rolecall_database_wait_seconds{database="blog"} 0' in metrics.read_text()
    generation = os.readlink(node.state / "ready")
    assert has_nothing_to_do(fleet, "db1")
    with fleet.frozen("db2"):
        assert has_nothing_to_do(fleet, "db1"), "nothing waits yet"
        write = fleet.waiting_write("db1", "k")
        wait_until(has_waited(fleet), "it waits")
        report = node.json("refresh", ok=75)
        assert "s for db2's acknowledgement (at most 4 s)" in report["error"]
        assert "look at db2" in report["hint"]
        assert (report["outcome"], report["cause"], report["serving"]) == ("not ready", "acknowledgement", False)
        assert report["waits"]["blog"] > 4
        assert "for db2's acknowledgement" in node.rolecall("status", ok=1).stdout
        assert "rolecall_ready 0" in metrics.read_text()
        assert "for db2's acknowledgement" in node.rolecall("selftest", ok=1).stdout
    assert write.communicate()[0].strip() == "k"
    fleet.run("db1")
    assert os.readlink(node.state / "ready") == generation
    assert has_nothing_to_do(fleet, "db1")


def test_a_master_that_is_about_to_close_is_not_taken_for_one_that_is_read_only(fleet: Fleet) -> None:
    """What it has written until then is not all: a successor that believed it would open too early."""
    fleet.settle("db1", "db2")
    fleet.run("db2", "db1")
    with fleet.frozen("db2"):
        write = fleet.waiting_write("db1", "under-way")
        wait_until(has_waited(fleet), "it waits")
        fleet.hold(SERVER.dialect.set_read_only, "db1")
        assert fleet.sql("db1", SERVER.dialect.server_state).split()[0] == "0"
    assert write.communicate()[0].strip() == "under-way"
    wait_until(lambda: fleet.sql("db1", SERVER.dialect.server_state).split()[0] == "1", "it is read-only")


def test_a_replica_that_no_longer_follows_is_seen_by_the_next_refresh(fleet: Fleet) -> None:
    fleet.settle("db1", "db2")
    fleet.run("db2")
    assert has_nothing_to_do(fleet, "db2")
    fleet.sql("db2", "STOP REPLICA SQL_THREAD")
    assert "follows its upstream" in fleet.nodes["db2"].rolecall("refresh").stderr
    assert has_nothing_to_do(fleet, "db2")
    fleet.sql("db1", SERVER.dialect.set_read_only)
    fleet.run("db1")
    assert fleet.sql("db1", "SELECT @@read_only") == "0"


def refreshed(fleet: Fleet, name: str) -> dict[str, Any]:
    """The report of a refresh in this process, which has no patience with a server that does not answer."""
    box, seconds = fleet.nodes[name], on_this_machine(2)
    with (
        mock.patch.dict(os.environ, box.env),
        mock.patch.multiple(client, ANSWER_TIMEOUT=seconds, STOPPING_TIMEOUT=seconds, GLANCE_TIMEOUT=seconds),
        mock.patch.multiple(closing, CLOSING_TIMEOUT=seconds, ENDING_TIMEOUT=seconds),
    ):
        node = open_node(load_settings(box.machine.config))
        return run.converge(node, "refresh", config=box.machine.config).data()


def munin(fleet: Fleet, name: str) -> dict[str, str]:
    """What the Munin plugin of a server tells."""
    plugin = fleet.nodes[name].state / "current/munin-plugins/database"
    output = subprocess.run(["perl", str(plugin)], env=fleet.nodes[name].env, capture_output=True, text=True).stdout
    return dict(re.findall(r"^(\w+)\.value (\S+)$", output, re.MULTILINE))


@pytest.mark.long  # a server looks for room again only each minute
@AS_ROOT
def test_a_candidate_whose_logs_have_no_room_says_so_and_so_does_its_master_until_there_is_room_again(
    fleet: Fleet,
) -> None:
    filler = fleet.small_disk("db2")
    impatient(fleet)
    fleet.settle("db1", "db2")
    fleet.run("db1", "db2")
    assert has_nothing_to_do(fleet, "db2")
    fleet.fill_disk(filler, "db2")
    last = fleet.waiting_write("db1", "last")
    wait_until(has_waited(fleet), "it waits")
    own = fleet.nodes["db2"].json("refresh")
    assert (own["exit_code"], own["outcome"], own["cause"]) == (75, "not ready", "disk-full")
    assert "blog: the logs' disk is not full" in fleet.nodes["db2"].rolecall("status", ok=1).stdout
    masters = fleet.nodes["db1"].json("refresh", ok=75)
    assert (masters["cause"], masters["serving"]) == ("acknowledgement", False)
    assert float(munin(fleet, "db1")["waiting"]) > 4
    assert munin(fleet, "db2")["lag"] == "U", "Nagios: it does not follow its upstream"
    filler.unlink()
    assert last.communicate(timeout=120)[0].strip() == "last"
    fleet.follow("db2", "db1")
    assert float(munin(fleet, "db1")["waiting"]) == 0
    assert has_nothing_to_do(fleet, "db1")


@AS_ROOT
def test_a_master_without_room_is_not_ready_and_is_stopped_so_that_another_can_take_its_place(fleet: Fleet) -> None:
    filler = fleet.small_disk("db1")
    impatient(fleet)
    fleet.settle("db1", "db2")
    fleet.run("db1", "db2")
    assert has_nothing_to_do(fleet, "db1")
    with Load(fleet, "db1") as load:
        fleet.fill_disk(filler, "db1")
        report = fleet.nodes["db1"].json("refresh", ok=75)
        assert (report["cause"], report["serving"]) == ("disk-full", False)
        fleet.become(epoch=2, master="db2", candidate=None, replicas=["db1", "db5"])
        report = refreshed(fleet, "db1")
        assert "writes waited for room on a disk that is full, so the server was stopped" in report["error"]
        assert (report["cause"], report["exit_code"]) == ("former-master", 75)
        fleet.follow("db2")
        load.target = "db2"
        load.goes_on()
    assert set(load.acked) <= fleet.keys("db2")
    assert load.both == []
    filler.unlink()
    for _ in range(2):
        report = refreshed(fleet, "db1")
    assert report["exit_code"] == 0 or report["cause"] == "diverged"
    assert fleet.sql("db1", "SELECT @@read_only") == "1"


def test_a_former_master_that_is_frozen_is_killed_by_its_own_agent_at_the_third_run(fleet: Fleet) -> None:
    fleet.settle("db1", "db2")
    pid = fleet.pid("db1")
    with fleet.frozen("db1"):
        fleet.become(epoch=2, master="db2", candidate=None, replicas=["db1", "db5"])
        for _ in range(2):
            report = refreshed(fleet, "db1")
            assert (report["cause"], report["exit_code"], alive(pid)) == ("former-master", 75, True)
        report = refreshed(fleet, "db1")
        assert "3 runs could not make it read-only, so the server was stopped" in report["error"]
        assert not alive(pid)
    fleet.follow("db2", "db1")
    assert fleet.duty("db1") == ("1", ADDRESSES["db2"], "Yes")


def test_replication_that_does_not_stop_in_time_rolls_nothing_back(fleet: Fleet) -> None:
    """A statement that takes long is applied while the document has another upstream, and another generation."""
    fleet.become(candidate=None, replicas=["db2", "db5"])
    fleet.settle("db1", "db2", "db4")
    fleet.hold("LOCK TABLES blog.t READ; DO SLEEP(1234.5)", "db2")
    fleet.sql("db1", "INSERT INTO blog.t (k) VALUES ('held')")
    wait_until(lambda: "Waiting for table" in fleet.sql("db2", "SHOW PROCESSLIST"), "the applier comes to it")
    fleet.document["roles"] = {"database": {"max_lag": "2m"}}
    fleet.become(candidate="db4", snapshot=None)
    fleet.run("db4", "db1")
    before = os.readlink(fleet.nodes["db2"].state / "current")
    report = refreshed(fleet, "db2")
    assert "its applier is in the midst of a long statement" in report["error"]
    assert (report["cause"], report["exit_code"], report["outcome"]) == ("long-statement", 75, "not ready")
    assert before != os.readlink(fleet.nodes["db2"].state / "current") == f"generations/{report['generation']}"
    statement = "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO = 'DO SLEEP(1234.5)'"
    fleet.sql("db2", f"KILL {fleet.sql('db2', statement)}")
    fleet.follow("db2")
    assert fleet.duty("db2") == ("1", ADDRESSES["db4"], "Yes")
    fleet.arrives("db1", "db2")


def test_a_refresh_of_a_database_server_without_news_loads_one_module_more_and_no_client(
    fleet: Fleet, record_property: Callable[[str, object], None]
) -> None:
    fleet.become(candidate=None)
    fleet.boot("db1")
    fleet.run("db1")
    assert has_nothing_to_do(fleet, "db1")
    node = fleet.nodes["db1"]
    node.env.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    tell = "import sys\n{}\nprint(*sorted(sys.modules))"
    bare = modules(node, tell.format(""))
    loaded = modules(node, tell.format("from rolecall.__main__ import main\nassert main() == 0"))
    assert loaded - bare == ALLOWED | {"rolecall.shortcut.look", "_socket"}
    argv = (sys.executable, "-c", "import sys; from rolecall.__main__ import main; sys.exit(main())")
    words = ("refresh", "--config", str(node.machine.config))
    record = node.machine.run / "steady"
    text = record.read_text()
    asking = statistics.median(cpu(node, *argv, *words) for _ in range(25))
    first, revalidation, question, *stamps = text.splitlines()
    assert question.startswith(str(fleet.socket("db1")))
    record.write_text("\n".join((first, revalidation, "", *stamps, "")))
    silent = statistics.median(cpu(node, *argv, *words) for _ in range(25))
    print(f"\na refresh without news: {asking * 1000:.1f} ms of CPU with the question, {silent * 1000:.1f} ms without")
    record_property("noop of a database server, ratio", round(asking / silent, 3))
    assert asking < silent * 2
