"""What every role has: the message of the day, the agent's figures, and a real Munin node that tells them."""

import os
import random
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from box import ROOT, Box, alive
from database_fleet import Fleet
from munin import fetched, munin_node
from reporters import notice
from rolecall.demo.folder_node import free_port
from rolecall.fleet.assignment import Assignment
from rolecall.host.roles import read_role
from rolecall.readiness import open_reporter
from rolecall.render.rendering import render
from rolecall.render.settings import RenderSettings
from rolecall.report import ProductStatus, Report, Step
from roles.test_golden import HERE, generation
from samples import ANY_TEXT, fuzz

AS_ROOT = os.geteuid() == 0
PLUGINS = ("cpu", "df", "df_inode", "diskstats", "load", "memory", "rolecall", "swap", "uptime")


@pytest.fixture
def node(folder: Path) -> Iterator[Box]:
    """A web server in a folder whose agent writes its figures."""
    node = Box(folder)
    config, port = node.machine.config, free_port(random.randrange(10000, 20000))
    text = config.read_text().replace('"store"]', '"store", "textfile"]')
    config.write_text(f"{text}munin_port = {port}\n")
    for name in ("run/munin", "var/log/munin"):
        (folder / name).mkdir(parents=True)
    node.product("blog", version="7", databases=[], caches=[])
    node.publish()
    try:
        node.boot()
        yield node
    finally:
        node.stop()


# One line of the text format, as https://prometheus.io/docs/instrumenting/exposition_formats/ has it.
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (-?[0-9.]+(?:e-?[0-9]+)?)")
ESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


