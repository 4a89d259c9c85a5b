"""The disk is full, read-only or broken: exit code 1, the file's name, the old state whole; the next run goes on.

Three ways of breaking it, from many to real: an error in the place of each operation of a run in this process; errors
that strace(1) puts into system calls of the program; a file system in memory that is really full or read-only.
"""

import ctypes
import errno
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faults.operations import Operation, broken_off, in_a_child
from faults.test_kills import Story, booted, change, failure
from faults.tiny import Nodes, Tiny, picture
from rolecall.errors import HostFault
from sampling import some_of

# What each error can happen to; EROFS comes with the name, not with a file that is open already.
ON_OPEN_FILES = {"write", "fsync", "syncfs", "fchmod", "fchown", "utime"}
TAKES_SPACE = {"open", "write", "fsync", "syncfs", "mkdir", "symlink", "rename"}
KINDS: dict[str, tuple[int, Callable[[Operation], bool]]] = {
    "EIO": (errno.EIO, lambda _: True),
    "ENOSPC": (errno.ENOSPC, lambda one: one.name in TAKES_SPACE),
    "EMFILE": (errno.EMFILE, lambda one: one.name == "open"),
    "EROFS": (errno.EROFS, lambda one: one.name not in ON_OPEN_FILES),
}


def outcome(work: Callable[[], Any]) -> tuple[int, str]:
    """The exit code and the message of a run."""
    try:
        report = work()
    except HostFault as fault:
        return fault.exit_code, fault.message
    return report.exit_code, "\n".join([report.error, *report.warnings])


def broken(story: Story, at: int, kind: str, *, stays: bool, within: str) -> tuple[int, str]:
    """A run with an error in the place of an operation; if it stays, also of all later ones in that folder."""
    number, happens = KINDS[kind]

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    def later(operation: Operation) -> bool:
        return stays and happens(operation) and operation.path.startswith(within)

    story.begin()
    with broken_off(at, "before", fail, later):
        return outcome(story.act)


def places(story: Story, within: str, kind: str) -> list[int]:
    """The operations in a folder that such an error can happen to."""
    happens = KINDS[kind][1]
    return [at for at, one in enumerate(story.operations) if one.path.startswith(within) and happens(one)]


def after(story: Story) -> list[str]:
    """What is wrong in the end, once the disk is whole again and the timer has started the next refresh."""
    left = story.tiny.fingerprint()
    if left in story.completed:
        return []
    story.completed.add(left)
    story.tiny.converge()
    now = story.tiny.look()
    return story.known.mixed(story.tiny) + min((end.differences(now) for end in story.ends), key=len)


@pytest.mark.parametrize(
    ("kind", "stays"),
    [("EIO", False), ("EMFILE", False), ("ENOSPC", True), ("EROFS", True)],
    ids=["EIO, once", "EMFILE, once", "ENOSPC", "EROFS"],
)
def test_an_error_of_the_disk_before_the_switch_leaves_the_old_state_whole_and_names_the_file(
    kind: str, stays: bool, nodes: Nodes
) -> None:
    story = change(nodes)
    story.begin()
    state, before, read = str(story.tiny.state), story.tiny.look(), [story.tiny.read("one"), story.tiny.read("two")]
    switch = next(at for at, one in enumerate(story.operations) if str(one) == f"rename {state}/current")
    tried = some_of([at for at in places(story, state, kind) if at <= switch], 6)
    for at in tried:
        code, message = broken(story, at, kind, stays=stays, within=state)
        where = f"{kind} at {story.operations[at]}: {message}"
        assert code == 1, where
        assert os.strerror(KINDS[kind][0]) in message, where
        path = Path(story.operations[at].path)
        assert str(path if path.name[0] != "." or stays else path.parent) in message or stays, where
        assert f" {state}/" in message, where
        assert story.known.faults(picture(story.tiny.state)) == [], where
        now = story.tiny.look()
        assert (now.picture["current"], now.picture["ready"]) == (before.picture["current"], before.picture["ready"])
        assert [story.tiny.read("one"), story.tiny.read("two")] == read, "no daemon was told"
        assert after(story) == [], where
    print(f"{len(tried)} points")


