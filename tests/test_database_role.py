"""The role `database`: four MariaDB servers become master, candidate, replica and snapshot server of one database."""

import getpass
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from box import Box, alive
from rolecall.demo.machine import free_port

ADDRESSES = {f"db{n}": f"127.0.0.2{n}" for n in (1, 2, 3, 4)}
PASSWORD = "re'pl\\ica \"3"  # every character that a format has to escape
APP = "s3cret'\\"


class Fleet:
    """Four servers of the database `blog`, which share one document."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port(22000 + os.getpid() % 9000)
        for name, value in (("repl", PASSWORD), ("app", APP)):
            (folder / name).touch(0o600)
            (folder / name).write_text(value)
        self.nodes = {name: self._node(name) for name in ADDRESSES}
        self.document = self.nodes["db1"].document
        for name, address in ADDRESSES.items():
            self.document["servers"][name]["address"] = address
        self.document["servers"]["web1"]["address"] = "127.0.0.11"
        # On loopback whoever connects has this address; it stands for a server that is only in the document.
        self.document["servers"]["db5"] = {"role": "database", "address": "127.0.0.1", "zone": "b"}
        self.document["databases"]["blog"]["replicas"] = ["db3", "db5"]
        self.document["databases"]["blog"] |= {"port": self.port, "replication_password": f"file:{folder}/repl"}
        self.nodes["db1"].product(
            "blog", runtime="static", databases=["blog"], secrets={"DB_PASSWORD": f"file:{folder}/app"}
        )

    def _node(self, name: str) -> Box:
        (self.folder / name).mkdir()
        made = Box(self.folder / name, server=name)
        root, config = made.machine.root, made.machine.config
        text = config.read_text().replace('role = "web"', 'role = "database"').partition("[names]")[0]
        config.write_text(f'{text}[names]\nmysql_bind = "{ADDRESSES[name]}"\nmysql_user = "{getpass.getuser()}"\n')
        for folder in ("etc/mysql/mariadb.conf.d", "run/mysqld", "var/log/mysql"):
            (root / folder).mkdir(parents=True)
        return made

    def install(self, template: Path) -> None:
        """As the distribution's package does: an empty data folder."""
        for node in self.nodes.values():
            shutil.copytree(template, node.machine.root / "var/lib/mysql")

    def publish(self) -> None:
        """To each node's store: they are folders here."""
        self.document["serial"] += 1
        for node in self.nodes.values():
            node.publish(self.document, raise_serial=False)

    def become(self, **duties: Any) -> None:
        """A changed document."""
        self.document["databases"]["blog"] |= duties
        self.publish()

    def run(self, *names: str, command: str = "refresh", ok: bool | int = True) -> None:
        for name in names:
            self.nodes[name].rolecall(command, ok=ok)

    def boot(self, *names: str) -> None:
        for name in names:
            self.nodes[name].boot()

    def socket(self, name: str) -> Path:
        return self.nodes[name].machine.root / "run/mysqld/mysqld.sock"

    def sql(self, name: str, statement: str, *, ok: bool = True) -> str:
        """As that server's administrator."""
        argv = [
            "mariadb",
            "--no-defaults",
            f"--socket={self.socket(name)}",
            "--user=root",
            "--batch",
            "--skip-column-names",
        ]
        done = subprocess.run(argv, input=statement, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 or not ok, done.stderr
        return (done.stdout if ok else done.stderr).strip()

    def duty(self, name: str) -> Any:
        """Read-only, its upstream's address, whether it follows."""
        argv = ["mariadb", "--no-defaults", f"--socket={self.socket(name)}", "--user=root", "--batch"]
        told = subprocess.run(argv, input="SHOW SLAVE STATUS", capture_output=True, text=True, check=True).stdout
        known = dict(zip(*(line.split("\t") for line in told.splitlines()), strict=True)) if told else {}
        return self.sql(name, "SELECT @@read_only"), known.get("Master_Host", ""), known.get("Slave_SQL_Running", "")

    def stop(self) -> None:
        for node in self.nodes.values():
            pid = node.machine.root / "run/mysqld/mysqld.pid"
            if pid.exists() and alive(int(pid.read_text())):
                os.kill(int(pid.read_text()), 9)


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rc-") as made:
        folder = Path(made) / "data"
        subprocess.run(["mariadb-install-db", "--no-defaults", f"--datadir={folder}", f"--user={getpass.getuser()}",
                        "--skip-test-db", "--auth-root-authentication-method=normal", "--skip-name-resolve"],
                       check=True, capture_output=True)  # fmt: skip
        yield folder


@pytest.fixture
def fleet(folder: Path, template: Path) -> Iterator[Fleet]:
    made = Fleet(folder)
    made.install(template)
    made.publish()
    try:
        yield made
    finally:
        made.stop()


def test_four_servers_become_what_the_document_says_and_a_write_arrives_everywhere(fleet: Fleet) -> None:
    fleet.boot("db1", "db2", "db3", "db4")
    fleet.run("db1", command="boot")  # the candidate is there now
    assert fleet.duty("db1") == ("0", "", "")
    assert fleet.duty("db2") == ("1", ADDRESSES["db1"], "Yes")
    assert fleet.duty("db3") == ("1", ADDRESSES["db2"], "Yes")
    assert fleet.duty("db4") == ("1", ADDRESSES["db1"], "Yes")
    assert fleet.sql("db1", "SELECT @@rpl_semi_sync_master_enabled, @@rpl_semi_sync_slave_enabled") == "1\t0"
    assert fleet.sql("db2", "SELECT @@rpl_semi_sync_slave_enabled") == "1"
    fleet.sql("db1", "CREATE TABLE blog.t (n INT PRIMARY KEY); INSERT INTO blog.t VALUES (1)")
    position = fleet.sql("db1", "SELECT @@gtid_binlog_pos")
    for name in ("db2", "db3", "db4"):
        assert fleet.sql(name, f"SELECT MASTER_GTID_WAIT('{position}', 10)") == "0"
        assert fleet.sql(name, "SELECT n FROM blog.t") == "1"


def test_the_document_promotes_the_candidate_and_nothing_that_was_acknowledged_is_lost(fleet: Fleet) -> None:
    fleet.boot("db1", "db2", "db3", "db4")
    fleet.run("db1", command="boot")
    fleet.sql("db1", "CREATE TABLE blog.t (n INT PRIMARY KEY AUTO_INCREMENT, at INT)")
    for n in range(200):
        fleet.sql("db1", f"INSERT INTO blog.t (at) VALUES ({n})")
    fleet.become(epoch=2, master="db2", candidate="db1")
    done = fleet.nodes["db2"].rolecall("refresh", ok=75)
    assert "still writes" in done.stderr, "the former master has not heard of it yet"
    assert fleet.duty("db2")[0] == "1"
    fleet.run("db1")
    fleet.run("db2", "db3", "db4", "db1")
    assert fleet.duty("db2") == ("0", "", "")
    assert fleet.duty("db1") == ("1", ADDRESSES["db2"], "Yes")
    assert fleet.duty("db3") == ("1", ADDRESSES["db1"], "Yes")
    fleet.sql("db2", "INSERT INTO blog.t (at) VALUES (999)")
    position = fleet.sql("db2", "SELECT @@gtid_binlog_pos")
    for name in ("db1", "db3", "db4"):
        assert fleet.sql(name, f"SELECT MASTER_GTID_WAIT('{position}', 10)") == "0"
        assert fleet.sql(name, "SELECT COUNT(*) FROM blog.t") == "201"


def test_an_older_epoch_is_refused(fleet: Fleet) -> None:
    fleet.boot("db1")
    fleet.become(epoch=3)
    fleet.run("db1")
    fleet.become(epoch=2, master="db2", candidate="db1")
    done = fleet.nodes["db1"].rolecall("refresh", ok=78)
    assert "databases.blog.epoch is 2, but this server has seen 3" in done.stderr
    assert fleet.duty("db1")[0] == "0"


def test_a_server_with_data_of_its_own_is_not_overwritten(fleet: Fleet) -> None:
    fleet.boot("db1")
    fleet.become(master="db3", replicas=["db1", "db5"], candidate="db2")  # db2 as a master of its own first
    fleet.nodes["db2"].boot(ok=False)
    fleet.sql("db2", "SET sql_log_bin = 0; CREATE DATABASE mine; CREATE TABLE mine.t (n INT)")
    done = fleet.nodes["db2"].rolecall("refresh", "--resume", ok=False)
    assert "data of its own" in done.stdout + done.stderr
    assert fleet.sql("db2", "SHOW DATABASES LIKE 'mine'") == "mine"


def test_products_have_accounts_that_may_do_no_more_than_they_need(fleet: Fleet) -> None:
    fleet.boot("db1")
    rights = fleet.sql("db1", "SHOW GRANTS FOR 'p-blog'@'127.0.0.11'")
    assert "ON `blog`.*" in rights
    assert "ALL PRIVILEGES" not in rights
    told = (fleet.nodes["db1"].state / "databases.json").read_text()
    assert PASSWORD not in told
    assert APP not in told
