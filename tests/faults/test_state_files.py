"""Whatever is wrong with a file of the state: the next run says it once and ends well, and nothing is lost for good."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.test_kills import booted
from faults.tiny import Known, Nodes, Tiny, picture
from rolecall import run
from rolecall.node.evidence import Evidence, Piece
from rolecall.node.notes import (
    DatabaseNote,
    Databases,
    Hold,
    InstalledRole,
    Instances,
    Leaving,
    MachineFaults,
    Notes,
    Waiting,
)
from rolecall.node.refusals import Refusals
from rolecall.report import Report
from sampling import some_of

DEEP = b"[" * 100_000
HUGE = 1 << 40  # bytes; the file is sparse


def a_folder_with_a_file(path: Path) -> None:
    path.mkdir()
    (path / "file").write_text("x")


def a_huge_file(path: Path) -> None:
    path.touch()
    os.truncate(path, HUGE)


def a_file_for_nobody(path: Path) -> None:
    path.write_text("x")
    path.chmod(0)


CORRUPTIONS: dict[str, Callable[[Path, bytes], object]] = {
    "empty": lambda path, _: path.touch(),
    "cut off": lambda path, content: path.write_bytes(content[: len(content) // 2]),
    "garbage": lambda path, _: path.write_bytes(bytes(range(256))),
    "zeros": lambda path, _: path.write_bytes(bytes(4096)),
    "a list": lambda path, _: path.write_text("[1]"),
    "an object of something else": lambda path, _: path.write_text('{"format": 1, "why": {"x": 5}, "serials": 7}'),
    "too deep": lambda path, _: path.write_bytes(DEEP),
    "another version's": lambda path, _: path.write_text('{"format": 99}'),
    "a folder": lambda path, _: a_folder_with_a_file(path),
    "a link to nothing": lambda path, _: path.symlink_to("/nowhere"),
    "a link to itself": lambda path, _: path.symlink_to(path.name),
    "a link to a file of others": lambda path, _: path.symlink_to("/etc/passwd"),
    "a pipe": lambda path, _: os.mkfifo(path),
    "huge": lambda path, _: a_huge_file(path),
    "for nobody to read": lambda path, _: a_file_for_nobody(path),
    "nothing": lambda path, _: None,
}
LINKS = {"a link to nothing", "a link to itself", "a link to a file of others"}
NO_FILE = {*LINKS, "a folder", "a pipe", "huge", *(["for nobody to read"] if os.geteuid() else [])}
ALL = CORRUPTIONS.keys() - {"nothing"}

# Each file of the state, and which of the corruptions cannot be read there. Of the others the run makes no words: a
# digest, a key or a figure that is another one is replaced, a link that leads nowhere too.
FILES: dict[str, set[str]] = {
    "state/fleet/verified.json": ALL,
    "state/fleet/verified.copy.json": ALL,
    "state/fleet/document-*.json": ALL,
    "state/hold.json": ALL,
    "state/outbox.json": ALL,
    "state/instances.json": ALL,
    "state/databases.json": ALL,
    "state/databases.copy.json": ALL,
    "state/role.json": ALL,
    "state/secrets.json": ALL,
    "state/runs.json": ALL,
    "state/reports/*-refresh.json": ALL,
    "state/reports/*.evidence.json": ALL,
    "state/generations/*/generation.json": ALL,
    "state/generations": ALL,
    "state/generations/*": ALL - {"a folder"},
    "state/releases": ALL,
    "state/releases/*": ALL,
    f"state/releases/blog/{'?' * 64}": ALL - {"a folder"},
    "state/releases/blog/*.json": set(),
    "state/releases/blog/*.compared": set(),
    "state/fingerprint.key": NO_FILE,
    "state/metrics/rolecall.prom": NO_FILE,
    "state/current": ALL - LINKS,
    "state/ready": ALL - LINKS,
    "state/fleet": ALL - {"a folder"},
    "state/reports": ALL - {"a folder"},
    "state/metrics": ALL - {"a folder"},
    "run/rolecall/identity.json": ALL,
    "run/rolecall/leaving.json": ALL,
    "run/rolecall/machine-faults.json": ALL,
    "run/rolecall/refusals.json": ALL,
    "run/rolecall/loaded/one": NO_FILE,
    "run/rolecall/loaded": ALL - {"a folder"},
    "run/rolecall/credentials": NO_FILE,
    "run/rolecall/steady": set(),
}


def prepared(nodes: Nodes) -> tuple[Tiny, Known]:
    """A node that has run through two editions, and has each file of the table."""
    tiny = nodes()
    tiny.config.write_text(tiny.config.read_text().replace('["store"]', '["store", "textfile"]'))
    known = booted(tiny, "blog")
    tiny.publish("b", "blog", "video")
    assert refreshed(tiny).outcome == "ready"
    known.learn(tiny)
    notes, run_notes = Notes(tiny.state), Notes(tiny.run)
    notes.write(Hold("0" * 32, "0" * 64))
    notes.write(Waiting({"file:///nowhere": {"reports/web1.json": "e30="}}))
    notes.write(Instances())
    notes.write(Databases({"blog": DatabaseNote("master", ("10.0.0.21", 3306))}))
    notes.write(InstalledRole("tiny"))
    run_notes.write(Leaving(""))
    run_notes.write(MachineFaults())
    run_notes.write(Refusals())
    evidence = Evidence("0" * 32, "0" * 32, (), (), Piece("", 0))
    tiny.node().reports.save_evidence(2, "refresh", evidence)
    (tiny.state / "secrets.json").write_text('{"format": 1, "values": {"ssm:/a": "s3cret"}}')
    (tiny.run / "credentials").write_text("a\nb\nc\n0\n")
    return tiny, known


def refreshed(tiny: Tiny) -> Report:
    """A refresh as the program does it, with the record of what it went by."""
    with tiny.patient():
        return run.converge(tiny.node(), "refresh", config=tiny.config)


def corrupt(path: Path, corruption: str) -> None:
    """Put something else in a file's place."""
    content = path.read_bytes() if path.is_file() else b""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    CORRUPTIONS[corruption](path, content)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", FILES)