@pytest.mark.parametrize(("make", "stays"), [(change, False), (failure, False), (failure, True)])
def test_an_error_of_the_disk_after_the_switch_leaves_a_state_that_the_next_run_completes(
    make: Callable[[Nodes], Story], stays: bool, nodes: Nodes
) -> None:
    story = make(nodes)
    root = str(story.tiny.root)
    switch = next(at for at, one in enumerate(story.operations) if str(one) == f"rename {story.tiny.state}/current")
    later = [at for at in places(story, root, "EIO") if at > switch and "/srv/" not in story.operations[at].path]
    tried = some_of(later, 6)
    for at in tried:
        code, message = broken(story, at, "EIO", stays=stays, within=root)
        where = f"EIO at {story.operations[at]}: {message}"
        assert code == 1, where
        assert "Input/output error" in message, where
        assert story.known.faults(picture(story.tiny.state)) == [], where
        assert story.known.mixed(story.tiny) == [], where
        assert after(story) == [], where
    print(f"{len(tried)} points")


def test_a_run_folder_that_is_full_is_named(nodes: Nodes) -> None:
    story = change(nodes)
    run = str(story.tiny.run)
    tried = some_of(places(story, run, "EIO"), 6)
    for at in tried:
        code, message = broken(story, at, "EIO", stays=True, within=run)
        where = f"EIO at {story.operations[at]}: {message}"
        assert code == 1, where
        assert f" {run}" in message, where
        assert after(story) == [], where
    print(f"{len(tried)} points")


def test_a_node_rolls_back_also_where_its_report_cannot_be_written(nodes: Nodes) -> None:
    story = failure(nodes)
    reports = str(story.tiny.state / "reports")
    code, message = broken(story, places(story, reports, "ENOSPC")[0], "ENOSPC", stays=True, within=reports)
    assert code == 1
    assert "No space left on device" in message
    assert story.ends[0].differences(story.tiny.look()) == []


# The program itself, with errors that strace(1) puts into its system calls


@pytest.fixture
def strace() -> str:
    """The program, where it is there and may trace."""
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace is not installed: apt-get install strace")
    tried = subprocess.run(
        [program, "-f", "--seccomp-bpf", "-qq", "-o", os.devnull, "true"], capture_output=True, text=True
    )
    if tried.returncode:
        pytest.skip(f"strace may not trace here: {tried.stderr.strip()}")
    return program


# System calls ('?': not on every architecture), the path that they are about, the error, and what the message names.
CALLS = [
    ("write", "generations/.stage-ID/motd", "EIO", "generations/.stage-ID/motd"),
    ("write", "generations/.stage-ID/one/blog.conf", "ENOSPC", "generations/.stage-ID/one/blog.conf"),
    ("syncfs", "generations/.stage-ID", "EIO", "generations/.stage-ID"),
    ("?mkdir,mkdirat", "generations/.stage-ID", "EROFS", "generations/.stage-ID"),
    ("?rename,renameat,?renameat2", "generations/.stage-ID", "EIO", "generations/ID"),
    ("write", "releases/blog/.fetch-SHA", "ENOSPC", "releases/blog/.fetch-SHA"),
    ("syncfs", "releases/blog/.unpack-SHA", "EIO", "releases/blog/.unpack-SHA"),
    ("?symlink,symlinkat", ".current.new", "ENOSPC", ".current.new"),
    ("?rename,renameat,?renameat2", ".current.new", "EROFS", "current"),
]


def test_the_program_ends_with_exit_code_1_and_names_the_file(strace: str, nodes: Nodes) -> None:
    story = change(nodes)
    tiny = story.tiny
    new = os.path.basename(story.ends[0].picture["current"][1])
    sha = tiny.document["products"]["blog"]["release"]["sha256"]
    for calls, path, error, named in some_of(CALLS, 6):
        story.begin()
        before = tiny.look()
        broken, file = (f"{tiny.state}/{one.replace('ID', new).replace('SHA', sha)}" for one in (path, named))
        inject = [strace, "-f", "--seccomp-bpf", "-qq", "-o", os.devnull, "-P", broken, "-e", f"trace={calls}",
                  "-e", f"inject={calls}:error={error}"]  # fmt: skip
        done = tiny.rolecall("refresh", under=inject)
        assert done.returncode == 1, done.stderr
        assert f" {file}: {os.strerror(getattr(errno, error))}" in done.stderr
        assert "Traceback" not in done.stderr
        assert story.known.faults(picture(tiny.state)) == []
        now = tiny.look()
        assert (now.picture["current"], now.read) == (before.picture["current"], before.read)
        assert after(story) == []


