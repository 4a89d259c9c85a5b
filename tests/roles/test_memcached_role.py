"""The role `memcached`: an instance for each cache of the document, as real daemons."""

import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from box import ROOT, Box, alive
from munin import fetched, munin_node
from patience import on_this_machine
from rolecall.demo.folder_node import free_port
from rolecall.fleet.assignment import Assignment
from rolecall.host.roles import read_role
from rolecall.render.rendering import render
from rolecall.render.settings import RenderSettings


@pytest.fixture
def caches(folder: Path) -> Iterator[Box]:
    """A node with the caches `sessions` and `pages`."""
    node = Box(folder, server="mc1")
    config = node.machine.config
    config.write_text(config.read_text().replace('role = "web"', 'role = "memcached"').partition("[names]")[0])
    first = free_port(21000 + os.getpid() % 9000)
    node.document["caches"] = {
        "sessions": {"port": first, "servers": ["mc1"], "memory_mb": 16},
        "pages": {"port": free_port(first + 1), "servers": ["mc1"], "memory_mb": 8},
    }
    try:
        node.publish()
        yield node
    finally:
        node.stop()


def pids(box: Box) -> dict[str, int]:
    """Process by cache."""
    return {path.stem: int(path.read_text()) for path in (box.machine.root / "run/memcached").glob("*.pid")}


def ask(box: Box, cache: str, words: str) -> str:
    """What an instance answers."""
    with socket.create_connection(("127.0.0.1", box.document["caches"][cache]["port"]), 5) as connection:
        connection.sendall(f"{words}\r\nquit\r\n".encode())
        return connection.makefile().read()


def checks(box: Box) -> dict[str, Any]:
    """The self-tests by name."""
    return {check["name"]: check for check in box.json("selftest")}


def test_each_cache_has_an_instance_with_its_own_memory_and_keeps_what_it_is_given(caches: Box) -> None:
    caches.boot()
    assert sorted(pids(caches)) == ["pages", "sessions"]
    assert "STAT limit_maxbytes 16777216" in ask(caches, "sessions", "stats")
    assert "STAT limit_maxbytes 8388608" in ask(caches, "pages", "stats")
    assert checks(caches)["sessions: set and get"]["ok"]
    assert caches.json("status", ok=0)["healthy"]


def test_a_changed_cache_restarts_its_own_instance_and_no_other_loses_what_it_has(caches: Box) -> None:
    caches.boot()
    before = pids(caches)
    ask(caches, "pages", "set key 0 0 5\r\nvalue")
    caches.document["caches"]["sessions"]["memory_mb"] = 32
    caches.publish()
    assert "restart memcached@sessions" in caches.rolecall("refresh").stderr
    after = pids(caches)
    assert (after["sessions"] == before["sessions"], after["pages"]) == (False, before["pages"])
    assert "value" in ask(caches, "pages", "get key")
    assert "STAT limit_maxbytes 33554432" in ask(caches, "sessions", "stats")


def test_a_cache_that_is_gone_is_stopped_and_one_that_comes_is_started(caches: Box) -> None:
    caches.boot()
    before = pids(caches)
    pages = caches.document["caches"].pop("pages")
    caches.publish()
    assert "stop memcached@pages" in caches.rolecall("refresh").stderr
    assert not alive(before["pages"])
    assert pids(caches)["sessions"] == before["sessions"]
    caches.document["caches"]["pages"] = pages
    caches.publish()
    caches.rolecall("refresh")
    assert "VERSION" in ask(caches, "pages", "version")


def test_what_is_gone_is_stopped_also_where_the_run_before_was_cut_off(caches: Box) -> None:
    caches.boot()
    before = pids(caches)["pages"]
    del caches.document["caches"]["pages"]
    caches.publish()
    caches.rolecall("refresh")
    note = caches.state / "instances.json"
    unit = {"name": "memcached@pages", "service": "memcached@pages.service", "action": "restart", "direct": {
        "pidfile": f"{caches.machine.root}/run/memcached/other.pid", "start": ["true"], "reload": "", "stop": "TERM",
    }}  # fmt: skip
    units = json.loads(note.read_text())
    note.write_text(json.dumps({"units": [*units["units"], unit]}))
    assert "stop memcached@pages" in caches.rolecall("refresh", "--resume").stderr
    assert [one["name"] for one in json.loads(note.read_text())["units"]] == ["memcached@sessions"]
    assert not alive(before)


