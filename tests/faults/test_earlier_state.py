"""The state that an earlier version has left is understood. `state-VERSION/README.md` tells how each was made."""

import json
import os
import shutil
import sys

import pytest

from faults.tiny import HERE, Nodes, Tiny
from rolecall.node.notes import DatabaseNote, Databases, Hold, InstalledRole, Instances, Leaving, Waiting
from rolecall.node.verified import Verified, path_of
from rolecall.render.contents import DirectCommands, Unit

VERSIONS = sorted(HERE.glob("state-*"))
OLDER, NEWER = "12553e232aec005273f5e1c1058469d3", "7fa41c9aae946d17ac689c8e6dca1c2e"


@pytest.fixture(params=VERSIONS, ids=lambda folder: folder.name)
def upgraded(request: pytest.FixtureRequest, nodes: Nodes) -> Tiny:
    """A node that was switched off with an earlier version, and has this one now; it is held at its older generation.

    One of its two stores is out.
    """
    tiny: Tiny = nodes()
    tiny.config.write_text(tiny.config.read_text().replace("store = [", f'store = ["file://{tiny.root}/srv/out", '))
    places = {"@ROOT@": str(tiny.root), "@PYTHON@": sys.executable, "@READER@": str(HERE / "reader.py")}
    shutil.copytree(request.param / "state", tiny.state, symlinks=True)
    shutil.copy(request.param / "fleet.json", tiny.store)
    for path in tiny.state.rglob("*"):
        if path.is_file() and not path.is_symlink():
            text = path.read_text()
            for mark, place in places.items():
                text = text.replace(mark, place)
            path.write_text(text)
    for edition in ("a", "b"):
        (tiny.root / "srv/works" / edition).touch()
    tiny.document = json.loads((tiny.store / "fleet.json").read_text())
    return tiny


def test_every_note_of_an_earlier_version_is_read(upgraded: Tiny) -> None:
    notes = upgraded.node().notes
    verified = notes.read(Verified)
    assert (verified.fleet, verified.serial, verified.server, verified.role) == ("test", 2, "web1", "tiny")
    assert verified.serials == {"unsigned": 2}
    assert verified.masters == {"unsigned": {}}
    assert notes.read(Hold) == Hold(OLDER, verified.sha256)
    assert notes.read(InstalledRole).role == "tiny"
    commands = DirectCommands(f"{upgraded.root}/run/tiny/sessions.pid", ("true",), "", "TERM")
    unit = Unit("memcached@sessions", "memcached@sessions.service", "restart", commands, "0" * 64, instance=True)
    assert notes.read(Instances).units == (unit,)
    databases = notes.read(Databases)
    accounts = ("'blog'@'10.0.0.11'",)
    blog = DatabaseNote("master", ("10.0.0.21", 3306), False, "db2", "", "1" * 32, accounts)
    assert (databases.of("blog"), databases.of("shop").duty) == (blog, "replica")
    waiting = notes.read(Waiting).stores
    assert [(url, list(objects)) for url, objects in waiting.items()] == [
        (f"file://{upgraded.root}/srv/out", ["reports/web1.json"])
    ]


def test_it_boots_and_goes_on_as_it_was_told_although_every_store_is_out(upgraded: Tiny) -> None:
    document = (upgraded.store / "fleet.json").read_bytes()
    (upgraded.store / "fleet.json").unlink()
    report = upgraded.converge("boot")
    assert (report.exit_code, report.current, report.serial) == (0, OLDER, 2), report.error
    assert "going on with serial 2" in report.degraded
    assert [warning for warning in report.warnings if "cannot be read" in warning or "is lost" in warning] == []
    assert any("held at generation" in warning for warning in report.warnings)
    note = json.loads((upgraded.state / "fleet/verified.json").read_text())
    assert path_of(upgraded.state, note["document"]).read_bytes() == document
    assert "raw" not in note
    assert not (upgraded.state / "unreadable").exists()
    assert {line.split()[0] for line in upgraded.look().read.values()} == {"a"}


def test_it_boots_refreshes_and_goes_back_to_a_generation_that_the_earlier_version_has_made(upgraded: Tiny) -> None:
    assert upgraded.converge("boot").current == OLDER
    assert upgraded.converge(resume=True).exit_code == 0
    assert {line.split()[0] for line in upgraded.look().read.values()} == {"b"}
    upgraded.publish("c", "blog")
    report = upgraded.converge()
    assert (report.outcome, report.serial) == ("ready", 3)
    report = upgraded.go_back(OLDER)
    assert (report.outcome, report.current) == ("ready", OLDER)
    assert {line.split()[0] for line in upgraded.look().read.values()} == {"a"}
    assert os.readlink(upgraded.state / "ready") == f"generations/{OLDER}"


def test_it_believes_no_document_that_is_older_than_what_the_earlier_version_has_seen(upgraded: Tiny) -> None:
    upgraded.document["serial"] = 0
    upgraded.publish("c", "blog")
    report = upgraded.converge("boot")
    assert (report.exit_code, report.serial, report.current) == (0, 2, OLDER)
    assert any("has serial 1, but 2 was seen before" in warning for warning in report.warnings)


def test_its_reports_are_shown_and_its_note_in_the_run_folder_counts_until_the_reboot(upgraded: Tiny) -> None:
    history = json.loads(upgraded.rolecall("history", "--json").stdout)
    assert [report["command"] for report in history] == ["rollback", "refresh", "boot"]
    assert "self-test" in upgraded.rolecall("blame").stdout
    version = next(folder for folder in VERSIONS if folder.name == "state-0.1.0")
    shutil.copytree(version / "run", upgraded.run)
    assert upgraded.node().run_notes.read(Leaving).why == "drained by `rolecall drain`"
    assert upgraded.converge().leaving == "drained by `rolecall drain`"
