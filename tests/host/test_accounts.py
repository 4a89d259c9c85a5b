"""Whose an account is, by where it came from: what a product gets is its own, or nothing is changed.

On folders with a passwd and a group of their own, which the real systemd-sysusers adds to, as root only.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from box import Box
from rolecall.demo.folder_node import nss_wrapper
from rolecall.errors import HostFault
from rolecall.forms.mistakes import Mistakes, dotted
from rolecall.host.accounts import account_differences, check_accounts, create_accounts
from rolecall.render.generation import Generation
from samples import web

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes accounts below a scratch root, which only root can")

PASSWD = "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:1000:Alice,,,:/home/alice:/bin/bash\n"
GROUP = "root:x:0:\nalice:x:1000:\nhardware:x:44:\n"
WEB2 = {"servers/web1/products": ["blog"]}


class Machine:
    """The accounts of a machine in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "etc").mkdir(parents=True)
        self.passwd, self.group = root / "etc/passwd", root / "etc/group"
        self.passwd.write_text(PASSWD)
        self.group.write_text(GROUP)

    def stage(self, *edits: Mapping[str, Any], earlier: bool = False) -> None:
        """Make the accounts that the example document, with these edits, asks of web1."""
        generation = web(*edits)
        create_accounts(as_before(generation) if earlier else generation, str(self.root))

    def refusals(self, *edits: Mapping[str, Any]) -> dict[str, str]:
        """What a run would refuse before it changes anything, by the place in the document."""
        before = self.picture()
        generation = web(*edits)
        try:
            check_accounts(generation, str(self.root))
        except Mistakes as fault:
            with pytest.raises(Mistakes):
                create_accounts(generation, str(self.root))
            assert self.picture() == before
            return {dotted(mistake.path): f"{mistake.message} — {mistake.hint}" for mistake in fault.mistakes}
        return {}

    def picture(self) -> tuple[str, str]:
        return self.passwd.read_text(), self.group.read_text()

    def numbers(self) -> dict[str, tuple[int, int]]:
        """Number and group of each account of a product."""
        rows = [line.split(":") for line in self.passwd.read_text().splitlines()]
        return {row[0]: (int(row[2]), int(row[3])) for row in rows if row[4].startswith("product ")}

    def groups(self) -> dict[str, tuple[int, str]]:
        rows = [line.split(":") for line in self.group.read_text().splitlines()]
        return {row[0]: (int(row[2]), row[3]) for row in rows}


def as_before(generation: Generation) -> Generation:
    """The same as 0.1.0 rendered it, which left numbers to the machine."""
    file = generation.file("sysusers.conf")
    assert file
    text = re.sub(r'^([ug] "[^"]+") [0-9]+', r"\1 -", file.text, flags=re.MULTILINE)
    files = tuple(replace(each, text=text) if each is file else each for each in generation.files)
    return replace(generation, files=files)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "web1")


def test_two_servers_with_different_products_number_accounts_and_groups_alike(machine: Machine, tmp_path: Path) -> None:
    other = Machine(tmp_path / "web2")
    machine.stage()
    other.stage(WEB2)
    assert machine.numbers() == {"blog": (26704, 26704), "clips": (30730, 30730)}
    assert other.numbers() == {"blog": (26704, 26704)}
    assert machine.groups()["deploy"] == other.groups()["deploy"] == (38347, "blog")


def test_an_account_that_the_machine_has_anyway_is_no_products(machine: Machine) -> None:
    refusals = machine.refusals({"products/blog/user": "alice", "products/video/user": "hardware"})
    assert set(refusals) == {"products.blog.user", "products.video.user"}
    assert "'alice' is an account of this machine that rolecall did not make" in refusals["products.blog.user"]
    assert "'hardware' is a group of this machine (number 44)" in refusals["products.video.user"]


DIRECTORY = """
from samples import web
from rolecall.host.accounts import check_accounts
check_accounts(web({"products/blog/user": "ldap-user"}), "")
"""


def test_an_account_of_a_directory_is_no_products_whatever_its_comment_says(tmp_path: Path) -> None:
    """As sssd or LDAP have them: the machine knows them, and they are not in its own passwd."""
    passwd, group = tmp_path / "passwd", tmp_path / "group"
    passwd.write_text(f"{PASSWD}ldap-user:x:70001:100:product blog:/:/bin/sh\nother:x:30730:100::/:/bin/sh\n")
    group.write_text(f"{GROUP}deploy:x:70002:other\n")
    environment = {"LD_PRELOAD": nss_wrapper(), "NSS_WRAPPER_PASSWD": str(passwd), "NSS_WRAPPER_GROUP": str(group)}
    python_path = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.run(
        [sys.executable, "-c", DIRECTORY], env={**os.environ, **environment, "PYTHONPATH": python_path},
        capture_output=True, text=True,
    )  # fmt: skip
    assert "products.blog.user: 'ldap-user' is an account of this machine that rolecall did not make" in process.stderr
    assert (
        "products.video.uid: the account 'clips' would have the number 30730, which the account 'other' has"
        in process.stderr
    )
    assert "products.blog.groups: 'deploy' is a group of this machine" in process.stderr


def test_the_account_of_a_removed_product_is_not_handed_on(machine: Machine) -> None:
    machine.stage()
    video = {"products/video/user": "blog", "products/blog/user": "words", "servers/web1/products": ["video"]}
    refusals = machine.refusals(video)
    assert list(refusals) == ["products.video.user"]
    assert "'blog' is the account of the product 'blog' on this machine" in refusals["products.video.user"]


