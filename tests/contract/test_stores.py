"""One body over every store: to add a store, add it to EVERY_STORE. A chain of stores keeps the same contract."""

import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from contract.conftest import EVERY_STORE, Cloud, Kept, Make, open_store
from rolecall.errors import ConfigFault, ConflictFault, FetchFault
from rolecall.host.fetching import fetch
from rolecall.node.providers import STORES
from rolecall.render.contents import DeployedRelease
from rolecall.store import Store, Stored
from rolecall.store.chain import Chain
from rolecall.store.download import PIECE
from sampling import LONG
from servers.mirror import Mirror
from servers.s3 import S3Server
from servers.tls import Authority

OVER_THE_NET = [name for name in EVERY_STORE if name in ("s3", "https", "s3 after one that is out", "file after https")]
AT_ONE_SERVER = ("s3", "https")
TURNS = 10 if LONG else 4  # of each of eight who count


@pytest.fixture
def kept(make: Make, request: pytest.FixtureRequest) -> Kept:
    return make(request.param)


@pytest.fixture
def store(kept: Kept) -> Store:
    return kept.open()


every_store = pytest.mark.parametrize("kept", EVERY_STORE, indirect=True)
over_the_net = pytest.mark.parametrize("kept", OVER_THE_NET, indirect=True)
one_store = pytest.mark.parametrize("kept", ["file", "s3", "https"], indirect=True)
listing = pytest.mark.parametrize("kept", ["file", "s3"], indirect=True)
at_one_server = pytest.mark.parametrize("kept", AT_ONE_SERVER, indirect=True)


def test_every_kind_of_store_is_under_this_contract() -> None:
    assert set(STORES) <= set(EVERY_STORE)


# Reading and writing


@every_store
def test_what_was_put_is_got_whole_and_in_pieces(store: Store) -> None:
    data = os.urandom(3 * 2**20 + 17)
    store.put("releases/blog/1.tar.gz", data)
    assert store.get("releases/blog/1.tar.gz", 2**23).data == data
    assert b"".join(store.stream("releases/blog/1.tar.gz")) == data


@every_store
def test_an_empty_object_is_an_object(store: Store) -> None:
    store.put("empty", b"")
    assert store.get("empty", 10).data == b""
    assert b"".join(store.stream("empty")) == b""


@every_store
def test_a_key_may_have_any_sign(store: Store) -> None:
    for key in ("a b", "ü.json", "100%", "a+b&c=d", "é/#/?", "~x'(!)*"):
        store.put(key, key.encode())
        assert store.get(key, 100).data == b"".join(store.stream(key)) == key.encode()


@every_store
def test_what_is_not_there_is_a_fetch_fault_that_names_it(store: Store) -> None:
    store.put("another", b"")  # a chain has seen by now which of its stores is out
    for key in ("fleet.json", "releases/x.tar"):
        with pytest.raises(FetchFault) as told:
            store.get(key, 100)
        assert (key in told.value.message, told.value.cause) == (True, "no-key")
        with pytest.raises(FetchFault) as told:
            b"".join(store.stream(key))
        assert (key in told.value.message, told.value.cause) == (True, "no-key")


@every_store
def test_an_object_that_is_too_large_is_not_read(store: Store) -> None:
    store.put("fleet.json", b"x" * 101)
    assert len(store.get("fleet.json", 101).data) == 101
    with pytest.raises(FetchFault, match="larger than 100 bytes") as told:
        store.get("fleet.json", 100)
    assert told.value.cause == "too-large"


@every_store
def test_an_object_is_read_from_a_byte_on(store: Store) -> None:
    data = os.urandom(2 * PIECE + 5)
    store.put("x", data)
    for start in (1, PIECE - 1, PIECE, 2 * PIECE + 4):
        assert b"".join(store.stream("x", start)) == data[start:]


@every_store
def test_a_stream_that_is_left_early_holds_nothing_up(kept: Kept) -> None:
    store = kept.open()
    store.put("x", os.urandom(8 * PIECE))
    for _ in range(12):  # more than a client has connections
        assert next(iter(store.stream("x")))
    assert store.get("x", 8 * PIECE)