def test_an_instance_that_died_is_started_by_the_next_run(caches: Box) -> None:
    caches.boot()
    dead = pids(caches)["pages"]
    os.kill(dead, signal.SIGKILL)
    while alive(dead):
        time.sleep(0.01)
    assert not checks(caches)["pages: set and get"]["ok"]
    caches.rolecall("refresh", "--resume")
    assert checks(caches)["pages: set and get"]["ok"]


def test_a_cache_takes_the_port_of_one_that_is_gone(caches: Box) -> None:
    caches.boot()
    caches.document["caches"]["sessions"]["memory_mb"] = 64
    port = caches.document["caches"]["pages"]["port"]
    caches.document["caches"]["sessions"]["port"] = port  # where the other one listens already
    del caches.document["caches"]["pages"]
    caches.publish()
    caches.rolecall("refresh")
    assert "STAT limit_maxbytes 67108864" in ask(caches, "sessions", "stats")


def test_a_memcached_that_somebody_started_in_its_place_fails_its_self_test(caches: Box) -> None:
    caches.boot()
    pid = pids(caches)["sessions"]
    os.kill(pid, signal.SIGKILL)
    while alive(pid):
        time.sleep(0.01)
    pidfile = caches.machine.root / "run/memcached/sessions.pid"
    port = caches.document["caches"]["sessions"]["port"]
    other = ["memcached", "-d", "-u", "root", "-l", "127.0.0.1", "-p", str(port), "-m", "32", "-P", str(pidfile)]
    subprocess.run(other, check=True)
    end = time.monotonic() + on_this_machine(10)
    while checks(caches)["sessions: set and get"]["reason"].startswith("Connection refused") and time.monotonic() < end:
        time.sleep(0.05)
    check = checks(caches)["sessions: set and get"]
    assert (check["ok"], "does not have 16 MB" in check["reason"]) == (False, True)


def test_a_server_without_a_cache_is_ready_and_runs_none(caches: Box) -> None:
    caches.document["caches"] = {}
    caches.publish()
    caches.boot()
    assert pids(caches) == {}
    assert caches.json("status", ok=0)["healthy"]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives the Munin node its folder of plugins in a mount namespace")
def test_munin_sees_each_cache_by_itself_and_unknown_where_one_is_gone(caches: Box) -> None:
    config = caches.machine.config
    config.write_text(f"{config.read_text()}[names]\nmunin_port = {free_port(random.randrange(10000, 20000))}\n")
    for name in ("run/munin", "var/log/munin"):
        (caches.machine.root / name).mkdir(parents=True)
    caches.boot()
    with munin_node(caches) as where:
        before = fetched(where, "rolecall_memcached")
        ask(caches, "sessions", "set key 0 0 5\r\nvalue\r\nget key\r\nget other")
        after = fetched(where, "rolecall_memcached")
        os.kill(pids(caches)["pages"], signal.SIGKILL)
        gone = fetched(where, "rolecall_memcached")
    requests = [name for name in after if "_requests_" in name]
    more = {name.partition("_requests_")[2]: (after[name] or 0) - (before[name] or 0) for name in requests}
    assert {name: value for name, value in more.items() if value} == {
        "sessions.gets": 2, "sessions.hits": 1, "sessions.sets": 1,
    }  # fmt: skip
    assert after["memcached_memory_sessions.most"] == 16 * 2**20
    assert (after["memcached_connections_pages.open"] or 0) >= 1
    assert {name.rpartition("_")[2].partition(".")[0] for name, value in gone.items() if value is None} == {"pages"}


@pytest.mark.parametrize("platform", ["centos", "debian"])
def test_the_unit_of_an_instance_is_one_that_systemd_takes_and_may_do_little(tmp_path: Path, platform: str) -> None:
    nobody = Assignment("image", "image", "memcached", "none", "127.0.0.1", ())
    generation = render(read_role(ROOT / "templates", "memcached"), nobody, RenderSettings(platform))
    (text,) = [
        attachment.content for attachment in generation.attachments if attachment.path.endswith("/memcached@.service")
    ]
    unit = tmp_path / "memcached@sessions.service"
    unit.write_text(text or "")
    verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=yes", str(unit)]
    assert subprocess.run(verify, capture_output=True, text=True, check=True).stderr == ""
    judge = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=40", str(unit)]
    subprocess.run(judge, capture_output=True, check=True)
