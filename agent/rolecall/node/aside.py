"""The state of another instance, found on a copied disk or in an image: out of the way, and used by nobody."""

import errno
import os
import stat
from pathlib import Path

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