@every_store
def test_a_reader_sees_the_old_or_the_new_object_never_a_part(kept: Kept) -> None:
    sizes, over = (10, 2**17), threading.Event()
    store, other = kept.open(), kept.open()
    store.put("report", b"x" * sizes[0])
    seen, streamed = set(), set()

    def read() -> None:
        while not over.is_set():
            seen.add(len(other.get("report", 2**21).data))
            streamed.add(len(b"".join(other.stream("report"))))

    with ThreadPoolExecutor() as pool:
        reading = pool.submit(read)
        for n in range(25 if kept.server else 150):
            store.put("report", b"x" * sizes[n % 2])
        over.set()
        reading.result()
    assert seen | streamed <= set(sizes)
    assert seen


# Tags


@every_store
def test_the_tag_changes_with_the_content(store: Store) -> None:
    tags = [store.put("fleet.json", data) for data in (b"old", b"new")]
    assert store.get("fleet.json", 10).etag == tags[1] != tags[0]
    assert all(tags)


@every_store
def test_what_is_known_already_is_not_read_again(kept: Kept) -> None:
    store = kept.open()
    store.put("fleet.json", b"same")
    known = store.get("fleet.json", 10)
    again = store.get("fleet.json", 10, known)
    assert (again.data, again.etag) == (b"same", known.etag)
    if kept.server:
        last = kept.asked()[-1]
        assert (last.status, last.headers["If-None-Match"]) == (304, known.etag)
    else:
        assert again is known


@every_store
def test_what_has_changed_is_read_anew(store: Store) -> None:
    store.put("fleet.json", b"old")
    known = store.get("fleet.json", 10)
    store.put("fleet.json", b"new")
    found = store.get("fleet.json", 10, known)
    assert (found.data, found.etag != known.etag) == (b"new", True)


@every_store
def test_what_was_read_without_a_tag_is_read_anew(store: Store) -> None:
    store.put("fleet.json", b"new")
    assert store.get("fleet.json", 10, Stored(b"kept")).data == b"new"


@over_the_net
def test_the_stores_own_time_is_told_with_the_object_changed_or_not(kept: Kept) -> None:
    store = kept.open()
    store.put("fleet.json", b"same")
    known = store.get("fleet.json", 10)
    again = store.get("fleet.json", 10, known)
    for found in (known, again):
        assert found.date
        assert abs(found.date.timestamp() - time.time()) < 60


# Writing on a condition


@every_store
def test_what_must_not_be_there_yet_is_written_once(store: Store) -> None:
    first = store.put("fleet.json", b"first", replacing="")
    for data in (b"second", b"first"):
        with pytest.raises(ConflictFault, match=r"fleet\.json") as told:
            store.put("fleet.json", data, replacing="")
        assert told.value.cause == "conflict"
    assert store.get("fleet.json", 10).etag == first


@every_store
def test_what_has_changed_meanwhile_is_not_written_over(store: Store) -> None:
    first = store.put("fleet.json", b"first")
    second = store.put("fleet.json", b"second", replacing=first)
    with pytest.raises(ConflictFault, match=r"fleet\.json"):
        store.put("fleet.json", b"third", replacing=first)
    assert store.get("fleet.json", 10).data == b"second"
    assert store.get("fleet.json", 10).etag == second


@every_store
def test_of_two_who_write_the_same_in_place_of_the_same_one_is_told_so(store: Store) -> None:
    """A counter that two read as 1: if both may write 2, one step is lost."""
    first = store.put("counter", b"1")
    store.put("counter", b"2", replacing=first)
    with pytest.raises(ConflictFault):
        store.put("counter", b"2", replacing=first)


@every_store
def test_what_is_gone_is_not_written_over(store: Store) -> None:
    tag = store.put("other", b"first")
    with pytest.raises(FetchFault, match=r"fleet\.json"):
        store.put("fleet.json", b"second", replacing=tag)


