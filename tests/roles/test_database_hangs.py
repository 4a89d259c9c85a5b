"""What hangs is told: a write that nobody acknowledges, a server that is frozen or has no room, a long statement.

Whatever the reason, no generation is rolled back for it, and when it is over all is well again by itself.
"""

import os
from collections.abc import Callable

from database_fleet import Fleet
from database_fleet import fleet as fleet  # noqa: PLC0414 - a fixture
from database_fleet import template as template  # noqa: PLC0414 - a fixture
from patience import wait_until


def impatient(fleet: Fleet) -> None:
    """Writes may wait for a second."""
    fleet.document.setdefault("roles", {}).setdefault("database", {})["max_ack_wait"] = "1s"
    fleet.publish()


def has_waited(fleet: Fleet) -> Callable[[], bool]:
    statement = "SELECT MAX(TIME) > 2 FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for semi-sync%'"
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
        client = fleet.waiting_write("db1", "k")
        wait_until(has_waited(fleet), "it waits")
        report = node.json("refresh", ok=75)
        assert "s for db2's acknowledgement (at most 1 s)" in report["error"]
        assert "look at db2" in report["hint"]
        assert (report["outcome"], report["cause"], report["serving"]) == ("not ready", "acknowledgement", False)
        assert report["waits"]["blog"] > 2
        assert "for db2's acknowledgement" in node.rolecall("status", ok=1).stdout
        assert "rolecall_ready 0" in metrics.read_text()
        assert "for db2's acknowledgement" in node.rolecall("selftest", ok=1).stdout
    assert client.communicate()[0].strip() == "k"
    fleet.run("db1")
    assert os.readlink(node.state / "ready") == generation
    assert has_nothing_to_do(fleet, "db1")


def test_a_replica_that_no_longer_follows_is_seen_by_the_next_refresh(fleet: Fleet) -> None:
    fleet.settle("db1", "db2")
    fleet.run("db2")
    assert has_nothing_to_do(fleet, "db2")
    fleet.sql("db2", "STOP SLAVE SQL_THREAD")
    assert "follows its upstream" in fleet.nodes["db2"].rolecall("refresh").stderr
    assert has_nothing_to_do(fleet, "db2")
    fleet.sql("db1", "SET GLOBAL read_only = ON")
    fleet.run("db1")
    assert fleet.sql("db1", "SELECT @@read_only") == "0"
