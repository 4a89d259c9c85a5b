"""The state of another instance, where a plain rename cannot move it: lower layers of an overlay, mounted disks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from faults.operations import broken_off, die, in_a_child, listed
from rolecall.node import aside
from rolecall.node.notes import Notes
from rolecall.node.verified import Verified
from roots import sh, write


@pytest.fixture(scope="module")
def lower(memory: Path) -> Path:
    """The state of the instance i-1, as it lies in an image's layer."""
    folder = memory / "lower-layer"
    write(folder / "reports/old/1.json", "{}")
    write(folder / "shared/blog/uploads/photo", "x")
    Notes(folder).write(Verified(instance="i-1"))
    (folder / "reports").chmod(0o750)
    os.chown(folder / "shared/blog/uploads", 4242, 4343)
    (folder / "shared/blog/uploads").chmod(0o2750)
    return folder


@contextmanager
def overlaid(lower: Path) -> Iterator[Path]:
    """The state folder above that layer, with an empty one of its own."""
    top = lower.parent / "layers"
    for name in ("upper", "work", "state"):
        (top / name).mkdir(parents=True)
    layers = f"redirect_dir=off,lowerdir={lower},upperdir={top}/upper,workdir={top}/work"
    sh("mount", "-t", "overlay", "overlay", "-o", layers, top / "state")
    try:
        yield top / "state"
    finally:
        sh("umount", top / "state")
        sh("rm", "-rf", top)


def tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What is in a folder: mode and owner of each entry."""
    paths = {path.relative_to(folder).as_posix(): path.lstat() for path in folder.rglob("*")}
    return {name: (status.st_mode, status.st_uid, status.st_gid) for name, status in paths.items()}


def test_what_lies_in_a_lower_layer_is_moved_with_its_modes_and_owners_and_comes_back(lower: Path) -> None:
    with overlaid(lower) as state:
        target = aside.set_aside(state, "i-1")
        assert [path.name for path in state.iterdir()] == ["aside"]
        assert tree(target) == tree(lower)
        aside.take_back(state, target)
        assert {name: entry for name, entry in tree(state).items() if name != "aside"} == tree(lower)


def test_whoever_is_killed_in_a_lower_layer_completes_it_the_next_time(lower: Path) -> None:
    with overlaid(lower) as state:
        operations = listed(lambda: aside.set_aside(state, "i-1"))
    for at in (at for at, operation in enumerate(operations) if operation.name in ("rename", "mkdir", "rmdir")):
        with overlaid(lower) as state:

            def doomed(at: int = at, state: Path = state) -> int:
                with broken_off(at, "after", die):
                    aside.set_aside(state, "i-1")
                return 0

            assert in_a_child(doomed) == -9
            if Notes(state).read(Verified).instance:
                aside.set_aside(state, "i-1")
            folder = aside.whole(state, "i-1")
            assert folder == state / "aside/from-i-1", operations[at]
            assert tree(folder) == tree(lower), operations[at]


@pytest.mark.parametrize("place", ["shared", "shared/blog", "shared/blog/uploads"])
def test_a_disk_that_is_mounted_there_or_below_stays_and_all_else_goes(memory: Path, place: str) -> None:
    state = memory / "with-a-disk" / place.replace("/", "-")
    write(state / "fleet/verified.json", "{}")
    write(state / "private/blog/sess_1", "x")
    write(state / "shared/other/uploads/photo", "x")
    (state / place).mkdir(parents=True, exist_ok=True)
    sh("mount", "-t", "tmpfs", "tmpfs", state / place)
    try:
        write(state / place / "photo", "x")
        target = aside.set_aside(state, "i-1")
        assert (state / place / "photo").read_text() == "x"
        assert not (target / place / "photo").exists()
        assert (target / "private/blog/sess_1").exists()
        assert (target / "shared/other").exists() == (place != "shared")
        (state / "aside/from-i-1").rename(state / "aside/elsewhere")
        assert sorted(path.name for path in state.iterdir()) == ["aside", "shared"]
    finally:
        sh("umount", state / place)