@every_store
def test_of_many_steps_that_eight_count_at_once_none_is_lost(kept: Kept) -> None:
    kept.open().put("counter", b"0")

    def count(seed: int) -> None:
        store, chance = kept.open(), random.Random(seed)
        for _ in range(TURNS):
            while True:
                found = store.get("counter", 10)
                try:
                    store.put("counter", b"%d" % (int(found.data) + 1), replacing=found.etag)
                    break
                except ConflictFault:
                    time.sleep(chance.uniform(0, 0.05))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(8)))
    assert kept.open().get("counter", 10).data == b"%d" % (8 * TURNS)


@over_the_net
@pytest.mark.parametrize("over", [False, True], ids=["in any case", "on a condition"])
def test_what_was_written_counts_as_written_though_the_answer_is_lost(kept: Kept, over: bool) -> None:
    store = kept.open()
    first = store.put("fleet.json", b"first")
    kept.break_with("lost", method="PUT", times=1)
    tag = store.put("fleet.json", b"second", replacing=first if over else None)
    found = kept.open().get("fleet.json", 10)
    assert (found.data, found.etag) == (b"second", tag)


@over_the_net
def test_what_was_made_counts_as_made_though_the_answer_is_lost(kept: Kept) -> None:
    kept.break_with("lost", method="PUT", times=1)
    tag = kept.open().put("fleet.json", b"first", replacing="")
    found = kept.open().get("fleet.json", 10)
    assert (found.data, found.etag) == (b"first", tag)


# A download that is cut


def asked_for(kept: Kept) -> list[tuple[str | None, int]]:
    """The ranges that were asked for, and the status of each answer."""
    return [(one.headers.get("Range"), one.status) for one in kept.asked()]


@over_the_net
def test_a_download_that_is_cut_goes_on_with_the_bytes_that_are_missing(kept: Kept) -> None:
    store, data, cut = kept.open(), os.urandom(5 * PIECE + 7), 3 * PIECE + 100
    tag = store.put("x", data)
    kept.break_with("cut", method="GET", times=1, size=cut)
    assert b"".join(store.stream("x")) == data
    (whole, first), (rest, second) = asked_for(kept)
    assert (whole, first, second) == (None, 200, 206)
    assert rest
    start = int(rest.removeprefix("bytes=").removesuffix("-"))
    assert cut - PIECE < start <= cut
    assert kept.asked()[1].headers["If-Match"] == tag


@at_one_server
def test_a_download_that_is_cut_many_times_arrives_as_long_as_each_time_brings_something(kept: Kept) -> None:
    store, data = kept.open(), os.urandom(4 * PIECE)
    store.put("x", data)
    kept.break_with("cut", method="GET", times=3, size=PIECE)
    assert b"".join(store.stream("x")) == data
    assert [status for _, status in asked_for(kept)] == [200, 206, 206, 206]


@at_one_server
def test_a_download_that_is_cut_after_its_last_byte_but_one_has_the_last_one_too(kept: Kept) -> None:
    store, data = kept.open(), os.urandom(2 * PIECE)
    store.put("x", data)
    kept.break_with("cut", method="GET", times=1, size=len(data) - 1)
    assert b"".join(store.stream("x")) == data


@over_the_net
def test_of_two_objects_no_third_is_made(kept: Kept) -> None:
    store, old, new = kept.open(), b"o" * 4 * PIECE, b"n" * 4 * PIECE
    store.put("x", old)
    kept.break_with("cut", method="GET", times=1, size=2 * PIECE)
    pieces = store.stream("x")
    got = [next(pieces)]
    kept.open().put("x", new)
    with pytest.raises(FetchFault, match="it was replaced while it was read") as caught:
        got.extend(pieces)
    assert set(b"".join(got)) == {ord("o")}
    assert "give each release a name of its own" in caught.value.hint


