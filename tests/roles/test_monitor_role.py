"""The role `monitor`: a real Nagios and a real Munin master, watching servers that are played here."""

import os
import re
import shutil
import signal
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from box import ROOT, Box, alive
from format_readers import ENVIRONMENT
from munin import munin_node
from rolecall.demo.folder_node import free_port
from roles.test_golden import HERE, generation

AS_ROOT = os.geteuid() == 0
# Whose they are, as the distribution has it.
FOLDERS = {
    "root": "etc/nagios4 etc/munin/munin-conf.d",
    "nagios": "var/lib/nagios4 var/lib/nagios4/rw var/lib/nagios4/spool var/lib/nagios4/spool/checkresults"
    " var/log/nagios4 var/log/nagios4/archives run/nagios4 mail",
    "munin": "var/lib/munin var/log/munin var/cache/munin/www run/munin",
}
WELL = {"run_age": "20", "exit_code": "0", "ready": "1", "serial": "1"}


class Node(socketserver.ThreadingTCPServer):
    """A Munin node: plugin → field → value. `clock` is told as it is, if nothing else is said."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, name: str, address: str, port: int, **plugins: Mapping[str, str]) -> None:
        self.name, self.plugins = name, dict(plugins)
        super().__init__((address, port), _Talk)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, line: str) -> str:
        word, _, plugin = line.partition(" ")
        fields = self.plugins.get(plugin, {})
        if word == "cap":
            return "cap\n"
        if word == "nodes":
            return f"{self.name}\n.\n"
        if word == "list":
            return f"{' '.join(self.plugins)}\n"
        if plugin not in self.plugins:
            return "# Unknown service\n.\n"
        if word == "config":
            return f"graph_title {plugin}\n" + "".join(f"{field}.label {field}\n" for field in fields) + ".\n"
        return "".join(f"{field}.value {value}\n" for field, value in fields.items()) + ".\n"


class _Talk(socketserver.StreamRequestHandler):
    server: Node

    def handle(self) -> None:
        with suppress(ConnectionError):  # whoever only tries the port
            self.wfile.write(f"# munin node at {self.server.name}\n".encode())
            while (line := self.rfile.readline().decode().strip()) and line != "quit":
                self.wfile.write(self.server.answer(line).encode())


class Web(ThreadingHTTPServer):
    """A web server: host and path → status and text. What was asked is kept."""

    daemon_threads = True

    def __init__(self, address: str, port: int, pages: Mapping[tuple[str, str], tuple[int, str]]) -> None:
        self.pages, self.asked, self.reason = dict(pages), list[tuple[str, str]](), "for a test"
        super().__init__((address, port), _Page)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class _Page(BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        key = (self.headers["Host"].partition(":")[0], self.path)
        self.server.asked.append(key)
        status, text = self.server.pages.get(key, (500, "not here"))
        self.send_response(status, self.server.reason)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


class World:
    """A monitor in a folder, and the servers of its fleet."""

    def __init__(self, folder: Path, server: str = "mon1", address: str = "127.0.1.90") -> None:
        self.box = Box(folder, server=server)
        self.root, self.document = self.box.machine.root, self.box.document
        first = free_port(22000 + os.getpid() % 9000)
        self.http, self.munin = first, free_port(first + 1)
        self.servers = list[socketserver.BaseServer]()
        mail = self.root / "usr/sbin/mailx"
        mail.write_text(
            f'#!/bin/sh\nletter=$(printf "%s\\n" "$@"; cat)\nprintf "%s\\n" "$letter" >>{self.root}/mail/all\n'
        )
        mail.chmod(0o755)
        for user, folders in FOLDERS.items():
            for name in folders.split():
                (self.root / name).mkdir(parents=True, exist_ok=True)
                if AS_ROOT:
                    shutil.chown(self.root / name, user, user)
        (self.root / "var/lib/nagios4").chmod(0o750)
        config = self.box.machine.config
        text = config.read_text().replace('role = "web"', 'role = "monitor"').partition("[names]")[0]
        config.write_text(
            text.replace('"store"]', '"store", "textfile"]')
            + f"""[names]
