"""The role `monitor`: a real Nagios and a real Munin master, watching servers that are played here."""

import os
import re
import shutil
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from box import ROOT, Box, alive
from rolecall.demo.machine import free_port
from roles.test_golden import HERE, generation
from unit.readers import ENVIRONMENT

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
            return f"graph_title {plugin}\n" + "".join(f"{one}.label {one}\n" for one in fields) + ".\n"
        return "".join(f"{one}.value {value}\n" for one, value in fields.items()) + ".\n"


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

    def __init__(self, folder: Path) -> None:
        self.box = Box(folder, server="mon1")
        self.root, self.document = self.box.machine.root, self.box.document
        first = free_port(22000 + os.getpid() % 9000)
        self.http, self.munin = first, free_port(first + 1)
        self.servers = list[socketserver.BaseServer]()
        mail = self.root / "usr/sbin/mailx"
        mail.write_text(f'#!/bin/sh\n{{ printf "%s\\n" "$@"; cat; }} >>{self.root}/mail/all\n')
        mail.chmod(0o755)
        for user, folders in FOLDERS.items():
            for name in folders.split():
                (self.root / name).mkdir(parents=True, exist_ok=True)
                if AS_ROOT:
                    shutil.chown(self.root / name, user, user)
        config = self.box.machine.config
        text = config.read_text().replace('role = "web"', 'role = "monitor"').partition("[names]")[0]
        config.write_text(
            text.replace('"store"]', '"store", "textfile"]')
            + f"""[names]
http_port = {self.http}
munin_port = {self.munin}
munin_includes = "{self.root}/etc/munin/munin-conf.d"
check_seconds = 1
retry_seconds = 1
mail = "{mail}"
"""
        )
        self.document["servers"] = {"mon1": {"role": "monitor", "address": "127.0.1.90", "zone": "a"}}
        self.document["databases"], self.document["caches"] = {}, {}
        self.node("mon1", "127.0.1.90")

    def node(self, name: str, address: str, **plugins: Mapping[str, str]) -> Node:
        """A server's Munin node, on which all is well but for what is given."""
        usual = {"rolecall": WELL, "load": {"load": "0.4"}, "df": {"_dev_sda1": "41"}, "df_inode": {"_dev_sda1": "3"}}
        made = Node(name, address, self.munin, **{**usual, **plugins})
        self.servers.append(made)
        return made

    def web(self, address: str, pages: Mapping[tuple[str, str], tuple[int, str]]) -> Web:
        made = Web(address, self.http, pages)
        self.servers.append(made)
        return made

    def status(self) -> dict[str, tuple[str, str]]:
        """`SERVER: SERVICE`, or `SERVER`, → state and words, of what Nagios has checked."""
        path, found = self.root / "var/lib/nagios4/status.dat", {}
        blocks = re.findall(
            r"^(host|service)status \{\n(.*?)^\t\}", path.read_text() if path.exists() else "", re.MULTILINE | re.DOTALL
        )
        for _, block in blocks:
            told = dict(line.strip().split("=", 1) for line in block.splitlines() if "=" in line)
            name = ": ".join(filter(None, (told["host_name"], told.get("service_description"))))
            if told["has_been_checked"] == "1":
                found[name] = (told["current_state"], told["plugin_output"])
        return found

    def until(self, wanted: Callable[[dict[str, tuple[str, str]]], bool], seconds: float = 60) -> dict[str, Any]:
        """What Nagios sees, as soon as it is what is wanted."""
        end = time.monotonic() + seconds
        while not wanted(seen := self.status()):
            assert time.monotonic() < end, seen
            time.sleep(0.2)
        return seen

    def stop(self) -> None:
        self.box.stop()
        for server in self.servers:
            server.shutdown()
            server.server_close()


