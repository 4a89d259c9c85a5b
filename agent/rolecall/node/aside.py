"""What another instance has left on this disk: set aside for people, used by nobody, and taken back if it is our own.

`aside/from-INSTANCE` is what the state folder was. The note in `fleet` names the instance, and tells a whole state from
one that is on its way: it is the last that is set aside and the first that is taken back, so that as long as anything
of an instance lies in the state folder, that has its name. Whatever is cut off, the next run completes it; no run
removes anything of it.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from rolecall.host import files, trees
from rolecall.node.notes import InstalledRole, Notes
from rolecall.node.verified import Verified

FOLDER = "aside"
PRODUCT_FOLDERS = ("shared", "private")  # what products have written: PART/PRODUCT
_NAMING = "fleet"
_PREFIX = "from-"


@dataclass(frozen=True)
class Aside:
    """What lies aside: `name` is what a person calls it, the instance's id, with a number if there are several."""

    name: str
    instance: str
    path: Path
    since: datetime
    products: tuple[str, ...]  # that have written something


def set_aside(state: Path, instance: str) -> Path:
    """Move a state folder's content out of the way, into a folder of its own. Raises HostFault."""
    target = _unfinished(state, instance)
    files.make_folders(target, 0o700)
    for name in sorted(_movable(state), key=lambda name: name == _NAMING):
        trees.move(state / name, target / name)
    return target


def take_back(state: Path, source: Path) -> None:
    """Move a state that lies aside back, as a whole. Raises HostFault."""
    trees.remove_if_empty(state / _NAMING)
    for name in sorted(os.listdir(source), key=lambda name: name != _NAMING):
        trees.move(source / name, state / name)
    trees.remove_if_empty(source)


def unfinished(state: Path, instance: str) -> Path | None:
    """Where a part of the state of an instance lies aside, the rest being in the state folder; None: nowhere."""
    path = _unfinished(state, instance)
    return path if trees.is_folder(path) else None


def whole(state: Path, instance: str) -> Path | None:
    """Where the whole state of an instance lies aside: the one that was set aside last, or None."""
    folders = [path for path in _folders(state) if Notes(path).read(Verified).instance == instance]
    return max(folders, key=_since, default=None)


def lying_aside(state: Path) -> tuple[Aside, ...]:
    """Everything that lies aside."""
    return tuple(
        Aside(
            path.name.removeprefix(_PREFIX),
            Notes(path).read(Verified).instance or path.name.removeprefix(_PREFIX),
            path,
            datetime.fromtimestamp(_since(path), UTC),
            tuple(sorted(set(_products(path)))),
        )
        for path in _folders(state)
    )


def _products(folder: Path) -> Iterator[str]:
    for part in PRODUCT_FOLDERS:
        if trees.is_folder(folder / part):
            yield from (entry.name for entry in os.scandir(folder / part) if entry.is_dir(follow_symlinks=False))


def _folders(state: Path) -> list[Path]:
    """What was set aside, by name; folders alone, whatever else somebody has laid there."""
    return sorted(path for path in (state / FOLDER).glob("*") if trees.is_folder(path))


def _since(folder: Path) -> float:
    """When the last of it was moved there: a Unix time."""
    return folder.stat().st_mtime


def _unfinished(state: Path, instance: str) -> Path:
    """The folder of an instance that is on its way, or the name for a new one: beside those that are whole."""
    name = f"{_PREFIX}{instance.replace('/', '_')}"
    paths = (state / FOLDER / (f"{name}.{number}" if number > 1 else name) for number in count(1))
    return next(path for path in paths if not Notes(path).paths(Verified)[0].exists())


def _movable(state: Path) -> Iterator[str]:
    """All but what is set aside already, and which role the image has installed: that is true of the whole disk."""
    stays = {FOLDER, *(path.name for path in Notes(state).paths(InstalledRole))}
    return (name for name in os.listdir(state) if name not in stays)
