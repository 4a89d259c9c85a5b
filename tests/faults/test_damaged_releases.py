"""What is unpacked stays as it was: whatever becomes of it is noticed and put right; and the disk has room for it."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.test_kills import booted
from faults.tiny import Nodes, Tiny, copy
from rolecall.host import syscalls
from rolecall.report import Report


def staged(report: Report) -> str:
    """What the run said about staging."""
    return next((step.note for step in report.steps if step.name == "stage"), "")


def release(tiny: Tiny, product: str = "blog") -> Path:
    """The folder of the release that a product has now."""
    sha: str = tiny.document["products"][product]["release"]["sha256"]
    return tiny.state / "releases" / product / sha


def defaced_keeping_size_and_time(folder: Path) -> None:
    page = folder / "public/index.html"
    status = page.stat()
    page.write_bytes(page.read_bytes().swapcase())
    os.utime(page, ns=(status.st_atime_ns, status.st_mtime_ns))


def a_link_to_a_folder_of_others(folder: Path) -> None:
    shutil.rmtree(folder / "public/css")
    (folder / "public/css").symlink_to("/etc")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a page defaced": (defaced_keeping_size_and_time, "1 path: 'public/index.html'"),
    "a file removed": (lambda folder: (folder / "VERSION").unlink(), "1 path: 'VERSION'"),
    "a file added": (lambda folder: (folder / "public/shell.php").write_text("?"), "1 path: 'public/shell.php'"),
    "the document root removed": (lambda folder: shutil.rmtree(folder / "public"), "4 paths: 'public', "),
    "a file opened to all": (lambda folder: (folder / "VERSION").chmod(0o666), "1 path: 'VERSION'"),
    "a link in the place of a folder": (
        a_link_to_a_folder_of_others,
        "2 paths: 'public/css', 'public/css/site.css'",
    ),
}


def test_whatever_becomes_of_a_release_is_put_right_by_the_next_full_run_and_its_daemons_are_told(nodes: Nodes) -> None:
    tiny = nodes()
    booted(tiny, "blog", "video")
    whole = tiny.look()
    for what, (damage, words) in DAMAGE.items():
        damage(release(tiny))
        told = len(tiny.read("one"))
        report = tiny.converge()
        assert report.outcome == "unchanged", (what, report.error)
        assert staged(report).startswith(f"repaired release blog a: {words}"), (what, staged(report))
        assert whole.differences(tiny.look()) == [], what
        assert len(tiny.read("one")) == told + 1, what
        assert staged(tiny.converge()) in ("", "up to date"), what


def test_a_release_that_cannot_be_fetched_anew_serves_as_it_is_and_the_run_says_what_is_damaged(nodes: Nodes) -> None:
    tiny = nodes()
    booted(tiny, "blog")
    archive = tiny.store / "releases/blog/a.tar.gz"
    elsewhere = archive.rename(tiny.root / "a.tar.gz")
    (release(tiny) / "VERSION").unlink()
    report = tiny.converge()
    assert report.exit_code == 75
    assert "release blog a is damaged (1 path: 'VERSION'), and cannot read" in report.error
    assert (release(tiny) / "public/index.html").exists()
    elsewhere.rename(archive)
    assert staged(tiny.converge()) == "repaired release blog a: 1 path: 'VERSION'"


def test_a_copied_disk_is_compared_and_found_whole_without_a_download(nodes: Nodes) -> None:
    tiny = nodes()
    booted(tiny, "blog")
    (tiny.store / "releases/blog/a.tar.gz").unlink()
    tiny.state.rename(tiny.root / "old")
    copy(tiny.root / "old", tiny.state)
    assert tiny.converge().outcome == "unchanged"


def test_contents_are_compared_once_a_day_whatever_the_stamps_say(nodes: Nodes) -> None:
    tiny = nodes()
    booted(tiny, "blog")
    tiny.converge()
    compared = release(tiny).with_name(f"{release(tiny).name}.compared")
    mark = compared.read_text().split()[1]
    compared.write_text(f"{time.time() - 25 * 3600:.0f} {mark}\n")
    tiny.converge()
    assert time.time() - float(compared.read_text().split()[0]) < 3600


def test_a_release_without_a_manifest_is_taken_as_it_lies_there_and_that_is_said_once(nodes: Nodes) -> None:
    tiny = nodes()
    booted(tiny, "blog")
    for path in release(tiny).parent.glob("*.*"):
        path.unlink()
    (release(tiny) / "VERSION").write_text("edition a\nas it was\n")
    assert "release blog a had no manifest" in staged(tiny.converge())
    assert staged(tiny.converge()) in ("", "up to date")
    assert (release(tiny) / "VERSION").read_text().endswith("as it was\n")
    (release(tiny) / "VERSION").unlink()
    assert staged(tiny.converge()) == "repaired release blog a: 1 path: 'VERSION'"


@pytest.mark.parametrize("spoil", ["", "{", '{"format": 9}', '{"format": 1, "paths": {"a": ["file"]}}'])
def test_a_manifest_that_cannot_be_read_is_made_anew(spoil: str, nodes: Nodes) -> None:
    tiny = nodes()
    booted(tiny, "blog")
    release(tiny).with_name(f"{release(tiny).name}.json").write_text(spoil)
    release(tiny).with_name(f"{release(tiny).name}.compared").write_text(spoil)
    assert "had no manifest" in staged(tiny.converge())
    assert staged(tiny.converge()) in ("", "up to date")


def test_a_file_system_that_cannot_exchange_two_folders_renames_them(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = nodes()
    booted(tiny, "blog")
    whole = tiny.look()

    def refuse(*_: str) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(syscalls, "exchange", refuse)
    (release(tiny) / "VERSION").unlink()
    assert "repaired" in staged(tiny.converge())
    assert whole.differences(tiny.look()) == []


def test_what_a_run_that_was_cut_off_has_left_is_removed_before_anything_is_fetched(nodes: Nodes) -> None:
    tiny = nodes()
    booted(tiny, "blog")
    products = tiny.state / "releases"
    for left in ("blog/.unpack-1/public", "blog/.gone-2", "video/.unpack-3", "blog/" + "0" * 64):
        (products / left).mkdir(parents=True)
    (products / "blog/.fetch-4").write_text("half of it")
    tiny.publish("b", "blog")
    (tiny.store / "releases/blog/b.tar.gz").unlink()
    assert tiny.converge().exit_code == 75
    sha = release(tiny).name
    names = sorted(path.name for path in products.rglob("*") if path.parent.parent == products)
    assert [name for name in names if name[0] == "." or name == "0" * 64] == [], names
    assert sha not in names
    assert [path.name for path in products.iterdir()] == ["blog"]


def test_releases_that_the_disk_has_no_room_for_are_told_all_at_once_and_none_is_fetched(nodes: Nodes) -> None:
    tiny = nodes()
    booted(tiny, "blog")
    before = tiny.look()
    tiny.publish("b", "blog", "shop")
    for product in ("blog", "shop"):
        tiny.document["products"][product]["release"]["size"] = 2**50
        (tiny.store / f"releases/{product}/b.tar.gz").unlink()  # a fetch would be another failure
    (tiny.store / "fleet.json").write_text(json.dumps(tiny.document))
    words = "MiB left, and the releases blog b, shop b need 3,221,225,472 MiB at least: "
    assert words in tiny.rolecall("plan").stderr + tiny.rolecall("plan").stdout
    report = tiny.converge()
    assert (report.exit_code, report.fault) == (1, "machine")
    assert words in report.error
    assert " MiB are missing" in report.error
    assert before.picture["current"] == tiny.look().picture["current"]
