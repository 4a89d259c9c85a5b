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
from rolecall.host import syscalls

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
Owner = tuple[int, int]  # numbers of a user and a group
OURS: Owner = (-1, -1)  # of whoever runs the agent


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
        write_new(os.open(path, NEW, mode & 0o700), (data,), mode, (uid, gid))


def create_passing(path: Path, pieces: Iterable[bytes], mode: int) -> None:
    """Create a new file that this run removes again, and so does not sync, from pieces that need not fit in memory."""
    with naming(path, "write"):
        write_new(os.open(path, NEW, mode & 0o700), pieces, mode, sync=False)


def write_new(
    fd: int, pieces: Iterable[bytes], mode: int, owner: Owner = OURS, mtime: int | None = None, *, sync: bool = True
) -> None:
    """Fill a file that was just created, and close it. Raises OSError."""
    try:
        if owner != OURS:
            os.fchown(fd, *owner)
        os.fchmod(fd, mode)
        for piece in pieces:
            write_all(fd, piece)
        if mtime is not None:
            os.utime(fd, (mtime, mtime))
        if sync:
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


def own_link(link: Path, uid: int) -> None:
    """Give a link, and not what it leads to, to a user."""
    with naming(link, "change the owner of"):
        os.lchown(link, uid, -1)


def open_private(path: Path) -> int:
    """Open a file for reading and writing, made if it is not there, for this user alone; for locks."""
    with naming(path, "open"):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


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


def sync_all(folder: Path) -> None:
    """Make all that was written to the file system of this folder durable, in one go: what it takes for many files.

    Since Linux 5.8 syncfs(2) says if anything of it could not be written.
    """
    with naming(folder, "sync"):
        fd = os.open(folder, FOLDER)
        try:
            syscalls.syncfs(fd)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            _sync_each(folder)
        finally:
            os.close(fd)


def _sync_each(folder: Path) -> None:
    """The same for one tree, an fsync(2) each, where the C library has no syncfs. Links have nothing to sync.

    Not os.walk: it passes over a folder that cannot be read, and before Python 3.12 it ends at 1,000 levels.
    """
    paths = [folder]
    for path in paths:  # grows as it goes
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                paths += [Path(entry.path) for entry in os.scandir(path) if not entry.is_symlink()]
            os.fsync(fd)
        finally:
            os.close(fd)


def exchange(new: Path, old: Path) -> None:
    """Have two paths of one folder change places, at once; where the file system cannot, `old` is gone for a moment.

    Either way `new` names what was `old`, for the caller to remove.
    """
    with naming(old, "exchange"):
        try:
            syscalls.exchange(str(new), str(old))
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            passing = old.with_name(f".gone-{old.name}")
            os.rename(old, passing)
            os.rename(new, old)
            os.rename(passing, new)
    sync_folder(old.parent)
