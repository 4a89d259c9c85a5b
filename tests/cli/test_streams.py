"""Whoever reads the answer, or does not, decides nothing about a run: shells with closed, full and broken streams."""

import json
import shlex
import subprocess
from typing import Any

import pytest

from box import ROLECALL, Box

STREAMS = {
    "standard error is closed": "2>&-",
    "standard output is closed": ">&-",
    "all three are closed": "<&- >&- 2>&-",
    "the reader has gone": "2>&1 | true",
    "standard output is full": ">/dev/full",
    "both are full": ">/dev/full 2>&1",
}
WORST = ("all three are closed", "the reader has gone", "both are full")
LOST = ("standard output is full", "both are full")  # what somebody wanted to keep could not be written


@pytest.fixture(scope="module")
def node(module_box: Box) -> Box:
    """A node with an earlier generation to go back to."""
    module_box.product("blog", runtime="static")
    module_box.publish()
    module_box.boot()
    return module_box


def code_of(node: Box, redirection: str, *words: str) -> int:
    """The exit code of a command in a shell."""
    command = shlex.join([*ROLECALL, *words, "--config", str(node.machine.config)])
    script = f"{command} {redirection}; exit ${{PIPESTATUS[0]}}"
    return subprocess.run(["bash", "-c", script], env=node.env, capture_output=True, timeout=120).returncode


def reported(node: Box) -> tuple[str, str, int]:
    """What the fleet sees of the last run."""
    report: dict[str, Any] = json.loads((node.machine.store / "reports/web1.json").read_text())
    return report["command"], report["outcome"], report["exit_code"]


@pytest.mark.parametrize(
    "streams", [pytest.param(name, marks=() if name in WORST else pytest.mark.long) for name in STREAMS]
)
def test_every_run_ends_as_it_would_and_is_reported(streams: str, node: Box) -> None:
    def code(*words: str) -> int:
        return code_of(node, STREAMS[streams], *words)

    version = streams.replace(" ", "-")
    node.product("blog", f"good-{version}", runtime="static")
    node.publish()
    assert (code("boot"), *reported(node)) == (0, "boot", "ready", 0)
    assert (code("rollback"), *reported(node)) == (0, "rollback", "ready", 0)
    assert (code("refresh", "--resume"), *reported(node)) == (0, "refresh", "ready", 0)
    assert code("status") == int(streams in LOST)
    assert (code("drain"), *reported(node)) == (0, "drain", "drained", 0)
    assert (node.machine.run / "lock").read_text().startswith("rolecall drain, process ")
    node.rolecall("drain", "--undo")
    node.product("blog", f"bad-{version}", runtime="static", health="down")
    node.publish()
    assert (code("refresh"), *reported(node)) == (1, "refresh", "rolled back", 1)
    assert node.get("blog.example.com")[2] == f"release=good-{version}\n"


def test_an_answer_that_could_not_be_written_is_an_error_with_its_reason() -> None:
    result = subprocess.run(
        f"{shlex.join(ROLECALL)} fleet schema >/dev/full", shell=True, stderr=subprocess.PIPE, text=True, timeout=60
    )
    reason = "rolecall: the answer could not be written: No space left on device\n"
    assert (result.returncode, result.stderr) == (1, reason)


def test_a_terminal_that_goes_away_interrupts_a_run_in_good_order(node: Box) -> None:
    slow = node.machine.root / "usr/sbin/apache2ctl"
    usual = slow.read_text()
    slow.write_text(usual.replace("#!/bin/sh\n", "#!/bin/sh\nkill -HUP $(sed 's/.*process \\([0-9]*\\).*/\\1/' "
                                  f"{node.machine.run}/lock)\nsleep 1\n", 1))  # fmt: skip
    node.product("blog", "next", runtime="static")
    node.publish()
    try:
        assert node.rolecall("refresh", ok=75).stdout.startswith("interrupted: ")
        assert reported(node) == ("refresh", "interrupted", 75)
    finally:
        slow.write_text(usual)
    node.rolecall("refresh")
    assert node.get("blog.example.com")[2] == "release=next\n"