http_port = {self.http}
munin_port = {self.munin}
munin_includes = "{self.root}/etc/munin/munin-conf.d"
munin_listen = "{address}"
mail = "{mail}"
"""
        )
        self.document["servers"] = {server: {"role": "monitor", "address": address, "zone": "a"}}
        self.document["databases"], self.document["caches"] = {}, {}
        self.document["roles"] = {"monitor": {"check_interval": 1, "retry_interval": 1}}

    def node(self, name: str, address: str, **plugins: Mapping[str, str]) -> Node:
        """A server's Munin node, on which all is well but for what is given."""
        usual = {"rolecall": WELL, "load": {"load": "0.4"}, "df": {"_dev_sda1": "41"}, "df_inode": {"_dev_sda1": "3"},
                 "rolecall_monitor": {"nagios": "3", "munin": "200"}}  # fmt: skip
        server = Node(name, address, self.munin, **{**usual, **plugins})
        self.servers.append(server)
        return server

    def web(self, address: str, pages: Mapping[tuple[str, str], tuple[int, str]]) -> Web:
        server = Web(address, self.http, pages)
        self.servers.append(server)
        return server

    def status(self) -> dict[str, tuple[str, str]]:
        """`SERVER: SERVICE`, or `SERVER`, → state and words, of what Nagios has checked."""
        path, states = self.root / "var/lib/nagios4/status.dat", {}
        blocks = re.findall(
            r"^(host|service)status \{\n(.*?)^\t\}", path.read_text() if path.exists() else "", re.MULTILINE | re.DOTALL
        )
        for _, block in blocks:
            fields = dict(line.strip().split("=", 1) for line in block.splitlines() if "=" in line)
            name = ": ".join(filter(None, (fields["host_name"], fields.get("service_description"))))
            if fields["has_been_checked"] == "1":
                states[name] = (fields["current_state"], fields["plugin_output"])
        return states

    def until(self, expected: Callable[[dict[str, tuple[str, str]]], bool], seconds: float = 60) -> dict[str, Any]:
        """What Nagios sees, as soon as it is what is wanted."""
        end = time.monotonic() + seconds
        while not expected(states := self.status()):
            assert time.monotonic() < end, states
            time.sleep(0.2)
        return states

    def mailed(self, words: str, seconds: float = 60) -> str:
        """All that was sent, as soon as these words are in it."""
        mail, end = self.root / "mail/all", time.monotonic() + seconds
        while words not in (sent := mail.read_text() if mail.exists() else ""):
            assert time.monotonic() < end, sent
            time.sleep(0.2)
        return sent

    def stop(self) -> None:
        self.box.stop()
        for server in self.servers:
            server.shutdown()
            server.server_close()


@pytest.fixture
def world(folder: Path) -> Iterator[World]:
    world = World(folder)
    world.node("mon1", "127.0.1.90")
    try:
        yield world
    finally:
        world.stop()


def test_a_server_that_is_added_appears_at_the_next_refresh_and_nagios_goes_on(world: World) -> None:
    document, box = world.document, world.box
    document["servers"]["web1"] = {"role": "web", "address": "127.0.1.11", "zone": "a", "products": []}
    box.product("blog", checks=[{"http": "/health", "contains": "ok"}, {"http": "/extra", "required": False}],
                databases=[], caches=[])  # fmt: skip
    web = world.web("127.0.1.11", {("blog.example.com", "/.well-known/rolecall"): (200, "ok blog 1\n"),
                                   ("blog.example.com", "/health"): (200, "all ok")})  # fmt: skip
    world.node("web1", "127.0.1.11")
    box.publish()
    box.boot()
    states = world.until(lambda now: len(now) == 2 + 5 + 2 + 5 + 3 and all(check[1] for check in now.values()))
    assert {name: state for name, (state, _) in states.items() if state != "0"} == {"web1: product blog check 2": "1"}
    assert states["web1: product blog"][1].startswith("release 1: HTTP OK")
    assert states["web1: product blog check 2"][1].startswith("GET /extra: HTTP WARNING"), (
        "not required: no more than a warning"
    )
    pid = (world.root / "run/nagios4/nagios.pid").read_text()

    document["servers"]["web2"] = {"role": "web", "address": "127.0.1.12", "zone": "b", "products": ["blog"]}
    node = world.node("web2", "127.0.1.12", df={"_dev_sda1": "99"})
    web.pages["blog.example.com", "/health"] = (503, "no")
    box.publish()
    assert "reload nagios" in box.rolecall("refresh").stderr
    expected = {
        "web2": "0",
        "web2: disk": "2",
        "web2: product blog": "2",
        "web1: product blog": "0",
        "web1: product blog check 1": "2",
    }
    states = world.until(lambda now: {name: now.get(name, ("",))[0] for name in expected} == expected)
    assert states["web2: disk"][1] == "df: _dev_sda1 99, warning above 92"
    assert states["web2: node"] == ("0", "4 services")
    assert "Connection refused" in states["web2: product blog"][1]
    assert (world.root / "run/nagios4/nagios.pid").read_text() == pid
    assert alive(int(pid)), "the same process all along"
    node.plugins["df"] = {"_dev_sda1": "5"}
    world.until(lambda now: now["web2: disk"][0] == "0")
    world.mailed("test PROBLEM: disk on web2 is CRITICAL\nroot@localhost\n")


