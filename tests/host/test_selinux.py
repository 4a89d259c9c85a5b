"""SELinux: what a run writes has the types of its place before anybody reads it, and every place of a role has one."""

import re
from pathlib import Path

import pytest

from box import ROOT, Box

CONTEXTS = re.findall(r"(?m)^fcontext -a -t (\w+) '(.+)'$", (ROOT / "packaging/selinux/file_contexts").read_text())
STATE = "/var/lib/rolecall"
RESTORECON = """#!/bin/sh
for path; do
  case $path in
  -R) ;;
  *) echo "${{path#{state}/}} while current is $(readlink {state}/current)" >>"{log}" ;;
  esac
done
"""


def with_selinux(box: Box, *, on: bool) -> Path:
    """Programs that say whether SELinux is on, and note what they are to label; returns the notes."""
    log = box.machine.root / "restorecon.log"
    programs = {
        "selinuxenabled": f"#!/bin/sh\nexit {int(not on)}\n",
        "restorecon": RESTORECON.format(state=box.state, log=log),
    }
    for name, text in programs.items():
        program = box.machine.root / "usr/sbin" / name
        program.write_text(text)
        program.chmod(0o755)
    return log


def test_types_are_given_before_the_switch_and_the_links_have_theirs_after_it(box: Box) -> None:
    log = with_selinux(box, on=True)
    box.product("blog", runtime="static")
    box.publish()
    box.boot()
    box.product("blog", "2", runtime="static")
    box.publish()
    before = (box.state / "current").readlink()
    log.unlink()
    box.rolecall("refresh")
    after = (box.state / "current").readlink()
    sha256 = box.document["products"]["blog"]["release"]["sha256"]
    assert log.read_text().splitlines() == [
        f"releases/blog/.unpack-{sha256} while current is {before}",
        f"generations/.stage-{after.name} while current is {before}",
        f"current while current is {after}",
        f"ready while current is {after}",
    ]


def test_where_selinux_is_off_nothing_is_labelled(box: Box) -> None:
    log = with_selinux(box, on=False)
    box.product("blog", runtime="static")
    box.publish()
    box.boot()
    assert not log.exists()


def kinds(path: str) -> set[str]:
    """The types that our list has for a path; none: the policy's own for the state folder, which no daemon reads."""
    return {kind for kind, pattern in CONTEXTS if re.fullmatch(pattern, path)}


@pytest.mark.parametrize(
    "role", sorted({path.parents[2].name for path in (ROOT / "tests/roles").glob("*/*/expected/centos")})
)
def test_every_folder_of_a_generation_that_a_daemon_reads_has_one_type(role: str) -> None:
    """The agent reads the other files itself: what makes accounts and folders, and its own list."""
    found = {
        path.relative_to(tree).parts[0]
        for tree in (ROOT / "tests/roles" / role).glob("*/expected/centos")
        for path in tree.rglob("*") if path.is_file() and len(path.relative_to(tree).parts) > 1
    }  # fmt: skip
    for name in sorted(found):
        assert len(kinds(f"{STATE}/generations/0123abc/{name}/file")) == 1, f"packaging/selinux/file_contexts: {name}"
        assert kinds(f"{STATE}/generations/.stage-0123abc/{name}/file") == kinds(
            f"{STATE}/generations/0123abc/{name}/file"
        ), "labelled before it has its name"


def test_releases_and_what_products_write_have_types_and_secrets_have_none() -> None:
    assert kinds(f"{STATE}/releases/blog/.unpack-0123/public/index.php") == {"httpd_sys_content_t"}
    assert kinds(f"{STATE}/shared/blog/uploads/a.png") == {"httpd_sys_rw_content_t"}
    for name in ("certificates/server.key", "certificates/trusted/db1.pem"):
        assert kinds(f"{STATE}/{name}") == {"mysqld_etc_t"}
    for name in ("certificates/authority.key", "reports/a.json", "fleet/document", "secrets/a", "key"):
        assert kinds(f"{STATE}/{name}") == set()
