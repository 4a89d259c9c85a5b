"""A product that lacks its release or a secret, or whose account clashes, keeps no other of its node from its own."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from box import Box

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes accounts below the root of a node in a folder")


def reported(box: Box) -> dict[str, Any]:
    """What the fleet sees of the last run."""
    report: dict[str, Any] = json.loads((box.machine.store / "reports/web1.json").read_text())
    return report


def spoil(box: Box, product: str) -> None:
    """Another archive lies in the place of the one that the document names."""
    path = box.machine.store / box.document["products"][product]["release"]["artifact"]
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def test_a_first_boot_leaves_out_what_is_refused_says_all_of_it_and_serves_the_others(box: Box) -> None:
    for product in ("blog", "shop", "wiki"):
        box.product(product, runtime="static")
    spoil(box, "blog")
    spoil(box, "wiki")
    box.publish()
    done = box.boot(ok=78)
    assert "2 products cannot be deployed as the document says" in done.stderr
    assert "blog: releases/blog/1.tar.gz has the SHA-256" in done.stderr
    assert "wiki: releases/wiki/1.tar.gz has the SHA-256" in done.stderr
    assert box.get("shop.example.com")[2] == "release=1\n"
    for path in ("/", "/health", "/.well-known/rolecall"):
        status, headers, _ = box.get("blog.example.com", path)
        assert (status, headers["Retry-After"]) == (503, "60"), path
    report = reported(box)
    assert (report["outcome"], report["exit_code"], report["serving"]) == ("incomplete", 78, True)
    assert {name: product["serving"] for name, product in report["products"].items()} == {
        "blog": False, "shop": True, "wiki": False,
    }  # fmt: skip
    figures = (box.state / "metrics/rolecall.prom").read_text()
    assert 'rolecall_product_serving{product="blog"} 0' in figures
    assert "release 1 is refused: releases/blog/1.tar.gz has the SHA-256" in box.rolecall("status", ok=1).stdout
    doctor = box.rolecall("doctor", ok=1).stdout.splitlines()
    assert doctor[-2].startswith(
        "✗ why: boot, run 1, ended 'incomplete': 2 products cannot be deployed as the document says: blog: rel"
    )
    assert doctor[-1].startswith("  remedy: ")
    # Nothing changes until the document does, and no archive is downloaded again meanwhile.
    artifact = box.machine.store / "releases/blog/1.tar.gz"
    artifact.rename(artifact.with_name("away"))
    box.rolecall("refresh", ok=78)
    assert (reported(box)["outcome"], reported(box)["current"]) == ("refused", report["current"])
    box.product("blog", "2", runtime="static")
    box.product("wiki", "2", runtime="static")
    box.publish()
    box.rolecall("refresh")
    assert [box.get(f"{product}.example.com")[2] for product in ("blog", "wiki")] == ["release=2\n"] * 2
    assert reported(box)["left_out"] == {}


def test_later_the_last_release_goes_on_while_the_others_change(box: Box) -> None:
    for product in ("blog", "shop"):
        box.product(product, runtime="static")
    box.publish()
    box.boot()
    for product in ("blog", "shop"):
        box.product(product, "2", runtime="static")
    spoil(box, "blog")
    box.publish()
    assert "releases/blog/2.tar.gz has the SHA-256" in box.rolecall("refresh", ok=78).stderr
    assert [box.get(f"{product}.example.com")[2] for product in ("blog", "shop")] == ["release=1\n", "release=2\n"]
    report = reported(box)
    assert (report["outcome"], report["serving"], report["products"]["blog"]["version"]) == ("incomplete", True, "1")
    assert report["products"]["blog"]["ailment"].startswith("release 2 is refused: ")
    # The archive is put right under the document that there is: whoever does not wait asks at once.
    box.release("blog", "2", {"public/health": "ok", "VERSION": "2\n", "public/index.html": "release=2\n"})
    box.rolecall("refresh", "--resume")
    assert box.get("blog.example.com")[2] == "release=2\n"


def secret_file(box: Box, name: str, value: bytes | None, mode: int = 0o600) -> Path:
    """A file for a secret; without a value none is there."""
    path = box.machine.root / "etc/rolecall" / name
    path.unlink(missing_ok=True)
    if value is not None:
        path.touch(mode)
        path.chmod(mode)
        path.write_bytes(value)
    return path


def test_a_first_boot_goes_on_without_what_lacks_a_secret_or_its_archive_and_takes_it_in_once_it_is_there(
    box: Box,
) -> None:
    absent, opened, binary = (box.machine.root / "etc/rolecall" / name for name in ("absent", "opened", "binary"))
    secret_file(box, "opened", b"1", 0o644)
    secret_file(box, "binary", b"\xff")
    box.product("blog", runtime="static", secrets={"ABSENT": f"file:{absent}", "OPENED": f"file:{opened}"})
    box.product("news", runtime="static", secrets={"BINARY": f"file:{binary}"})
    box.product("wiki", runtime="static")
    box.product("shop", runtime="static")
    archive = box.machine.store / "releases/wiki/1.tar.gz"
    archive.rename(archive.with_name("away"))
    box.publish()
    said = box.boot(ok=75).stderr
    for words in (
        "3 products cannot be deployed as the document says:",
        f"blog: cannot read the secret blog.ABSENT from {absent}: No such file or directory; the secret blog.OPENED in",
        f"news: the secret news.BINARY in {binary} is not UTF-8",
        f"wiki: cannot read {archive}: No such file or directory",
    ):
        assert words in said
    assert box.get("shop.example.com")[2] == "release=1\n"
    assert [box.get(f"{product}.example.com")[0] for product in ("blog", "news", "wiki")] == [503] * 3
    report = reported(box)
    assert (report["outcome"], report["exit_code"], report["serving"]) == ("incomplete", 75, True)
    assert {name: product["serving"] for name, product in report["products"].items()} == {
        "blog": False, "news": False, "shop": True, "wiki": False,
    }  # fmt: skip
    assert 'rolecall_product_serving{product="news"} 0' in (box.state / "metrics/rolecall.prom").read_text()
    assert "can be read by everybody" in box.rolecall("status", ok=1).stdout
    assert "ended 'incomplete': 3 products cannot be deployed" in box.rolecall("doctor", ok=1).stdout
    plan = box.rolecall("plan")
    assert "the secret news.BINARY" in plan.stdout + plan.stderr
    secret_file(box, "absent", b"1")
    opened.chmod(0o600)
    secret_file(box, "binary", b"1")
    archive.with_name("away").rename(archive)
    box.rolecall("refresh")
    assert [box.get(f"{product}.example.com")[2] for product in ("blog", "news", "wiki")] == ["release=1\n"] * 3
    assert reported(box)["left_out"] == {}


def test_later_a_product_without_its_secret_goes_on_with_its_release_and_value_and_a_promotion_reaches_it(
    box: Box,
) -> None:
    value, odd = "c4n4ry", """it's "odd" ${x} \\"""
    secret, other = secret_file(box, "secret", value.encode()), secret_file(box, "other", odd.encode())
    its = {"DB_PASSWORD": f"file:{secret}", "OTHER": f"file:{other}"}
    box.product("blog", secrets=its)
    box.product("shop", runtime="static")
    box.publish()
    box.boot()
    vhost = box.state / "current/apache/50-blog.conf"
    before = [line for line in vhost.read_text().splitlines() if "DB_PASSWORD" in line or "OTHER" in line]
    secret.unlink()
    other.unlink()
    box.product("blog", "2", secrets={**its, "NEW": f"file:{box.machine.root}/etc/rolecall/new"})
    box.product("shop", "2", runtime="static")
    box.document["databases"]["blog"] |= {"epoch": 2, "master": "db2", "candidate": "db1"}
    box.publish()
    said = box.rolecall("refresh", ok=1).stderr
    assert all(f"cannot read the secret blog.{name} from" in said for name in ("DB_PASSWORD", "OTHER", "NEW"))
    assert (value in said, odd in said) == (False, False)
    page = box.get("blog.example.com")[2]
    assert ("release=1" in page, "master=db2" in page) == (True, True), page
    assert box.get("shop.example.com")[2] == "release=2\n"
    now = [line for line in vhost.read_text().splitlines() if "DB_PASSWORD" in line or "OTHER" in line]
    assert now == before
    assert "NEW" not in vhost.read_text()
    report = reported(box)
    assert (report["outcome"], report["serving"], report["products"]["blog"]["version"]) == ("incomplete", True, "1")
    box.rolecall("refresh", ok=1)
    assert reported(box)["outcome"] == "refused"
    secret_file(box, "other", odd.encode())
    secret_file(box, "new", b"1")
    secret_file(box, "secret", b"two\nlines")
    assert "the secret blog.DB_PASSWORD cannot be written to " in box.rolecall("refresh", ok=78).stderr
    assert "release=1" in box.get("blog.example.com")[2]
    secret_file(box, "secret", value.encode())
    box.rolecall("refresh")
    assert "release=2" in box.get("blog.example.com")[2]


