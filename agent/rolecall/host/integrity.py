"""Whether an unpacked release is still what was unpacked.

Beside its folder stand `NAME.json`, its manifest, and `NAME.compared`: when it was last compared with that in full, and
the stamp of all its paths then. While the stamp stays, nothing has changed, and nothing is read.
"""

import time
from pathlib import Path

from rolecall.host import files, manifest, state_files
from rolecall.host.manifest import Manifest

_COMPARED_EVERY = 24 * 3600.0  # seconds
_SHOWN = 5  # damaged paths in a message


def damage(folder: Path) -> list[str] | None:
    """The paths that are not as they were, with mode and owner; None where no manifest can be read. Raises HostFault.

    All files are read where any path has another stamp than at the last full comparison, and once a day.
    """
    mark = manifest.stamp(folder)
    if _is_compared(folder, mark) and _beside(folder, ".json").is_file():
        return []
    whole = _read_manifest(folder)
    if whole is None:
        return None
    differences = manifest.differences(whole, manifest.read_tree(folder))
    if not differences:
        note_compared(folder, mark)
    return differences


def write_manifest(folder: Path, whole: Manifest) -> None:
    """Write what a release consists of beside the folder that it has or will have."""
    _write(_beside(folder, ".json"), manifest.to_json(whole))


def adopt(folder: Path) -> None:
    """Take a release for whole as it is now."""
    mark = manifest.stamp(folder)
    write_manifest(folder, manifest.read_tree(folder))
    note_compared(folder, mark)


def note_compared(folder: Path, mark: str) -> None:
    """It is whole now, and its paths have this stamp."""
    _write(_beside(folder, ".compared"), f"{int(time.time())} {mark}\n".encode())


def shown(paths: list[str]) -> str:
    """Some of the paths, and how many there are."""
    rest = f", … and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return f"{len(paths)} path{'s' if len(paths) != 1 else ''}: {', '.join(map(repr, paths[:_SHOWN]))}{rest}"


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f"{folder.name}{suffix}")


def _read_manifest(folder: Path) -> Manifest | None:
    try:
        raw = state_files.read(_beside(folder, ".json"), manifest.MOST)
        return manifest.from_json(raw) if raw is not None else None
    except ValueError:
        return None


def _is_compared(folder: Path, mark: str) -> bool:
    try:
        moment, compared = (state_files.read(_beside(folder, ".compared"), 1024) or b"").decode().split()
        return 0 <= time.time() - float(moment) < _COMPARED_EVERY and compared == mark
    except ValueError:
        return False


def _write(path: Path, data: bytes) -> None:
    """Replace a file, or whatever is in its place."""
    if path.is_dir() and not path.is_symlink():
        files.remove_tree(path)
    files.replace(path, data, 0o600)
