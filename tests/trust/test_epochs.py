"""A database has one master: no document made from an old copy brings an earlier one back, on whatever node."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from signed import Keys, Member

DATABASE = {"role": "database", "zone": "a", "products": []}
SERVERS = {
    "web1": {"role": "bare", "address": "10.0.0.11", "zone": "a", "products": []},
    "db1": {**DATABASE, "address": "10.0.0.21"},
    "db2": {**DATABASE, "address": "10.0.0.22"},
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def member(tmp_path: Path, keys: Keys) -> Member:
    return Member(tmp_path / "member", keys)


def databases(epoch: int, master: str = "db1", **more: Any) -> dict[str, Any]:
    """The parts of a document with the database `blog`, and others."""
    blog = {"epoch": epoch, "master": master}
    return {"servers": SERVERS, "databases": {"blog": blog, **more}}


def test_a_document_with_an_older_epoch_is_refused_though_its_serial_is_new(member: Member) -> None:
    member.publish(1, **databases(2))
    assert member.run("boot").outcome == "ready"
    before = member.picture()
    member.publish(2, **databases(1))
    report = member.run()
    assert (report.outcome, report.exit_code, report.cause) == ("refused", 78, "old-epoch")
    assert "databases.blog.epoch is 1, but 2 was seen before" in report.error
    assert member.picture() == before


def test_another_master_in_the_same_epoch_is_refused(member: Member) -> None:
    member.publish(1, **databases(2))
    assert member.run("boot").outcome == "ready"
    member.publish(2, **databases(2, "db2"))
    report = member.run()
    assert (report.outcome, report.cause) == ("refused", "old-epoch")
    assert "databases.blog.master is db2, but in epoch 2 it is db1" in report.error
    member.publish(3, **databases(3, "db2"))
    assert member.run().outcome in ("ready", "unchanged")


def test_every_database_that_is_wrong_is_named(member: Member) -> None:
    shop = {"epoch": 5, "master": "db2"}
    member.publish(1, **databases(2, shop=shop))
    assert member.run("boot").outcome == "ready"
    member.publish(2, **databases(1, shop={**shop, "epoch": 4}))
    error = member.run().error
    assert "databases.blog.epoch is 1" in error
    assert "databases.shop.epoch is 4" in error


def test_an_epoch_that_was_seen_outlives_the_document_in_which_the_database_was_missing(member: Member) -> None:
    member.publish(1, **databases(7))
    assert member.run("boot").outcome == "ready"
    member.publish(2)
    assert member.run().serial == 2
    member.publish(3, **databases(6))
    assert member.run().cause == "old-epoch"


def test_the_epoch_of_a_leaked_key_does_not_outlive_the_key(member: Member) -> None:
    member.allow("ops", "leaked")
    member.publish(1, **databases(2))
    assert member.run("boot").outcome == "ready"
    member.publish(2, by="leaked", **databases(2**31 - 1, "db2"))
    assert member.run().serial == 2
    member.publish(3, **databases(3))
    assert member.run().cause == "old-epoch"
    member.revoke("leaked")
    assert (member.run().serial, member.run().cause) == (3, "")


def test_a_store_with_an_older_epoch_is_passed_over_and_said(tmp_path: Path, keys: Keys) -> None:
    member = Member(tmp_path / "member", keys, f"file://{tmp_path}/member/store", f"file://{tmp_path}/member/second")
    member.publish(1, **databases(2))
    shutil.copy(member.store / "fleet.json", member.second)
    assert member.run("boot").outcome == "ready"
    member.publish(2, **databases(1))
    member.publish(2, folder=member.second, **databases(3, "db2"))
    report = member.run()
    assert (report.outcome, report.serial, report.source) == ("unchanged", 2, f"file://{member.second}/fleet.json")
    assert any("passed over" in one and "epoch" in one for one in report.warnings)
