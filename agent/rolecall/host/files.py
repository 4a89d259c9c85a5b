"""The one door to the disk: every change of a file goes through here, so that a power cut can be tested.

Durability rules (rename(2), fsync(2)): a file's data is synced before its name is made visible, a folder is
synced after names in it changed. Every OSError becomes a HostFault that names the file; a MachineFault, if
another file would have met the same.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rolecall.errors import HostFault, fault_of

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def naming(path: str | Path, doing: str) -> Iterator[None]:
    """Turn an OSError inside into a HostFault that says what was done to which file."""
    try:
        yield
    except OSError as error:
        raise fault_of(error, f"cannot {doing} {path}: {error.strerror or error}", "", HostFault) from error


def make_folder(path: Path, mode: int = 0o755, *, new: bool = False) -> None:
    """Make one folder with its final mode; its parent must exist. One that is there stays as it is, unless `new`."""
    with naming(path, "make"):
        mask = os.umask(0)  # and no chmod(2) later: whoever is killed before it would leave a folder closed for good
        try:
            os.mkdir(path, mode)
        except FileExistsError:
            if new or not path.is_dir():
                raise
        finally:
            os.umask(mask)


def make_folders(path: Path, mode: int = 0o755) -> None:
    """Make a folder with its mode, and the parents it lacks, which others may enter. Their names are durable then."""
    missing = []
    at = path.parent
    while not at.is_dir():
        missing.append(at)
        at = at.parent
    for folder in reversed(missing):
        make_folder(folder)
        sync_folder(folder.parent)
    if not path.is_dir():
        make_folder(path, mode)
        sync_folder(path.parent)


def create(path: Path, data: bytes, mode: int, uid: int = -1, gid: int = -1) -> None:
    """Create a new file, synced. Mode and owner are final before its first byte: nothing can leak."""
    with naming(path, "write"):
        _write_new(os.open(path, _NEW, mode & 0o700), (data,), mode, uid=uid, gid=gid)


def create_from(path: Path, pieces: Iterable[bytes], mode: int) -> None:
    """Create a new file, synced, from pieces that need not fit in memory together."""
    with naming(path, "write"):
        _write_new(os.open(path, _NEW, mode & 0o700), pieces, mode)


def _write_new(
    fd: int, pieces: Iterable[bytes], mode: int, *, uid: int = -1, gid: int = -1, mtime: int | None = None
) -> None:
    try:
        if (uid, gid) != (-1, -1):
            os.fchown(fd, uid, gid)
        os.fchmod(fd, mode)
        for piece in pieces:
            write_all(fd, piece)
        if mtime is not None:
            os.utime(fd, (mtime, mtime))
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes) -> None:
    """write(2) until everything is written: a short write is not an error of the caller."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def replace(path: Path, data: bytes, mode: int, uid: int = -1, gid: int = -1) -> None:
    """Replace a file's content in one rename: a reader sees the old or the new, also after a power cut."""
    new = path.with_name(f".{path.name}.new")
    remove(new)
    create(new, data, mode, uid, gid)
    rename(new, path)


def rename(old: Path, new: Path) -> None:
    """rename(2) and sync the folder it happened in."""
    with naming(new, "rename to"):
        os.rename(old, new)
    sync_folder(new.parent)


def point(link: Path, target: str) -> None:
    """Make `link` a symbolic link to `target`, in one rename: this is the commit."""
    new = link.with_name(f".{link.name}.new")
    remove(new)
    make_link(new, target)
    rename(new, link)


def make_link(link: Path, target: str) -> None:
    """symlink(2); the link must not exist."""
    with naming(link, "link"):
        os.symlink(target, link)


@contextmanager
def _folder_below(root: Path, path: Path) -> Iterator[int]:
    """Open a folder below `root`, making those that lack; no step follows a link: nothing leads out of it."""
    with naming(path, "open"):
        fd = os.open(root, _FOLDER)
        for name in path.relative_to(root).parts:
            try:
                below = _open_or_make(name, fd)
            finally:
                os.close(fd)
            fd = below
    try:
        yield fd
    finally:
        os.close(fd)


def _open_or_make(name: str, parent: int) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except FileNotFoundError:
        os.mkdir(name, 0o755, dir_fd=parent)
        fd = os.open(name, _FOLDER, dir_fd=parent)
        os.fchmod(fd, 0o755)
        return fd


def make_folder_below(root: Path, path: Path) -> None:
    """Make a folder below `root`, and those between them, 0755; it may be there already, but no link may."""
    with _folder_below(root, path):
        pass


def create_below(root: Path, path: Path, pieces: Iterable[bytes], mode: int, mtime: int) -> None:
    """As `create_from`, below `root`, with the folders between them, and with a time of change."""
    with _folder_below(root, path.parent) as folder, naming(path, "write"):
        _write_new(os.open(path.name, _NEW, mode & 0o700, dir_fd=folder), pieces, mode, mtime=mtime)


def make_link_below(root: Path, link: Path, target: str) -> None:
    """symlink(2) below `root`, and the folders between them; the link must not exist."""
    with _folder_below(root, link.parent) as folder, naming(link, "link"):
        os.symlink(target, link.name, dir_fd=folder)


def open_shared(path: Path) -> int:
    """Open a file for reading and writing, made if it is not there; for locks, which have no content to lose."""
    with naming(path, "open"):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    with naming(path, "sync"):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def remove(path: Path) -> None:
    """Remove a file or a link, if it is there."""
    with naming(path, "remove"), suppress(FileNotFoundError):
        os.unlink(path)


def remove_tree(path: Path) -> None:
    """Remove a folder and all below it, however deep: no recursion, which ends at 1,000 levels."""
    with naming(path, "remove"), suppress(FileNotFoundError):
        pending: list[tuple[Path, bool]] = [(path, False)]
        while pending:
            at, emptied = pending.pop()
            if emptied:
                os.rmdir(at)
            elif stat.S_ISDIR(os.lstat(at).st_mode):
                os.chmod(at, 0o700)
                pending.append((at, True))
                pending.extend((Path(entry.path), False) for entry in os.scandir(at))
            else:
                os.unlink(at)


def discard(folder: Path) -> None:
    """Remove a folder that is known by its name: what a kill leaves of it has another one."""
    trash = folder if folder.name.startswith(".") else folder.with_name(f".gone-{folder.name}")
    if trash != folder:
        remove_tree(trash)
        rename(folder, trash)
    remove_tree(trash)


def read_link(path: Path) -> str | None:
    """The target of a symbolic link, or None where there is none."""
    try:
        return os.readlink(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EINVAL):
            return None
        raise fault_of(error, f"cannot read {path}: {error.strerror}", "", HostFault) from error


def read(path: Path) -> bytes | None:
    """A file's content, or None where there is none."""
    with naming(path, "read"), suppress(FileNotFoundError, NotADirectoryError):
        return path.read_bytes()
    return None


def sync_tree(path: Path) -> None:
    """Sync every folder of a tree, the deepest first (files were synced as they were written).

    Not os.walk: it passes over a folder that cannot be read, and before Python 3.12 it ends at 1,000 levels.
    """
    folders = [path]
    for folder in folders:  # grows as it goes
        with naming(folder, "read"), os.scandir(folder) as entries:
            folders += [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    for folder in reversed(folders):
        sync_folder(folder)
