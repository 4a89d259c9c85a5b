"""Whatever a store does to a request, the run ends in time, what serves is whole, and no credential is told."""

import json
import logging
import os
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import botocore.config
import pytest

from aws_node import BUCKET, DOCUMENT, PREFIX, SECRET, TOKEN, AwsNode, aws_node, in_this_process
from patience import on_this_machine
from rolecall.errors import FetchFault
from rolecall.report import Report
from rolecall.store import https
from rolecall.store.download import PIECE
from sampling import some_cases
from servers import http, s3

PASSWORD = "canary-of-the-product"
RELEASES, REPORTS = f"{PREFIX}/releases/", f"{PREFIX}/reports/"
SHORT = {"timeout": "1s", "release_timeout": "1200ms"}
ENDS = 10.0  # seconds; several times what these deadlines come to
WAITING = ("hang", "slow head", "slow body")

# What a fault is on S3, and on the mirror.
FAULTS: dict[str, tuple[int | str, dict[str, Any], int | str, dict[str, Any]]] = {
    "500": (500, {}, 500, {}),
    "503": (503, {}, 503, {}),
    "403": (403, {}, 403, {}),
    "404": (404, {}, 404, {}),
    "reset": ("reset", {}, "reset", {}),
    "truncate": ("truncate", {}, "truncate", {}),
    "corrupt": ("corrupt", {}, "corrupt", {}),
    "delay": ("delay", {"seconds": 0.2}, "delay", {"seconds": 0.2}),
    "hang": ("hang", {}, "hang", {}),
    "slow head": ("slow", {"seconds": 0.2, "part": "header"}, "slow-head", {"seconds": 0.2}),
    "slow body": ("slow", {"seconds": 0.2}, "slow", {"seconds": 0.2}),
    "cut": ("cut", {"size": 0}, "cut", {"size": 0}),
    "oversize": ("oversize", {}, "endless", {}),
    "skewed clock": ("skew", {}, "skew", {}),
    "lost answer": ("lost", {}, "lost", {}),
}
# The cause of each; '' where all goes well in the end.
ANSWERS = {"500": "server-error", "503": "throttled", "403": "access-denied", "404": "no-key", "delay": ""}
CAUSES = ANSWERS | {
    "reset": "unreachable", "truncate": "broken-answer", "corrupt": "signature", "hang": "too-slow",
    "slow head": "too-slow", "slow body": "too-slow", "cut": "broken-answer", "oversize": "broken-answer",
    "skewed clock": "clock-skew", "lost answer": "unreachable",
}  # fmt: skip
# An answer to PUT has no body that could be spoilt. Whoever publishes looks at what is there if no answer comes.
OF_PUT = CAUSES | dict.fromkeys(("truncate", "corrupt", "slow body", "cut"), "") | {"oversize": "too-slow"}
OF_PUBLISH = OF_PUT | {"lost answer": ""}
UNKNOWN = ("slow head", "oversize")  # it is written, and nobody says so in time
# What a message says of each cause.
WORDS = {
    "server-error": "InternalError", "throttled": "SlowDown", "access-denied": "AccessDenied", "no-key": "NoSuchKey",
    "unreachable": "connect|closed", "too-slow": "no whole answer within", "clock-skew": "behind the store's",
}  # fmt: skip


