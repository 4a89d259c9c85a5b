"""What each command promises: its answer, its exit code, its words."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import program
from box import Box, document

RELEASE = {"version": "1", "artifact": "b.tar.gz", "sha256": "0" * 64, "size": 1}
MISTAKES = {
    "databses": {},
    "servers": {"web1": {"role": "web", "address": "10.0.0.11", "zone": "a", "products": ["blgo"]}},
    "serial": "1",
}


def rolecall(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return program.rolecall(words, env)


@pytest.fixture(scope="module")
def ready(module_box: Box) -> Box:
    """A node that has booted, for commands that only look."""
    module_box.product("blog", cron=[{"name": "digest", "schedule": "@daily", "command": ["true"]}])
    module_box.publish()
    module_box.boot()
    return module_box


def test_status_tells_where_the_node_stands_and_its_exit_code_says_whether_it_is_healthy(ready: Box) -> None:
    text = ready.rolecall("status").stdout
    for words in ("web1: ready", "serial 2 of test", "unsigned", "blog 1", "last run  boot, ready", "health page"):
        assert words in text
    status = ready.json("status", ok=True)
    assert (status["healthy"], status["current"], status["owed"]) == (True, status["ready"], [])


def test_how_long_ago_the_last_run_was_is_counted_from_the_boot_whatever_the_clock_says(ready: Box) -> None:
    [path] = [path for path in (ready.state / "reports").glob("run-*.json") if "evidence" not in path.name]
    report = json.loads(path.read_text())

    def last_run(**parts: str) -> str:
        path.write_text(json.dumps({**report, **parts}))
        return ready.rolecall("status").stdout.partition("  last run  ")[2].splitlines()[0]

    assert re.fullmatch(r"boot, ready, \d+(\.\d)? (s|min) ago", last_run(started="2036-01-01T00:00:00.000+00:00"))
    assert last_run(started="2026-01-02T03:04:05.678+00:00", boot="another") == (
        "boot, ready, before this boot, at 2026-01-02 03:04 UTC by this machine's clock"
    )
    assert ready.json("status", ok=True)["last_run_age_seconds"] is None
    last_run()
    assert 0 < ready.json("status", ok=True)["last_run_age_seconds"] < 3600


def test_selftest_names_every_check_and_fails_with_the_reason(ready: Box) -> None:
    assert "✓ pass" in ready.rolecall("selftest").stdout
    stray = ready.state / "current/cron/rolecall"
    stray.chmod(0o666)
    try:
        assert "is writable by others: cron would ignore it" in ready.rolecall("selftest", ok=1).stdout
    finally:
        stray.chmod(0o644)


def test_history_and_blame_answer_for_people_and_for_machines(ready: Box) -> None:
    assert "boot" in ready.rolecall("history").stdout
    assert [report["outcome"] for report in ready.json("history", ok=True)] == ["ready"]
    assert "of the boot budget of 20 min" in ready.rolecall("blame").stdout
    steps = [times["step"] for times in ready.json("blame", ok=True)["steps"]]
    expected = "identify fetch verify assign render plan stage rehearse examine commit activate self-test ready"
    assert set(expected.split()) == set(steps)


def test_plan_on_a_node_shows_what_the_next_document_would_change_and_changes_nothing(ready: Box) -> None:
    before = sorted((path, path.lstat().st_mtime_ns) for path in ready.state.rglob("*"))
    good = ready.snapshot()
    ready.document["databases"]["blog"] |= {"epoch": 2, "master": "db2", "candidate": "db1"}
    ready.publish()
    text = ready.rolecall("plan").stdout
    assert '-  SetEnv DATABASE_BLOG_MASTER "10.0.0.21:3306"' in text
    assert '+  SetEnv DATABASE_BLOG_MASTER "10.0.0.22:3306"' in text
    assert "reload   apache" in text
    assert sorted((path, path.lstat().st_mtime_ns) for path in ready.state.rglob("*")) == before
    ready.document = good
    ready.publish(raise_serial=False)


def test_doctor_finds_nothing_wrong_with_a_healthy_node(ready: Box) -> None:
    assert "✗" not in ready.rolecall("doctor").stdout


def test_doctor_names_every_cause_at_once_with_its_remedy(box: Box) -> None:
    (box.machine.root / "etc/rolecall/identity.json").write_text('{"sever": "web1"}')
    text = box.rolecall("doctor", ok=1).stdout
    assert "sever: unknown key — did you mean 'server'?" in text
    assert f"cannot read {box.machine.store}/fleet.json" in text or "identity" in text
    assert "✓ role web" in text


def test_plan_works_offline_for_any_server_of_a_document(tmp_path: Path) -> None:
    product = {
        "hostnames": ["blog.example.com"],
        "user": "blog",
        "secrets": {"DB_PASSWORD": "file:/nowhere/at/all"},
        "release": RELEASE,
    }
    fleet = document(products={"blog": product})
    fleet["servers"]["web1"]["products"] = ["blog"]
    path = tmp_path / "fleet.json"
    path.write_text(json.dumps(fleet))
    result = rolecall("plan", "--fleet", str(path), "--as", "web1", "--config", str(tmp_path / "none.toml"))
    assert result.returncode == 0, result.stderr
    assert "+  SetEnv DB_PASSWORD <secret blog.DB_PASSWORD>" in result.stdout
    assert "/var/log/httpd/products" in result.stdout, "centos is the platform of users"
    debian = rolecall("plan", "--fleet", str(path), "--as", "web1", "--platform", "debian", "--config", "/none")
    assert "/var/log/apache2/products" in debian.stdout
    wrong = rolecall("plan", "--fleet", str(path), "--as", "wbe1", "--config", "/none")
    assert (wrong.returncode, "did you mean 'web1'?" in wrong.stderr) == (78, True)


def test_fleet_check_lists_all_mistakes_with_their_places(tmp_path: Path) -> None:
    path = tmp_path / "fleet.json"
    path.write_text(json.dumps(document()))
    assert "no mistakes" in rolecall("fleet", "check", str(path)).stdout
    path.write_text(json.dumps(document(**MISTAKES), indent=1))
    result = rolecall("fleet", "check", str(path))
    assert result.returncode == 78
    assert "did you mean 'databases'?" in result.stderr
    assert "there is no product 'blgo'" in result.stderr
    assert 'serial: must be a whole number, not "1"' in result.stderr
    listed = json.loads(rolecall("fleet", "check", str(path), "--json").stdout)["mistakes"]
    assert all(mistake["line"] > 0 and mistake["column"] > 0 for mistake in listed)


def test_fleet_diff_tells_which_servers_would_change_and_how(tmp_path: Path) -> None:
    old = document()
    for number, name in enumerate(("blog", "shop"), 1):
        old["products"][name] = {
            "hostnames": [f"{name}.example.com"],
            "user": name,
            "databases": ["blog"],
            "release": RELEASE,
        }
        server = {"role": "web", "address": f"10.0.0.1{number}", "zone": "a", "products": [name]}
        old["servers"][f"web{number}"] = server
    new = json.loads(json.dumps(old))
    new["products"]["shop"]["environment"] = {"NEW": "1"}
    paths = [tmp_path / "old.json", tmp_path / "new.json"]
    for path, content in zip(paths, (old, new), strict=True):
        path.write_text(json.dumps(content))
    text = rolecall("fleet", "diff", *map(str, paths)).stdout
    assert "web2" in text
    assert "change   apache/50-shop.conf" in text
    assert "web1" not in text


def test_a_release_of_the_same_version_in_another_archive_is_told_by_its_digests(tmp_path: Path) -> None:
    product = {"hostnames": ["blog.example.com"], "user": "blog", "release": RELEASE}
    old = document(products={"blog": product})
    old["servers"]["web1"]["products"] = ["blog"]
    paths = [tmp_path / "old.json", tmp_path / "new.json"]
    for path, digest in zip(paths, ("a1b2c3d4" * 8, "c3d4e5f6" * 8), strict=True):
        product["release"] = {**RELEASE, "sha256": digest}
        path.write_text(json.dumps(old))
    said = rolecall("fleet", "diff", *map(str, paths)).stdout
    assert "release 1: same version, other archive (sha256 a1b2c3d4… → c3d4e5f6…)\n" in said
    product["release"] = {**RELEASE, "sha256": digest, "version": "2"}
    paths[0].write_text(json.dumps(old))
    assert "release 2 → 1, the same archive\n" in rolecall("fleet", "diff", *map(str, paths)).stdout


def test_fleet_schema_is_a_json_schema_that_knows_every_part() -> None:
    schema = json.loads(rolecall("fleet", "schema").stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"Product", "Server", "Database", "Cache", "Release", "CronJob"} <= schema["$defs"].keys()


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(ready: Box, tmp_path: Path) -> None:
    assert "did you mean 'blog'?" in ready.rolecall("doctor", "--as-product", "blgo", ok=1).stderr
    path = tmp_path / "fleet.json"
    path.write_text(json.dumps(document()))
    on_a_laptop = ("--fleet", str(path), "--as", "db1", "--config", "/none")
    assert "did you mean 'debian'?" in rolecall("plan", *on_a_laptop, "--platform", "debiam").stderr
    assert "did you mean 's3'?" in rolecall("store", "check", "s33://bucket").stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "usage: rolecall"),
        (("bot",), 2, "there is no 'bot'; did you mean 'boot'?"),
        (("stauts",), 2, "did you mean 'status'?"),
        (("fleet", "pubish"), 2, "did you mean 'publish'?"),
        (("publish", "fleet.json"), 2, "there is no 'publish'; did you mean 'fleet publish'?"),
        (("refresh", "--reusme"), 2, "unrecognized arguments: --reusme; did you mean '--resume'?"),
        (("fleet", "show", "--stoer=file:///s"), 2, "--stoer=file:///s; did you mean '--store'?"),
        (("status", "web1"), 2, "usage: rolecall status"),
        (("boot", "--config", "/nowhere/agent.toml"), 78, "cannot read the settings /nowhere/agent.toml"),
        (("fleet", "check", "/nowhere/fleet.json"), 78, "cannot read /nowhere/fleet.json"),
        (("plan", "--as", "web1"), 2, "--as and a document"),
        (("rollback", "--config", "/nowhere/agent.toml"), 78, "hint: an image has it baked in"),
    ],
)
def test_what_is_wrong_is_said_with_its_exit_code_and_without_a_traceback(
    words: tuple[str, ...], code: int, message: str
) -> None:
    result = rolecall(*words)
    assert (result.returncode, "Traceback" in result.stderr) == (code, False)
    assert message in result.stderr


def test_a_reader_who_has_read_enough_is_no_error() -> None:
    result = subprocess.run(
        f"{sys.executable} -m rolecall fleet schema | head -1", shell=True, capture_output=True, text=True
    )
    assert (result.stdout, result.stderr) == ("{\n", "")
