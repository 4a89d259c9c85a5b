"""The role `database`: four servers become master, candidate, replica and snapshot server of one database, and
stay it through what an operations team lives through. Nothing that was acknowledged is ever lost.
"""

import os
import random
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from database_fleet import ADDRESSES, APP, PASSWORD, Fleet, Load
from database_fleet import fleet as fleet  # noqa: PLC0414 - a fixture
from database_fleet import template as template  # noqa: PLC0414 - a fixture
from database_servers import SERVER
from patience import wait_until
from sampling import LONG


def test_in_whatever_order_they_boot_two_refreshes_after_the_master_all_is_well(fleet: Fleet) -> None:
    with ThreadPoolExecutor() as boots:  # each waits for the master as long as it may
        for message in boots.map(lambda name: fleet.nodes[name].boot(ok=75).stderr, ("db3", "db2", "db4")):
            assert "does not answer" in message
            assert "rolled back" not in message
    fleet.boot("db1")
    fleet.run("db3", ok=75)  # its upstream, the candidate, has no data yet
    fleet.run("db4", "db2", "db1")
    fleet.run("db3", "db4", "db2", "db1")
    assert {name: fleet.duty(name) for name in ADDRESSES} == {
        "db1": ("0", "", ""), "db2": ("1", ADDRESSES["db1"], "Yes"),
        "db3": ("1", ADDRESSES["db2"], "Yes"), "db4": ("1", ADDRESSES["db1"], "Yes"),
    }  # fmt: skip
    assert [fleet.sql(name, SERVER.acknowledgements) for name in ADDRESSES] == ["1\t0", "0\t1", "0\t0", "0\t0"]
    fleet.sql("db1", "CREATE TABLE blog.t (n INT PRIMARY KEY); INSERT INTO blog.t VALUES (1)")
    fleet.arrives("db1", "db2", "db3", "db4")
    rights = fleet.sql("db2", "SHOW GRANTS FOR 'p-blog'@'127.0.0.11'")
    assert "ON `blog`.*" in rights
    assert "ALL PRIVILEGES" not in rights
    for name in ADDRESSES:
        staged = (path for path in (fleet.nodes[name].state / "generations").rglob("*") if path.is_file())
        assert not [path for path in staged if APP in path.read_text()], "no product's password lies on a server"
        message = (fleet.nodes[name].state / "databases.json").read_text()
        assert PASSWORD not in message
        assert APP not in message


def test_a_promotion_by_the_document_loses_nothing_and_there_are_never_two_that_take_writes(fleet: Fleet) -> None:
    """There and back again: once the new master hears of it first, once the old one."""
    fleet.settle("db1", "db2", "db3", "db4")
    with Load(fleet, "db1") as load, ThreadPoolExecutor() as runs:
        fleet.become(epoch=2, master="db2", candidate="db1")
        waiting = runs.submit(fleet.nodes["db2"].rolecall, "refresh", ok=False)
        fleet.run("db1")
        fleet.follow("db3", "db4")  # MySQL's applier may wait a minute for the rest of a transaction before it moves
        result = waiting.result()
        if result.returncode == 75:  # on a busy machine the old master takes longer than a run waits for it
            result = fleet.nodes["db2"].rolecall("refresh")
        assert "has everything that the former master had" in result.stderr
        load.target = "db2"
        load.goes_on()
        fleet.follow("db2")
        assert fleet.sql("db2", SERVER.acknowledgements) == "1\t0"
        # Nobody has the beginning any more: who was master asks for what it lacks, and for no more.
        newest = fleet.sql("db1", "FLUSH BINARY LOGS; SHOW BINARY LOGS").splitlines()[-1].split()[0]
        fleet.sql("db1", f"PURGE BINARY LOGS TO '{newest}'")
        fleet.become(epoch=3, master="db1", candidate="db2")
        fleet.run("db2", "db1")
        load.target = "db1"
        load.goes_on()
        fleet.follow("db4", "db3")
    assert load.looks > 50
    assert load.both == []
    fleet.arrives("db1", "db2", "db3", "db4")
    assert set(load.acked) <= fleet.keys("db1")