def test_what_is_added_is_refused_before_nagios_or_munin_are_told_of_what_they_cannot_read(world: World) -> None:
    box = world.box
    box.publish()
    box.boot()
    before = os.readlink(box.state / "current")
    templates = world.root / "templates"
    shutil.copytree(ROOT / "templates", templates)
    config = box.machine.config
    config.write_text(config.read_text().replace("[paths]", f'[paths]\ntemplates = "{templates}"'))
    service = "define service {\n  use every\n  host_name mon1\n  service_description x\n  check_command gone\n}\n"
    for name, spoilt, message in (
        ("nagios.cfg.j2", "check_for_update=0\n", "(UNKNOWN VARIABLE)"),
        (
            "objects.cfg.j2",
            service,
            "Service check command 'gone' specified in service 'x' for host 'mon1' not defined",
        ),
        ("objects.cfg.j2", "define service {\n  hots_name mon1\n}\n", "Invalid service object directive 'hots_name'"),
        ("munin.conf.j2", "[a;b]\n  nonsense 10.0.0.1\n", "Unknown keyword"),
    ):
        path = templates / "monitor" / name
        whole = path.read_text()
        path.write_text(whole + spoilt)
        stderr = box.rolecall("refresh", ok=1).stderr
        assert message in stderr, stderr
        assert os.readlink(box.state / "current") == before
        path.write_text(whole)
    assert box.rolecall("selftest").returncode == 0


def test_a_check_of_the_document_is_asked_as_it_is_written_whatever_is_in_it(world: World) -> None:
    path, words = "/search?q=it's+$HOSTNAME$;`id`&x=!a|b\"\\${HOME}%41", "-e 'it' \"is\" \\ $USER1$ $(id) ; | `ü`"
    world.document["servers"]["web1"] = {"role": "web", "address": "127.0.1.11", "zone": "a", "products": []}
    world.box.product("blog", databases=[], caches=[], checks=[
        {"http": path, "contains": words, "status": 404, "name": "-n %s $(id) ${HOME} 'x' | y ; `z`"},
    ])  # fmt: skip
    web = world.web("127.0.1.11", {("blog.example.com", path): (404, f"so {words}.")})
    world.node("web1", "127.0.1.11")
    world.box.publish()
    world.box.boot()
    state, output = world.until(lambda now: "web1: product blog check 1" in now)["web1: product blog check 1"]
    assert ("blog.example.com", path) in web.asked
    assert (state, output.partition(" : `z`: HTTP OK")[0]) == ("0", "-n %s $(id) ${HOME} 'x' / y")


def test_what_a_server_answers_is_never_run_by_the_one_who_mails_it(world: World) -> None:
    mail = world.root / "mail"
    world.document["servers"]["web1"] = {"role": "web", "address": "127.0.1.11", "zone": "a", "products": []}
    world.box.product("blog", databases=[], caches=[], checks=[])
    web = world.web("127.0.1.11", {})
    web.reason = f"no ' ; touch {mail}/a ; ' $(touch {mail}/b) `touch {mail}/c` \" | touch {mail}/d ; &"
    world.node("web1", "127.0.1.11")
    world.box.publish()
    world.box.boot()
    end = time.monotonic() + 30
    while not (mail / "all").exists() and time.monotonic() < end:
        time.sleep(0.2)
    assert f"500 no ; touch {mail}/a" in " ".join((mail / "all").read_text().split()).replace(" : ", " ; ")
    assert [path.name for path in mail.iterdir()] == ["all"]


