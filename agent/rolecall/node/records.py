"""What earlier runs left: their reports, the last verified document, a roll-back that an operator asked for."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

from rolecall.errors import HostFault
from rolecall.host import files

_ASIDE = "aside"


def set_aside(state: Path, instance: str) -> Path:
    """Move a state folder's content out of the way; of what was set aside before, nothing is kept.

    A disk of its own that is mounted there, for products' data say, was put there by somebody: it stays.
    """
    folder = state / _ASIDE
    target = folder / f"from-{instance.replace('/', '_')}"
    others = [path for path in folder.glob("*") if path != target]
    files.make_folders(target, 0o700)
    for other in others:
        files.remove_tree(other)
    # `fleet` names the other instance: last, so that whoever is killed before it begins again.
    names = sorted((name for name in os.listdir(state) if name != _ASIDE), key=lambda name: name == "fleet")
    for name in names:
        files.remove_tree(target / name)
        if not (state / name).is_mount():
            _move(state / name, target / name)
    return target


def _move(old: Path, new: Path) -> None:
    """A rename; where a folder lies in a lower layer of an overlay, of what is in it (EXDEV: rename(2))."""
    try:
        files.rename(old, new)
    except HostFault as fault:
        if not (isinstance(fault.__cause__, OSError) and fault.__cause__.errno == errno.EXDEV and old.is_dir()):
            raise
        files.make_folder(new, stat.S_IMODE(old.stat().st_mode))
        for name in sorted(os.listdir(old)):
            _move(old / name, new / name)
        files.remove_tree(old)


class Reports:
    """The folder `reports/`: one file a run that did something, the newest last by name."""

    def __init__(self, state: Path) -> None:
        self.folder = state / "reports"

    def save(self, report: dict[str, Any]) -> Path:
        """Write a run's report; the same run's earlier version is replaced."""
        files.make_folders(self.folder, 0o750)
        name = report["started"].replace(":", "").replace("+0000", "Z")
        path = self.folder / f"{name}-{report['command']}.json"
        files.replace(path, (json.dumps(report, indent=1) + "\n").encode(), 0o640)
        return path

    def last(self, count: int) -> list[dict[str, Any]]:
        """The newest reports, the newest first; one that cannot be read is left out."""
        found = []
        for path in reversed(self._paths()[-count:]):
            try:
                found.append(json.loads(path.read_bytes()))
            except (OSError, ValueError):
                continue
        return found

    def prune(self, keep: int) -> None:
        """Remove all but the newest, and what a run left that was killed while it wrote."""
        for path in [*self._paths()[:-keep], *self.folder.glob(".*.new")]:
            files.remove(path)

    def _paths(self) -> list[Path]:
        try:
            names = sorted(name for name in os.listdir(self.folder) if name.endswith(".json") and name[0] != ".")
        except OSError:
            return []
        return [self.folder / name for name in names]


class Notes:
    """Small JSON files, each replaced in one rename: what one run leaves for the next."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def read(self, name: str) -> dict[str, Any]:
        """A note, or {} where there is none or it cannot be read: a note is never worth failing for."""
        raw = files.read(self.state / f"{name}.json")
        try:
            note = json.loads(raw) if raw else {}
        except ValueError:
            return {}
        return note if isinstance(note, dict) else {}

    def write(self, name: str, note: dict[str, Any]) -> None:
        """Replace a note."""
        path = self.state / f"{name}.json"
        files.make_folders(path.parent, 0o750)
        files.replace(path, json.dumps(note).encode(), 0o600)

    def remove(self, name: str) -> None:
        """Take a note away."""
        files.remove(self.state / f"{name}.json")
