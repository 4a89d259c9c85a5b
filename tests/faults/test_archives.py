"""A release is unpacked whole, or refused with a reason; and nothing beside its folder is ever touched."""

import gzip
import io
import os
import resource
import stat
import subprocess
import sys
import tarfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults import hostile_archives as hostile
from faults.hostile_archives import END, GOOD, HARMLESS, HOSTILE, MTIME, WHOLE, file, folder, link, named, zst
from rolecall.errors import ConfigFault, HostFault
from rolecall.host import files
from rolecall.host.archive import unpack
from rolecall.host.archive_rules import USUAL, Limits
from rolecall.host.new_tree import NewTree
from samples import fuzz

FORMATS: dict[str, Callable[[bytes], bytes]] = {
    "1.tar": bytes,
    "1.tar.gz": gzip.compress,
    "1.tgz": gzip.compress,
    "1.tar.zst": zst,
}
Tree = dict[str, tuple[Any, ...]]


class World:
    """A scratch folder: a state folder to unpack in, and things around it that must stay as they are."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.into = base / "state" / "releases" / "new"
        self.outside = base / "outside"
        for place in (base, self.outside, base / "state", base / "state" / "releases"):
            place.mkdir(exist_ok=True)
            (place / "canary").write_bytes(b"sings")
            (place / "private").write_bytes(b"")
            (place / "private").chmod(0o600)
            (place / "link").symlink_to("canary")

    def archive(self, data: bytes) -> Path:
        path = self.base / "archive"
        path.write_bytes(data)
        return path

    def unpack(self, data: bytes, name: str = "1.tar", limits: Limits = USUAL, skip: tuple[str, ...] = ()) -> Tree:
        unpack(self.archive(data), self.into, name, limits, skip)
        return snapshot(self.into)

    def around(self) -> Tree:
        """All but the new folder. The folder that it is made in may change its times, but no more."""
        tree = snapshot(self.base, leave_out=self.into)
        at = "state/releases"
        return tree | {at: tree[at][:3], "/etc/passwd": facts(Path("/etc/passwd"))}


def facts(path: Path) -> tuple[Any, ...]:
    """All there is to know of one path but when it was read. A file opened for writing changes its ctime at least."""
    status = path.lstat()
    content: str | bytes = ""
    if stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    elif stat.S_ISREG(status.st_mode):
        content = path.read_bytes()
    times = (status.st_mtime_ns, status.st_ctime_ns, status.st_nlink)
    return (stat.filemode(status.st_mode), status.st_uid, status.st_gid, content, *times)


def snapshot(top: Path, leave_out: Path | None = None) -> Tree:
    """Every path below a folder with its facts; no recursion, since some trees here are deep."""
    tree: Tree = {}
    pending = [top]
    while pending:
        at = pending.pop()
        if at == leave_out:
            continue
        tree[str(at.relative_to(top))] = facts(at)
        if at.is_dir() and not at.is_symlink():
            pending += at.iterdir()
    return tree


def plain(tree: Tree) -> dict[str, tuple[str, str | bytes]]:
    """Mode and content, or target, of each path."""
    return {path: (each[0], each[3]) for path, each in tree.items() if path != "."}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_nothing(world: World, what: str) -> None:
    bad = HOSTILE[what](bytes(world.outside))
    archive, before = world.archive(bad.data), world.around()
    with pytest.raises(ConfigFault) as refused:
        unpack(archive, world.into, bad.name, bad.limits)
    assert bad.says in refused.value.message
    assert refused.value.message.startswith(f"{bad.name}: ")
    lines = refused.value.message.splitlines()
    assert all(line.isprintable() and len(line) < 500 for line in lines)
    assert len(lines) <= 22
    assert refused.value.hint
    assert world.around() == before
    assert not os.path.lexists(world.into)


@pytest.mark.parametrize("what", HARMLESS)
def test_what_an_archive_may_not_ask_for_is_left_out(world: World, what: str) -> None:
    archive, before = world.archive(HARMLESS[what]), world.around()
    unpack(archive, world.into, "1.tar")
    assert world.around() == before
    for path in (world.into, *world.into.rglob("*")):
        status = path.stat()
        assert stat.filemode(status.st_mode) in {"drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x"}
        assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())
        assert 0 <= status.st_mtime <= time.time()
        assert os.listxattr(path) == []
    assert (world.into / "a").is_file()


def test_the_mistakes_name_the_entry_and_say_what_to_do(world: World) -> None:
    bad = HOSTILE["hard link inside"](b"")
    with pytest.raises(ConfigFault) as refused:
        world.unpack(bad.data, "releases/blog/1.tar")
    assert refused.value.message == "releases/blog/1.tar: it has a hard link at entry 'a'"
    assert refused.value.hint == "pack with: tar --hard-dereference"


def test_all_mistakes_of_an_archive_are_told_at_once_each_with_its_remedy_and_none_that_follows_from_another(
    world: World,
) -> None:
    data = (
        GOOD
        + named(b"hard", hostile.HARD, target=b"index.php")
        + link(b"lost", b"nowhere")
        + link(b"public/hard", b"../hard")  # it would be right, if what it leads to were
        + file(b"hard/below")
        + file(b"index.php")
        + file(b"../up")
        + link(b"out", b"/etc/passwd")
        + hostile.header(b"null", hostile.CHARACTER)
    )
    before = world.around()
    with pytest.raises(ConfigFault) as refused:
        world.unpack(data + END, "releases/blog/1.tar")
    inside = " — make it a relative link to what is in the release"
    assert refused.value.message.splitlines() == [
        "releases/blog/1.tar: it has 6 mistakes:",
        "  it has a hard link at entry 'hard' — pack with: tar --hard-dereference",
        "  it has a file where it already has a file at entry 'index.php'",
        "  it has a name that is absolute or has an empty part, '.' or '..' at entry '../up'",
        f"  it has a link that is absolute, empty, over 3072 bytes or not plain text at entry 'out'{inside}",
        "  it has a device at entry 'null'",
        f"  it has a link to 'nowhere', which is not a file or folder in it, at entry 'lost'{inside}",
    ]
    assert world.around().keys() == before.keys() | {"archive"}


def test_of_many_mistakes_twenty_are_told_and_where_the_archive_is_cut_off_that_is_the_last(world: World) -> None:
    data = GOOD + b"".join(named(b"hard%d" % number, hostile.HARD, target=b"index.php") for number in range(50))
    with pytest.raises(ConfigFault) as refused:
        world.unpack(data + END)
    lines = refused.value.message.splitlines()
    assert (len(lines), lines[-1]) == (22, "  … and 30 more")
    assert refused.value.hint == "pack with: tar --hard-dereference"
    with pytest.raises(ConfigFault) as refused:
        world.unpack(data[: len(GOOD) + 1024 + 100])
    assert refused.value.message.startswith("1.tar: it has 3 mistakes:")
    assert "damaged or cut off" in refused.value.message.splitlines()[-1]


def test_after_the_first_mistake_nothing_more_is_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    laid: list[str] = []
    monkeypatch.setattr(NewTree, "file", lambda _, name, *__, **___: laid.append(name))
    with pytest.raises(ConfigFault):
        world.unpack(file(b"a") + hostile.header(b"null", hostile.CHARACTER) + file(b"b") + END)
    assert laid == ["a"]


def test_a_name_that_tells_no_format_is_refused_with_those_that_do(world: World) -> None:
    with pytest.raises(ConfigFault) as refused:
        world.unpack(WHOLE, "1.zip")
    assert all(each in refused.value.hint for each in (".tar.gz", ".tgz", ".tar.zst", ".tar"))


# The tests above would pass if the snapshot saw nothing, or if the archives were harmless to begin with.


@pytest.mark.parametrize(
    "harm",
    [
        lambda world: (world.outside / "harm").touch(),
        lambda world: (world.base / "state" / "harm").mkdir(),
        lambda world: (world.into.parent / "harm").symlink_to("canary"),
        lambda world: (world.outside / "canary").write_bytes(b"sinks"),
        lambda world: os.utime(world.outside / "canary"),
        lambda world: (world.outside / "private").chmod(0o644),
        lambda world: (world.outside / "private").unlink(),
        lambda world: os.link(world.outside / "canary", world.base / "harm"),
        lambda world: ((world.outside / "harm").mkdir(), (world.outside / "harm").rmdir()),
        lambda world: world.outside.chmod(0o700),
        lambda world: world.into.parent.chmod(0o700),
    ],
)
def test_the_snapshot_sees_every_harm(world: World, harm: Callable[[World], object]) -> None:
    before = world.around()
    assert world.around() == before
    world.into.mkdir()
    (world.into / "wanted").touch()
    assert world.around() == before
    harm(world)
    assert world.around() != before


# Not the hard links: these would be written through, to whatever they lead to.
ESCAPES = """absolute name|absolute name of a file that is there|dots|dots after a folder|dots in a ustar prefix
dots in a GNU long name|dots in a pax path|absolute pax path|link, then file through it|link out, then file below it
link out, then folder below it""".replace("\n", "|").split("|")


@pytest.mark.parametrize("what", ESCAPES)
def test_an_extractor_without_rules_is_led_outside_by_these(world: World, what: str) -> None:
    archive, before = world.archive(HOSTILE[what](bytes(world.outside)).data), world.around()
    world.into.mkdir()
    trust = {"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}
    with tarfile.open(archive) as tar:
        tar.extractall(world.into, **trust)  # type: ignore[arg-type]
    assert world.around() != before


@pytest.mark.parametrize("what", [what for what in HOSTILE if what.startswith("bomb in ")])
def test_a_bomb_is_not_held_in_memory(world: World, what: str) -> None:
    bomb = HOSTILE[what](b"")
    tracemalloc.start()
    try:
        with pytest.raises(ConfigFault):
            world.unpack(bomb.data, bomb.name)
        assert tracemalloc.get_traced_memory()[1] < 16 * hostile.MiB
    finally:
        tracemalloc.stop()


def test_what_is_skipped_is_not_held_in_memory(world: World) -> None:
    data = (
        GOOD
        + b"".join(file(b"cache/%d" % number) for number in range(5000))
        + file(b"cache/large", bytes(2 * hostile.MiB))
    )
    archive = world.archive(gzip.compress(data + file(b"last") + END, 1))
    del data
    tracemalloc.start()
    try:
        unpack(archive, world.into, "1.tar.gz", skip=("cache",))
        assert tracemalloc.get_traced_memory()[1] < 2 * hostile.MiB
    finally:
        tracemalloc.stop()
    assert {path.name for path in world.into.iterdir()} == {"index.php", "public", "last"}


# What is good comes out whole.


@pytest.mark.parametrize("name", FORMATS)
def test_all_formats_give_the_same_tree(world: World, name: str) -> None:
    tree = world.unpack(FORMATS[name](WHOLE), f"releases/blog/{name}")
    assert plain(tree) == {
        "index.php": ("-rw-r--r--", b"<?php echo 1;"),
        "public": ("drwxr-xr-x", ""),
        "public/app.css": ("-rw-r--r--", b"body {}"),
    }
    assert {path.stat().st_mtime_ns for path in world.into.rglob("*.*")} == {MTIME * 10**9}


@pytest.mark.parametrize("name", ["1.tar.gz", "1.tar.zst"])
def test_an_archive_compressed_in_pieces_is_one_archive(world: World, name: str) -> None:
    pieces = [FORMATS[name](WHOLE[at : at + 700]) for at in range(0, len(WHOLE), 700)]
    tree = world.unpack(b"".join(pieces), name)
    assert sorted(tree) == [".", "index.php", "public", "public/app.css"]


def test_what_gnu_tar_packs_comes_out_as_it_was(world: World) -> None:
    source = world.base / "source"
    deep = source / "vendor" / ("long-name-" * 5) / ("longer-name-" * 5)
    deep.mkdir(parents=True)
    (deep / "größe 日本.php").write_bytes(b"<?php")
    (source / "run").write_bytes(b"#!/bin/sh\n")
    (source / "run").chmod(0o750)
    (source / "empty").mkdir(0o700)
    (source / "large").write_bytes(bytes(range(256)) * 5000)
    (source / "latest").symlink_to("vendor/../run")
    for path in source.rglob("*"):
        os.utime(path, (MTIME, MTIME + 0.75), follow_symlinks=False)
    for form in ("gnu", "pax", "ustar"):
        subprocess.run(["tar", f"--format={form}", "-czf", world.base / "a.tgz", "-C", source, "."], check=True)
        tree = world.unpack((world.base / "a.tgz").read_bytes(), "a.tgz")
        kept = {path: (*each[:1], each[3]) for path, each in snapshot(source).items() if path != "."}
        kept |= {"run": ("-rwxr-xr-x", b"#!/bin/sh\n"), "empty": ("drwxr-xr-x", "")}
        assert plain(tree) == kept
        assert (world.into / "run").stat().st_mtime_ns == MTIME * 10**9
        files.remove_tree(world.into)


def test_modes_are_ours_whatever_the_umask(world: World) -> None:
    data = hostile.header(b"run", mode=0o700) + file(b"a/b/page.php") + hostile.header(b"group", mode=0o674) + END
    old = os.umask(0o077)
    try:
        tree = world.unpack(data)
    finally:
        os.umask(old)
    assert {path: each[0] for path, each in tree.items()} == {
        ".": "drwxr-xr-x",
        "run": "-rwxr-xr-x",
        "a": "drwxr-xr-x",
        "a/b": "drwxr-xr-x",
        "a/b/page.php": "-rw-r--r--",
        "group": "-rw-r--r--",
    }


def test_links_that_stay_inside_lead_where_they_did(world: World) -> None:
    targets = {
        "public/latest": "../releases/2",
        "releases/2/app": "../../index.php",
        "through": "public/latest/app",
        "chain": "through",
        "top": ".",
        "public/up": "..",
        "around": "public/up/public/./up//index.php",
        "folder": "public/",
        "later/link": "../index.php",
    }
    # Before what they lead to, and one in a folder that the archive has no entry for.
    data = b"".join(link(name.encode(), target.encode()) for name, target in targets.items())
    tree = world.unpack(data + GOOD + folder(b"releases/2/") + END)
    assert {path: each[3] for path, each in tree.items() if each[0].startswith("l")} == targets
    for name in ("chain", "through", "around", "later/link", "public/latest/app"):
        assert (world.into / name).read_bytes() == b"<?php echo 1;"
    assert (world.into / "folder" / "app.css").is_file()
    assert (world.into / "public" / "up" / "top").samefile(world.into)


def test_a_link_to_a_program_in_vendor_bin_runs_it(world: World) -> None:
    program = b"#!/bin/sh\necho migrated\n"
    world.unpack(
        hostile.header(b"vendor/acme/tool/bin/tool", size=len(program), mode=0o755)
        + hostile.padded(program)
        + link(b"vendor/bin/tool", b"../acme/tool/bin/tool")
        + END
    )
    done = subprocess.run([world.into / "vendor/bin/tool"], capture_output=True, check=True)
    assert done.stdout == b"migrated\n"


def test_skipped_folders_are_left_out_and_those_above_them_made(world: World) -> None:
    data = (
        folder(b"storage/")
        + folder(b"storage/app/")
        + file(b"storage/app/upload.jpg")
        + file(b"storage/app2/kept")
        + link(b"storage/app/link", b"nowhere")
        + link(b"public/storage", b"../storage/app/public")
        + file(b"logs")
    )
    tree = world.unpack(data + END, skip=("storage/app", "var/cache/", "./logs"))
    assert plain(tree) == {
        "storage": ("drwxr-xr-x", ""),
        "storage/app2": ("drwxr-xr-x", ""),
        "storage/app2/kept": ("-rw-r--r--", b"harm"),
        "public": ("drwxr-xr-x", ""),
        "public/storage": ("lrwxrwxrwx", "../storage/app/public"),
        "var": ("drwxr-xr-x", ""),
    }


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        # Once the caller's link is there, `..` after it is not the release any more.
        (link(b"a", b"var/cache/../index.php"), "which is not a file or folder in it"),
        (link(b"a", b"var/cached"), "which is not a file or folder in it"),
        (link(b"var", b"public"), "a link where it already has a folder"),
        (file(b"var"), "a file where it already has a folder"),
        (file(b"var/cache/../../../harm"), "'..'"),
        (hostile.header(b"var/cache/null", hostile.CHARACTER), "a device"),
    ],
)
def test_skipped_folders_are_no_way_out(world: World, entry: bytes, says: str) -> None:
    archive, before = world.archive(GOOD + entry + END), world.around()
    with pytest.raises(ConfigFault) as refused:
        unpack(archive, world.into, "1.tar", skip=("var/cache",))
    assert says in refused.value.message
    assert world.around() == before


def test_limits_allow_what_is_at_them(world: World) -> None:
    data = file(b"a/b", b"12") + file(b"a/c", b"34") + END
    world.unpack(data, limits=Limits(bytes=len(data), entries=3, depth=2))
    for limits in (Limits(bytes=len(data) - 1), Limits(entries=1), Limits(depth=1)):
        files.remove_tree(world.into)
        with pytest.raises(ConfigFault):
            world.unpack(data, limits=limits)


def test_a_small_archive_of_much_emptiness_is_no_bomb(world: World) -> None:
    data = file(b"empty.db", bytes(20 * hostile.MiB)) + END
    packed = gzip.compress(data, 9)
    assert len(data) > 200 * len(packed)
    world.unpack(packed, "1.tar.gz")
    assert (world.into / "empty.db").stat().st_size == 20 * hostile.MiB


@pytest.mark.parametrize("bad", [b"", hostile.header(b"null", hostile.CHARACTER)])
def test_a_tree_1500_folders_deep_is_made_and_removed(world: World, bad: bytes) -> None:
    data, limits = file(b"d/" * 1500 + b"f") + bad + END, Limits(depth=2000)
    if bad:
        with pytest.raises(ConfigFault):
            world.unpack(data, limits=limits)
    else:
        assert len(world.unpack(data, limits=limits)) == 1502
        files.remove_tree(world.into)  # pytest's own removal is recursive
    assert not world.into.exists()


def test_a_folder_that_is_there_is_not_touched(world: World) -> None:
    world.into.mkdir()
    (world.into / "kept").write_bytes(b"kept")
    archive, before = world.archive(WHOLE), snapshot(world.base)
    with pytest.raises(HostFault) as failed:
        unpack(archive, world.into, "1.tar")
    assert str(world.into) in failed.value.message
    assert snapshot(world.base) == before


def test_a_link_that_somebody_else_put_there_is_not_followed(world: World) -> None:
    world.into.mkdir()
    (world.into / "d").symlink_to(world.outside)
    (world.into / "f").symlink_to(world.outside / "canary")
    (world.into / "there").write_bytes(b"there")
    before = snapshot(world.base)
    with NewTree(world.into) as tree:
        for path in ("d/harm", "f", "there"):
            with pytest.raises(HostFault):
                tree.file(path, [b"harm"], 0o644)
        for path in ("d", "d/harm", "f", "there"):
            with pytest.raises(HostFault):
                tree.folder(path)
        for path in ("d/harm", "f", "there"):
            with pytest.raises(HostFault):
                tree.link(path, "canary")
    assert snapshot(world.base) == before


def test_a_missing_archive_is_named(world: World) -> None:
    with pytest.raises(HostFault) as failed:
        unpack(world.base / "missing", world.into, "1.tar")
    assert str(world.base / "missing") in failed.value.message
    assert not world.into.exists()


@pytest.fixture
def small_files() -> Iterator[None]:
    """The nearest to a full disk that any user can have: the kernel refuses writes beyond 100,000 bytes."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_failing_write_names_the_file_and_leaves_nothing(world: World, small_files: None) -> None:
    data = file(b"public/fits.jpg", bytes(50_000)) + file(b"public/large.jpg", bytes(200_000)) + END
    archive = world.archive(gzip.compress(data))
    before = world.around()
    with pytest.raises(HostFault) as failed:
        unpack(archive, world.into, "1.tar.gz")
    assert f"cannot write {world.into}/public/large.jpg: File too large" in failed.value.message
    assert world.around() == before
    assert not world.into.exists()


