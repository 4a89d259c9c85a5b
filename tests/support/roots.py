"""Folders for whole systems: in memory where there is room, kept from run to run, laid over each other.

A root is thousands of files. What is made of the same things is made once and kept, in a folder that belongs to root
alone; test runs of any checkouts may use it at the same time. It is the lowest layer of what they boot or install
into, and nobody writes to it again.
"""

import fcntl
import functools
import hashlib
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

SUITE = "bookworm"
IN_MEMORY = Path("/dev/shm")
CACHE = "rolecall-tests"
# What makes a Debian, and what lays one over another.
PROGRAMS = ("mmdebstrap", "dpkg-deb", "unshare", "chroot", "mount")


def why_not(*programs: str) -> str:
    """Why no Debian can be made here, or nothing done with it by these programs; '' if all is well."""
    if os.geteuid() != 0:
        return "only root can make and enter a root folder"
    if missing := [program for program in (*PROGRAMS, *programs) if not shutil.which(program)]:
        return f"not installed: {', '.join(missing)} (requirements/debian.txt has the packages)"
    if not debian_sources():
        return "the apt of this machine knows no Debian 12 (run apt-get update)"
    return ""


def sh(*argv: str | Path, ok: bool = True, timeout: float = 600) -> str:
    """Run a program; returns what it said on standard output. `ok`: it has to succeed."""
    done = subprocess.run(
        [str(one) for one in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0 or not ok, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """A file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


@functools.cache
def debian_sources() -> tuple[str, ...]:
    """The lines of this machine's apt for Debian 12; none where it is not on Debian, or has none."""
    form = "$(CODENAME) deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    argv = ["apt-get", "indextargets", "--format", form, "Created-By: Packages", "Origin: Debian"]
    try:
        found = subprocess.run(argv, capture_output=True, text=True).stdout.splitlines()
    except FileNotFoundError:
        return ()
    return tuple(line.partition(" ")[2] for line in found if line.startswith(SUITE))


# Folders of one run


def roomy() -> Path:
    """Where large folders go: in memory where there is room and devices and programs work, else on the disk."""
    available = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
    room = min(shutil.disk_usage(IN_MEMORY).free, int(available[1]) << 10) if available and IN_MEMORY.is_dir() else 0
    usable = room > 4 << 30 and not os.statvfs(IN_MEMORY).f_flag & (os.ST_NODEV | os.ST_NOEXEC)
    return IN_MEMORY if usable else Path(tempfile.gettempdir())


@contextmanager
def scratch() -> Iterator[Path]:
    """A new folder, until the end of the block."""
    made = Path(tempfile.mkdtemp(prefix="rc-", dir=roomy()))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made)


@contextmanager
def tops() -> Iterator[Path]:
    """A file system in memory, for what is written above other layers: not every disk can be that."""
    with tempfile.TemporaryDirectory(prefix="rc-tops-") as folder:
        sh("mount", "-t", "tmpfs", "-o", "size=4g,mode=755", "tmpfs", folder)
        try:
            yield Path(folder)
        finally:
            sh("umount", folder)


@contextmanager
def mounted(folder: Path, top: Path, *lower: Path) -> Iterator[Path]:
    """The layers as one tree at `folder`; what is written lands in `top`. As on a disk, any folder can be renamed."""
    work = top.with_name(f"{top.name}.work")
    for one in (folder, top, work):
        one.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={':'.join(map(str, lower))},upperdir={top},workdir={work},redirect_dir=on"
    sh("mount", "-t", "overlay", "overlay", "-o", options, folder)
    try:
        yield folder
    finally:
        sh("umount", folder)


# Folders that stay


@contextmanager
def kept(name: str, of: Iterable[str], make: Callable[[Path], None]) -> Iterator[Path]:
    """The folder that is made of these things: made if it is not there. Nobody removes it before the end of the block.

    Of its name, others that nobody uses are removed when a new one is made.
    """
    entry = f"{name}-{hashlib.sha256(repr(list(of)).encode()).hexdigest()[:16]}"
    places = [parent / CACHE for parent in (IN_MEMORY, Path(tempfile.gettempdir()))]
    here = _own(next((place for place in places if (place / entry).is_dir()), roomy() / CACHE))
    with ExitStack() as use:
        with locked(here / f"{name}.lock", fcntl.LOCK_EX):  # the second of two runs waits, and finds it made
            use.enter_context(locked(here / f"{entry}.lock", fcntl.LOCK_SH))
            if not (here / entry).is_dir():
                _remove_unused(here, name)
                unfinished = here / f"{entry}.new"
                unfinished.mkdir()
                make(unfinished)
                unfinished.rename(here / entry)
        yield here / entry


def _own(folder: Path) -> Path:
    """A folder that belongs to root alone, whoever else may write beside it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    mine = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022
    assert mine, f"{folder} is not root's own folder: remove it"
    return folder


@contextmanager
def locked(path: Path, how: int) -> Iterator[None]:
    """A file that other processes wait for: `how` is one of fcntl's LOCK_…."""
    with path.open("w") as lock:
        fcntl.flock(lock, how)
        yield


def _remove_unused(here: Path, name: str) -> None:
    """Called by who holds the lock of the name: nobody begins to use, or to make, one of them meanwhile."""
    for unfinished in here.glob(f"{name}-*.new"):
        shutil.rmtree(unfinished)
    for old in here.glob(f"{name}-{'[0-9a-f]' * 16}"):
        try:
            with locked(here / f"{old.name}.lock", fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(old)
                (here / f"{old.name}.lock").unlink()
        except BlockingIOError:
            continue


# A Python as CentOS Stream 10 has it


def python312() -> Path:
    """The folder of this machine's Python 3.12, with bin and lib. Skips the test where there is none."""
    candidates = [Path("/usr/bin/python3.12"), Path(shutil.which("python3.12") or "none")]
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)  # HOME may be another folder, so that nothing of it is used
    candidates += home.glob(".pyenv/versions/3.12.*/bin/python3.12")
    ask = "import sys; print(sys.base_prefix) if sys.version_info[:2] == (3, 12) else 1 / 0"
    for one in filter(Path.exists, candidates):
        found = subprocess.run([one, "-c", ask], capture_output=True, text=True)
        if found.returncode == 0:
            return Path(found.stdout.strip())
    pytest.skip("not run: this machine has no Python 3.12, which CentOS has")
