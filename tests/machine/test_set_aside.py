"""The state of another instance, where a plain rename cannot move it."""

from pathlib import Path

from rolecall.node import aside
from roots import sh, write


def test_what_lies_in_a_lower_layer_is_moved_all_the_same(memory: Path) -> None:
    folder = memory / "lower-layer"
    write(folder / "lower/reports/old/1.json", "{}")
    write(folder / "lower/fleet/verified.json", "{}")
    (folder / "lower/reports").chmod(0o750)
    for name in ("upper", "work", "state"):
        (folder / name).mkdir()
    state = folder / "state"
    layers = f"redirect_dir=off,lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work"
    sh("mount", "-t", "overlay", "overlay", "-o", layers, state)
    try:
        target = aside.set_aside(state, "i-1")
        assert sorted(path.name for path in state.iterdir()) == ["aside"]
        found = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
        assert found == ["fleet/verified.json", "reports/old/1.json"]
        assert (target / "reports").stat().st_mode & 0o7777 == 0o750
    finally:
        sh("umount", state)


def test_a_disk_that_is_mounted_there_stays(memory: Path) -> None:
    state = memory / "with-a-disk"
    write(state / "fleet/verified.json", "{}")
    (state / "shared").mkdir()
    sh("mount", "-t", "tmpfs", "tmpfs", state / "shared")
    try:
        write(state / "shared/blog/uploads/photo", "x")
        target = aside.set_aside(state, "i-1")
        assert (state / "shared/blog/uploads/photo").read_text() == "x"
        assert (target / "fleet/verified.json").exists()
    finally:
        sh("umount", state / "shared")