POINTS = int(os.environ.get("ROLECALL_POINTS", "4"))  # out of thousands; 300 for a long night
CALL_KINDS = {
    "EIO": "?open,openat,read,write,fsync,?rename,renameat,?mkdir,mkdirat",
    "ENOSPC": "write,fsync,?mkdir,mkdirat,?rename,renameat,?symlink,symlinkat",
    "EMFILE": "?open,openat,socket,?pipe,pipe2,?dup,dup3",
    "EINTR": "?open,openat,read,write,fsync,?wait4,waitid",
}


def test_an_error_of_any_system_call_of_the_run_and_its_programs_is_over_with_the_next_plain_refresh(
    strace: str, nodes: Nodes
) -> None:
    story = change(nodes)
    tiny, seen, log = story.tiny, [], story.tiny.root / "calls"
    for number, (kind, calls) in enumerate(CALL_KINDS.items()):
        story.begin()
        under = [strace, "-f", "--seccomp-bpf", "-qq", "-e", f"trace={calls}"]
        tiny.rolecall("refresh", under=[*under, "-o", str(log)])
        total = len(log.read_text().splitlines())
        points = len(range(number, POINTS, len(CALL_KINDS)))
        for point in range(points):
            at = total * (2 * point + 1) // (2 * points)
            story.begin()
            inject = [*under, "-o", os.devnull, "-e", f"inject={calls}:error={kind}:when={at}"]
            done = tiny.rolecall("refresh", under=inject)
            where = f"{kind} at call {at} of {total}: {done.stderr}"
            assert "document" not in done.stderr.partition("hint: ")[2], where
            assert story.known.mixed(tiny) == [], where
            assert after(story) == [], where
            assert tiny.node().reports.last(1)[0]["outcome"] != "waiting", where
            seen.append(done.returncode)
    print(f"{len(seen)} points, {sum(code != 0 for code in seen)} of them ended the run")


# A file system that is really full, or really read-only

CLONE_NEWNS, MS_REC, MS_PRIVATE, MS_RDONLY, MS_REMOUNT = 0x20000, 0x4000, 1 << 18, 1, 32
PAGE = os.sysconf("SC_PAGE_SIZE")


def call(name: str, *arguments: Any) -> None:
    """A function of the C library that sets errno."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def with_a_small_disk(root: Path, work: Callable[[Story, Path], None], options: bytes = b"size=2m") -> None:
    """Do it in a child, on a node whose state lies on a file system of its own, whose mount goes with the child."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    disk = root / "disk"
    disk.mkdir()

    def child() -> int:
        try:
            call("unshare", CLONE_NEWNS)
            call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)
            call("mount", b"tmpfs", bytes(disk), b"tmpfs", 0, options)
        except OSError as error:
            print(error, file=sys.stderr)
            return 77
        tiny = Tiny(root / "node", state=disk / "state")
        try:
            known = booted(tiny, "blog", "video")
            tiny.publish("b", "blog", "video")
            work(Story(tiny, known, tiny.converge), disk)
        except BaseException:  # noqa: BLE001 - told, and turned into an exit status
            traceback.print_exc()
            return 1
        finally:
            tiny.close()
        return 0

    status = in_a_child(child)
    if status == 77:
        pytest.skip("this machine gives us no mount namespace for a small file system")
    assert status == 0