@dataclass
class Stage:
    """A node that has run, and all that was ever said."""

    node: AwsNode
    store: str
    edition: int
    said: list[str]
    hanging: bool = False  # whether a request may be under way still

    def next(self, **more: bytes) -> None:
        """Another document with another release, which has `more` files."""
        self.edition += 1
        text = str(self.edition)
        # A long word in the middle of the document, so that what is spoilt there is a letter.
        self.node.product(
            "blog", text, runtime="static", environment={"EDITION": text, "LONG": "x" * 4000},
            secrets={"DB_PASSWORD": f"file:{self.node.machine.root}/etc/password"},
        )  # fmt: skip
        if more:
            files: dict[str, str | bytes] = {"public/health": "ok", "VERSION": f"{text}\n"}
            files |= {"public/index.html": f"release={text}\n", **more}
            self.node.document["products"]["blog"]["release"] = self.node.release("blog", text, files)
        self.node.publish()

    def fault(self, name: str, method: str, key: str) -> None:
        """Let requests for keys that begin so go wrong."""
        kind, options, its, more = FAULTS[name]
        self.hanging = name in (*WAITING, "oversize", "stall")
        if name in WAITING or (name, method) == ("oversize", "PUT"):
            self.node.configure(store=[self.store], network=SHORT)
        if kind == "skew":
            self._skew(method, key)
        elif self.store.startswith("s3:"):
            self.node.s3.fault(kind, method=method, key=f"{key}*", **options)
        else:
            self.node.mirror.fault(its, method=method, path_prefix=f"/{key}", **more)

    def _skew(self, method: str, key: str) -> None:
        """The store's clock is ahead of ours whenever it is asked this."""
        server, now = self.node.s3, timedelta(minutes=20)
        usual = server.answer

        def answer(request: s3.Request) -> s3.Answer:
            server.skew(now.total_seconds() if request.method == method and request.key.startswith(key) else 0)
            return usual(request)

        server.answer = answer  # type: ignore[method-assign]
        self.node.mirror.clock = lambda: datetime.now(UTC) + now

    def heal(self) -> None:
        """All is well again."""
        self.node.s3.__dict__.pop("answer", None)
        self.node.heal()
        if self.hanging:
            self.node.cut()
        self.hanging = False
        self.node.configure(store=[self.store])

    def run(self, *, resume: bool = False) -> Report:
        """A refresh, which ends in time."""
        began = time.monotonic()
        report = self.node.run(resume=resume)
        assert time.monotonic() - began < on_this_machine(ENDS)
        self.said.append(json.dumps(report.data()))
        return report

    def serves(self) -> int:
        """The edition that daemons read: configuration and release, both of them whole."""
        current, ready = self.node.links
        assert current == ready
        conf = (self.node.state / current / "blog.conf").read_text()
        (edition,) = re.findall(r"^EDITION='?(\d+)'?$", conf, re.MULTILINE)
        (release,) = re.findall(r"^release '?([^'\n]+)'?$", conf, re.MULTILINE)
        paths = [path for path in Path(release).rglob("*") if path.is_file() and path.name != "photo"]
        assert {path.name: path.read_text() for path in paths} == {
            "health": "ok",
            "VERSION": f"{edition}\n",
            "index.html": f"release={edition}\n",
        }
        assert PASSWORD in conf
        return int(edition)

    def nothing_is_left(self) -> None:
        """No file that is not whole."""
        names = [path.name for path in self.node.state.rglob("*")]
        assert [one for one in names if one.startswith((".fetch-", ".unpack-")) or one.endswith(".new")] == []

    def nothing_was_told(self) -> None:
        """No credential, in no word that was said or written for others."""
        self.said += [path.read_text() for path in self.node.state.glob("reports/*")]
        self.said += [data.decode() for (_, key), data in self.node.s3.objects.items() if key.startswith(REPORTS)]
        assert isinstance(self.node.mirror.files, dict)
        self.said += [data.decode() for key, data in self.node.mirror.files.items() if key.startswith(REPORTS)]
        for secret in (SECRET, TOKEN, PASSWORD):
            assert not [text for text in self.said if secret in text]
        self.said.clear()

    def converges(self) -> None:
        """All is well at the next refresh."""
        self.heal()
        report = self.run()
        assert (report.exit_code, report.degraded, report.warnings) == (0, "", []), report.error
        assert report.outcome in ("ready", "unchanged")
        assert self.serves() == self.edition
        report = json.loads(self.reported())
        assert (report["exit_code"], report["serial"]) == (0, self.node.document["serial"])
        assert not (self.node.state / "outbox.json").exists()

    def reported(self) -> bytes:
        """This node's report in its store."""
        key = f"{REPORTS}web1.json"
        assert isinstance(self.node.mirror.files, dict)
        return self.node.s3.get(BUCKET, key) if self.store.startswith("s3:") else self.node.mirror.files[key]


Send = Callable[[Any, s3.Answer, s3.Fault], None]


def gently(send: Send) -> Send:
    """An answer to PUT that does not end comes slowly: boto3 takes all of it into memory."""

    def sent(self: Any, answer: s3.Answer, fault: s3.Fault) -> None:
        if (fault.kind, self.command) == ("oversize", "PUT"):
            self.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
            while True:
                self.wfile.write(bytes(4096))
                self.pause(0.01)
        send(self, answer, fault)

    return sent


@pytest.fixture(scope="module")
def _node() -> Iterator[AwsNode]:
    slow = mock.patch.object(s3._Handler, "send", gently(s3._Handler.send))
    with slow, in_this_process(), aws_node() as made:
        secret = made.machine.root / "etc/password"
        secret.touch(0o600)
        secret.write_text(PASSWORD)
        Stage(made, "", 0, []).next()
        yield made


def _staged(node: AwsNode, store: str, log: pytest.LogCaptureFixture, output: Any) -> Iterator[Stage]:
    stage = Stage(node, store, int(node.document["products"]["blog"]["release"]["version"]), [])
    if node.s3.get(BUCKET, DOCUMENT) != (node.machine.store / "fleet.json").read_bytes():  # the test before has failed
        node.document["serial"] += 10
        stage.next()
    stage.converges()
    yield stage
    stage.heal()
    stage.said += [log.text, *output.readouterr()]
    stage.nothing_is_left()
    stage.nothing_was_told()


