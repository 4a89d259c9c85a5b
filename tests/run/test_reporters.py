"""Others are told how a run ended. What one of them does wrong is a note, and the others are told all the same."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from box import Box
from rolecall.node.node import open_node
from rolecall.report import Report
from rolecall.settings import load_settings
from rolecall.steps.finish import recorded


@pytest.fixture(scope="module")
def node(module_box: Box) -> Box:
    """A node that serves one page and tells systemd first."""
    config = module_box.machine.config
    text = config.read_text()
    assert 'readiness = ["systemd", ' in text
    config.write_text(f'{text}\n[reporter.systemd]\ntimeout = "3s"\n')
    module_box.product("blog", runtime="static")
    module_box.publish()
    module_box.boot()
    return module_box


def reported(node: Box) -> dict[str, Any]:
    """What the fleet sees of the last run."""
    report: dict[str, Any] = json.loads((node.machine.store / "reports/web1.json").read_text())
    return report


@contextmanager
def library(node: Box, folder: Path, source: str) -> Iterator[None]:
    """In the place of systemd-python there is something else."""
    (folder / "systemd").mkdir()
    (folder / "systemd/__init__.py").touch()
    (folder / "systemd/daemon.py").write_text(f"{source}\n")
    usual = dict(node.env)
    node.env |= {"PYTHONPATH": str(folder), "NOTIFY_SOCKET": "/nowhere"}
    try:
        yield
    finally:
        node.env = usual


@pytest.mark.parametrize(
    ("source", "note"),
    [
        ("def notify(state): raise RuntimeError('a bug of this library')", "RuntimeError: a bug of this library"),
        ("def notify(state): raise SystemExit(3)", "SystemExit: 3"),
        ("def notify(state): raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("class Odd(BaseException): pass\ndef notify(state): raise Odd", "Odd"),
        ("def notify(state): return notify(state)", "RecursionError: maximum recursion depth exceeded"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import time\ndef notify(state): time.sleep(3600)", "it did not end within 3 s"),
    ],
)
def test_whatever_a_library_throws_is_a_note_and_the_others_are_told(
    source: str, note: str, node: Box, tmp_path: Path
) -> None:
    figures = node.state / "metrics/rolecall.prom"
    figures.unlink()
    before = reported(node)["started"]
    with library(node, tmp_path, source):
        stderr = node.rolecall("boot").stderr
    assert f"the reporter 'systemd' could not be told: {note}" in stderr
    assert "Traceback" not in stderr
    assert reported(node)["started"] > before
    assert "rolecall_ready 1" in figures.read_text()


def test_a_run_whose_reporter_failed_is_kept_with_what_it_said(node: Box, tmp_path: Path) -> None:
    node.product("blog", "2", runtime="static")
    node.publish()
    with library(node, tmp_path, "def notify(state): raise OSError(5, 'Input/output error')"):
        node.rolecall("refresh")
    [warning] = [words for words in node.json("history")[0]["warnings"] if "reporter" in words]
    assert warning == "the reporter 'systemd' could not be told: OSError: [Errno 5] Input/output error"


def test_a_run_that_cannot_take_the_lock_ends_with_a_report(node: Box) -> None:
    run = node.machine.run
    away = run.rename(run.with_name("away"))
    run.write_text("in the way")
    try:
        result = node.rolecall("refresh", ok=1)
    finally:
        run.unlink()
        away.rename(run)
    assert result.stderr.startswith("rolecall: cannot make")
    assert (reported(node)["outcome"], reported(node)["exit_code"]) == ("failed", 1)
    assert node.json("history")[0]["outcome"] == "failed"
    node.rolecall("refresh")


def test_a_defect_of_the_agent_is_reported_before_it_is_shown(node: Box) -> None:
    settings = load_settings(node.machine.config)
    report = Report("refresh", server="web1")
    with pytest.raises(ZeroDivisionError), recorded(open_node(settings), report):
        1 / 0  # noqa: B018
    assert reported(node)["error"] == "a defect of the agent: ZeroDivisionError('division by zero')"
    assert (reported(node)["outcome"], reported(node)["serving"]) == ("failed", True)
    node.machine.config.touch()
    node.rolecall("refresh")


def test_another_run_that_goes_on_is_not_reported_as_this_ones_failure(node: Box) -> None:
    before = reported(node)
    settings = load_settings(node.machine.config)
    with recorded(open_node(settings), Report("boot", server="web1", outcome="ready")):
        assert "is held by rolecall boot" in node.rolecall("refresh", "--resume", ok=75).stderr
        assert reported(node) == before