def test_no_format_is_imported_before_an_archive_needs_it() -> None:
    code = "import sys, rolecall.host.archive; print(sorted({'tarfile', 'gzip', 'zstandard'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, env=os.environ)
    assert done.stdout == "[]\n"


# Properties.

PART = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters="/"), min_size=1, max_size=60
).filter(lambda part: part not in {".", ".."} and len(part.encode()) <= 255)
TREES = st.recursive(
    st.binary(max_size=2000),
    lambda below: st.dictionaries(PART, below, max_size=4),
    max_leaves=12,
).filter(lambda tree: isinstance(tree, dict) and bool(tree))


def flat(tree: dict[str, Any], above: str = "") -> Iterator[tuple[str, bytes | None]]:
    for name, content in tree.items():
        if isinstance(content, dict):
            yield above + name, None
            yield from flat(content, f"{above}{name}/")
        else:
            yield above + name, content


@fuzz(30)
@given(tree=TREES, name=st.sampled_from(list(FORMATS)), form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
def test_every_good_tree_comes_back(tree: dict[str, Any], name: str, form: int) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as tar:
        for path, content in flat(tree):
            entry = tarfile.TarInfo(path)
            entry.type, entry.size = (tarfile.DIRTYPE, 0) if content is None else (tarfile.REGTYPE, len(content))
            tar.addfile(entry, io.BytesIO(content or b""))
    with TemporaryDirectory() as scratch:
        found = World(Path(scratch)).unpack(FORMATS[name](packed.getvalue()), name)
    assert {path: each[3] for path, each in found.items() if path != "."} == {
        path: "" if content is None else content for path, content in flat(tree)
    }


PIECES = st.lists(
    st.sampled_from(
        [what for what in HOSTILE if not what.startswith(("100,001", "gzip bomb", "zstandard bomb", "bomb"))]
    ),
    min_size=1,
    max_size=3,
)


@fuzz(60)
@given(chosen=PIECES, cut=st.integers(0, 4096), flips=st.lists(st.integers(0, 4096), max_size=3))
def test_whatever_is_damaged_ends_in_a_refusal_or_in_a_tree_by_the_rules(
    chosen: list[str], cut: int, flips: list[int]
) -> None:
    with TemporaryDirectory() as scratch:
        world = World(Path(scratch))
        parts = [HOSTILE[what](bytes(world.outside)) for what in chosen]
        data = bytearray(b"".join(part.data.removesuffix(END) for part in parts)[: 4096 + cut] + END)
        for at in flips:
            data[at % len(data)] ^= 1 << at % 8
        archive, before = world.archive(bytes(data)), world.around()
        try:
            unpack(archive, world.into, parts[0].name, skip=("public",))
        except ConfigFault:
            assert not world.into.exists()
        else:
            for path in world.into.rglob("*"):
                assert path.resolve().is_relative_to(world.into)
                assert path.is_symlink() or path.is_dir() or path.is_file()
        assert world.around() == before