def add_line(box: Box, file: str, line: str) -> None:
    """A line in the machine's passwd or group, which somebody else has made."""
    path = box.machine.root / "etc" / file
    path.write_text(f"{path.read_text()}{line}\n")


@as_root
def test_a_first_boot_leaves_out_whose_account_or_group_clashes_with_the_machines_and_serves_the_others(
    box: Box,
) -> None:
    add_line(box, "passwd", "alice:x:1000:1000:Alice:/home/alice:/bin/bash")
    add_line(box, "group", "deploy:x:1001:alice")
    box.product("blog", runtime="static", user="alice")
    box.product("video", runtime="static", groups=["deploy"])
    box.product("shop", runtime="static")
    box.publish()
    said = box.boot(ok=78).stderr
    assert "blog: products.blog.user: 'alice' is an account of this machine that rolecall did not make" in said
    assert "video: products.video.groups: 'deploy' is a group of this machine that rolecall did not make" in said
    assert "nothing was changed" not in said
    assert [box.get(f"{name}.example.com")[0] for name in ("blog", "video", "shop")] == [503, 503, 200]
    accounts = (box.machine.root / "etc/passwd").read_text()
    assert ("p-shop:" in accounts, "p-video:" in accounts) == (True, False)
    report = reported(box)
    assert (report["outcome"], report["exit_code"], report["serving"]) == ("incomplete", 78, True)
    assert {name: product["serving"] for name, product in report["products"].items()} == {
        "blog": False, "shop": True, "video": False,
    }  # fmt: skip
    assert 'rolecall_product_serving{product="blog"} 0' in (box.state / "metrics/rolecall.prom").read_text()
    assert "'alice' is an account" in box.rolecall("status", ok=1).stdout
    assert "✗ product blog: products.blog.user: 'alice' is an account" in box.rolecall("doctor", ok=1).stdout
    box.document["products"]["blog"]["user"] = "p-blog"
    del box.document["products"]["video"]["groups"]
    box.publish()
    box.rolecall("refresh")
    assert [box.get(f"{name}.example.com")[0] for name in ("blog", "video", "shop")] == [200] * 3


