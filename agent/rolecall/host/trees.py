"""Whole trees of a machine's disk: moved so that nothing which is in the way is lost, and given to other owners.

Nothing here is recursive, and nothing follows a link: a product's folders are as deep as its programs please.
"""

import errno
import os
import re
import stat
from collections.abc import Callable, Collection, Iterator
from itertools import count
from pathlib import Path

from rolecall.errors import HostFault
from rolecall.host import files

_OCTAL = re.compile(rb"\\([0-7]{3})")  # proc_pid_mountinfo(5): a space is \\040


def move(old: Path, new: Path) -> None:
    """Move a file or a tree to a new name; what is cut off is completed by moving again. Raises HostFault.

    What has the new name already keeps its place: two folders become one, anything else gets a free name beside it.
    A disk that is mounted at `old` or below was put there by somebody: it stays, and so do the folders that lead to it.
    """
    old = Path(os.path.realpath(old.parent), old.name)  # as the kernel lists what is mounted
    mounts, pending, left = _mounts(), [(old, new)], []
    while pending:
        source, target = pending.pop()
        if source in mounts:
            continue
        if not (is_folder(source) and is_folder(target)):
            target = free_name(target)
            if not any(source in mount.parents for mount in mounts) and _renamed(source, target):
                continue
            _make_like(source, target)
        left.append(source)
        with files.naming(source, "read"):
            # In the order of their names: what is taken from the end comes first.
            pending += [(source / name, target / name) for name in sorted(os.listdir(source), reverse=True)]
    for folder in reversed(left):
        remove_if_empty(folder)


def _renamed(old: Path, new: Path) -> bool:
    """Whether it could be renamed. A folder in a lower layer of an overlay cannot (EXDEV), but what is in it can."""
    try:
        files.rename(old, new)
    except HostFault as fault:
        if isinstance(fault.__cause__, OSError) and fault.__cause__.errno == errno.EXDEV and is_folder(old):
            return False
        raise
    files.sync_folder(old.parent)
    return True


def _make_like(model: Path, folder: Path) -> None:
    """Have a folder with the mode and the owner of another one: it has its name only with both."""
    status, new = model.lstat(), folder.with_name(f".new-{folder.name}")
    remove_if_empty(new)
    files.make_folder(new, 0o700)
    with files.naming(folder, "make"):
        os.chown(new, status.st_uid, status.st_gid, follow_symlinks=False)
        os.chmod(new, stat.S_IMODE(status.st_mode))
    files.rename(new, folder)


def remove_if_empty(folder: Path) -> None:
    """Remove a folder, unless there is something in it, or a disk is mounted there."""
    with files.naming(folder, "remove"):
        try:
            os.rmdir(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EBUSY, errno.ENOENT):
                raise


def remove_empty_folders(path: Path) -> None:
    """Remove a tree of folders in which there is nothing else. Raises HostFault for one that has got something."""
    folders = [path, *(entry for entry in entries_below(path) if is_folder(entry))] if is_folder(path) else []
    for folder in reversed(folders):
        with files.naming(folder, "remove"):
            os.rmdir(folder)


def entries_below(path: Path) -> Iterator[Path]:
    """Everything below a folder, each folder before what is in it. Nothing where there is no folder."""
    pending = [path] if is_folder(path) else []
    while pending:
        folder = pending.pop()
        with files.naming(folder, "read"), os.scandir(folder) as entries:
            listing = sorted(entries, key=lambda entry: entry.name)
        for entry in listing:
            yield Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                pending.append(Path(entry.path))


def give(paths: Collection[Path], owner_of: Callable[[Path, os.stat_result], tuple[int, int]]) -> None:
    """Give each path the user and group (-1: as it is) that `owner_of` names for it; of a link, itself."""
    for path in paths:
        with files.naming(path, "change the owner of"):
            status = os.lstat(path)
            uid, gid = owner_of(path, status)
            if (uid, gid) != (-1, -1):
                os.chown(path, uid, gid, follow_symlinks=False)


def is_folder(path: Path) -> bool:
    """Whether it is a folder itself, and no link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def holds_mounts(path: Path) -> bool:
    """Whether a disk is mounted there, or below."""
    folder = Path(os.path.realpath(path))
    return any(mount.is_relative_to(folder) for mount in _mounts())


def free_name(path: Path) -> Path:
    """The path, or the first of PATH.2, PATH.3 and so on that nothing has."""
    names = (path.with_name(f"{path.name}.{number}" if number > 1 else path.name) for number in count(1))
    return next(name for name in names if not os.path.lexists(name))


def _mounts() -> Collection[Path]:
    """Where file systems are mounted, as this process sees it: proc_pid_mountinfo(5)."""
    lines = (files.read(Path("/proc/self/mountinfo")) or b"").splitlines()
    points = (_OCTAL.sub(lambda match: bytes([int(match[1], 8)]), line.split()[4]) for line in lines)
    return {Path(os.fsdecode(point)) for point in points}
