"""The self-tests, each against the real thing: passing where it should, failing with a reason a person can act on."""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from rolecall.checks.probes import Subject, run_checks
from rolecall.fleet.check import Check, CheckResult
from rolecall.host.direct_units import DirectManager
from rolecall.host.redaction import Redaction
from rolecall.render.contents import Attachment, Unit
from rolecall.render.generation import Generation, ManagedFile, sealed


def ask(tmp_path: Path, check: Check, deadline: float = 0, **parts: Any) -> CheckResult:
    generation = sealed(Generation("web", "debian", "web1", checks=(check,), **parts))
    (result,) = run_checks(Subject(generation, tmp_path, "", DirectManager(tmp_path)), deadline)
    return result


def http(port: int, path: str = "/", timeout: float = 30, **expect: Any) -> Check:
    defaults = {"host": "blog.example.com", "port": f"127.0.0.1:{port}", "status": 200, "contains": None, "headers": {}}
    return Check("page", "http", path, defaults | expect, timeout=timeout)


class Site(BaseHTTPRequestHandler):
    requests = 0

    def do_GET(self) -> None:
        Site.requests += 1
        time.sleep(2 if self.path == "/slow" else 0)
        code = {"/gone": 404, "/moved": 302}.get(self.path, 200)
        self.send_response(503 if self.path == "/soon" and Site.requests < 4 else code)
        self.send_header("X-Host", self.headers["Host"])
        self.send_header("Location", "http://elsewhere.example.com/")
        self.end_headers()
        self.wfile.write(b"all is well")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    Site.requests = 0
    server = HTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def closed() -> int:
    """A port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_a_page_passes_by_status_text_and_header_and_is_asked_by_its_hostname(tmp_path: Path, port: int) -> None:
    assert ask(tmp_path, http(port, contains="well", headers={"X-Host": "blog.example.com"})).ok
    assert ask(tmp_path, http(port, "/gone", status=404)).ok


@pytest.mark.parametrize(
    ("path", "expect", "reason"),
    [
        ("/gone", {}, "answered 404 instead of 200"),
        ("/", {"contains": "broken"}, "the answer does not contain 'broken': 'all is well'"),
        ("/", {"headers": {"X-Config": "a"}}, "another configuration answered (X-Config: none, not a)"),
        ("/moved", {}, "answered 302 instead of 200"),
    ],
)
def test_a_page_fails_with_its_reason(
    tmp_path: Path, port: int, path: str, expect: dict[str, Any], reason: str
) -> None:
    result = ask(tmp_path, http(port, path, **expect))
    assert (result.ok, reason in result.reason) == (False, True), result.reason


def test_a_page_that_is_not_answered_in_its_time_fails_with_this_reason(tmp_path: Path, port: int) -> None:
    result = ask(tmp_path, http(port, "/slow", timeout=0.3))
    assert (result.ok, "timed out" in result.reason) == (False, True), result.reason


def test_a_closed_port_is_named_by_http_and_tcp(tmp_path: Path, closed: int) -> None:
    assert "Connection refused" in ask(tmp_path, http(closed)).reason
    tcp = ask(tmp_path, Check("master", "tcp", f"127.0.0.1:{closed}", timeout=30))
    assert tcp.reason == f"cannot connect to 127.0.0.1:{closed}: Connection refused"


def test_an_open_port_passes(tmp_path: Path, port: int) -> None:
    assert ask(tmp_path, Check("master", "tcp", f"127.0.0.1:{port}")).ok


def test_a_required_check_is_tried_until_the_deadline(tmp_path: Path, port: int) -> None:
    assert not ask(tmp_path, http(port, "/soon"), deadline=0).ok
    assert ask(tmp_path, http(port, "/soon"), deadline=60).ok


def test_an_advisory_check_is_tried_once(tmp_path: Path, port: int) -> None:
    check = http(port, "/gone")
    result = ask(tmp_path, Check(check.name, "http", "/gone", check.expect, required=False), deadline=5)
    assert (result.ok, Site.requests) == (False, 1)


def test_a_process_is_found_by_its_name(tmp_path: Path) -> None:
    # A name of our own: the kernel knows a program by the first 15 letters of its file's name.
    program = tmp_path / "roll-call-prog"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "30"]) as running:
        assert ask(tmp_path, Check("program", "process", "roll-call-prog")).ok
        running.kill()
    assert (
        ask(tmp_path, Check("program", "process", "roll-call-prog")).reason
        == "no running process is called roll-call-prog"
    )


def test_a_file_must_be_there_and_young_enough(tmp_path: Path) -> None:
    file = tmp_path / "snapshot"
    assert ask(tmp_path, Check("snapshot", "file", str(file))).reason == f"{file} does not exist"
    file.touch()
    assert ask(tmp_path, Check("snapshot", "file", str(file), {"max_age": 60.0})).ok
    os.utime(file, (time.time() - 100, time.time() - 100))
    assert "may be at most 60 s" in ask(tmp_path, Check("snapshot", "file", str(file), {"max_age": 60.0})).reason


def test_disk_and_memory_are_measured_against_what_is_wanted(tmp_path: Path) -> None:
    assert ask(tmp_path, Check("disk", "disk", str(tmp_path), {"free_mb": 1})).ok
    assert (
        "MB are free, at least 1000000000 MB must be"
        in ask(tmp_path, Check("disk", "disk", str(tmp_path), {"free_mb": 10**9})).reason
    )
    assert ask(tmp_path, Check("memory", "memory", "1")).ok
    assert "MB are available" in ask(tmp_path, Check("memory", "memory", "1000000000")).reason


def test_a_disk_that_is_not_there_is_a_reason_and_no_crash(tmp_path: Path) -> None:
    assert "No such file" in ask(tmp_path, Check("disk", "disk", "/nowhere/at/all", {"free_mb": 1})).reason


@pytest.mark.parametrize("kind", ["tcp", "memcached"])
@pytest.mark.parametrize("target", ["", "mc1", "mc1:", ":11211", "mc1:http", "mc1:70000", "mc1:-1", "mc1:1e3"])
def test_an_endpoint_that_is_none_is_a_reason_and_no_crash(tmp_path: Path, kind: str, target: str) -> None:
    result = ask(tmp_path, Check("cache", kind, target, {"memory_mb": "64"}, timeout=0.5))
    assert (result.ok, result.reason) == (False, f"{target!r} is not host:port")


def test_attachments_are_compared_with_what_the_role_says(tmp_path: Path) -> None:
    link, file = tmp_path / "cron.d/rolecall", tmp_path / "conf.d/rolecall.conf"
    uses = (Attachment(str(link), "cron/rolecall", None), Attachment(str(file), None, "Include x\n"))
    check = Check("attachments", "attachments", "True")
    reason = ask(tmp_path, check, attachments=uses).reason
    assert reason == f"{link} is not a link to {tmp_path}/current/cron/rolecall; {file} is missing"
    for path in (link, file):
        path.parent.mkdir()
    link.symlink_to(tmp_path / "current/cron/rolecall")
    file.write_text("Include y\n")
    assert ask(tmp_path, check, attachments=uses).reason.startswith(f"{file} has other content")
    file.write_text("Include x\n")
    assert ask(tmp_path, check, attachments=uses).ok


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [("* * * * * x y\n", 0o644, ""), ("* * * * * x y", 0o644, "does not end"), ("", 0o664, "writable by others")],
)
def test_a_cron_table_that_cron_would_pass_over_is_found(tmp_path: Path, text: str, mode: int, reason: str) -> None:
    table = tmp_path / "current/cron/rolecall"
    table.parent.mkdir(parents=True)
    table.write_text(text)
    table.chmod(mode)
    file = ManagedFile("cron/rolecall", text, mode, "", "", ())
    result = ask(tmp_path, Check("cron", "cron", "cron/rolecall"), files=(file,))
    assert (result.ok, reason in result.reason) == (not reason, True)


def test_a_unit_that_this_node_does_not_run_is_said_to_be_so(tmp_path: Path) -> None:
    unit = Unit("cron", "cron.service", "restart")
    result = ask(tmp_path, Check("cron is running", "unit", "cron"), units=(unit,))
    assert (result.ok, result.reason) == (True, "not run on this node")


def test_no_reason_of_any_kind_of_check_has_a_secret(tmp_path: Path) -> None:
    text = "is the c4n4ry alive"
    checks = (
        Check("a", "tcp", text), Check("b", "unit", text), Check("c", "process", text), Check("d", "file", f"/{text}"),
    )  # fmt: skip
    generation = sealed(Generation("web", "debian", "web1", checks=checks))
    subject = Subject(generation, tmp_path, "", DirectManager(tmp_path), Redaction(["c4n4ry"]))
    reasons = [result.reason for result in run_checks(subject, 0)]
    assert all("is the <secret> alive" in reason for reason in reasons), reasons
