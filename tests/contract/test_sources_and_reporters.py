"""One body over every metadata source and every readiness reporter."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rolecall import metadata, readiness
from rolecall.errors import ConfigFault, FetchFault
from rolecall.readiness import open_reporter
from rolecall.report import Report
from rolecall.store import open_store

WHO = {"instance": "i-1", "address": "10.0.0.11", "zone": "a", "region": "r", "tags": {"rolecall:role": "web"}}


def file_source(folder: Path, known: dict[str, object] | None) -> str:
    if known is not None:
        (folder / "identity.json").write_text(json.dumps(known))
    return f"file:{folder}/identity.json"


# A function that sets the source up: what it knows, or None where this machine is not of that kind.
SOURCES: dict[str, Callable[[Path, dict[str, object] | None], str]] = {"file": file_source}


def test_every_source_is_under_this_contract() -> None:
    assert set(metadata.KINDS) == SOURCES.keys()


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_tells_who_the_machine_is(kind: str, tmp_path: Path) -> None:
    found = metadata.identify([SOURCES[kind](tmp_path, dict(WHO))], 1)
    assert found.model_dump() == {**WHO, "server": None}


@pytest.mark.parametrize("kind", SOURCES)
def test_where_a_source_does_not_apply_the_next_one_is_asked(kind: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    sources = [SOURCES[kind](tmp_path, None), file_source(tmp_path / "other", {"server": "web1"})]
    assert metadata.identify(sources, 1).server == "web1"


@pytest.mark.parametrize("kind", SOURCES)
def test_where_none_applies_all_are_named(kind: str, tmp_path: Path) -> None:
    source = SOURCES[kind](tmp_path, None)
    with pytest.raises(FetchFault) as told:
        metadata.identify([source, source], 1)
    assert told.value.message.count(source) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"sever": "web1"}', "did you mean 'server'?"),
        ('{"address": "10.0.0"}', "is not an IP address"),
        ("{", "not JSON"),
        ('{"server": "web1",\n "zone": "a\\nb"}', "2:2: zone: holds the character U+000A"),
    ],
)
def test_a_wrong_identity_file_is_refused_with_its_place(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "identity.json").write_text(text)
    with pytest.raises(ConfigFault) as told:
        metadata.identify([f"file:{tmp_path}/identity.json"], 1)
    assert words in told.value.message


def report(outcome: str, exit_code: int) -> Report:
    return Report("boot", server="web1", outcome=outcome, exit_code=exit_code, serial=7, current="abcdef0123456789")


def test_every_reporter_is_under_test_here() -> None:
    assert set(readiness.KINDS) == {"store", "systemd"}


def test_the_store_has_the_nodes_last_report(tmp_path: Path) -> None:
    reporter = open_reporter("store", open_store(f"file://{tmp_path}"))
    reporter.tell(report("ready", 0))
    reporter.tell(report("rolled back", 1))
    told = json.loads((tmp_path / "reports/web1.json").read_text())
    assert (told["outcome"], told["exit_code"], told["serial"]) == ("rolled back", 1, 7)


def test_a_node_that_does_not_know_its_name_yet_writes_no_report(tmp_path: Path) -> None:
    open_reporter("store", open_store(f"file://{tmp_path}")).tell(Report("boot", outcome="failed", exit_code=75))
    assert not list(tmp_path.iterdir())


# Without systemd-python the same datagram goes out: a finder that hides it stands for a machine that lacks it.
TELL = """
import sys
if "hidden" in sys.argv: sys.modules["systemd"] = None
from rolecall.readiness import open_reporter
from rolecall.report import Report
report = Report("boot", outcome=sys.argv[1], exit_code=int(sys.argv[2]), serial=7, current="abcdef")
open_reporter("systemd", None).tell(report)
"""


@pytest.mark.parametrize("library", ["there", "hidden"])
@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_of_a_ready_node_and_of_no_other(tmp_path: Path, library: str, abstract: bool) -> None:
    name = f"@rolecall-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1) if abstract else name)
        listener.settimeout(10)

        def told(outcome: str, code: str) -> str:
            argv = [sys.executable, "-c", TELL, outcome, code, library]
            subprocess.run(argv, env={**os.environ, "NOTIFY_SOCKET": name}, check=True, timeout=60)
            return listener.recv(1000).decode().strip()

        assert told("ready", "0") == "STATUS=ready: generation abcdef, serial 7"
        assert listener.recv(1000).decode().strip() == "READY=1"
        assert told("rolled back", "1") == "STATUS=rolled back: generation abcdef, serial 7"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.recv(1000)