def test_a_disk_that_is_full_to_any_degree_leaves_the_old_state_whole(tmp_path: Path) -> None:
    def fill(story: Story, disk: Path) -> None:
        tiny, codes = story.tiny, []
        for pages in (0, *some_of(range(1, 47), 12), 47):
            story.begin()
            with (disk / "filler").open("wb") as filler:
                os.posix_fallocate(filler.fileno(), 0, (os.statvfs(disk).f_bavail - pages) * PAGE)
            before = tiny.look()
            code, message = outcome(story.act)
            where = f"{pages} pages were free: {message}"
            assert story.known.faults(picture(tiny.state)) == [], where
            assert story.known.mixed(tiny) == [], where
            if code:
                assert f" {tiny.state}/" in message, where
                assert "No space left on device" in message, where
            if tiny.look().picture["ready"] == before.picture["ready"]:
                assert code == 1, where
                assert tiny.look().read == before.read, where
            codes.append(code)
            if not pages:
                done = tiny.rolecall("refresh")
                assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
                assert f" {tiny.state}/" in done.stderr
            (disk / "filler").unlink()
            assert after(story) == [], where
        assert (codes[0], codes[-1]) == (1, 0)

    with_a_small_disk(tmp_path, fill)


def test_a_disk_with_too_few_inodes_is_told_by_plan_and_before_anything_is_unpacked(tmp_path: Path) -> None:
    def fill(story: Story, disk: Path) -> None:
        tiny = story.tiny
        story.begin()
        before = tiny.look()
        garbage = tiny.state / "releases/blog" / ("0" * 64)
        garbage.mkdir()
        for number in range(20):
            (garbage / str(number)).touch()
        (disk / "filler").mkdir()
        while free := max(os.statvfs(disk).f_favail - 5, 0):
            (disk / "filler" / str(free)).touch()
        assert " inodes left" not in tiny.rolecall("plan").stderr, "garbage goes first"
        shutil.rmtree(garbage)
        for number in range(21):
            (disk / "filler" / f"in the place of {number}").touch()
        words = "inodes left, and the releases blog b, video b need 13 at least: "
        plan = tiny.rolecall("plan")
        assert words in plan.stderr + plan.stdout
        report = tiny.converge()
        assert (report.exit_code, report.fault) == (1, "machine"), report.error
        assert "inodes left, and the files of blog b need 6 at least: " in report.error
        assert before.picture["current"] == tiny.look().picture["current"]
        shutil.rmtree(disk / "filler")
        assert after(story) == []

    with_a_small_disk(tmp_path, fill, b"size=4m,nr_inodes=400")


def test_a_file_system_that_counts_no_inodes_has_enough_of_them(tmp_path: Path) -> None:
    def go_on(story: Story, disk: Path) -> None:
        assert os.statvfs(disk).f_files == 0, "or this kernel counts them"
        story.begin()
        assert outcome(story.act)[0] == 0

    with_a_small_disk(tmp_path, go_on, b"size=4m,nr_inodes=0")


def test_a_disk_that_was_remounted_read_only_leaves_the_old_state_whole(tmp_path: Path) -> None:
    def remount(story: Story, disk: Path) -> None:
        tiny = story.tiny
        story.begin()
        before = tiny.look()
        call("mount", None, bytes(disk), None, MS_REMOUNT | MS_RDONLY, None)
        done = tiny.rolecall("refresh")
        assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
        assert f" {tiny.state}/" in done.stderr
        assert "Read-only file system" in done.stderr
        assert before.differences(tiny.look()) == []
        call("mount", None, bytes(disk), None, MS_REMOUNT, None)
        assert after(story) == []

    with_a_small_disk(tmp_path, remount)


@pytest.mark.parametrize("edition", ["a", "b"])
def test_a_generation_that_has_lost_its_manifest_is_staged_anew(edition: str, nodes: Nodes) -> None:
    story = change(nodes)
    tiny = story.tiny
    for generation in (tiny.state / "generations").iterdir():
        motd = generation / "motd"
        if motd.exists() and motd.read_text().startswith(f"edition {edition}\n"):
            (generation / "generation.json").unlink()
    with tiny.published(edition, "blog", "video"):
        assert outcome(tiny.converge)[0] == 0
    assert story.known.faults(picture(tiny.state)) == []
    assert {line.split()[0] for line in tiny.look().read.values()} == {edition}