def test_caches_and_databases_are_watched_where_they_are(world: World) -> None:
    port = free_port(world.munin + 1)
    for name, role, last in (("db1", "database", 21), ("db2", "database", 22), ("mc1", "memcached", 31)):
        world.document["servers"][name] = {"role": role, "address": f"127.0.1.{last}", "zone": "a"}
        world.node(name, f"127.0.1.{last}")
    world.document["databases"]["blog"] = {"epoch": 1, "port": port, "master": "db1", "candidate": "db2"}
    world.document["caches"]["sessions"] = {"port": port, "servers": ["mc1"]}
    world.servers.append(Node("no database", "127.0.1.21", port))
    daemon = subprocess.Popen(["memcached", "-l", "127.0.1.31", "-p", str(port), "-u", "root"])
    try:
        world.box.publish()
        world.box.boot()
        expected = {"db1: database blog": "0", "db2: database blog": "2", "mc1: cache sessions": "0"}
        states = world.until(lambda now: {name: now.get(name, ("",))[0] for name in expected} == expected)
    finally:
        daemon.terminate()
        daemon.wait()
    world.until(lambda now: now["mc1: cache sessions"][0] == "2")
    assert "Connection refused" in states["db2: database blog"][1]


def test_a_replica_that_is_behind_or_a_second_writable_server_is_told(world: World) -> None:
    figures = {"db1": {"writable": "1", "lag": "U"}, "db2": {"writable": "0", "lag": "200"},
               "db3": {"writable": "1", "lag": "0"}}  # fmt: skip
    for at, (name, fields) in enumerate(figures.items()):
        world.document["servers"][name] = {"role": "database", "address": f"127.0.1.2{at}", "zone": "a"}
        world.node(name, f"127.0.1.2{at}", rolecall_database=fields)
    world.document["databases"]["blog"] = {"epoch": 1, "master": "db1", "candidate": "db2", "replicas": ["db3"]}
    world.box.publish()
    world.box.boot()
    states = world.until(lambda now: {f"{name}: replication blog" for name in figures} <= now.keys())
    assert {name: states[f"{name}: replication blog"][0] for name in figures} == {"db1": "0", "db2": "2", "db3": "2"}
    world.document["databases"]["blog"] |= {"epoch": 2, "master": "db3", "replicas": ["db1"]}
    world.box.publish()
    world.box.rolecall("refresh")
    expected = {"db1": "2", "db2": "2", "db3": "0"}
    world.until(lambda now: {name: now[f"{name}: replication blog"][0] for name in figures} == expected)


def test_a_server_that_tells_nothing_is_one_message_and_what_is_known_of_it_grows_stale(world: World) -> None:
    world.document["servers"]["web1"] = {"role": "web", "address": "127.0.1.11", "zone": "a"}
    node = world.node("web1", "127.0.1.11")
    world.box.publish()
    world.box.boot()
    world.until(lambda now: now.get("web1: disk", ("",))[0] == "0")
    node.shutdown()
    node.server_close()
    expected = {"web1: node": "2", "web1: disk": "3", "web1: agent": "3"}
    states = world.until(lambda now: {name: now[name][0] for name in expected} == expected)
    assert states["web1: disk"][1] == "no visit to this server's Munin node has told of it lately"
    assert states["web1"][0] == "0", "a machine that refuses is there"
    assert "disk on web1" not in world.mailed("node on web1 is CRITICAL")
    world.node("web1", "127.0.1.11")
    world.until(lambda now: now["web1: disk"][0] == now["web1: node"][0] == "0")


def test_who_is_told_changes_with_the_document_and_what_this_image_does_not_know_is_ignored_aloud(world: World) -> None:
    world.box.publish()
    world.box.boot()
    world.document["roles"]["monitor"] |= {"contact": "pager@example.com", "of_a_newer_image": 1}
    world.box.publish()
    refresh = world.box.rolecall("refresh")
    assert "reload nagios" in refresh.stderr
    assert "roles.monitor.of_a_newer_image of the document is ignored" in refresh.stderr
    assert "pager@example.com" in (world.root / "var/lib/nagios4/objects.cache").read_text()