def parsed(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The samples. What is not in the format fails: a line, a second sample of one name, one before its type."""
    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    types, helps = set[str](), set[str]()
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if comment := re.fullmatch(rf"# (HELP|TYPE) ({NAME}) (.+)", line):
            metrics = helps if comment[1] == "HELP" else types
            assert comment[2] not in metrics
            assert comment[1] == "HELP" or comment[3] == "gauge"
            metrics.add(comment[2])
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        assert sample[1] in types & helps
        pairs = re.findall(LABEL, sample[2] or "")
        labels = tuple((name, re.sub(r"\\.", lambda at: ESCAPED[at[0]], value)) for name, value in pairs)
        assert (sample[1], labels) not in samples
        samples[sample[1], labels] = float(sample[7])
    return samples


def exposition(report: Report, fetched: datetime | None = None) -> str:
    """What the reporter writes of a report."""
    files: dict[str, bytes] = {}
    open_reporter("textfile").tell(notice(report, figures=files, document_read=fetched))
    return files["rolecall.prom"].decode()


@fuzz(40)
@given(texts=st.lists(ANY_TEXT | st.sampled_from(["\\", '"', "\\n", '\\"', '"} 1\nx 2']), min_size=3, max_size=3))
def test_any_text_in_a_label_is_read_back_as_it_was(texts: list[str]) -> None:
    server, role, step = (text.encode("utf-8", "replace").decode() for text in texts)
    report = Report("boot", server=server, role=role, current="0123456789abcdef", steps=[Step(step, 1.5)])
    samples = parsed(exposition(report))
    ((_, labels),) = [key for key in samples if key[0] == "rolecall_info"]
    assert dict(labels).items() >= {"server": server, "role": role, "generation": "0123456789ab"}.items()
    assert samples["rolecall_step_seconds", (("step", step),)] == 1.5


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"exit_code": 0}, {"ready": 1, "exit_code": 0, "degraded": 0, "leaving": 0}),
        ({"exit_code": 78}, {"ready": 0, "exit_code": 78}),
        ({"exit_code": 0, "leaving": "a notice"}, {"ready": 0, "exit_code": 0, "leaving": 1}),
        ({"exit_code": 0, "degraded": "no store answers"}, {"ready": 1, "degraded": 1}),
        ({"serial": 42}, {"document_serial": 42}),
        ({"exit_code": 1, "serving": True}, {"ready": 0, "serving": 1}),
        ({"exit_code": 1, "serving": False}, {"ready": 0, "serving": 0}),
    ],
)
def test_the_figures_are_those_of_the_last_run(parts: dict[str, object], expected: dict[str, float]) -> None:
    samples = parsed(exposition(Report("refresh", **parts)))  # type: ignore[arg-type]
    assert {name: samples[f"rolecall_{name}", ()] for name in expected} == expected
    assert abs(samples["rolecall_last_run_timestamp_seconds", ()] - time.time()) < 300


def test_each_product_has_a_figure_of_its_own() -> None:
    products = {"blog": ProductStatus("1", serving=True), "shop": ProductStatus("7", serving=False)}
    samples = parsed(exposition(Report("refresh", products=products)))
    assert samples["rolecall_product_serving", (("product", "blog"),)] == 1
    assert samples["rolecall_product_serving", (("product", "shop"),)] == 0


def test_steps_of_one_name_are_one_figure_and_a_document_has_the_time_when_it_was_first_read() -> None:
    report = Report("boot", steps=[Step("fetch", 0.5), Step("verify", 0.1), Step("fetch", 0.25)])
    samples = parsed(exposition(report, datetime(2026, 11, 21, 18, tzinfo=UTC)))
    assert samples["rolecall_step_seconds", (("step", "fetch"),)] == 0.75
    assert samples["rolecall_document_timestamp_seconds", ()] == 1795284000
    assert ("rolecall_document_timestamp_seconds", ()) not in parsed(exposition(report))


def test_every_figure_stands_in_the_reference() -> None:
    page = (ROOT / "docs/reference/settings.md").read_text()
    products = {"blog": ProductStatus("1", serving=True)}
    report = Report("boot", steps=[Step("fetch", 0.5)], products=products, boot="0c1a", waits={"blog": 0.0})
    names = {name for name, _ in parsed(exposition(report, datetime(2026, 11, 21, 18, tzinfo=UTC)))}
    assert names == set(re.findall(r"^\| `(rolecall_\w+)` \|", page, re.MULTILINE))


def test_the_message_of_the_day_tells_what_the_machine_is(node: Box) -> None:
    motd = node.machine.root / "etc/motd.d/rolecall"
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
    samples = parsed((node.state / "metrics/rolecall.prom").read_text())
    assert samples["rolecall_document_serial", ()] == node.document["serial"]


def test_the_figures_are_where_node_exporter_looks_and_everybody_may_read_them(node: Box) -> None:
    path = node.machine.root / "var/lib/prometheus/node-exporter/rolecall.prom"
    assert path.resolve() == node.state / "metrics/rolecall.prom"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o005) == (0o644, 0o005)
    samples = parsed(path.read_text())
    assert samples["rolecall_ready", ()] == 1
    node.publish(b"{")
    node.rolecall("refresh", ok=78)
    samples = parsed(path.read_text())
    assert (samples["rolecall_ready", ()], samples["rolecall_exit_code", ()]) == (0, 78)


def plugin(box: Box, shell: str, *words: str) -> dict[str, str]:
    """What the Munin plugin says: name → value."""
    script = box.state / "current/munin-plugins/rolecall"
    done = subprocess.run([*shell.split(), script, *words], capture_output=True, text=True, check=True)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize("shell", ["dash", "bash --posix"])
def test_the_plugin_tells_what_the_figures_say(node: Box, shell: str) -> None:
    values = plugin(node, shell)
    ages = [int(values.pop(f"{name}.value")) for name in ("run_age", "document_age")]
    assert all(0 <= age < 300 for age in ages)
    assert abs(int(values.pop("clock.value")) - time.time()) < 300
    assert values.pop("multigraph") == "rolecall_products"
    serial = str(node.document["serial"])
    assert values == {
        "exit_code.value": "0", "ready.value": "1", "serving.value": "1", "serial.value": serial,
        "product_blog.value": "1",
    }  # fmt: skip
    assert {name.removesuffix(".label") for name in plugin(node, shell, "config") if name.endswith(".label")} == {
        "run_age", "document_age", "exit_code", "ready", "serving", "serial", "clock", "product_blog",
    }  # fmt: skip
    figures = node.state / "metrics/rolecall.prom"
    figures.write_text(re.sub(r"(rolecall_last_run_timestamp_seconds) \d+", r"\1 1", text := figures.read_text()))
    assert 0 <= int(plugin(node, shell)["run_age.value"]) < 300, "whatever the clock says"
    figures.write_text(re.sub(r'boot="[^"]+"', 'boot="another"', text))
    with Path("/proc/uptime").open() as uptime:
        up = float(uptime.read().split()[0])
    assert abs(int(plugin(node, shell)["run_age.value"]) - up) < 300, "before this boot: as long ago as that at least"
    figures.write_text(re.sub(r"(?m)^rolecall_last_run_uptime_seconds.*\n", "", text))
    assert 0 <= int(plugin(node, shell)["run_age.value"]) < 300, "as an earlier version has told it"
    figures.unlink()
    values = plugin(node, shell)
    assert values.pop("multigraph") == "rolecall", "and no graph of products"
    assert {value for name, value in values.items() if name != "clock.value"} == {"U"}


def test_what_the_reader_of_munin_node_does_not_take_is_refused(node: Box) -> None:
    golden = generation(HERE / "web/one", "debian")
    (validator,) = [validator for validator in golden.validators if validator.name == "munin-node"]
    path = node.state / "current/munin/munin-node.conf"
    argv = [word.replace("/var/lib/rolecall/current/munin/munin-node.conf", str(path)) for word in validator.argv]
    assert subprocess.run(argv).returncode == 0
    path.write_text(f"{path.read_text()}port4949\n")
    done = subprocess.run(argv, capture_output=True, text=True)
    assert (done.returncode, "not well formed" in done.stderr) != (0, False)
    assert done.returncode != 0


def test_the_scripts_pass_shellcheck(node: Box) -> None:
    script = node.state / "current/munin-plugins/rolecall"
    done = subprocess.run(["shellcheck", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def banner(where: tuple[str, int], source: str) -> str:
    """What a Munin node says first to whoever comes from that address."""
    with socket.create_connection(where, 10, (source, 0)) as connection:
        return connection.makefile().readline()


@pytest.mark.skipif(not AS_ROOT, reason="gives the Munin node its folder of plugins in a mount namespace")
def test_a_munin_node_tells_the_monitor_of_the_machine_and_of_the_agent(node: Box, tmp_path: Path) -> None:
    root = node.machine.root
    for name in PLUGINS:
        link = root / "etc/munin/plugins" / name
        assert (link.is_symlink(), link.exists()) == (True, True), name
    services = ("agent=agent:rolecall:60:120", "load=highest:load:999:9999", "disk=highest:df:101:102",
                "low=highest:df:0:102")  # fmt: skip
    script, own = ROOT / "templates/monitor/check_node.pl.j2", node.state / "metrics/rolecall.prom"
    results = tmp_path / "told"
    results.touch()
    with munin_node(node) as (address, port):
        assert banner((address, port), "127.0.0.1").startswith("# munin node at web1")
        assert banner((address, port), "127.0.0.5") == "", "no monitor of the document has that address"
        argv = ["perl", str(script), str(own), str(results), "web1", address, str(port), *services]
        done = subprocess.run(argv, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "4 services\n")
    states = dict(re.findall(r"RESULT;web1;(\w+);(.*)", results.read_text()))
    assert {name: words[0] for name, words in states.items()} == {"agent": "0", "load": "0", "disk": "0", "low": "1"}
    assert re.match(rf"0;ready, last full run \d+ s ago, serial {node.document['serial']}\|", states["agent"])


@pytest.mark.skipif(not AS_ROOT, reason="gives the Munin node its folder of plugins in a mount namespace")
def test_munin_sees_the_requests_that_apache_has_and_unknown_where_it_is_gone(node: Box) -> None:
    with munin_node(node) as where:
        before = fetched(where, "rolecall_apache")
        for _ in range(10):
            assert node.get("blog.example.com", "/health")[0] == 200
        after = fetched(where, "rolecall_apache")
        apache = int((node.machine.root / "run/apache2/apache2.pid").read_text())
        os.kill(apache, signal.SIGTERM)
        while alive(apache):
            time.sleep(0.02)
        unreachable = fetched(where, "rolecall_apache")
    assert (after["apache_accesses.accesses"] or 0) >= (before["apache_accesses.accesses"] or 0) + 10
    assert (after["apache_processes.busy"] or 0) >= 1
    assert (after["apache_processes.idle"] or 0) >= 1
    assert after["apache_volume.volume"] is not None
    assert unreachable == dict.fromkeys(after)


def test_apache_tells_its_figures_to_its_own_machine_alone(node: Box) -> None:
    status, _, text = node.get("nobody.example.com", "/.well-known/rolecall-status?auto")
    assert (status, "Total Accesses: " in text) == (200, True)
    assert "Total Accesses" not in node.get("blog.example.com", "/.well-known/rolecall-status?auto")[2]
    rules = (node.state / "current/apache/00-base.conf").read_text()
    assert re.search(r'<Location "/.well-known/rolecall-status">\n *Require local\n', rules)


@pytest.mark.skipif(not AS_ROOT, reason="gives the Munin node its folder of plugins in a mount namespace")
def test_munin_sees_what_a_database_server_does_and_whether_it_follows(fleet: Fleet) -> None:
    for node in fleet.nodes.values():
        config = node.machine.config
        config.write_text(f"{config.read_text()}munin_port = {free_port(random.randrange(10000, 20000))}\n")
        for name in ("run/munin", "var/log/munin"):
            (node.machine.root / name).mkdir(parents=True)
    fleet.boot("db1", "db2")
    with munin_node(fleet.nodes["db1"]) as where:
        before = fetched(where, "rolecall_database")
        fleet.sql("db1", "SELECT 1; SELECT 2; SELECT 3; CREATE TABLE blog.t (n INT); INSERT INTO blog.t VALUES (1)")
        master = fetched(where, "rolecall_database")
    assert (master["database_queries.select"] or 0) >= (before["database_queries.select"] or 0) + 3
    assert (master["database_queries.insert"] or 0) >= (before["database_queries.insert"] or 0) + 1
    assert (master["database_connections.connected"] or 0) >= 1
    assert (master["database_connections.most"] or 0) >= 100
    assert (master["database_replication.writable"], master["database_replication.lag"]) == (1, None)
    assert (master["database_replication.waiting"], master["database_replication.answers"]) == (0, 1)
    with munin_node(fleet.nodes["db2"]) as where:
        follower = fetched(where, "rolecall_database")
        fleet.sql("db2", "STOP SLAVE SQL_THREAD")
        halted = fetched(where, "rolecall_database")
        fleet.stop()
        unreachable = fetched(where, "rolecall_database")
    assert follower["database_replication.writable"] == 0
    assert (follower["database_replication.lag"] or 0) < 60
    assert follower["database_replication.lag"] is not None
    assert halted["database_replication.lag"] is None
    assert unreachable == dict.fromkeys(follower) | {"database_replication.answers": 0}


def test_the_clock_asks_the_providers_server_beside_those_of_chrony_conf(node: Box) -> None:
    sources = (node.machine.root / "etc/chrony/sources.d/rolecall.sources").read_text()
    assert re.findall(r"^(server|pool) (\S+)", sources, re.MULTILINE) == [("server", "169.254.169.123")]
    assert not (node.machine.root / "etc/chrony/chrony.conf").exists(), "an admin's own file is left alone"


def test_on_centos_the_server_is_laid_where_its_chrony_conf_looks_for_those_of_dhcp(tmp_path: Path) -> None:
    nobody = Assignment("image", "image", "web", "none", "127.0.0.1", ())
    bare = render(read_role(ROOT / "templates", "web"), nobody, RenderSettings("centos"))
    [laid] = [each for each in bare.attachments if "chrony" in each.path]
    assert laid.path == "/etc/tmpfiles.d/rolecall-chrony.conf"
    config = tmp_path / "usr/lib/tmpfiles.d/chrony.conf"
    config.parent.mkdir(parents=True)
    config.write_text(laid.content or "")
    subprocess.run(["systemd-tmpfiles", "--create", f"--root={tmp_path}", "chrony.conf"], check=True)
    sources = (tmp_path / "run/chrony-dhcp/rolecall.sources").read_text()
    assert sources == "server 169.254.169.123 prefer iburst minpoll 4 maxpoll 4"


def test_what_attachments_may_replace_is_named_where_a_person_decides_to_lay_them() -> None:
    page = (ROOT / "docs/how-to/physical-machine.md").read_text()
    for role in ("web", "database", "memcached", "monitor"):
        for platform in ("centos", "debian"):
            nobody = Assignment("image", "image", role, "none", "127.0.0.1", ())
            bare = render(read_role(ROOT / "templates", role), nobody, RenderSettings(platform))
            for attachment in bare.attachments:
                if "rolecall" not in attachment.path:
                    assert f"`{Path(attachment.path).name}`" in page, attachment.path