def test_the_candidate_takes_over_from_a_master_that_was_killed_and_the_old_one_joins_again(fleet: Fleet) -> None:
    fleet.become(snapshot=None)  # it would have all, and help out
    fleet.settle("db1", "db2", "db3")
    with Load(fleet, "db1") as load, ThreadPoolExecutor() as other:
        # The candidate receives and acknowledges, but does not get to applying it before the master is dead.
        other.submit(fleet.sql, "db2", "LOCK TABLES blog.t READ; DO SLEEP(5)")
        wait_until(lambda: "SLEEP" in fleet.sql("db2", "SHOW PROCESSLIST"), "the table is locked")
        load.goes_on()
        fleet.kill("db1")
        fleet.become(epoch=2, master="db2", candidate="db3", replicas=["db1", "db5"])
        fleet.follow("db2")
        load.target = "db2"
        load.goes_on()
        fleet.follow("db3", "db2")
        assert fleet.sql("db2", SERVER.acknowledgements) == "1\t0"
        load.goes_on()
    assert set(load.acked) <= fleet.keys("db2")
    assert load.both == []
    fleet.start("db1")
    assert fleet.sql("db1", "SELECT @@read_only") == "1", "until somebody says what it is"
    messages: list[str] = []

    def has_ended() -> bool:
        done = fleet.nodes["db1"].rolecall("refresh", ok=False)
        messages.append(done.stderr)
        return done.returncode == 0 or "have diverged" in done.stderr

    wait_until(has_ended, "it follows")  # it may be further behind at first than a ready node is allowed to be
    if "have diverged" in messages[-1]:  # the write that was under way when it died had reached nobody
        assert not set(load.acked) & (fleet.keys("db1") - fleet.keys("db2"))
        fleet.arrives("db2", "db3")
    else:
        fleet.arrives("db2", "db1", "db3")


def test_what_only_the_snapshot_server_has_received_is_not_lost_with_the_master(fleet: Fleet) -> None:
    fleet.settle("db1", "db2", "db4")
    fleet.sql("db2", SERVER.dialect.stop_receiver)
    fleet.waiting_write("db1", "unacknowledged")
    wait_until(lambda: fleet.keys("db4") == {"unacknowledged"}, "it is at the snapshot server")
    fleet.kill("db1")
    fleet.become(epoch=2, master="db2", candidate="db1")
    fleet.follow("db2", "db4")
    assert fleet.keys("db2") == {"unacknowledged"}
    fleet.start("db1")
    fleet.run("db1", "db2")
    fleet.arrives("db2", "db1", "db4")


def test_a_master_that_comes_back_with_a_write_that_nobody_else_has_keeps_it_and_says_so(fleet: Fleet) -> None:
    fleet.settle("db1", "db2")
    fleet.sql("db2", SERVER.dialect.stop_receiver)
    client = fleet.waiting_write("db1", "errant")
    wait_until(lambda: "Waiting for semi-sync" in fleet.sql("db1", "SHOW PROCESSLIST"), "it waits")
    fleet.kill("db1")
    assert client.communicate()[0] == "", "it was never acknowledged"
    fleet.become(epoch=2, master="db2", candidate="db1")
    fleet.follow("db2")
    fleet.sql("db2", "INSERT INTO blog.t (k) VALUES ('new'), ('newer')")
    fleet.sql("db2", "INSERT INTO blog.t (k) VALUES ('newest')")
    fleet.start("db1")
    for _ in range(2):
        message = fleet.nodes["db1"].rolecall("refresh", ok=75).stderr
    assert "this server and db2 have diverged" in message
    assert "cause: diverged" in message
    assert fleet.keys("db1") == {"errant"}, "data is kept"
    assert fleet.sql("db1", "SELECT @@read_only") == "1"


def test_a_frozen_master_can_acknowledge_nothing_when_it_thaws_and_is_closed(fleet: Fleet) -> None:
    fleet.settle("db1", "db2")
    os.kill(fleet.pid("db1"), signal.SIGSTOP)
    try:
        fleet.become(epoch=2, master="db2", candidate=None, replicas=["db1", "db5"])
        fleet.follow("db2")
        fleet.sql("db2", "INSERT INTO blog.t (k) VALUES ('new')")
    finally:
        os.kill(fleet.pid("db1"), signal.SIGCONT)
    client = fleet.waiting_write("db1", "errant")
    wait_until(lambda: "Waiting for semi-sync" in fleet.sql("db1", "SHOW PROCESSLIST"), "it waits")
    assert fleet.sql("db2", "SELECT @@read_only") == "0"
    message = fleet.nodes["db1"].rolecall("refresh", ok=75).stderr
    assert "so the server was stopped" in message
    assert client.communicate()[0] == "", "it was never acknowledged"
    fleet.run("db1", ok=75)
    assert fleet.sql("db1", "SELECT @@read_only") == "1"
    assert fleet.keys("db2") == {"new"}


def test_a_replica_is_not_promoted_while_somebody_may_have_more(fleet: Fleet) -> None:
    fleet.settle("db1", "db2", "db3")
    fleet.kill("db1")
    fleet.become(epoch=2, master="db3", candidate="db2", replicas=["db1"], snapshot=None)
    message = fleet.nodes["db3"].rolecall("refresh", ok=75).stderr
    assert "127.0.0.21" in message
    assert "does not answer, and may have writes that this server lacks" in message
    fleet.become(replicas=[])
    fleet.run("db2", "db3", "db2")
    assert [fleet.duty(name)[0] for name in ("db2", "db3")] == ["1", "0"]


