"""Four real servers of one database, and the document that they share."""

import copy
import getpass
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest

from box import Box, alive
from database_servers import SERVER
from patience import wait_until
from rolecall.demo.folder_node import free_port
from rolecall.fleet.masterships import successions
from rolecall.fleet.schema import parse_fleet

ADDRESSES = {f"db{n}": f"127.0.0.2{n}" for n in (1, 2, 3, 4)}
PASSWORD = "re'pl\\ica \"3"  # every character that a format has to escape
APP = "s3cret'\\"
WRITER = "writer"  # not the administrator, who may write to a server that is read-only
ADMIN = SERVER.admin


FULL = (
    "SELECT MAX(TIME) > 4 FROM information_schema.PROCESSLIST "
    "WHERE STATE IN ('Waiting for someone to free space', 'Waiting for disk space')"
)


class Fleet:
    """Four servers of the database `blog`, which share one document."""

    addresses = ADDRESSES

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port(22000 + os.getpid() % 9000)
        self.mounted: list[Path] = []
        self.unreached: set[str] = set()  # servers that cannot read the store now
        for name, value in (("repl", PASSWORD), ("app", APP)):
            (folder / name).touch(0o600)
            (folder / name).write_text(value)
        self.nodes = {name: self._node(name) for name in ADDRESSES}
        self.document, self.published = self.nodes["db1"].document, dict[str, Any]()
        for name, address in self.addresses.items():
            self.document["servers"][name]["address"] = address
        self.document["servers"]["web1"]["address"] = "127.0.0.11"
        # On loopback whoever connects has this address; it stands for a server that is only in the document.
        self.document["servers"]["db5"] = {"role": "database", "address": "127.0.0.1", "zone": "b"}
        self.document["databases"]["blog"]["replicas"] = ["db3", "db5"]
        self.document["databases"]["blog"] |= {"port": self.port, "replication_password": f"file:{folder}/repl"}
        self.document["roles"] = {"database": {"buffer_pool_mb": 64}}
        self.nodes["db1"].product(
            "blog", runtime="static", databases=["blog"], secrets={"DB_PASSWORD": f"file:{folder}/app"}
        )

    def _node(self, name: str) -> Box:
        (self.folder / name).mkdir()
        made = Box(self.folder / name, server=name, platform=SERVER.platform)
        root, config = made.machine.root, made.machine.config
        text = config.read_text().replace('role = "web"', 'role = "database"').partition("[names]")[0]
        names = {"mysql_bind": self.addresses[name], "mysql_user": getpass.getuser(), **SERVER.names}
        lines = (f'{key} = "{value}"\n' for key, value in names.items())
        config.write_text(f"{text}[names]\n{''.join(lines)}")
        for folder in ("etc/mysql/mariadb.conf.d", "etc/my.cnf.d", "run/mysqld", "var/log/mysql"):
            (root / folder).mkdir(parents=True)
        return made

    def install(self, template: Path) -> None:
        """As the distribution's package does: an empty data folder."""
        self.template = template
        for node in self.nodes.values():
            shutil.copytree(template, node.machine.root / "var/lib/mysql")

    def publish(self) -> None:
        """To each node's store, which is a folder; with the succession, as `rolecall fleet publish` has it."""
        self.document["serial"] += 1
        fleet = parse_fleet(json.dumps(self.document).encode(), "the test")
        serial = self.document["serial"]
        for name, succession in successions(self.published, fleet, serial, self._opened()).items():
            self.document["databases"][name]["succession"] = succession.model_dump(exclude_defaults=True)
        self.published = copy.deepcopy(self.document)
        for name in self.nodes.keys() - self.unreached:
            self.deliver(name)

    def deliver(self, name: str) -> None:
        """The document that was published last comes to a node's store."""
        self.nodes[name].publish(self.published, raise_serial=False)

    def _opened(self) -> dict[str, int]:
        """What the master of the document that is replaced has reported."""
        if not self.published:
            return {}
        master = self.published["databases"]["blog"]["master"]
        reports = sorted((self.nodes[master].state / "reports").glob("run-*[a-z].json"))
        reports = [path for path in reports if not path.name.endswith("evidence.json")]
        status = json.loads(reports[-1].read_text())["databases"].get("blog") if reports else None
        return {"blog": status["opened"]} if status else {}

    def become(self, **duties: Any) -> None:
        """A changed document."""
        self.document["databases"]["blog"] |= duties
        self.publish()

    def run(self, *names: str, command: str = "refresh", ok: bool | int = True) -> None:
        for name in names:
            self.nodes[name].rolecall(command, ok=ok)

    def follow(self, *names: str) -> None:
        """Refresh each until it is well: it may have to wait for what another one has not received yet (75)."""
        for name in names:
            for _ in range(8):
                result = self.nodes[name].rolecall("refresh", ok=False)
                if result.returncode == 0:
                    break
                time.sleep(0.5)
            assert result.returncode == 0, result.stderr

    def boot(self, *names: str) -> None:
        for name in names:
            self.nodes[name].boot()

    def socket(self, name: str) -> Path:
        return self.nodes[name].machine.root / "run/mysqld/mysqld.sock"

    def sql(self, name: str, statement: str, *, ok: bool = True, check: bool = True) -> str:
        """As that server's administrator; with ok=False, its complaint."""
        argv = [*ADMIN, f"--socket={self.socket(name)}"]
        done = subprocess.run(argv, input=statement, capture_output=True, text=True, timeout=90)
        assert done.returncode == 0 or not ok or not check, done.stderr
        return (done.stdout if ok else done.stderr).strip()

    def duty(self, name: str) -> Any:
        """Read-only, its upstream's address, whether it follows."""
        argv = [SERVER.client, "--no-defaults", f"--socket={self.socket(name)}", "--user=root", "--batch"]
        asked, columns = SERVER.dialect.replica_status, SERVER.dialect.status_columns
        told = subprocess.run(argv, input=asked, capture_output=True, text=True, check=True).stdout
        known = dict(zip(*(line.split("\t") for line in told.splitlines()), strict=True)) if told else {}
        return self.sql(name, "SELECT @@read_only"), known.get(columns.host, ""), known.get(columns.applier, "")

    def pid(self, name: str) -> int:
        return int((self.nodes[name].machine.root / "run/mysqld/mysqld.pid").read_text())

    def kill(self, name: str) -> None:
        """As a power cut does."""
        os.kill(pid := self.pid(name), signal.SIGKILL)
        wait_until(lambda: not alive(pid), "it is gone")

    @contextmanager
    def frozen(self, *names: str) -> Iterator[None]:
        """They neither end nor answer, as servers whose disks hang, or who are cut off."""
        pids = [self.pid(name) for name in names]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in filter(alive, pids):
                os.kill(pid, signal.SIGCONT)

    def small_disk(self, name: str) -> Path:
        """A disk of 96 MB for the logs of a server that has none yet; returns a file that would fill it."""
        logs = self.nodes[name].machine.root / "var/lib/mysql-binlog"
        logs.mkdir(parents=True)
        if os.geteuid() == 0:
            argv = ["mount", "-t", "tmpfs", "-o", "size=96m,mode=0777", "none", str(logs)]
            subprocess.run(argv, check=True, capture_output=True)
            self.mounted.append(logs)
        return logs / "filler"

    def fill_disk(self, filler: Path, server: str) -> None:
        """Fill a small disk, and write to the master until `server` has waited for room on it for some seconds."""
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 65536)
        for number in range(1000):
            if self.sql(server, FULL) == "1":
                return
            self.waiting_write("db1", f"{number:040}")
            time.sleep(0.1)
        raise AssertionError(f"{server} still has room")

    def prefix(self, name: str) -> tuple[str, ...]:
        """What a program of that machine is started by."""
        return ()

    def start(self, name: str) -> None:
        """As the machine's boot, or systemd after a crash: behind the agent's back."""
        cnf = self.nodes[name].state / "current/mysql/server.cnf"
        self.socket(name).unlink(missing_ok=True)
        argv = [*self.prefix(name), SERVER.daemon, f"--defaults-file={cnf}", f"--user={getpass.getuser()}"]
        subprocess.Popen(argv, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)  # fmt: skip
        wait_until(lambda: self.socket(name).exists() and "1" in self.sql(name, "SELECT 1", check=False), "it answers")

    def replace_disk(self, name: str) -> None:
        """Another machine has its name: an empty data folder, and no notes of earlier runs."""
        self.kill(name)
        root, state = self.nodes[name].machine.root, self.nodes[name].state
        for folder in (root / "var/lib/mysql", root / "var/lib/mysql-binlog"):
            shutil.rmtree(folder)
        for note in state.glob("databases*.json"):
            note.unlink()
        shutil.copytree(self.template, root / "var/lib/mysql")

    def settle(self, *names: str) -> None:
        """Boot these, and once more, for the master learns of its candidate by a refresh."""
        self.boot(*names)
        self.run(*names)
        self.sql("db1", "CREATE TABLE blog.t (n INT PRIMARY KEY AUTO_INCREMENT, k VARCHAR(40))")
        self.sql("db1", f"CREATE USER {WRITER}@localhost; GRANT SELECT, INSERT ON blog.* TO {WRITER}@localhost")

    def waiting_write(self, name: str, key: str) -> "subprocess.Popen[str]":
        """A write whose client waits for its answer: it says `key` once it was acknowledged."""
        client = subprocess.Popen(
            [*ADMIN, f"--user={WRITER}", f"--socket={self.socket(name)}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert client.stdin
        client.stdin.write(f"INSERT INTO blog.t (k) VALUES ('{key}'); SELECT '{key}'")
        client.stdin.close()
        client.stdin = None
        return client

    def hold(self, statements: str, name: str) -> None:
        """A session that is at it until it is killed, such as one that holds a lock; returns once it is."""
        argv = [*ADMIN, f"--socket={self.socket(name)}"]
        client = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
        )
        assert client.stdin
        client.stdin.write(statements)
        client.stdin.close()
        last = statements.rpartition("; ")[2]
        wait_until(lambda: last in self.sql(name, "SHOW PROCESSLIST"), "it is at it")

    def arrives(self, master: str, *followers: str) -> None:
        """What the master has comes to all of these, and they have the same then."""
        position, data = (self.sql(master, one) for one in (SERVER.position, "CHECKSUM TABLE blog.t"))
        for name in followers:
            assert self.sql(name, SERVER.wait_for_position.format(position=position, seconds=60)) == "0", name
            assert self.sql(name, "CHECKSUM TABLE blog.t") == data, name

    def keys(self, name: str) -> set[str]:
        return set(self.sql(name, "SELECT k FROM blog.t").split())

    def stop(self) -> None:
        for node in self.nodes.values():
            pid = node.machine.root / "run/mysqld/mysqld.pid"
            if pid.exists() and alive(int(pid.read_text())):
                os.kill(int(pid.read_text()), 9)
        while self.mounted:
            wait_until(partial(_is_unmounted, self.mounted.pop()), "it is unmounted")


def _is_unmounted(folder: Path) -> bool:
    return subprocess.run(["umount", str(folder)], capture_output=True).returncode == 0


class Load:
    """Sessions that write to the server `target`, each id once; `acked` are those that were answered. And an eye on
    who is read-only: `both` is what it saw of two that were open at the same time.
    """

    def __init__(self, fleet: Fleet, target: str, sessions: int = 4) -> None:
        self.fleet, self.target, self.over = fleet, target, False
        self.acked: list[str] = []
        self.both: list[set[str]] = []
        self.looks = 0
        work = [threading.Thread(target=self._write, args=(one,)) for one in range(sessions)]
        self.threads = [*work, threading.Thread(target=self._look)]

    def __enter__(self) -> Self:
        for one in self.threads:
            one.start()
        wait_until(lambda: len(self.acked) > 20, "writes are answered")
        return self

    def __exit__(self, *_: object) -> None:
        self.over = True
        for one in self.threads:
            one.join()

    def goes_on(self) -> None:
        """Writes are answered, from now on too."""
        count = len(self.acked)
        wait_until(lambda: len(self.acked) > count + 20, "writes are answered")

    @contextmanager
    def _session(self, name: str, user: str) -> Iterator[Callable[[str], str]]:
        argv = [*ADMIN, f"--user={user}", f"--socket={self.fleet.socket(name)}"]
        client = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True, bufsize=1)  # fmt: skip
        assert client.stdin
        assert client.stdout
        pipe, answers = client.stdin, client.stdout

        def ask(statement: str) -> str:
            try:
                pipe.write(f"{statement};\n")
            except BrokenPipeError:
                return ""
            while not select.select([answers], [], [], 0.2)[0]:
                if self.over:
                    return ""
            return answers.readline().strip()

        try:
            yield ask
        finally:
            client.kill()
            client.wait()

    def _write(self, session: int) -> None:
        number = 0
        while not self.over:
            with self._session(target := self.target, WRITER) as ask:
                while not self.over and target == self.target:
                    number += 1
                    key = f"{session}-{number}"
                    if ask(f"INSERT INTO blog.t (k) VALUES ('{key}'); SELECT '{key}'") != key:
                        break
                    self.acked.append(key)
                    time.sleep(0.01)
            time.sleep(0.05)

    def _look(self) -> None:
        with ExitStack() as stack:
            asks: dict[str, Callable[[str], str]] = {}
            while not self.over:
                open_now = set()
                for name in ADDRESSES:
                    if name not in asks and self.fleet.socket(name).exists():
                        asks[name] = stack.enter_context(self._session(name, "root"))
                    if name in asks:
                        answer = asks[name]("SELECT @@read_only")
                        if not answer:
                            del asks[name]
                        if answer == "0":
                            open_now.add(name)
                self.looks += 1
                if len(open_now) > 1:
                    self.both.append(open_now)
                time.sleep(0.01)


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="rc-") as made:
        folder = Path(made) / "data"
        SERVER.make_data(folder)
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
