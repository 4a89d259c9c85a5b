"""One body over every store: to add a store, add it to STORES. A chain of stores keeps the same contract."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rolecall.errors import ConfigFault, FetchFault
from rolecall.store import KINDS, Store, open_store
from rolecall.store.chain import Chain


def file_store(folder: Path) -> Store:
    return open_store(f"file://{folder}")


def chain(folder: Path) -> Store:
    """Its first store is out; what is written goes to the second."""
    return Chain([open_store("file:///nowhere/at/all"), open_store(f"file://{folder}")])


STORES: dict[str, Callable[[Path], Store]] = {"file": file_store, "chain": chain}


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return STORES[request.param](tmp_path)


def test_every_kind_of_store_is_under_this_contract() -> None:
    assert set(KINDS) <= STORES.keys()


def test_what_was_put_is_got_whole_and_in_pieces(store: Store) -> None:
    data = os.urandom(3 * 2**20 + 17)
    store.put("releases/blog/1.tar.gz", data)
    assert store.get("releases/blog/1.tar.gz", 2**23) == data
    assert b"".join(store.stream("releases/blog/1.tar.gz")) == data


def test_an_empty_object_is_an_object(store: Store) -> None:
    store.put("empty", b"")
    assert store.get("empty", 10) == b""
    assert b"".join(store.stream("empty")) == b""


def test_what_is_not_there_is_a_fetch_fault_that_names_it(store: Store) -> None:
    with pytest.raises(FetchFault, match=r"fleet\.json"):
        store.get("fleet.json", 100)
    with pytest.raises(FetchFault, match=r"releases/x\.tar"):
        b"".join(store.stream("releases/x.tar"))


def test_an_object_that_is_too_large_is_not_read(store: Store) -> None:
    store.put("fleet.json", b"x" * 101)
    assert len(store.get("fleet.json", 101)) == 101
    with pytest.raises(FetchFault, match="larger than 100 bytes"):
        store.get("fleet.json", 100)


def test_a_reader_sees_the_old_or_the_new_object_never_a_part(store: Store) -> None:
    sizes, over = (10, 2**20), threading.Event()
    store.put("report", b"x" * sizes[0])
    seen = set()

    def read() -> None:
        while not over.is_set():
            seen.add(len(store.get("report", 2**21)))

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(200):
        store.put("report", b"x" * sizes[n % 2])
    over.set()
    reader.join()
    assert seen <= set(sizes)
    assert seen


def test_watched_paths_tell_every_change(store: Store) -> None:
    from rolecall.host.steady import stamp

    store.put("fleet.json", b"old")
    before = [stamp(path) for path in store.watched("fleet.json")]
    assert before
    store.put("fleet.json", b"new")
    assert [stamp(path) for path in store.watched("fleet.json")] != before


def test_a_store_that_is_not_mounted_is_never_made(tmp_path: Path) -> None:
    with pytest.raises(FetchFault, match="cannot write"):
        file_store(tmp_path / "mount").put("reports/web1.json", b"{}")
    assert not (tmp_path / "mount").exists()


def test_a_file_that_fails_while_it_is_read_is_a_fetch_fault_and_the_next_store_is_asked(tmp_path: Path) -> None:
    failing = open_store("file:///proc/self")  # `mem` opens, and its first page cannot be read: EIO, as of a dead mount
    with pytest.raises(FetchFault, match="/proc/self/mem: Input/output error"):
        failing.get("mem", 100)
    with pytest.raises(FetchFault, match="/proc/self/mem: Input/output error"):
        b"".join(failing.stream("mem"))
    (tmp_path / "mem").write_bytes(b"from the second")
    both = Chain([failing, file_store(tmp_path)])
    assert both.get("mem", 100) == b"".join(both.stream("mem")) == b"from the second"


def test_a_folder_in_the_place_of_an_object_is_a_fetch_fault(store: Store, tmp_path: Path) -> None:
    (tmp_path / "fleet.json").mkdir()
    with pytest.raises(FetchFault, match="Is a directory"):
        store.get("fleet.json", 100)
    with pytest.raises(FetchFault, match="cannot write"):
        store.put("fleet.json", b"x")


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


def test_a_chain_prefers_its_first_store_and_names_the_one_that_answered(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "fleet.json").write_text(folder.name)
    both = Chain([file_store(first), file_store(second)])
    assert (both.get("fleet.json", 10), both.url) == (b"first", f"file://{first}")
    (first / "fleet.json").unlink()
    assert (both.get("fleet.json", 10), both.url) == (b"second", f"file://{second}")


def test_a_kind_that_there_is_not_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigFault, match="no store of the kind 'ftp'") as told:
        open_store("ftp://example.com/x")
    assert "file" in told.value.hint
