"""One body over every metadata source and every readiness reporter."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contract.conftest import identify, open_store
from reporters import notice
from rolecall import readiness
from rolecall.errors import ConfigFault, FetchFault
from rolecall.fleet.identity import Identity
from rolecall.node import providers
from rolecall.readiness import open_reporter
from rolecall.report import Report
from servers.imds import Imds

SUPPORT = str(Path(__file__).parents[1] / "support")
WHO = {"instance": "i-1", "address": "10.0.0.11", "zone": "a", "region": "r", "tags": {"rolecall:role": "web"}}
ELSE: dict[str, Any] = {"server": None, "places": {}, "mistakes": (), "leaving": None, "lifecycle": None}


class Machine:
    """A machine in a folder, with a metadata service that may be asked."""

    def __init__(self, root: Path, imds: Imds) -> None:
        self.root, self.imds = root, imds

    def identify(self, *sources: str, seconds: float = 5.0) -> Identity:
        return identify(sources, self.imds.url, self.root, seconds)

    def firmware(self, vendor: str) -> None:
        folder = self.root / "sys/class/dmi/id"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sys_vendor").write_text(f"{vendor}\n")


@pytest.fixture
def machine(tmp_path: Path, imds: Imds) -> Machine:
    return Machine(tmp_path, imds)


def file_source(machine: Machine, known: dict[str, Any] | None) -> str:
    if known is not None:
        (machine.root / "identity.json").write_text(json.dumps(known))
    return f"file:{machine.root}/identity.json"


def ec2_source(machine: Machine, known: dict[str, Any] | None) -> str:
    if known is None:
        machine.firmware("QEMU")
        return "ec2"
    names = {"instance": "instanceId", "address": "privateIp", "zone": "availabilityZone", "region": "region"}
    document = {name: known[key] for key, name in names.items()}
    machine.imds.data = {"meta-data": {}, "dynamic": {"instance-identity": {"document": document}}}
    machine.imds.tags(known["tags"])
    return "ec2"


# A function that sets the source up: what it knows, or None where this machine is not of that kind.
SOURCES: dict[str, Callable[[Machine, dict[str, Any] | None], str]] = {"file": file_source, "ec2": ec2_source}


def test_every_source_is_under_this_contract() -> None:
    assert set(providers.SOURCES) == SOURCES.keys()


@pytest.mark.parametrize("kind", SOURCES)
def test_a_source_tells_who_the_machine_is(kind: str, machine: Machine) -> None:
    found = machine.identify(SOURCES[kind](machine, dict(WHO)))
    assert found.model_dump() == {**WHO, **ELSE}


@pytest.mark.parametrize("kind", SOURCES)
def test_the_first_source_that_knows_is_the_one_that_counts(kind: str, machine: Machine) -> None:
    source = SOURCES[kind](machine, dict(WHO))
    (machine.root / "other.json").write_text('{"server": "web1"}')
    assert machine.identify(source, f"file:{machine.root}/other.json").instance == "i-1"


@pytest.mark.parametrize("kind", SOURCES)
def test_where_a_source_does_not_apply_the_next_one_is_asked(kind: str, machine: Machine) -> None:
    source = SOURCES[kind](machine, None)
    (machine.root / "other.json").write_text('{"server": "web1"}')
    assert machine.identify(source, f"file:{machine.root}/other.json").server == "web1"


@pytest.mark.parametrize("kind", SOURCES)
def test_where_none_applies_all_are_named(kind: str, machine: Machine) -> None:
    source = SOURCES[kind](machine, None)
    with pytest.raises(FetchFault) as told:
        machine.identify(source, source)
    assert (told.value.message.count(source), told.value.cause) == (2, "no-identity")


def test_a_source_that_there_is_not_is_a_mistake(machine: Machine) -> None:
    with pytest.raises(ConfigFault, match="no identity source 'gce'") as told:
        machine.identify("gce")
    assert "ec2" in told.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"sever": "web1"}', "did you mean 'server'?"),
        ('{"address": "10.0.0"}', "is not an IP address"),
        ("{", "not JSON"),
        ('{"server": "web1",\n "zone": "a\\nb"}', "2:2: zone: contains the character U+000A"),
        ('{"server": "web1", "server": "web2"}', "server"),
    ],
)
def test_a_wrong_identity_file_is_refused_with_its_place(text: str, words: str, machine: Machine) -> None:
    (machine.root / "identity.json").write_text(text)
    with pytest.raises(ConfigFault) as told:
        machine.identify(f"file:{machine.root}/identity.json")
    assert words in told.value.message


@pytest.mark.parametrize("kind", ["a folder", "no UTF-8"])
def test_an_identity_file_that_cannot_be_read_is_not_taken_for_none(kind: str, machine: Machine) -> None:
    path = machine.root / "identity.json"
    if kind == "a folder":
        path.mkdir()
    else:
        path.write_bytes(b'{"server": "\xff"}')
    (machine.root / "other.json").write_text('{"server": "web1"}')
    with pytest.raises(FetchFault, match=r"identity\.json"):
        machine.identify(f"file:{path}", f"file:{machine.root}/other.json")


def report(outcome: str, exit_code: int) -> Report:
    return Report("boot", server="web1", outcome=outcome, exit_code=exit_code, serial=7, current="abcdef0123456789")


class Folder:
    """A store in a folder, as a reporter writes to it."""

    def __init__(self, folder: Path) -> None:
        self.store = open_store(f"file://{folder}")

    def put(self, key: str, data: bytes) -> None:
        self.store.put(key, data)

    def flush(self) -> None:
        """Nothing waits for a folder."""


def test_every_reporter_is_under_test_here() -> None:
    assert set(readiness.KINDS) == {"store", "systemd", "textfile"}


def test_the_store_has_the_nodes_last_report(tmp_path: Path) -> None:
    reporter = open_reporter("store")
    reporter.tell(notice(report("ready", 0), Folder(tmp_path)))
    reporter.tell(notice(report("rolled back", 1), Folder(tmp_path)))
    told = json.loads((tmp_path / "reports/web1.json").read_text())
    assert (told["outcome"], told["exit_code"], told["serial"]) == ("rolled back", 1, 7)


def test_a_node_that_does_not_know_its_name_yet_writes_no_report(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    nameless = Report("boot", outcome="failed", exit_code=75)
    open_reporter("store").tell(notice(nameless, Folder(tmp_path / "store")))
    assert not list((tmp_path / "store").iterdir())


def test_a_reporter_that_there_is_not_is_a_mistake() -> None:
    with pytest.raises(ConfigFault, match="no readiness reporter 'mail'"):
        open_reporter("mail")


# Without systemd-python the same datagram goes out: a finder that hides it stands for a machine that lacks it.
TELL = """
import sys
if "hidden" in sys.argv: sys.modules["systemd"] = None
from reporters import notice
from rolecall.readiness import open_reporter
from rolecall.report import Report
report = Report("boot", outcome=sys.argv[1], exit_code=int(sys.argv[2]), serial=7, current="abcdef", serving=True)
open_reporter("systemd").tell(notice(report))
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
            env = {**os.environ, "NOTIFY_SOCKET": name, "PYTHONPATH": SUPPORT}
            subprocess.run(argv, env=env, check=True, timeout=60)
            return listener.recv(1000).decode().strip()

        assert told("ready", "0") == "STATUS=ready, serving: generation abcdef, serial 7"
        assert listener.recv(1000).decode().strip() == "READY=1"
        assert told("rolled back", "1") == "STATUS=rolled back, serving: generation abcdef, serial 7"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.recv(1000)
