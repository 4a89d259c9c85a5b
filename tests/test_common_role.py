"""What every role has: the message of the day, the agent's figures, and a real Munin node that tells them."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from box import ROOT, Box
from rolecall.demo.machine import free_port
from rolecall.readiness import Metrics, open_reporter
from rolecall.report import Report, Step
from unit.samples import ANY_TEXT, fuzz

AS_ROOT = os.geteuid() == 0
PLUGINS = ("cpu", "df", "df_inode", "diskstats", "load", "memory", "rolecall", "swap", "uptime")


@pytest.fixture
def node(folder: Path) -> Iterator[Box]:
    """A web server in a folder whose agent writes its figures."""
    made = Box(folder)
    config, port = made.machine.config, free_port(24000 + os.getpid() % 7000)
    text = config.read_text().replace('"store"]', '"store", "textfile"]')
    config.write_text(f"{text}munin_port = {port}\n")
    for name in ("run/munin", "var/log/munin"):
        (folder / name).mkdir(parents=True)
    made.product("blog", version="7", databases=[], caches=[])
    made.publish()
    try:
        made.boot()
        yield made
    finally:
        made.stop()


# One line of the text format, as https://prometheus.io/docs/instrumenting/exposition_formats/ has it.
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (-?[0-9.]+(?:e-?[0-9]+)?)")
ESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


def parsed(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The samples. What is not in the format fails: a line, a second sample of one name, one before its type."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    types, helps = set[str](), set[str]()
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if comment := re.fullmatch(rf"# (HELP|TYPE) ({NAME}) (.+)", line):
            seen = helps if comment[1] == "HELP" else types
            assert comment[2] not in seen
            assert comment[1] == "HELP" or comment[3] == "gauge"
            seen.add(comment[2])
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        assert sample[1] in types & helps
        pairs = re.findall(LABEL, sample[2] or "")
        labels = tuple((name, re.sub(r"\\.", lambda at: ESCAPED[at[0]], value)) for name, value in pairs)
        assert (sample[1], labels) not in found
        found[sample[1], labels] = float(sample[7])
    return found


def told(report: Report, fetched: str = "") -> str:
    """What the reporter writes of a report."""
    written: dict[str, bytes] = {}
    open_reporter("textfile", None, Metrics(written.__setitem__, fetched)).tell(report)  # type: ignore[arg-type]
    return written["rolecall.prom"].decode()


@fuzz(200)
@given(texts=st.lists(ANY_TEXT | st.sampled_from(["\\", '"', "\\n", '\\"', '"} 1\nx 2']), min_size=3, max_size=3))
def test_any_text_in_a_label_is_read_back_as_it_was(texts: list[str]) -> None:
    server, role, step = (text.encode("utf-8", "replace").decode() for text in texts)
    found = parsed(told(Report("boot", server=server, role=role, current="0123456789abcdef", steps=[Step(step, 1.5)])))
    ((_, labels),) = [key for key in found if key[0] == "rolecall_info"]
    assert dict(labels).items() >= {"server": server, "role": role, "generation": "0123456789ab"}.items()
    assert found["rolecall_step_seconds", (("step", step),)] == 1.5


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ({"exit_code": 0}, {"ready": 1, "exit_code": 0, "degraded": 0, "leaving": 0}),
        ({"exit_code": 78}, {"ready": 0, "exit_code": 78}),
        ({"exit_code": 0, "leaving": "a notice"}, {"ready": 0, "exit_code": 0, "leaving": 1}),
        ({"exit_code": 0, "degraded": "no store answers"}, {"ready": 1, "degraded": 1}),
        ({"serial": 42}, {"document_serial": 42}),
    ],
)
def test_the_figures_are_those_of_the_last_run(parts: dict[str, object], wanted: dict[str, float]) -> None:
    found = parsed(told(Report("refresh", **parts)))  # type: ignore[arg-type]
    assert {name: found[f"rolecall_{name}", ()] for name in wanted} == wanted
    assert abs(found["rolecall_last_run_timestamp_seconds", ()] - time.time()) < 5


def test_steps_of_one_name_are_one_figure_and_a_document_has_the_time_when_it_was_first_read() -> None:
    report = Report("boot", steps=[Step("fetch", 0.5), Step("verify", 0.1), Step("fetch", 0.25)])
    found = parsed(told(report, "2026-11-21T18:00:00+00:00"))
    assert found["rolecall_step_seconds", (("step", "fetch"),)] == 0.75
    assert found["rolecall_document_timestamp_seconds", ()] == 1795284000
    assert ("rolecall_document_timestamp_seconds", ()) not in parsed(told(report))


def test_every_figure_stands_in_the_reference() -> None:
    page = (ROOT / "docs/reference/settings.md").read_text()
    report = Report("boot", steps=[Step("fetch", 0.5)])
    names = {name for name, _ in parsed(told(report, "2026-11-21T18:00:00+00:00"))}
    assert names == set(re.findall(r"^\| `(rolecall_\w+)` \|", page, re.MULTILINE))


def test_the_message_of_the_day_tells_what_the_machine_is(node: Box) -> None:
    motd = node.machine.root / "etc/motd"
    current = (node.state / "current").resolve().name
    assert motd.read_text().splitlines()[:4] == [
        "web1: web of the fleet test, zone a", "", "  product    blog 7", f"  generation {current[:12]}",
    ]  # fmt: skip
    node.product("blog", version="8", databases=[], caches=[])
    node.publish()
    node.rolecall("refresh")
    after = (node.state / "current").resolve().name
    assert after != current
    assert motd.read_text().splitlines()[2:4] == ["  product    blog 8", f"  generation {after[:12]}"]


def test_a_document_that_changes_nothing_but_its_serial_is_no_new_generation(node: Box) -> None:
    current = os.readlink(node.state / "current")
    node.publish()
    node.rolecall("refresh")
    assert os.readlink(node.state / "current") == current
    found = parsed((node.state / "metrics/rolecall.prom").read_text())
    assert found["rolecall_document_serial", ()] == node.document["serial"]


def test_the_figures_are_where_node_exporter_looks_and_everybody_may_read_them(node: Box) -> None:
    path = node.machine.root / "var/lib/prometheus/node-exporter/rolecall.prom"
    assert path.resolve() == node.state / "metrics/rolecall.prom"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o005) == (0o644, 0o005)
    found = parsed(path.read_text())
    assert found["rolecall_ready", ()] == 1
    node.publish(b"{")
    node.rolecall("refresh", ok=78)
    found = parsed(path.read_text())
    assert (found["rolecall_ready", ()], found["rolecall_exit_code", ()]) == (0, 78)


def plugin(box: Box, shell: str, *words: str) -> dict[str, str]:
    """What the Munin plugin says: name → value."""
    script = box.state / "current/munin-plugins/rolecall"
    done = subprocess.run([*shell.split(), script, *words], capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize("shell", ["dash", "bash --posix"])
def test_the_plugin_tells_what_the_figures_say(node: Box, shell: str) -> None:
    values = plugin(node, shell)
    ages = [int(values.pop(f"{name}.value")) for name in ("run_age", "document_age")]
    assert all(0 <= age < 60 for age in ages)
    assert abs(int(values.pop("clock.value")) - time.time()) < 5
    assert values == {"exit_code.value": "0", "ready.value": "1", "serial.value": str(node.document["serial"])}
    assert {name.removesuffix(".label") for name in plugin(node, shell, "config") if name.endswith(".label")} == {
        "run_age", "document_age", "exit_code", "ready", "serial", "clock",
    }  # fmt: skip
    (node.state / "metrics/rolecall.prom").unlink()
    assert {value for name, value in plugin(node, shell).items() if name != "clock.value"} == {"U"}


def test_the_scripts_pass_shellcheck(node: Box) -> None:
    script = node.state / "current/munin-plugins/rolecall"
    done = subprocess.run(["shellcheck", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not AS_ROOT, reason="gives the Munin node its folder of plugins in a mount namespace")
def test_a_munin_node_tells_the_monitor_of_the_machine_and_of_the_agent(node: Box) -> None:
    root = node.machine.root
    for name in PLUGINS:
        link = root / "etc/munin/plugins" / name
        assert (link.is_symlink(), link.exists()) == (True, True), name
    port = int(re.findall(r"munin_port = (\d+)", node.machine.config.read_text())[0])
    beside = (
        'mount --bind "$1/plugins" /etc/munin/plugins && exec munin-node --foreground --config "$1/munin-node.conf"'
    )
    argv = ["unshare", "--mount", "--", "sh", "-c", beside, "sh", f"{root}/etc/munin"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as daemon:
        try:
            end = time.monotonic() + 20
            while not answers(port) and time.monotonic() < end:
                time.sleep(0.1)
            said = {words: monitored(node, port, *words.split()) for words in ("agent 60 120", "load 99 999",
                                                                              "df 101 102", "df 0 102")}  # fmt: skip
        finally:
            daemon.terminate()
    assert {words: code for words, (code, _) in said.items()} == {
        "agent 60 120": 0, "load 99 999": 0, "df 101 102": 0, "df 0 102": 1,
    }  # fmt: skip
    assert re.match(rf"ready, last full run \d+ s ago, serial {node.document['serial']}\|", said["agent 60 120"][1])


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def monitored(box: Box, port: int, *words: str) -> tuple[int, str]:
    """What the monitor's plugin makes of it."""
    script, own = ROOT / "templates/monitor/check_node.pl.j2", box.state / "metrics/rolecall.prom"
    assert shutil.which("perl")
    done = subprocess.run(["perl", script, own, str(port), "127.0.0.1", *words], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr
