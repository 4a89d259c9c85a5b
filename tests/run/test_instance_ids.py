"""What an instance has on its disk stays its own, whatever the metadata say of who this machine is."""

import json
import os
import shutil
from pathlib import Path
from unittest.mock import ANY

import pytest

from box import Box
from rolecall.host.lock import locked

PHOTO, SESSION = "shared/blog/public/uploads/photo", "private/blog/sess_1"
PAGES = {"public/health": "ok", "public/index.html": "release=1\n"}


def be(box: Box, instance: str | None) -> None:
    """What the machine is told of itself from now on."""
    identity = {"server": "web1", **({"instance": instance} if instance else {})}
    (box.machine.root / "etc/rolecall/identity.json").write_text(json.dumps(identity))


def reboot(box: Box, instance: str, *, ok: bool | int = True) -> str:
    """Switch the machine off and on again, as this instance; returns what the run at boot tells people."""
    box.stop()
    shutil.rmtree(box.machine.run)
    be(box, instance)
    return box.boot(ok=ok).stderr


def upload(box: Box, text: str) -> None:
    """What visitors leave behind."""
    for name in (PHOTO, SESSION):
        (box.state / name).write_text(text)


def uploads(box: Box) -> list[str]:
    """What is left of it: on disk, and on the page."""
    assert box.get("blog.example.com")[2] == "release=1\n"
    status, _, text = box.get("blog.example.com", "/uploads/photo")
    assert status in (200, 404)
    on_disk = [(box.state / name).read_text() for name in (PHOTO, SESSION) if (box.state / name).exists()]
    return [*on_disk, text] if status == 200 else on_disk


def picture(state: Path) -> dict[str, int]:
    """Everything in the state folder but what tells of runs, and which file it is."""
    of_runs = {"reports", "runs.json", "metrics"}
    paths = [path for path in state.rglob("*") if not of_runs & set(path.parts) and path.suffix != ".compared"]
    return {str(path): path.lstat().st_ino for path in paths}


@pytest.fixture(scope="module")
def node(module_box: Box) -> Box:
    """A machine that serves as the instance i-a, and has got an upload."""
    module_box.product("blog", runtime="static", writable=["public/uploads"])
    module_box.publish()
    be(module_box, "i-a")
    module_box.boot()
    upload(module_box, "of i-a")
    return module_box


def test_within_a_boot_another_instance_id_or_none_is_a_warning_and_changes_nothing(node: Box) -> None:
    before = picture(node.state)
    for instance in ("i-b", None, "i-c"):
        be(node, instance)
        done = node.rolecall("refresh")
        assert "an instance id does not change within a boot: it goes on as i-a" in done.stderr, instance
        assert "✗" not in done.stderr
        assert uploads(node) == ["of i-a"] * 3, instance
    be(node, "i-a")
    assert "does not change" not in node.rolecall("refresh").stderr
    assert {path: number for path, number in picture(node.state).items() if path in before} == before
    assert not (node.state / "aside").exists()


def test_an_answer_that_no_document_knows_sets_nothing_aside_and_heals_with_the_next_one(node: Box) -> None:
    node.document["servers"]["web1"]["instance"] = "i-a"
    node.publish()
    node.rolecall("refresh")
    before = picture(node.state)
    assert "no server of the document matches" in reboot(node, "i-wrong", ok=78)
    assert picture(node.state) == before
    assert "the state in use is that of another instance" in node.rolecall("status", ok=False).stdout
    be(node, "i-a")
    assert "does not change" not in node.rolecall("refresh").stderr
    assert uploads(node) == ["of i-a"] * 3
    del node.document["servers"]["web1"]["instance"]
    node.publish()
    node.rolecall("refresh")


def test_over_reboots_each_instance_has_its_own_and_finds_it_again(node: Box) -> None:
    said = reboot(node, "i-b")
    assert f"the state of another instance, i-a, was found and set aside in {node.state}/aside/from-i-a" in said
    assert uploads(node) == []
    assert (node.state / "aside/from-i-a" / PHOTO).read_text() == "of i-a"
    upload(node, "of i-b")
    for instance, other in (("i-a", "i-b"), ("i-b", "i-a"), ("i-a", "i-b")):
        assert "this machine's own state, which lay in" in reboot(node, instance)
        assert uploads(node) == [f"of {instance}"] * 3
        assert [path.name for path in (node.state / "aside").iterdir()] == [f"from-{other}"]
        assert (node.state / f"aside/from-{other}" / SESSION).read_text() == f"of {other}"
        assert "does not change" not in node.rolecall("refresh").stderr