@pytest.mark.skipif(not AS_ROOT, reason="gives a Munin node its folder of plugins in a mount namespace")
def test_a_monitor_outside_tells_when_the_nagios_inside_dies_and_when_it_is_back(folder: Path) -> None:
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    inside = World(folder / "in")
    outside = World(folder / "out", "out1", "127.0.2.90")
    config = outside.box.machine.config
    config.write_text(config.read_text().replace(f"munin_port = {outside.munin}", f"munin_port = {inside.munin}"))
    servers = inside.document["servers"] | outside.document["servers"]
    servers["web1"] = {"role": "web", "address": "127.0.1.11", "zone": "a"}
    servers["out1"]["zone"] = "office"
    for world in (inside, outside):
        world.document["servers"] = servers
        world.document["roles"]["monitor"] |= {"outside": ["out1"], "silence": 8}
        world.box.publish()
        world.box.boot()
    pid = int((inside.root / "run/nagios4/nagios.pid").read_text())
    try:
        with munin_node(inside.box):
            states = outside.until(lambda now: now.get("mon1: nagios", ("",))[0] == "0" and "mon1: agent" in now)
            assert not [name for name in states if name.startswith("web1")], "it watches monitors alone"
            time.sleep(10)
            assert outside.status()["mon1: nagios"][0] == "0", "it lives longer than a dead one would be believed"
            os.kill(pid, signal.SIGKILL)
            outside.until(lambda now: now["mon1: nagios"][0] == "2")
            sent = outside.mailed("test PROBLEM: nagios on mon1 is CRITICAL")
            assert "test PROBLEM: node on mon1" not in sent, "its Munin node answers all the while"
            inside.box.rolecall("refresh", "--resume")
            outside.mailed("test RECOVERY: nagios on mon1 is OK")
    finally:
        outside.stop()
        inside.stop()


def test_a_nagios_that_has_not_read_this_configuration_is_no_ready_node(world: World) -> None:
    world.box.publish()
    world.box.boot()
    name = "nagios has read this configuration"
    assert {check["name"]: check["ok"] for check in world.box.json("selftest")}[name]
    world.document["servers"]["db1"] = {"role": "database", "address": "127.0.1.21", "zone": "a"}
    world.box.publish()
    pid = int((world.root / "run/nagios4/nagios.pid").read_text())
    os.kill(pid, signal.SIGSTOP)  # takes no signal, and so no configuration
    try:
        refresh = world.box.rolecall("refresh", ok=1)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert name in refresh.stderr


def test_old_figures_and_a_silent_nagios_fail_their_self_tests(world: World) -> None:
    world.box.publish()
    world.box.boot()
    os.kill(int((world.root / "run/nagios4/nagios.pid").read_text()), signal.SIGKILL)
    gathered = world.root / "var/lib/munin/datafile"
    gathered.touch()
    for path in (world.root / "var/lib/nagios4/status.dat", gathered):
        os.utime(path, (time.time() - 3600, time.time() - 3600))
    checks = {check["name"]: check["ok"] for check in world.box.json("selftest")}
    assert not checks["nagios is active"]
    assert not checks["nagios tells what it sees"]
    assert not checks["munin has gathered lately"]


@pytest.mark.parametrize("case", ["one", "alone"])
def test_nagios_and_munin_accept_the_golden_trees_with_all_that_is_odd_in_them(folder: Path, case: str) -> None:
    tree = HERE / "monitor" / case / "expected/debian"
    shutil.copytree(tree, folder / "current")
    for path in (folder / "current/nagios").iterdir():
        path.write_text(path.read_text().replace("/var/lib/rolecall/current", f"{folder}/current"))
    accepted = generation(HERE / "monitor" / case, "debian")
    for validator in accepted.validators:
        argv = [word.replace("/var/lib/rolecall/current", f"{folder}/current") for word in validator.argv]
        done = subprocess.run(argv, capture_output=True, text=True, env=ENVIRONMENT)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    argv = ["nagios4", "-v", f"{folder}/current/nagios/nagios.cfg"]
    verification = subprocess.run(argv, capture_output=True, text=True, env=ENVIRONMENT)
    assert "Total Warnings: 0" in verification.stdout