@pytest.fixture
def world(folder: Path) -> Iterator[World]:
    made = World(folder)
    try:
        yield made
    finally:
        made.stop()


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
    seen = world.until(lambda now: len(now) == 2 + 8 + 3 and all(one[1] for one in now.values()))
    assert {name: state for name, (state, _) in seen.items() if state != "0"} == {"web1: product blog check 2": "1"}
    assert seen["web1: product blog"][1].startswith("release 1: HTTP OK")
    assert seen["web1: product blog check 2"][1].startswith("GET /extra: HTTP WARNING"), (
        "not required: no more than a warning"
    )
    pid = (world.root / "run/nagios4/nagios.pid").read_text()

    document["servers"]["web2"] = {"role": "web", "address": "127.0.1.12", "zone": "b", "products": ["blog"]}
    node = world.node("web2", "127.0.1.12", df={"_dev_sda1": "99"})
    web.pages["blog.example.com", "/health"] = (503, "no")
    box.publish()
    assert "reload nagios" in box.rolecall("refresh").stderr
    wanted = {
        "web2": "0",
        "web2: disk": "2",
        "web2: product blog": "2",
        "web1: product blog": "0",
        "web1: product blog check 1": "2",
    }
    seen = world.until(lambda now: {name: now.get(name, ("",))[0] for name in wanted} == wanted)
    assert seen["web2: disk"][1] == "df: _dev_sda1 99, warning above 92"
    assert "Connection refused" in seen["web2: product blog"][1]
    assert (world.root / "run/nagios4/nagios.pid").read_text() == pid
    assert alive(int(pid)), "the same process all along"
    node.plugins["df"] = {"_dev_sda1": "5"}
    world.until(lambda now: now["web2: disk"][0] == "0")
    mail = world.root / "mail/all"
    end = time.monotonic() + 30
    while not (mail.exists() and "disk on web2 is CRITICAL" in mail.read_text()) and time.monotonic() < end:
        time.sleep(0.2)
    assert "test PROBLEM: disk on web2 is CRITICAL\nroot@localhost\n" in mail.read_text()


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
    for name, spoilt, told in (
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
        said = box.rolecall("refresh", ok=1).stderr
        assert told in said, said
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
    state, told = world.until(lambda now: "web1: product blog check 1" in now)["web1: product blog check 1"]
    assert ("blog.example.com", path) in web.asked
    assert (state, told.partition(" : `z`: HTTP OK")[0]) == ("0", "-n %s $(id) ${HOME} 'x' / y")


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
        wanted = {"db1: database blog": "0", "db2: database blog": "2", "mc1: cache sessions": "0"}
        seen = world.until(lambda now: {name: now.get(name, ("",))[0] for name in wanted} == wanted)
    finally:
        daemon.terminate()
        daemon.wait()
    world.until(lambda now: now["mc1: cache sessions"][0] == "2")
    assert "Connection refused" in seen["db2: database blog"][1]


@pytest.mark.parametrize("case", ["one", "alone"])
def test_nagios_and_munin_accept_the_golden_trees_with_all_that_is_odd_in_them(folder: Path, case: str) -> None:
    tree = HERE / "monitor" / case / "expected/debian"
    shutil.copytree(tree, folder / "current")
    for path in (folder / "current/nagios").iterdir():
        path.write_text(path.read_text().replace("/var/lib/rolecall/current", f"{folder}/current"))
    made = generation(HERE / "monitor" / case, "debian")
    for one in made.validators:
        argv = [word.replace("/var/lib/rolecall/current", f"{folder}/current") for word in one.argv]
        done = subprocess.run(argv, capture_output=True, text=True, env=ENVIRONMENT)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    told = subprocess.run(["nagios4", "-v", f"{folder}/current/nagios/nagios.cfg"], capture_output=True, text=True,
                          env=ENVIRONMENT)  # fmt: skip
    assert "Total Warnings: 0" in told.stdout


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


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node("web1", "127.0.0.1", free_port(23000 + os.getpid() % 8000))
    yield made
    made.shutdown()
    made.server_close()


def check_node(folder: Path, port: int, *words: str, own: Mapping[str, int] | None = None) -> tuple[int, str]:
    """State and words of the plugin; `own` are the monitor's own figures."""
    (folder / "own").write_text("".join(f"{name} {value}\n" for name, value in (own or {}).items()))
    script = ROOT / "templates/monitor/check_node.pl.j2"
    done = subprocess.run(["perl", script, folder / "own", str(port), "127.0.0.1", *words],
                          capture_output=True, text=True)  # fmt: skip
    return done.returncode, done.stdout.strip() + done.stderr


@pytest.mark.parametrize(
    ("fields", "state", "words"),
    [
        ({"load": "0.50"}, 0, "load: load 0.5, warning above 2|load=0.5;2;4"),
        ({"load": "2"}, 0, "load: load 2, warning above 2|load=2;2;4"),
        ({"a": "1", "b": "2.5", "c": "U"}, 1, "load: b 2.5, warning above 2|load=2.5;2;4"),
        ({"a": "1e1", "b": "-3"}, 2, "load: a 10, warning above 2|load=10;2;4"),
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
    assert check_node(tmp_path, node.server_address[1], "load", "2", "4") == (state, words)


def agent(*bad: str, serial: int = 7, age: int = 20) -> str:
    return f"{', '.join(bad) or f'ready, last full run {age} s ago'}, serial {serial}|age={age};2400;3600"


@pytest.mark.parametrize(
    ("fields", "state", "words"),
    [
        ({}, 0, agent()),
        ({"exit_code": "75", "ready": "0"}, 2, agent("its last run ended with 75")),
        ({"ready": "0"}, 1, agent("nobody is sent there")),
        ({"run_age": "2401"}, 1, agent("its last full run was 2401 s ago", age=2401)),
        ({"run_age": "3601"}, 2, agent("its last full run was 3601 s ago", age=3601)),
        ({"run_age": "U", "exit_code": "U"}, 2, "the agent has told nothing yet"),
        ({"clock": "-30"}, 1, agent("its clock is 30 s off this machine's")),
        ({"clock": "3600"}, 2, agent("its clock is 3600 s off this machine's")),
        ({"serial": "6"}, 2, agent("it has not followed serial 7 for 3000 s", serial=6)),
        ({"serial": "8"}, 0, agent(serial=8)),
    ],
)
def test_the_agent_of_a_server_is_judged_by_what_it_tells(
    tmp_path: Path, node: Node, fields: dict[str, str], state: int, words: str
) -> None:
    now = int(time.time())
    own = {"rolecall_document_serial": 7, "rolecall_document_timestamp_seconds": now - 3000}
    told = {**WELL, "serial": "7", "clock": "0", **fields}
    node.plugins = {"rolecall": told | {"clock": str(now + int(told["clock"]))}}
    found, said = check_node(tmp_path, node.server_address[1], "agent", "2400", "3600", own=own)
    assert (found, re.sub(r"\b(3[01]|360[01]|300[01])\b", lambda at: f"{int(at[0]) // 10 * 10}", said)) == (
        state, re.sub(r"\b3601\b", "3600", words)
    )  # fmt: skip


@pytest.mark.parametrize(("since", "state"), [(100, 0), (400, 1), (2500, 2)])
def test_a_server_has_some_time_to_follow_a_new_document(tmp_path: Path, node: Node, since: int, state: int) -> None:
    own = {"rolecall_document_serial": 8, "rolecall_document_timestamp_seconds": int(time.time()) - since}
    node.plugins = {"rolecall": {**WELL, "serial": "7"}}
    assert check_node(tmp_path, node.server_address[1], "agent", "2400", "3600", own=own)[0] == state


def test_a_server_whose_munin_node_is_not_there_or_says_nothing_is_told_as_that(tmp_path: Path, node: Node) -> None:
    port = node.server_address[1]
    node.shutdown()
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.StreamRequestHandler) as silent:
        threading.Thread(target=silent.handle_request, daemon=True).start()
        told = check_node(tmp_path, silent.server_address[1], "load", "1", "2")
    assert told == (2, "munin-node of 127.0.0.1 does not let this machine ask")
    node.server_close()
    state, words = check_node(tmp_path, port, "load", "1", "2")
    assert (state, "Connection refused" in words) == (2, True)


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
    told = (pages / "products/blog/load.html").read_text()
    assert ("web1" in told, "web-2" in told) == (True, True)
    checks = {one["name"]: one["ok"] for one in world.box.json("selftest")}
    assert checks["munin has gathered lately"]