def test_a_master_that_was_restarted_goes_on_only_with_its_candidate(fleet: Fleet) -> None:
    fleet.settle("db1", "db2")
    fleet.kill("db2")
    fleet.kill("db1")
    fleet.start("db1")
    assert fleet.sql("db1", "SELECT @@read_only") == "1"
    message = fleet.nodes["db1"].rolecall("refresh", ok=75).stderr
    assert "db2 does not acknowledge, so every write waits" in message
    client = fleet.waiting_write("db1", "k")
    fleet.start("db2")
    assert client.poll() is None
    fleet.run("db2")
    assert client.communicate()[0].strip() == "k"
    fleet.run("db1")
    fleet.kill("db2")
    fleet.become(candidate=None)
    fleet.run("db1")
    fleet.sql("db1", "INSERT INTO blog.t (k) VALUES ('alone')")
    fleet.kill("db1")
    fleet.start("db1")
    fleet.run("db1")
    last = fleet.nodes["db1"].json("history", ok=True)[0]
    notes = {step["name"]: step["note"] for step in last["steps"]}
    assert (last["outcome"], notes["replicate"]) == ("unchanged", "master of blog: writable"), (
        "a restart leaves its trace"
    )


def test_a_restore_that_was_cut_off_begins_again_and_is_no_master(fleet: Fleet) -> None:
    fleet.boot("db1")
    fleet.sql("db1", "CREATE TABLE blog.big (n INT, t VARCHAR(200))")
    fleet.sql("db1", "INSERT INTO blog.big SELECT seq, REPEAT('x', 200) FROM " + SERVER.numbers.format(count=400000))
    node = fleet.nodes["db2"]
    node.rolecall("image", "attach")
    argv = [sys.executable, "-m", "rolecall", "boot", "--config", str(node.machine.config)]
    agent = subprocess.Popen(argv, env=node.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: fleet.sql("db2", SERVER.restoring, check=False) not in ("", "0"), "it has begun")
    agent.kill()
    agent.wait()
    fleet.become(epoch=2, master="db2", candidate=None)
    wait_until(lambda: "its restore was cut off" in node.rolecall("refresh", ok=75).stderr, "it says so")
    assert fleet.sql("db2", "SELECT @@read_only") == "1"
    fleet.become(epoch=3, master="db1", candidate="db2")
    fleet.run("db1", "db2")
    assert fleet.sql("db2", "CHECKSUM TABLE blog.big") == fleet.sql("db1", "CHECKSUM TABLE blog.big")


KILLER = """#!/bin/sh
# The client; at the call whose number stands in `at` the agent is killed: the statement is done, and nobody noted it.
n=$(cat {folder}/count); echo $((n + 1)) > {folder}/count
{client} "$@"; status=$?
[ "$n" -eq "$(cat {folder}/at)" ] && kill -9 $PPID
exit $status
"""


def test_an_agent_that_is_killed_at_any_statement_is_healed_by_the_next_run(fleet: Fleet) -> None:
    """At each one of joining, and of a promotion: of the new master, and of the old one."""
    fleet.boot("db1")
    killer = fleet.folder / "killer"
    killer.write_text(KILLER.format(folder=fleet.folder, client=SERVER.client))
    killer.chmod(0o755)

    def killed_everywhere(name: str) -> int:
        node = fleet.nodes[name]
        calm = node.machine.config.read_text()
        node.machine.config.write_text(re.sub("mysql_client = .*\n", "", calm) + f'mysql_client = "{killer}"\n')
        node.rolecall("image", "attach")
        step = 1 if LONG else 3
        at, done = random.randrange(step), -9
        while done == -9:
            (fleet.folder / "count").write_text("0")
            (fleet.folder / "at").write_text(f"{at}")
            done, at = node.rolecall("refresh", ok=False).returncode, at + step
        node.machine.config.write_text(calm)
        (fleet.folder / "at").write_text("-1")  # what is live until the switch has the killer for its client still
        fleet.run(name)
        return at

    assert killed_everywhere("db2") > 5
    fleet.run("db1")
    fleet.sql("db1", "CREATE TABLE blog.t (n INT PRIMARY KEY AUTO_INCREMENT, k VARCHAR(40))")
    fleet.sql("db1", "INSERT INTO blog.t (k) VALUES ('old')")
    fleet.become(epoch=2, master="db2", candidate="db1")
    assert killed_everywhere("db1") > 5
    assert killed_everywhere("db2") > 5
    fleet.run("db2", "db1")
    assert [fleet.duty(name) for name in ("db1", "db2")] == [("1", ADDRESSES["db2"], "Yes"), ("0", "", "")]
    fleet.sql("db2", "INSERT INTO blog.t (k) VALUES ('new')")
    fleet.arrives("db2", "db1")
    assert fleet.keys("db1") == {"old", "new"}