def test_a_changed_account_is_refused_where_the_products_files_have_another_owner(machine: Machine) -> None:
    machine.stage()
    refusals = machine.refusals({"products/blog/user": "words"})
    assert list(refusals) == ["products.blog.user"]
    assert "belong to its account 'blog' — set it to 'blog'" in refusals["products.blog.user"]


def test_an_account_that_a_person_has_renamed_is_the_products(machine: Machine) -> None:
    machine.stage()
    for path in (machine.passwd, machine.group):
        path.write_text(re.sub("(?m)^blog:|(?<=:)blog$", lambda match: f"words{match[0][4:]}", path.read_text()))
    assert machine.refusals({"products/blog/user": "words"}) == {}


def test_a_number_that_somebody_has_is_refused_and_uid_is_the_way_out(machine: Machine) -> None:
    machine.passwd.write_text(f"{PASSWD}backups:x:26704:100::/:/bin/sh\n")
    refusals = machine.refusals()
    assert list(refusals) == ["products.blog.uid"]
    assert "the number 26704, which the account 'backups' has on this machine" in refusals["products.blog.uid"]
    machine.stage({"products/blog/uid": 26705})
    assert machine.numbers()["blog"] == (26705, 26705)


def test_folders_that_came_with_other_numbers_are_not_given_away_without_their_files(machine: Machine) -> None:
    state = machine.root / "state"
    private, uploads = state / "private/blog", state / "shared/blog/uploads"
    for folder in (private, uploads):
        folder.mkdir(parents=True)
        os.chown(folder, 998, 998)
    generation = web(state=str(state))
    with pytest.raises(Mistakes) as refused:
        check_accounts(generation, str(machine.root))
    assert [mistake.message for mistake in refused.value.mistakes] == [
        f"{folder} belongs to the number 998, and the account 'blog' has 26704" for folder in (private, uploads)
    ]
    check_accounts(generation, str(machine.root), foreign_state=True)
    for mistake in refused.value.mistakes:
        subprocess.run(mistake.hint.split("`")[1], shell=True, check=True)
    check_accounts(generation, str(machine.root))


def test_one_number_for_two_accounts_is_refused_before_either_is_made(machine: Machine) -> None:
    refusals = machine.refusals({"products/video/uid": 26704})
    assert "which the account 'blog' has" in refusals["products.video.uid"]


def test_a_group_that_the_machine_has_anyway_takes_no_product_in(machine: Machine) -> None:
    machine.group.write_text(f"{GROUP}deploy:x:1001:alice\n")
    refusals = machine.refusals()
    assert "'deploy' is a group of this machine that rolecall did not make" in refusals["products.blog.groups"]
    machine.group.write_text(f"{GROUP}deploy:x:38347:alice\n")  # as the hint says: it is meant
    assert machine.refusals() == {}


def test_accounts_and_groups_that_0_1_0_made_stay_as_they_are_and_doctor_tells_them(machine: Machine) -> None:
    machine.stage(earlier=True)
    before = machine.picture()
    assert max(number for pair in machine.numbers().values() for number in pair) < 1000
    machine.stage()
    machine.stage({"products/video/groups": ["deploy"]})  # made by 0.1.0 too, and nobody's but a product's
    assert machine.picture()[0] == before[0]
    assert machine.groups()["deploy"][1] == "blog,clips"
    differences = account_differences(web(), str(machine.root))
    assert [difference.split(" has the number")[0] for difference in differences] == [
        "products.blog: its account blog",
        "products.blog: the group deploy",
        "products.video: its account clips",
        "products.video: its account clips is in the group deploy, by nobody's document",
    ]


def test_a_generation_that_0_1_0_rendered_makes_nobody_elses_account_a_products_either(machine: Machine) -> None:
    with pytest.raises(Mistakes, match="alice"):
        machine.stage({"products/blog/user": "alice"}, earlier=True)


def test_an_account_that_gets_another_number_all_the_same_is_told(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "systemd-sysusers"
    program.write_text(f"#!/bin/sh\necho 'blog:x:997:997:product blog:/:/bin/sh' >>{machine.passwd}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(HostFault, match="gave the user 'blog' the number 997, not 26704"):
        machine.stage(WEB2)


def test_a_run_that_may_not_make_an_account_changes_none_and_plan_and_doctor_say_the_same(box: Box) -> None:
    passwd = box.machine.root / "etc/passwd"
    passwd.write_text(f"{passwd.read_text()}alice:x:1000:1000:Alice:/home/alice:/bin/bash\n")
    box.product("blog", runtime="static", user="alice")
    box.product("video", runtime="static", groups=["deploy"])
    group = box.machine.root / "etc/group"
    group.write_text(f"{group.read_text()}deploy:x:1001:alice\n")
    box.product("shop", runtime="static")
    private = box.state / "private/shop"
    private.mkdir(parents=True)
    os.chown(private, 998, 998)
    before = passwd.read_text(), group.read_text()
    box.publish()
    told = (
        f"products.shop.uid: {private} belongs to the number 998",
        "products.blog.user: 'alice' is an account",
        "products.video.groups: 'deploy' is a group",
    )
    box.rolecall("image", "attach")
    for command, status in (("plan", True), ("boot", 78), ("doctor", False)):
        process = box.rolecall(command, ok=status)
        text = re.sub(r"\s+", " ", process.stdout + process.stderr)
        assert all(words in text for words in told), text
    assert (passwd.read_text(), group.read_text()) == before
    assert private.stat().st_uid == 998
