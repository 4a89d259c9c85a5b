"""A product whose release is refused keeps no other product of its node from being deployed."""

import json
from typing import Any

from box import Box


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
    assert "the releases of 2 products are refused" in done.stderr
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
        "✗ why: boot, run 1, ended 'incomplete': the releases of 2 products are refused: blog: rel"
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
