"""What cannot be read of the state on disk: it is set aside and said once, and the run makes it anew.

Damaged, of another version of rolecall, or something else in its place: whatever is wrong with a note, a report or a
manifest, a node that stumbles over it at every run helps nobody. Nothing is deleted: people may want to look at it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rolecall.errors import HostFault
from rolecall.host import files, secrets, state_files
from rolecall.node import verified
from rolecall.node.node import Node
from rolecall.node.notes import (
    BootIdentity,
    Databases,
    Hold,
    InstalledRole,
    Instances,
    Leaving,
    MachineFaults,
    Note,
    Notes,
    RunNumber,
    Waiting,
    read_note,
)
from rolecall.node.refusals import Refusals
from rolecall.node.reports import read_evidence, read_report
from rolecall.node.verified import Verified
from rolecall.report import Report

FOLDER = "unreadable"  # below the state folder, and below the run folder
STEP = "set aside"  # of a run that found something
MOST = 64  # entries in it: the first ones tell most of what happened, so that only the last one is replaced
_IN_STATE: tuple[type[Note], ...] = (Verified, Databases, InstalledRole, Hold, Instances, Waiting, RunNumber)
_IN_RUN: tuple[type[Note], ...] = (BootIdentity, Leaving, MachineFaults, Refusals)
_LARGEST = 64 * 1024 * 1024  # bytes of any other file

_Reader = tuple[Path, Callable[[], object]]  # raises ValueError or HostFault for what cannot be read


def unreadable(node: Node) -> Iterator[tuple[Path, str]]:
    """What cannot be read, and why not. Folders come first, so that a caller may move what it is given."""
    for path, read in _readers(node):
        try:
            read()
        except ValueError as error:
            yield path, str(error)
        except HostFault as fault:
            if not isinstance(fault.__cause__, PermissionError):
                raise
            yield path, "permission denied"


def set_aside_unreadable(node: Node, report: Report) -> None:
    """Move what cannot be read out of the way, and complete what stands in two files. For a run with the lock."""
    moved = []
    for path, why in unreadable(node):
        base = node.run_notes.folder if path.is_relative_to(node.run_notes.folder) else node.notes.folder
        target = _move(path, base)
        report.warn(f"{path} cannot be read: {why}. It was set aside as {target}")
        moved.append(path)
    if moved:
        with report.step(STEP) as step:
            step.note = ", ".join(path.name for path in moved)
    verified.keep_document_of_0_1_0(node.settings.state)
    for kind in _IN_STATE:
        note, paths = node.notes.read(kind), node.notes.paths(kind)
        if note != kind():
            if not all(path.exists() for path in paths):
                node.notes.write(note)
        elif kind.loss and not set(paths).isdisjoint(moved):
            report.warn(f"{paths[0]} is lost: {kind.loss}")


def _readers(node: Node) -> Iterator[_Reader]:
    state, run = node.settings.state, node.settings.run
    folders = [state / name for name in ("fleet", "generations", "releases", "reports", "metrics")]
    for folder in (*folders, run / "loaded"):
        yield folder, partial(_read_folder, folder)
    for pattern in ("generations/*", "releases/*", "releases/*/*"):
        for folder in sorted(path for path in state.glob(pattern) if "." not in path.name):  # no manifests either
            yield folder, partial(_read_folder, folder)
    for link in (state / "current", state / "ready"):
        yield link, partial(_read_link, link)
    yield from _note_readers(node.notes, _IN_STATE)
    yield from _note_readers(node.run_notes, _IN_RUN)
    for document in sorted((state / "fleet").glob("document-*")):
        yield document, partial(verified.check_kept_document, document)
    for report in node.reports.paths():
        yield report, partial(read_report, report)
    for evidence in node.reports.evidence_paths():
        yield evidence, partial(read_evidence, evidence)
    for generation in node.generations.ids():
        yield node.generations.manifest(generation), partial(node.generations.read, generation)
    yield state / secrets.KEPT, partial(secrets.read_kept, state)
    loaded = sorted((run / "loaded").glob("*"))
    for path in (state / secrets.KEY, state / "metrics/rolecall.prom", run / "credentials", *loaded):
        yield path, partial(state_files.read, path, _LARGEST)


def _note_readers(notes: Notes, kinds: tuple[type[Note], ...]) -> Iterator[_Reader]:
    for kind in kinds:
        for path in notes.paths(kind):
            yield path, partial(read_note, kind, path)


def _read_folder(path: Path) -> None:
    if (path.is_symlink() or path.exists()) and not path.is_dir():
        raise ValueError("it is not a folder")


def _read_link(path: Path) -> None:
    if path.exists() and not path.is_symlink():
        raise ValueError("it is not a link")


def _move(path: Path, base: Path) -> Path:
    folder = base / FOLDER
    files.make_folders(folder, 0o700)
    entries = {int(entry.name.partition("-")[0]): entry for entry in folder.glob("[0-9]*-*")}
    number = min(max(entries, default=0) + 1, MOST)
    if number in entries:
        files.remove_tree(entries[number])
    target = folder / f"{number}-{path.relative_to(base).as_posix().replace('/', '-')}"
    files.rename(path, target)
    files.sync_folder(path.parent)
    return target
