"""What the agent reads of a release, as root, is what was packed, and never what the product has written since."""

from pathlib import Path

import pytest

from rolecall.errors import FetchFault
from rolecall.host.releases import Releases
from rolecall.render.contents import DeployedRelease
from rolecall.store.file import FileStore

RELEASE = DeployedRelease("blog", "1", "a.tar", "0" * 64, 1, "releases/blog/0", "public", ("var",))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A release with a template of its own, beside the folder that its product writes."""
    release, shared = tmp_path / RELEASE.folder, tmp_path / "shared/blog/var"
    (release / "rolecall").mkdir(parents=True)
    (release / "rolecall/app.conf.j2").write_text("packed")
    shared.mkdir(parents=True)
    (release / "var").symlink_to(shared)
    return tmp_path


def test_a_template_that_was_packed_is_read(state: Path) -> None:
    names = ["rolecall/app.conf.j2", "rolecall/none.j2", "none/app.conf.j2"]
    assert Releases(state).templates(RELEASE, names) == {"rolecall/app.conf.j2": "packed"}


def test_a_template_below_a_folder_that_the_product_writes_is_none(state: Path) -> None:
    secret = state / "secret"
    secret.write_text("the agent's")
    (state / "shared/blog/var/planted.j2").write_text("planted")
    (state / "shared/blog/var/link.j2").symlink_to(secret)
    (state / "shared/blog/var/folder").symlink_to(state)
    assert Releases(state).templates(RELEASE, ["var/planted.j2", "var/link.j2", "var/folder/secret"]) == {}


def test_a_link_or_a_folder_in_the_place_of_a_template_is_none(state: Path) -> None:
    release = state / RELEASE.folder
    (release / "link.j2").symlink_to("rolecall/app.conf.j2")
    assert Releases(state).templates(RELEASE, ["link.j2", "rolecall"]) == {}


def test_an_archive_that_is_not_in_the_store_is_told_with_its_product(tmp_path: Path) -> None:
    with pytest.raises(FetchFault) as caught:
        Releases(tmp_path).ensure(RELEASE, FileStore(str(tmp_path)).stream)
    assert caught.value.cause == "no-key"
    assert (
        caught.value.hint == "put the archive there, or name another release in products.blog.release of the document"
    )