@at_one_server
def test_an_archive_that_is_replaced_while_it_is_downloaded_is_downloaded_once_more(kept: Kept, tmp_path: Path) -> None:
    store, new, target = kept.open(), b"n" * 4 * PIECE, tmp_path / "archive"
    store.put("x", b"o" * 4 * PIECE)
    digest = hashlib.sha256(new).hexdigest()
    release = DeployedRelease("blog", "1", "x", digest, len(new), "releases/blog/1", "public", ())
    kept.break_with("cut", method="GET", times=1, size=2 * PIECE)

    def stream(key: str) -> Iterator[bytes]:
        pieces = store.stream(key)
        yield next(pieces)
        kept.open().put(key, new)
        yield from pieces

    fetch(release, stream, target)
    assert target.read_bytes() == new


@at_one_server
def test_a_download_that_brings_nothing_any_more_is_given_up(kept: Kept) -> None:
    store = kept.open()
    store.put("x", os.urandom(4 * PIECE))
    kept.break_with("cut", method="GET", times=1, size=PIECE)
    kept.break_with("reset", method="GET")
    with pytest.raises(FetchFault, match="cannot read"):
        b"".join(store.stream("x"))


def test_a_chain_goes_on_with_the_next_store_where_one_breaks_off(make: Make, tmp_path: Path) -> None:
    kept, data = make("file after https"), os.urandom(4 * PIECE)
    assert isinstance(kept.server, Mirror)
    kept.server.write("fleet/x", data)
    (tmp_path / "store" / "x").write_bytes(data)
    kept.server.fault("cut", times=1, size=2 * PIECE)
    kept.server.fault(500)
    assert b"".join(kept.open().stream("x")) == data


# Large objects


LARGE = 2 * 8 * 2**20 + 12345  # three parts of an upload to S3


def pieces_of(data: bytes, size: int = 300_000) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@one_store
@pytest.mark.parametrize("size", [0, 1, 8 * 2**20, LARGE])
@pytest.mark.parametrize("announced", [True, False], ids=["of a known size", "of an unknown size"])
def test_an_object_of_any_size_is_uploaded_from_its_pieces(kept: Kept, size: int, announced: bool) -> None:
    store, data = kept.open(), os.urandom(size)
    tag = store.upload("releases/blog/1.tar.gz", pieces_of(data), size if announced else None)
    stored = store.get("releases/blog/1.tar.gz", LARGE)
    assert (stored.data == data, stored.etag) == (True, tag)
    assert kept.unfinished() == []