def test_the_log_of_nagios_is_rotated_while_it_writes(world: World) -> None:
    world.box.publish()
    world.box.boot()
    log = world.root / "var/log/nagios4/nagios.log"
    rules = world.root / "etc/logrotate.d/rolecall"
    world.until(lambda now: "mon1" in now)
    subprocess.run(["logrotate", "--force", "--state", world.root / "rotated", rules], check=True, env=ENVIRONMENT)
    assert "starting" in log.with_name("nagios.log.1").read_text()
    world.document["servers"]["db1"] = {"role": "database", "address": "127.0.1.21", "zone": "a"}
    world.box.publish()
    world.box.rolecall("refresh")
    world.until(lambda now: "db1" in now)
    assert "SIGHUP" in log.read_text()
    assert "\0" not in log.read_text()


# check_node: what it makes of what a Munin node says

Told: TypeAlias = tuple[int, str, dict[str, tuple[int, str]]]


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node("web1", "127.0.0.1", free_port(23000 + os.getpid() % 8000))
    yield node
    node.shutdown()
    node.server_close()


def check_node(folder: Path, port: int, *services: str, own: Mapping[str, int] | None = None) -> Told:
    """A visit: how it went, and what Nagios is told of each service; `own` are the monitor's own figures."""
    (folder / "own").write_text("".join(f"{name} {value}\n" for name, value in (own or {}).items()))
    (folder / "commands").write_text("")
    script = ROOT / "templates/monitor/check_node.pl.j2"
    argv = ["perl", str(script), f"{folder}/own", f"{folder}/commands", "web1", "127.0.0.1", str(port), *services]
    process = subprocess.run(argv, capture_output=True, text=True)
    results: dict[str, tuple[int, str]] = {}
    for line in (folder / "commands").read_text().splitlines():
        at = re.fullmatch(r"\[[0-9]{10}\] PROCESS_SERVICE_CHECK_RESULT;web1;([^;]+);([0-3]);(.*)", line)
        assert at, line
        results[at[1]] = (int(at[2]), at[3])
    return process.returncode, process.stdout.strip() + process.stderr, results


@pytest.mark.parametrize(
    ("fields", "state", "words"),
    [
        ({"load": "0.50"}, 0, "load: load 0.5, warning above 2|load=0.5;2;4"),
        ({"load": "2"}, 0, "load: load 2, warning above 2|load=2;2;4"),
        ({"a": "1", "b": "2.5", "c": "U"}, 1, "load: b 2.5, warning above 2|b=2.5;2;4"),
        ({"a": "1e1", "b": "-3"}, 2, "load: a 10, warning above 2|a=10;2;4"),
        ({"a": "U"}, 3, "the plugin load of 127.0.0.1 tells nothing"),
        ({}, 3, "the plugin load of 127.0.0.1 tells nothing"),
        ({"a": "high"}, 3, "the plugin load of 127.0.0.1 tells nothing"),
        (None, 3, "munin-node of 127.0.0.1 has no plugin load"),
    ],
)
def test_the_highest_value_of_a_plugin_counts(
    tmp_path: Path, node: Node, fields: dict[str, str] | None, state: int, words: str
) -> None:
    node.plugins = {} if fields is None else {"load": fields}
    status, output, results = check_node(tmp_path, node.server_address[1], "the load=highest:load:2:4")
    assert results == {"the load": (state, words)}
    assert (status, output) == ((1, "1 services, nothing is known of: the load") if state == 3 else (0, "1 services"))


AGENT = "agent=agent:rolecall:2400:3600"


def agent(*bad: str, serial: int = 7, age: int = 20) -> str:
    return f"{', '.join(bad) or f'ready, last full run {age} s ago'}, serial {serial}|age={age};2400;3600"