@pytest.fixture
def stage(_node: AwsNode, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    """A node whose store is S3."""
    caplog.set_level(logging.INFO)
    yield from _staged(_node, "s3://fleet/prod", caplog, capfd)


@pytest.fixture
def behind(_node: AwsNode, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[Stage]:
    """A node whose store is an https mirror."""
    caplog.set_level(logging.INFO)
    yield from _staged(_node, _node.mirror_url, caplog, capfd)


def document_fails(stage: Stage, name: str, cause: str) -> None:
    """The document cannot be read well: the node goes on as it is, and says why."""
    before = stage.edition
    stage.next()
    stage.fault(name, "GET", DOCUMENT)
    report = stage.run()
    assert report.cause == cause, report.error or report.degraded
    stage.nothing_is_left()
    if name == "corrupt":
        assert (report.outcome, report.exit_code, stage.serves()) == ("refused", 78, before)
    elif cause:
        assert (report.outcome, report.exit_code, stage.serves()) == ("unchanged", 0, before)
        assert re.search(r"going on with serial \d+, first read .*, less than an hour ago", report.degraded)
    else:
        assert (report.outcome, report.exit_code, stage.serves()) == ("ready", 0, stage.edition)
    stage.converges()


def release_fails(stage: Stage, name: str, cause: str) -> None:
    """The archive cannot be read well: the node goes on with the code that it has, and says why."""
    before = stage.edition
    stage.next()
    stage.fault(name, "GET", RELEASES)
    report = stage.run()
    stage.nothing_is_left()
    if name == "corrupt":
        assert (report.outcome, report.exit_code, report.cause) == ("incomplete", 78, ""), report.error
        assert re.search("has the SHA-256 .*, the document says", report.error)
        assert report.products["blog"].version == str(before)
        # As any generation that has failed it waits for its time; who has mended the store need not.
        stage.heal()
        assert stage.run().outcome == "refused"
        assert stage.run(resume=True).outcome == "ready"
    elif cause in ("access-denied", "no-key"):  # of this archive, and so of its product alone
        assert (report.outcome, report.exit_code, report.cause) == ("incomplete", 75, cause), report.error
        assert report.hint
        assert report.products["blog"].version == str(before)
    elif cause:
        assert (report.outcome, report.exit_code, report.cause) == ("failed", 75, cause), report.error
        assert report.hint
        assert stage.serves() == before
    else:
        assert (report.outcome, report.exit_code, stage.serves()) == ("ready", 0, stage.edition), report.error
    stage.converges()


@pytest.mark.parametrize("name", some_cases(tuple(FAULTS), 3, "a document of S3"))
def test_a_document_that_s3_gives_badly_changes_nothing(name: str, stage: Stage) -> None:
    document_fails(stage, name, CAUSES[name])


@pytest.mark.parametrize("name", some_cases(tuple(FAULTS), 3, "a document of a mirror"))
def test_a_document_that_a_mirror_gives_badly_changes_nothing(name: str, behind: Stage) -> None:
    document_fails(behind, name, "" if name == "skewed clock" else CAUSES[name])


@pytest.mark.parametrize("name", some_cases(tuple(FAULTS), 3, "an archive of S3"))
def test_an_archive_that_s3_gives_badly_changes_nothing(name: str, stage: Stage) -> None:
    release_fails(stage, name, CAUSES[name])


@pytest.mark.parametrize("name", some_cases(tuple(FAULTS), 3, "an archive of a mirror"))
def test_an_archive_that_a_mirror_gives_badly_changes_nothing(name: str, behind: Stage) -> None:
    release_fails(behind, name, "" if name == "skewed clock" else CAUSES[name])


@pytest.mark.parametrize("name", some_cases(tuple(FAULTS), 3, "a report"))
def test_a_report_that_s3_takes_badly_waits_and_the_run_is_as_good(name: str, stage: Stage) -> None:
    stage.next()
    stage.fault(name, "PUT", REPORTS)
    report = stage.run()
    assert (report.outcome, report.exit_code, stage.serves()) == ("ready", 0, stage.edition), report.error
    if cause := OF_PUT[name]:
        (warning,) = report.warnings
        assert warning.startswith(f"the reporter 'store' could not be told: cannot write s3://fleet/{REPORTS}web1.json")
        assert re.search(WORDS[cause], warning)
        assert json.loads((stage.node.state / "outbox.json").read_bytes())["stores"].keys() == {"s3://fleet/prod"}
    else:
        assert report.warnings == []
    stage.converges()


def published(stage: Stage, file: Path) -> FetchFault | None:
    """Publish it; what went wrong, if anything did."""
    try:
        stage.node.fleet_publish(file)
    except FetchFault as fault:
        stage.said.append(f"{fault.message} {fault.hint}")
        return fault
    return None


@pytest.mark.parametrize("name", some_cases(tuple(FAULTS), 3, "a publication"))
def test_a_document_that_s3_takes_badly_is_published_or_not_and_whoever_publishes_is_told(
    name: str, stage: Stage
) -> None:
    before = stage.node.s3.get(BUCKET, DOCUMENT)
    file = stage.node.machine.root / "fleet.json"
    file.write_text(json.dumps(stage.node.document))
    stage.fault(name, "PUT", DOCUMENT)
    began = time.monotonic()
    fault = published(stage, file)
    now = json.loads(file.read_bytes())["serial"]
    if fault:
        assert (fault.exit_code, fault.cause) == (75, OF_PUBLISH[name])
        assert fault.hint
        assert now == stage.node.document["serial"], "the file is as it was"
    else:
        assert OF_PUBLISH[name] == "" or name in UNKNOWN
        assert now == stage.node.document["serial"] + 1
        assert stage.node.s3.get(BUCKET, DOCUMENT) != before
    assert time.monotonic() - began < on_this_machine(ENDS)
    # It may have been written although nobody said so; whatever is there, is there in whole.
    if stage.hanging:
        stage.node.cut()
    serial = json.loads(json.loads(stage.node.s3.get(BUCKET, DOCUMENT))["payload"])["serial"]
    assert serial - stage.node.document["serial"] in (0, 1)
    stage.node.document["serial"] = serial
    stage.converges()
    stage.node.publish()  # everywhere


@pytest.mark.parametrize("store", ["s3", "https"])
def test_an_archive_is_taken_up_where_it_was_cut(store: str, request: pytest.FixtureRequest) -> None:
    stage: Stage = request.getfixturevalue("stage" if store == "s3" else "behind")
    stage.next(photo=os.urandom(600_000))
    asked: list[s3.Request] | list[http.Request]
    if store == "s3":
        stage.node.s3.fault("cut", method="GET", key=f"{RELEASES}*", size=300_000, times=1)
        asked = stage.node.s3.requests
    else:
        stage.node.mirror.fault("cut", method="GET", path_prefix=f"/{RELEASES}", size=300_000, times=1)
        asked = stage.node.mirror.requests
    asked.clear()
    report = stage.run()
    assert (report.outcome, stage.serves()) == ("ready", stage.edition), report.error
    first, second = (one.headers["Range"] for one in asked if "/releases/" in one.path)
    assert first is None
    assert PIECE <= int(str(second).removeprefix("bytes=").removesuffix("-")) <= 300_000


# What comes in the middle of an answer


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for the next byte waits for 600 ms, not for 5 s."""
    usual = botocore.config.Config
    monkeypatch.setattr(botocore.config, "Config", lambda **all_: usual(**{**all_, "read_timeout": 0.6}))
    monkeypatch.setattr(https, "_EACH", (3.0, 0.6))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("key", [DOCUMENT, RELEASES])
@pytest.mark.parametrize("store", ["s3", "https"])
def test_an_answer_that_stops_in_its_middle_is_too_slow(store: str, key: str, request: pytest.FixtureRequest) -> None:
    stage: Stage = request.getfixturevalue("stage" if store == "s3" else "behind")
    before = stage.edition
    stage.next()
    with mock.patch.dict(FAULTS, stall=("slow", {"seconds": 3}, "slow", {"seconds": 3})):
        stage.fault("stall", "GET", key)
    report = stage.run()
    assert (report.outcome, report.exit_code) == (("unchanged", 0) if key == DOCUMENT else ("failed", 75))
    assert stage.serves() == before
    assert report.cause == "too-slow", report.error or report.degraded
    stage.converges()


def then_reset(send: Send) -> Send:
    """After an answer that was cut the connection is not closed, but reset."""

    def sent(self: Any, answer: s3.Answer, fault: s3.Fault) -> None:
        send(self, answer, fault)
        if fault.kind == "cut":
            time.sleep(0.05)  # what was sent is read before
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
            raise ConnectionAbortedError

    return sent


def test_a_connection_that_is_reset_in_the_middle_of_the_document_is_a_broken_answer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stage.edition
    stage.next()
    monkeypatch.setattr(s3._Handler, "send", then_reset(s3._Handler.send))
    stage.node.s3.fault("cut", method="GET", key=DOCUMENT, size=100)
    report = stage.run()
    assert (report.outcome, report.exit_code, report.cause) == ("unchanged", 0, "broken-answer"), report.error
    assert stage.serves() == before
    stage.converges()
