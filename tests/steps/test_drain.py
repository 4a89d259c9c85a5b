"""`rolecall drain`: others are told that this machine leaves, while it goes on serving."""

import json
import signal
import subprocess
import time
from typing import Any

import pytest

from box import ROLECALL, Box


def reported(box: Box) -> dict[str, Any]:
    """What the fleet sees of this node."""
    report: dict[str, Any] = json.loads((box.machine.store / "reports/web1.json").read_text())
    return report


def wait_is(box: Box, wait: str) -> None:
    """Set `drain.wait`."""
    config = box.machine.config
    config.write_text(f'{config.read_text()}\n[drain]\nwait = "{wait}"\n')


@pytest.fixture
def ready(box: Box) -> Box:
    """A node that serves one page."""
    box.product("blog", runtime="static")
    box.publish()
    box.boot()
    assert reported(box)["leaving"] == ""
    return box


def test_a_drained_node_serves_on_and_says_that_nobody_is_to_be_sent_to_it(ready: Box) -> None:
    result = ready.rolecall("drain")
    assert result.stdout.startswith("drained: generation ")
    report = reported(ready)
    assert (report["command"], report["outcome"], report["exit_code"]) == ("drain", "drained", 0)
    assert report["leaving"] == "drained by `rolecall drain`"
    assert (report["serial"], report["releases"]) == (2, {"blog": "1"})
    assert ready.get("blog.example.com")[0] == 200
    status = ready.json("status", ok=0)
    assert (status["healthy"], status["leaving"]) == (True, report["leaving"])
    assert "leaving   drained by" in ready.rolecall("status").stdout


def test_runs_after_it_follow_the_document_and_still_say_that_it_leaves(ready: Box) -> None:
    ready.rolecall("drain")
    ready.product("blog", "2", runtime="static")
    ready.publish()
    ready.rolecall("refresh")
    assert ready.get("blog.example.com")[2] == "release=2\n"
    assert (reported(ready)["outcome"], reported(ready)["leaving"]) == ("ready", "drained by `rolecall drain`")


def test_it_can_be_undone(ready: Box) -> None:
    assert ready.json("drain", "--undo", ok=0) == {"undone": False}
    ready.rolecall("drain")
    assert ready.json("drain", "--undo", ok=0) == {"undone": True}
    ready.rolecall("refresh")
    assert (reported(ready)["outcome"], reported(ready)["leaving"]) == ("unchanged", "")


def test_a_reboot_ends_it(ready: Box) -> None:
    ready.rolecall("drain")
    for note in (ready.machine.root / "run/rolecall").glob("*.json"):
        note.unlink()
    ready.rolecall("boot")
    assert reported(ready)["leaving"] == ""


def test_requests_under_way_get_their_time_after_others_were_told(ready: Box) -> None:
    wait_is(ready, "2s")
    begun = time.monotonic()
    running = subprocess.Popen([*ROLECALL, "drain", "--config", str(ready.machine.config)], env=ready.env)
    while reported(ready)["outcome"] != "drained":
        assert time.monotonic() < begun + 30
        time.sleep(0.01)
    moment = time.monotonic()
    assert running.wait(30) == 0
    assert time.monotonic() - moment > 1


def test_a_wait_that_is_told_to_stop_ends_and_stays_drained(ready: Box) -> None:
    wait_is(ready, "1h")
    running = subprocess.Popen(
        [*ROLECALL, "drain", "--config", str(ready.machine.config)], env=ready.env, stderr=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 30
    while reported(ready)["outcome"] != "drained":
        assert time.monotonic() < until
        time.sleep(0.01)
    running.send_signal(signal.SIGTERM)
    assert running.wait(10) == 75
    assert running.stderr
    assert "Traceback" not in running.stderr.read()
    assert ready.json("status", ok=0)["leaving"]


def test_it_waits_for_a_run_that_is_under_way(ready: Box) -> None:
    slow = ready.machine.root / "usr/sbin/apache2ctl"
    usual = slow.read_text()
    slow.write_text(usual.replace("#!/bin/sh\n", "#!/bin/sh\nsleep 2\n", 1))
    ready.product("blog", "2", runtime="static")
    ready.publish()
    refresh = subprocess.Popen([*ROLECALL, "refresh", "--config", str(ready.machine.config)], env=ready.env)
    until = time.monotonic() + 30
    while "refresh" not in (ready.machine.root / "run/rolecall/lock").read_text():
        assert time.monotonic() < until
        time.sleep(0.01)
    ready.rolecall("drain")
    assert refresh.wait(30) == 0
    assert (reported(ready)["outcome"], reported(ready)["releases"]) == ("drained", {"blog": "2"})


def test_with_the_store_out_it_ends_well_and_the_news_wait(ready: Box) -> None:
    away = ready.machine.store.with_name("away")
    ready.machine.store.rename(away)
    result = ready.rolecall("drain")
    assert "the reporter 'store' could not be told" in result.stderr
    away.rename(ready.machine.store)
    ready.rolecall("refresh")
    assert reported(ready)["leaving"]


def test_a_node_that_was_never_ready_can_be_drained(box: Box) -> None:
    assert box.json("drain", ok=0)["outcome"] == "drained"