@pytest.mark.parametrize(
    ("fields", "state", "words"),
    [
        ({}, 0, agent()),
        ({"exit_code": "75", "ready": "0"}, 2, agent("its last run ended with 75")),
        ({"exit_code": "1", "ready": "0", "serving": "1"}, 1, agent("its last run ended with 1, but it serves")),
        ({"exit_code": "1", "ready": "0", "serving": "0"}, 2, agent("it does not serve", "its last run ended with 1")),
        (
            {"exit_code": "75", "ready": "0", "serving": "1", "product_blog": "1", "product_us_web": "0"},
            2, agent("it does not serve us-web", "its last run ended with 75"),
        ),
        (
            {"exit_code": "1", "ready": "0", "serving": "0", "product_blog": "0", "product_shop": "0"},
            2, agent("it does not serve blog and shop", "its last run ended with 1"),
        ),
        ({"serving": "1", "product_blog": "1"}, 0, agent()),
        ({"ready": "0", "serving": "1"}, 1, agent("nobody is sent there")),
        ({"ready": "0"}, 1, agent("nobody is sent there")),
        ({"run_age": "2401"}, 1, agent("its last full run was 40 min ago", age=2401)),
        ({"run_age": "3601"}, 2, agent("its last full run was 60 min ago", age=3601)),
        ({"run_age": "U", "exit_code": "U"}, 2, "the agent has told nothing yet"),
        ({"clock": "-30"}, 1, agent("its clock is 30 s off this machine's")),
        ({"clock": "3600"}, 2, agent("its clock is 60 min off this machine's")),
        ({"serial": "6"}, 2, agent("it has not followed serial 7 for 50 min", serial=6)),
        ({"serial": "8"}, 0, agent(serial=8)),
    ],
)  # fmt: skip
def test_the_agent_of_a_server_is_judged_by_what_it_tells(
    tmp_path: Path, node: Node, fields: dict[str, str], state: int, words: str
) -> None:
    now = int(time.time())
    own = {"rolecall_document_serial": 7, "rolecall_document_timestamp_seconds": now - 3000}
    figures = {**WELL, "serial": "7", "clock": "0", **fields}
    node.plugins = {"rolecall": figures | {"clock": str(now + int(figures["clock"]))}}
    status, output = check_node(tmp_path, node.server_address[1], AGENT, own=own)[2]["agent"]
    assert (status, re.sub(r"\b(3[01]|360[01]|300[01])\b", lambda at: f"{int(at[0]) // 10 * 10}", output)) == (
        state, re.sub(r"\b3601\b", "3600", words)
    )  # fmt: skip


@pytest.mark.parametrize(("since", "state"), [(100, 0), (400, 1), (2500, 2)])
def test_a_server_has_some_time_to_follow_a_new_document(tmp_path: Path, node: Node, since: int, state: int) -> None:
    own = {"rolecall_document_serial": 8, "rolecall_document_timestamp_seconds": int(time.time()) - since}
    node.plugins = {"rolecall": {**WELL, "serial": "7"}}
    assert check_node(tmp_path, node.server_address[1], AGENT, own=own)[2]["agent"][0] == state


def test_a_server_whose_munin_node_is_not_there_or_says_nothing_is_told_as_that(tmp_path: Path, node: Node) -> None:
    port = node.server_address[1]
    node.shutdown()
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.StreamRequestHandler) as silent:
        threading.Thread(target=silent.handle_request, daemon=True).start()
        answer = check_node(tmp_path, silent.server_address[1], "load=highest:load:1:2")
    assert answer == (2, "munin-node of 127.0.0.1 does not let this machine ask", {})
    node.server_close()
    state, words, services = check_node(tmp_path, port, "load=highest:load:1:2")
    assert (state, "Connection refused" in words, services) == (2, True, {})