@as_root
def test_later_a_product_whose_new_account_clashes_goes_on_with_the_one_that_it_has(box: Box) -> None:
    box.product("blog")
    box.product("shop", runtime="static")
    box.publish()
    box.boot()
    private, passwd = box.state / "private/blog", box.machine.root / "etc/passwd"
    owner = private.stat().st_uid
    box.product("blog", "2", user="words")
    box.product("shop", "2", runtime="static")
    box.document["databases"]["blog"] |= {"epoch": 2, "master": "db2", "candidate": "db1"}
    box.publish()
    assert "belong to its account 'p-blog'" in box.rolecall("refresh", ok=78).stderr
    page = box.get("blog.example.com")[2]
    assert ("release=1" in page, "master=db2" in page) == (True, True), page
    assert box.get("shop.example.com")[2] == "release=2\n"
    assert ("words" in passwd.read_text(), private.stat().st_uid) == (False, owner)
    report = reported(box)
    assert (report["outcome"], report["serving"], report["products"]["blog"]["version"]) == ("incomplete", True, "1")
    # As on a moved disk: what the account is to own is left to its owner, and the others change all the same.
    box.product("blog", "2")
    box.product("shop", "3", runtime="static")
    box.publish()
    os.chown(private, 998, 998)
    assert f"{private} belongs to the number 998" in box.rolecall("refresh", ok=78).stderr
    assert (box.get("shop.example.com")[2], private.stat().st_uid) == ("release=3\n", 998)
    os.chown(private, owner, owner)
    box.rolecall("refresh")
    assert "release=2" in box.get("blog.example.com")[2]
    # An account that is not the product's any more was changed below what serves: no run touches that.
    passwd.write_text(passwd.read_text().replace(":product blog:", ":somebody:"))
    box.product("shop", "4", runtime="static")
    box.publish()
    assert "nothing was changed" in box.rolecall("refresh", ok=78).stderr
    assert "release=2" in box.get("blog.example.com")[2]
    assert box.get("shop.example.com")[2] == "release=3\n"