UPLOAD = """
import resource, sys
from rolecall.node.providers import Providers
from rolecall.settings import Access, Aws, Network

url, imds, ca, size = sys.argv[1:]
store = Providers(Access(network=Network(ca=ca), aws=Aws(imds=(imds,)))).open_store(url)
store.upload("large", (bytes(2**20) for _ in range(int(size))))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@one_store
def test_an_upload_needs_no_more_memory_for_a_larger_object(kept: Kept, cloud: Cloud, authority: Authority) -> None:
    def peak(size: int) -> int:
        """The most MiB that a process had, which uploaded so many MiB."""
        argv = [sys.executable, "-c", UPLOAD, kept.open().url, cloud.imds.url, str(authority.file), str(size)]
        return int(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)

    assert peak(25 + 64) < peak(25) + 16


class BrokenOffError(Exception):
    """What the source of an upload raises."""


@one_store
@pytest.mark.parametrize("announced", [LARGE, None], ids=["of a known size", "of an unknown size"])
def test_an_upload_whose_source_breaks_off_leaves_the_old_object_and_nothing_else(
    kept: Kept, announced: int | None
) -> None:
    def pieces() -> Iterator[bytes]:
        yield from pieces_of(bytes(LARGE - 1))
        raise BrokenOffError

    store = kept.open()
    store.put("x", b"old")
    with pytest.raises(BrokenOffError):
        store.upload("x", pieces(), announced)
    assert store.get("x", 10).data == b"old"
    assert kept.unfinished() == []


@at_one_server
def test_an_upload_that_the_server_refuses_leaves_the_old_object_and_nothing_else(kept: Kept) -> None:
    store = kept.open()
    store.put("x", b"old")
    kept.break_with(403, method="PUT")
    with pytest.raises(FetchFault) as told:
        store.upload("x", pieces_of(bytes(LARGE)), LARGE)
    assert told.value.cause == "access-denied"
    assert store.get("x", 10).data == b"old"
    assert kept.unfinished() == []


@pytest.mark.parametrize("kept", ["s3"], indirect=True)
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_an_upload_whose_answer_is_lost_once_counts(kept: Kept, method: str) -> None:
    store, data = kept.open(), os.urandom(LARGE)
    kept.break_with("lost", method=method, times=1)
    tag = store.upload("x", pieces_of(data))
    stored = store.get("x", LARGE)
    assert (stored.data == data, stored.etag) == (True, tag)


@pytest.mark.parametrize("kept", ["s3"], indirect=True)
def test_an_upload_that_is_complete_counts_though_every_answer_to_that_is_lost(kept: Kept) -> None:
    assert isinstance(kept.server, S3Server)
    store, data, server = kept.open(), os.urandom(LARGE), kept.server

    def pieces() -> Iterator[bytes]:
        yield from pieces_of(data)
        server.fault("lost", method="POST")  # the last part is still to come, so that the next POST completes

    tag = store.upload("x", pieces())
    assert store.get("x", LARGE).etag == tag


@one_store
def test_a_tag_tells_whether_an_object_has_these_bytes_or_it_tells_nothing(kept: Kept) -> None:
    store, data = kept.open(), os.urandom(LARGE)
    for key, tag in (("put", store.put("put", data)), ("uploaded", store.upload("uploaded", pieces_of(data)))):
        assert store.has_tag(tag, pieces_of(data)) == (not isinstance(kept.server, Mirror)), key
        assert not store.has_tag(tag, pieces_of(data[:-1]))


# Listing and deleting


def keys(store: Store, prefix: str = "") -> list[str]:
    return [entry.key for entry in store.list(prefix)]


@listing
def test_a_listing_has_every_object_once_by_its_key_with_its_size(kept: Kept) -> None:
    store = kept.open()
    objects = {
        "fleet.json": 3,
        "releases/a/1.tar": 0,
        "releases/a b/ü.tar": 7,
        "releases-old": 1,
        "reports/w&1.json": 2,
    }
    assert keys(store) == []
    for key, size in objects.items():
        store.put(key, bytes(size))
    assert {entry.key: entry.size for entry in store.list()} == objects
    assert keys(store) == sorted(objects)
    assert keys(store, "releases/") == ["releases/a b/ü.tar", "releases/a/1.tar"]
    assert keys(store, "rel") == sorted(key for key in objects if key.startswith("rel"))
    assert keys(store, "nothing/") == []


@pytest.mark.parametrize("kept", ["s3"], indirect=True)
def test_a_listing_goes_on_over_all_pages_and_knows_tags(kept: Kept) -> None:
    assert isinstance(kept.server, S3Server)
    store, kept.server.page = kept.open(), 3
    tags = {f"releases/{number:02}": store.put(f"releases/{number:02}", b"%d" % number) for number in range(10)}
    kept.server.put("bucket", "fleet/releases/", b"")  # as consoles mark an empty folder
    kept.server.put("bucket", "fleet-of-others/x", b"")
    assert {entry.key: entry.etag for entry in store.list()} == tags
    kept.server.forget()
    assert len(keys(store)) == 10
    assert len(kept.asked()) == 4


@pytest.mark.parametrize("kept", ["file"], indirect=True)
def test_what_is_being_written_is_in_no_listing(kept: Kept) -> None:
    store = kept.open()

    def pieces() -> Iterator[bytes]:
        yield b"x"
        assert kept.unfinished()
        assert keys(store) == []

    store.upload("x", pieces())
    assert keys(store) == ["x"]


@pytest.mark.parametrize("kept", ["https"], indirect=True)
def test_a_web_server_has_no_listing_and_says_so(store: Store) -> None:
    with pytest.raises(FetchFault, match="no listing") as told:
        list(store.list())
    assert told.value.cause == "no-listing"


def test_a_folder_that_is_not_there_is_no_empty_store(tmp_path: Path) -> None:
    store = file_store(tmp_path / "mount")
    for ask in (lambda: list(store.list()), lambda: store.delete("x"), lambda: store.upload("x", [b"x"])):
        with pytest.raises(FetchFault) as told:
            ask()
        assert told.value.cause == "unreachable"


@one_store
def test_what_was_deleted_is_gone_and_may_be_deleted_again(store: Store) -> None:
    store.put("releases/x", b"x")
    store.put("releases/y", b"y")
    for _ in range(2):
        store.delete("releases/x")
        with pytest.raises(FetchFault) as told:
            store.get("releases/x", 10)
        assert told.value.cause == "no-key"
    assert store.get("releases/y", 10).data == b"y"


@at_one_server
def test_what_may_not_be_deleted_is_told(kept: Kept) -> None:
    store = kept.open()
    store.put("x", b"x")
    kept.break_with(403, method="DELETE")
    with pytest.raises(FetchFault, match="cannot delete") as told:
        store.delete("x")
    assert told.value.cause == "access-denied"


# Keys


@one_store
@pytest.mark.parametrize(
    "key", ["", "/x", "x/", "a//b", "..", "../x", "a/../../x", "./x", "a/.x", "x\0", "x\ny", "x" * 1025]
)
def test_what_cannot_be_a_key_is_refused_before_anything_is_asked(kept: Kept, key: str) -> None:
    store = kept.open()
    for ask in (
        lambda: store.get(key, 10),
        lambda: list(store.stream(key)),
        lambda: store.put(key, b"x"),
        lambda: store.upload(key, [b"x"]),
        lambda: store.delete(key),
    ):
        with pytest.raises(ConfigFault, match="cannot be the key"):
            ask()
    assert not kept.server or not kept.server.requests


# Watching


@pytest.mark.parametrize("kept", [name for name in EVERY_STORE if "file" in name], indirect=True)
def test_watched_paths_tell_every_change(store: Store, tmp_path: Path) -> None:
    from rolecall.shortcut.stamps import stamp

    path = tmp_path / "store" / "fleet.json"
    path.write_bytes(b"old")
    before = [stamp(path) for path in store.watched_paths("fleet.json")]
    assert before
    open_store(f"file://{path.parent}").put(path.name, b"new")
    assert [stamp(path) for path in store.watched_paths("fleet.json")] != before


@at_one_server
def test_what_is_on_no_disk_is_watched_by_a_question(store: Store) -> None:
    assert store.watched_paths("fleet.json") == ()
    assert store.revalidation("fleet.json", store.put("fleet.json", b"x"))


@pytest.mark.parametrize("kept", ["file"], indirect=True)
def test_a_local_file_needs_no_question(store: Store) -> None:
    assert store.revalidation("fleet.json", store.put("fleet.json", b"x")) == ""


# Folders


def file_store(folder: Path) -> Store:
    return open_store(f"file://{folder}")


def test_a_store_that_is_not_mounted_is_never_made(tmp_path: Path) -> None:
    for over in (None, ""):
        with pytest.raises(FetchFault, match="cannot write") as told:
            file_store(tmp_path / "mount").put("reports/web1.json", b"{}", over)
        assert told.value.cause == "unreachable"
        assert not (tmp_path / "mount").exists()
    with pytest.raises(FetchFault) as told:
        file_store(tmp_path / "mount").get("fleet.json", 10)
    assert told.value.cause == "unreachable"


def test_a_file_that_fails_while_it_is_read_is_a_fetch_fault_and_the_next_store_is_asked(tmp_path: Path) -> None:
    failing = open_store("file:///proc/self")  # `mem` opens, and its first page cannot be read: EIO, as of a dead mount
    with pytest.raises(FetchFault, match="/proc/self/mem: Input/output error"):
        failing.get("mem", 100)
    with pytest.raises(FetchFault, match="/proc/self/mem: Input/output error"):
        b"".join(failing.stream("mem"))
    (tmp_path / "mem").write_bytes(b"from the second")
    both = Chain([failing, file_store(tmp_path)])
    assert both.get("mem", 100).data == b"".join(both.stream("mem")) == b"from the second"


def test_a_folder_in_the_place_of_an_object_is_a_fetch_fault(tmp_path: Path) -> None:
    (tmp_path / "fleet.json").mkdir()
    store = file_store(tmp_path)
    with pytest.raises(FetchFault, match="Is a directory"):
        store.get("fleet.json", 100)
    for over in (None, "", "tag"):
        with pytest.raises(FetchFault, match="cannot write"):
            store.put("fleet.json", b"x", over)


def test_nothing_is_left_beside_an_object_in_a_folder(tmp_path: Path) -> None:
    store = file_store(tmp_path)
    tag = store.put("fleet.json", b"x", replacing="")
    store.put("fleet.json", b"y", replacing=tag)
    with pytest.raises(ConflictFault):
        store.put("fleet.json", b"z", replacing=tag)
    assert [path.name for path in tmp_path.iterdir()] == ["fleet.json"]


# Chains


def test_where_no_store_of_a_chain_takes_a_report_every_cause_is_told() -> None:
    out = Chain([open_store("file:///nowhere/one"), open_store("file:///nowhere/two")])
    with pytest.raises(FetchFault) as told:
        out.put("reports/web1.json", b"{}")
    assert "/nowhere/one/reports" in told.value.message
    assert "/nowhere/two/reports" in told.value.message
    with pytest.raises(FetchFault, match="/nowhere/two/x"):
        b"".join(out.stream("x"))


def test_a_chain_tells_every_stores_cause() -> None:
    out = Chain([open_store("file:///nowhere/one"), open_store("file:///nowhere/two")])
    with pytest.raises(FetchFault) as told:
        out.get("fleet.json", 10)
    assert "/nowhere/one/fleet.json" in told.value.message
    assert "/nowhere/two/fleet.json" in told.value.message


def test_a_chain_prefers_its_first_store_and_reads_from_the_next_what_that_has_not(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "fleet.json").write_text(folder.name)
    both = Chain([file_store(first), file_store(second)])
    assert (both.get("fleet.json", 10).data, both.url) == (b"first", f"file://{first}")
    (first / "fleet.json").unlink()
    assert (both.get("fleet.json", 10).data, both.url) == (b"second", f"file://{first}")


def test_a_store_that_was_out_once_is_not_asked_again_in_this_run(make: Make) -> None:
    kept = make("file after https")
    assert kept.server
    store = kept.open()
    store.put("x", b"x")
    kept.break_with(503)
    for _ in range(3):
        with pytest.raises(FetchFault):
            store.get("x", 10)
    assert len(kept.asked()) == 1
    kept.server.heal()
    assert kept.open().get("x", 10).data == b"x", "the next run asks it again"


def test_where_all_stores_of_a_chain_were_out_each_is_asked_again(make: Make, tmp_path: Path) -> None:
    kept = make("file after https")
    assert kept.server
    kept.break_with(503)
    (tmp_path / "store").rmdir()
    store = kept.open()
    with pytest.raises(FetchFault):
        store.get("x", 10)
    kept.server.heal()
    store.put("x", b"x")
    assert store.get("x", 10).data == b"x"


def test_two_stores_of_the_same_bucket_at_two_endpoints_are_two_stores(cloud: Cloud) -> None:
    providers = cloud.providers()
    with S3Server(cloud.s3.buckets, cloud.s3.keys) as second:
        second.put("bucket", "fleet/x", b"from the second")
        stores = [providers.open_store(cloud.url(endpoint=url)) for url in (cloud.s3.url, second.url)]
        both = Chain(stores)
        cloud.s3.stop()
        assert both.get("x", 100).data == b"from the second"
        assert both.usable() == [stores[1]], "the second is not out because the first one is"


# What there is not


def test_a_kind_that_there_is_not_is_named_with_those_there_are() -> None:
    for url in ("nfs.example.com", "", "azure://fleet"):
        with pytest.raises(ConfigFault, match="no store of the kind") as told:
            open_store(url)
        assert all(kind in told.value.hint for kind in STORES), told.value.hint
    with pytest.raises(ConfigFault) as told:
        open_store("htps://example.com/x")
    assert "did you mean 'https" in told.value.hint