@pytest.mark.parametrize(
    ("duty", "fields", "state", "words"),
    [
        ("master", {"writable": "1", "lag": "U"}, 0, "master, writable|waiting=0;30;120"),
        ("master", {"writable": "1", "acknowledging": "1", "waiting": "30"}, 0, "master, writable|waiting=30;30;120"),
        ("master", {"writable": "1", "acknowledging": "1", "waiting": "31"}, 1,
         "master, writable, but its oldest write has waited 31 s|waiting=31;30;120"),
        ("master", {"writable": "1", "acknowledging": "0", "waiting": "121"}, 2,
         "master, writable, but its oldest write has waited 2 min|waiting=121;30;120"),
        ("master", {"writable": "1", "acknowledging": "0", "waiting": "0"}, 1,
         "master, writable, but nobody acknowledges what is written"),
        ("alone", {"writable": "1", "acknowledging": "0", "waiting": "0"}, 0, "master, writable|waiting=0;30;120"),
        ("alone", {"answers": "0"}, 2, "its server does not answer"),
        ("master", {"writable": "0", "lag": "0"}, 2, "it is read-only, but the document says that it is the master"),
        ("master", {"writable": "U", "running": "1"}, 2, "its server does not answer"),
        ("follower", {"writable": "0", "lag": "0"}, 0, "read-only, 0 s behind|lag=0;30;120"),
        ("follower", {"writable": "0", "lag": "31"}, 1, "read-only, 31 s behind|lag=31;30;120"),
        ("follower", {"writable": "0", "lag": "121"}, 2, "read-only, 2 min behind|lag=121;30;120"),
        ("follower", {"writable": "0", "lag": "U"}, 2, "it does not follow its upstream"),
        ("follower", {"writable": "1", "lag": "0"}, 2,
         "it is writable, but the document says that it is not the master"),
        ("follower", {"writable": "U", "lag": "U", "running": "1"}, 2, "its server does not answer"),
    ],
)  # fmt: skip
def test_a_database_server_is_judged_by_the_duty_that_it_has(
    tmp_path: Path, node: Node, duty: str, fields: dict[str, str], state: int, words: str
) -> None:
    node.plugins = {"rolecall_database": fields}
    _, _, results = check_node(tmp_path, node.server_address[1], f"replication blog={duty}:rolecall_database:30:120")
    assert results == {"replication blog": (state, words)}


def test_one_visit_tells_of_many_services_and_one_that_is_unknown_keeps_none_of_the_others(
    tmp_path: Path, node: Node
) -> None:
    node.plugins = {"a": {"x": "9", "y": "1"}, "c": {"z": "0"}}
    services = ("one=highest:a:2:4", "y=highest:a.y:2:4", "no=highest:b:2:4", "w=highest:c.w:2:4", "z=highest:c:2:4")
    status, output, results = check_node(tmp_path, node.server_address[1], *services)
    assert (status, output) == (1, "5 services, nothing is known of: no w")
    assert {name: state for name, (state, _) in results.items()} == {"one": 2, "y": 0, "no": 3, "w": 3, "z": 0}


def test_a_visit_whose_results_nagios_does_not_take_is_unknown(tmp_path: Path, node: Node) -> None:
    os.mkfifo(tmp_path / "fifo")  # nobody reads it
    script, port = ROOT / "templates/monitor/check_node.pl.j2", str(node.server_address[1])
    argv = ["perl", str(script), "own", f"{tmp_path}/fifo", "web1", "127.0.0.1", port, "a=highest:a:1:2"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout.startswith("Nagios takes no results")) == (3, True)


# Munin


def munin_cron(world: World) -> None:
    """What cron does every five minutes, as the account that it does it with."""
    as_munin = ("setpriv", "--reuid=munin", "--regid=munin", "--clear-groups") if AS_ROOT else ()
    done = subprocess.run([*as_munin, "munin-cron", "--config", f"{world.root}/etc/munin/munin.conf"],
                          capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}, cwd="/")  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


def test_munin_gathers_what_every_server_has_by_zone_and_role_and_shows_products_together(world: World) -> None:
    for name, last, zone in (("web1", 11, "a"), ("web-2", 12, "b:c")):
        world.document["servers"][name] = {"role": "web", "address": f"127.0.1.{last}", "zone": zone, "products": []}
        world.node(name, f"127.0.1.{last}")
    world.box.product("blog", databases=[], caches=[], checks=[])
    world.document["servers"]["web-2"]["products"] = ["blog"]
    world.box.publish()
    world.box.boot()
    munin_cron(world)
    data, pages = world.root / "var/lib/munin", world.root / "var/cache/munin/www"
    assert {path.relative_to(data).as_posix() for path in data.rglob("*-load-load-g.rrd")} == {
        "zone-a/monitor/mon1-load-load-g.rrd", "zone-a/web/web1-load-load-g.rrd", "zone-b-c/web/web-2-load-load-g.rrd",
    }  # fmt: skip
    assert (pages / "zone-b-c/web/web-2/df-day.png").exists()
    assert (pages / "products/blog/load-day.png").exists()
    page = (pages / "products/blog/load.html").read_text()
    assert ("web1" in page, "web-2" in page) == (True, True)
    checks = {check["name"]: check["ok"] for check in world.box.json("selftest")}
    assert checks["munin has gathered lately"]