def test_whatever_lies_aside_is_seen_in_status_report_and_doctor(node: Box) -> None:
    folder = f"{node.state}/aside/from-i-b"
    status = node.json("status")
    assert [(item["name"], item["path"], item["products"]) for item in status["aside"]] == [("i-b", folder, ["blog"])]
    assert "i-b" in node.rolecall("status").stdout
    assert any(folder in note and "rolecall adopt" in note for note in node.json("boot")["warnings"])
    assert any(folder in line["what"] for line in node.json("doctor"))


def test_what_lies_aside_keeps_its_place_whatever_else_is_set_aside(node: Box) -> None:
    shutil.copytree(node.state / "aside/from-i-b", node.state / "aside/from-i-a", symlinks=True)
    note = node.state / "aside/from-i-a/fleet/verified.json"
    note.write_text(note.read_text().replace("i-b", "i-z"))
    reboot(node, "i-c")
    names = {path.name: (path / PHOTO).read_text() for path in (node.state / "aside").iterdir()}
    assert names == {"from-i-a": "of i-b", "from-i-a.2": "of i-a", "from-i-b": "of i-b"}
    reboot(node, "i-a")
    assert uploads(node) == ["of i-a"] * 3


def test_an_answer_without_an_id_makes_nobody_the_owner_of_what_an_instance_has_left(node: Box) -> None:
    box = node
    box.stop()
    shutil.rmtree(box.machine.run)
    be(box, None)
    box.boot()
    assert uploads(box) == ["of i-a"] * 3
    reboot(box, "i-d")
    assert uploads(box) == []
    reboot(box, "i-a")
    assert uploads(box) == ["of i-a"] * 3


def test_daemons_that_served_another_instances_state_serve_this_ones_at_once(node: Box) -> None:
    shutil.rmtree(node.machine.run)  # the daemons run: as where the first run of a boot could not learn who it is
    be(node, "i-e")
    node.rolecall("refresh")
    assert uploads(node) == []
    assert "owed      nothing" in node.rolecall("status").stdout
    shutil.rmtree(node.machine.run)
    be(node, "i-a")
    node.rolecall("refresh")
    assert uploads(node) == ["of i-a"] * 3


def test_a_person_has_what_a_product_had_written_and_it_belongs_to_the_products_account_here(node: Box) -> None:
    box = node
    reboot(box, "i-f")
    shutil.rmtree(box.state / "aside")
    upload(box, "of i-f")
    reboot(box, "i-g")
    item = box.state / "aside/from-i-f"
    place = item / PHOTO
    (place.parent / "link").symlink_to(box.machine.root / "etc/rolecall/agent.toml")
    os.chown(place, 4242, 4242)
    os.chown(place.parent / "link", 4242, 4242, follow_symlinks=False)
    (place.parent / "of-root").write_text("")
    assert box.json("adopt") == [
        {"aside": box.json("status")["aside"][0], "products": [{"name": "blog", "shared": ANY, "private": 6}]}
    ]
    text = box.rolecall("adopt").stdout
    assert f"i-f: {item}: what i-f had left here, since" in text
    upload(box, "of i-g")
    done = box.rolecall("adopt", "i-f", "--product", "blog", "--product", "shop", ok=1)
    for problem in (
        "the product 'shop' has written nothing there",
        "shared/blog has something already: public/uploads/photo",
        "private/blog has something already: sess_1",
    ):
        assert problem in done.stderr
    assert (uploads(box), place.read_text()) == (["of i-g"] * 3, "of i-f")
    assert "there is: i-f" in box.rolecall("adopt", "i-z", ok=1).stderr
    for name in (PHOTO, SESSION):
        (box.state / name).unlink()
    account, group = (box.state / "private/blog").stat().st_uid, (box.state / PHOTO).parent.stat().st_gid
    with locked(box.machine.run, "refresh"):
        assert "is held by" in box.rolecall("adopt", "i-f", ok=75).stderr
    assert [move["path"] for move in box.json("adopt", "i-f", ok=True)] == [
        f"{box.state}/shared/blog", f"{box.state}/private/blog"]  # fmt: skip
    assert uploads(box) == ["of i-f"] * 3
    assert account != 0
    assert owner(box.state / PHOTO) == (account, group)
    assert owner((box.state / PHOTO).with_name("link")) == (account, group)
    assert owner((box.state / PHOTO).with_name("of-root"))[0] == 0
    assert owner(box.machine.config) == (0, 0), "no link was followed"
    assert box.json("status")["aside"][0]["products"] == []
    box.rolecall("refresh")
    assert uploads(box) == ["of i-f"] * 3


def owner(path: Path) -> tuple[int, int]:
    """User and group of what a path names; of a link, its own."""
    status = path.lstat()
    return status.st_uid, status.st_gid