def test_whatever_is_in_the_place_of_a_file_the_next_run_says_it_and_ends_well_and_the_one_after_says_nothing(
    name: str, nodes: Nodes
) -> None:
    tiny, known = prepared(nodes)
    tiny.keep("good")
    for corruption in some_of(tuple(CORRUPTIONS), 5):
        tiny.come_back("good")
        path = max(tiny.root.glob(name), key=lambda path: path.lstat().st_mtime_ns)
        corrupt(path, corruption)
        report = refreshed(tiny)
        messages = [warning for warning in report.warnings if "cannot be read" in warning]
        assert (corruption, report.exit_code, report.error) == (corruption, 0, "")
        said = [True] if corruption in FILES[name] else []
        assert (corruption, [message.startswith(str(path)) for message in messages]) == (corruption, said)
        aside = [*tiny.state.glob("unreadable/*"), *tiny.run.glob("unreadable/*")]
        assert len(aside) == len(said), aside
        shutil.rmtree(tiny.state / "unreadable", ignore_errors=True)  # nobody reads what is in there
        assert known.faults(picture(tiny.state)) == [], corruption
        assert known.mixed(tiny) == [], corruption
        if said:
            assert tiny.node().reports.last(1)[0]["warnings"] == report.warnings, corruption
        report = refreshed(tiny)
        assert (corruption, report.exit_code, report.outcome) == (corruption, 0, "unchanged")
        assert (corruption, [warning for warning in report.warnings if "unsigned" not in warning]) == (corruption, [])


@pytest.mark.parametrize("content", ["", "{", '{"format": 99}'])
def test_with_a_manifest_that_cannot_be_read_every_command_answers_and_the_way_back_is_open(
    content: str, nodes: Nodes
) -> None:
    tiny, known = prepared(nodes)
    manifest = (tiny.state / "current").resolve() / "generation.json"
    older = next(path for path in tiny.state.glob("generations/*/one") if path.parent != manifest.parent).parent.name
    manifest.write_text(content)
    status = tiny.rolecall("status", "--json")
    assert (status.returncode, json.loads(status.stdout)["current"]) == (1, manifest.parent.name), status.stderr
    for command in ("history", "blame", "plan"):
        done = tiny.rolecall(command)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert manifest.read_text() == content, "whoever only looks changes nothing"
    done = tiny.rolecall("rollback", older)
    assert done.returncode == 0, done.stderr
    assert f"{manifest} cannot be read" in done.stderr
    assert {line.split()[0] for line in tiny.look().read.values()} == {"a"}
    assert known.faults(picture(tiny.state)) == []


@pytest.mark.parametrize("which", ["verified.json", "verified.copy.json", "both"])
def test_the_serial_that_was_seen_is_lost_with_both_files_only_and_then_it_is_said(which: str, nodes: Nodes) -> None:
    tiny, _ = prepared(nodes)
    for path in (tiny.state / "fleet").glob("*.json" if which == "both" else which):
        path.write_text("{")
    tiny.document["serial"] = 0
    tiny.publish("b", "blog")
    report = refreshed(tiny)
    lost = [warning for warning in report.warnings if "an older document than the last one would be" in warning]
    assert (report.cause, len(lost)) == (("", 1) if which == "both" else ("old-serial", 0))


def test_what_is_set_aside_is_bounded_and_the_first_of_it_stay(nodes: Nodes) -> None:
    tiny, _ = prepared(nodes)
    for number in range(70):
        (tiny.state / f"reports/{number:03}.json").write_text(f"{number}")
    assert refreshed(tiny).exit_code == 0
    contents = sorted(int(path.read_text()) for path in (tiny.state / "unreadable").iterdir())
    assert contents == [*range(63), 69]