def test_a_password_that_changes_reaches_everybody_and_accounts_that_are_not_wanted_go(fleet: Fleet) -> None:
    fleet.settle("db1", "db2")
    fleet.document["servers"]["web2"] = {"role": "web", "address": "127.0.0.12", "zone": "b", "products": ["blog"]}
    fleet.publish()
    fleet.run("db1")
    fleet.arrives("db1", "db2")
    accounts = "SELECT host FROM mysql.user WHERE user = 'p-blog' ORDER BY host"
    assert fleet.sql("db2", accounts) == "127.0.0.11\n127.0.0.12"
    (fleet.folder / "repl").write_text("an'other")
    del fleet.document["servers"]["web2"]
    fleet.publish()
    message = fleet.nodes["db2"].rolecall("refresh").stderr
    assert "does not know the new replication password" in message
    assert fleet.duty("db2")[2] == "Yes"
    fleet.run("db1", "db2")
    fleet.kill("db1")
    fleet.start("db1")
    fleet.run("db1")
    fleet.arrives("db1", "db2")
    assert fleet.sql("db2", accounts) == "127.0.0.11"


def test_an_account_whose_password_cannot_be_read_stays_as_it_is_while_others_are_made(fleet: Fleet) -> None:
    fleet.settle("db1", "db2")
    fleet.arrives("db1", "db2")
    node, password = fleet.nodes["db1"], fleet.folder / "app"
    second = fleet.folder / "second"
    second.touch(0o600)
    second.write_text("another-s3cret")
    node.product("shop", runtime="static", databases=["blog"], secrets={"DB_PASSWORD": f"file:{second}"})
    away = password.rename(fleet.folder / "away")
    fleet.publish()
    accounts = "SELECT user FROM mysql.user WHERE user LIKE 'p-%' ORDER BY user"
    try:
        report = node.json("refresh", ok=1)
        assert f"cannot read the secret blog.DB_PASSWORD from {password}" in report["error"]
        assert (report["outcome"], report["serving"], report["left_out"]) == ("incomplete", True, {})
        assert fleet.sql("db1", accounts) == "p-blog\np-shop"
    finally:
        away.rename(password)
    fleet.run("db1")
    assert fleet.sql("db1", accounts) == "p-blog\np-shop"


def test_a_server_that_is_taken_out_takes_no_writes_and_keeps_its_data(fleet: Fleet) -> None:
    fleet.settle("db1", "db2")
    fleet.sql("db1", "INSERT INTO blog.t (k) VALUES ('kept')")
    fleet.become(epoch=2, master="db2", candidate=None, replicas=["db5"])
    fleet.run("db1", "db2")
    assert [fleet.duty(name)[0] for name in ("db1", "db2")] == ["1", "0"]
    assert fleet.keys("db1") == {"kept"}
    assert fleet.duty("db1") == ("1", "", "")


def test_a_server_with_data_of_its_own_is_not_overwritten_and_an_empty_one_replaces_nobody(fleet: Fleet) -> None:
    fleet.settle("db1", "db2")
    fleet.nodes["db3"].boot(ok=False)
    fleet.become(replicas=["db5"])
    fleet.run("db3")
    fleet.sql("db3", f"{SERVER.forget}; CREATE DATABASE mine; {SERVER.forget}")
    fleet.become(replicas=["db3", "db5"])
    message = fleet.nodes["db3"].rolecall("refresh", ok=75).stderr
    assert "data of its own" in message
    assert fleet.sql("db3", "SHOW DATABASES LIKE 'mine'") == "mine"
    fleet.sql("db1", "SET GLOBAL read_only = ON")
    fleet.become(epoch=2, master="db4", candidate="db2", snapshot=None)
    message = fleet.nodes["db4"].boot(ok=75).stderr
    assert "has no data, but" in message
    assert fleet.sql("db4", "SELECT @@read_only") == "1"


def test_an_older_epoch_is_refused(fleet: Fleet) -> None:
    fleet.boot("db1")
    fleet.become(epoch=3)
    fleet.run("db1")
    fleet.become(epoch=2, master="db2", candidate="db1")
    done = fleet.nodes["db1"].rolecall("refresh", ok=78)
    assert "cause: old-epoch" in done.stderr
    assert fleet.duty("db1")[0] == "0"
