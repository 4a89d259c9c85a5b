"""Whose fault it is: the document's, the world's or the machine's. Only the document's waits for its next try."""

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from box import archive
from rolecall.errors import ConfigFault, Fault, FetchFault, HostFault, MachineFault
from rolecall.host import files, programs
from rolecall.host.releases import Releases
from rolecall.render.contents import DeployedRelease

GOOD = archive({"public/index.html": "hello\n"})
RELEASE = DeployedRelease(
    product="blog", version="1", artifact="releases/blog/1.tar.gz", sha256=hashlib.sha256(GOOD).hexdigest(),
    size=len(GOOD), folder="releases/blog/1", document_root="public", writable=(),
)  # fmt: skip


def garbled(at: int) -> bytes:
    return GOOD[:at] + bytes([GOOD[at] ^ 1]) + GOOD[at + 1 :]


@pytest.mark.parametrize(
    ("downloads", "fault"),
    [
        ([garbled(20), GOOD], None),
        ([GOOD[:-1], GOOD], None),
        ([garbled(20), garbled(20)], ConfigFault),
        ([garbled(20), garbled(21)], FetchFault),
        ([GOOD + b"x", GOOD[:-1]], FetchFault),
    ],
    ids=["garbled once", "cut once", "the same twice", "garbled twice", "longer, then shorter"],
)
def test_a_wrong_archive_is_fetched_once_more_and_only_the_same_one_twice_is_the_documents_fault(
    downloads: list[bytes], fault: type[Fault] | None, tmp_path: Path
) -> None:
    answers = iter(downloads)

    def stream(_: str) -> Iterator[bytes]:
        yield next(answers)

    releases = Releases(tmp_path)
    if fault is None:
        assert releases.ensure(RELEASE, stream)
        assert (tmp_path / "releases/blog/1/public/index.html").read_text() == "hello\n"
        return
    with pytest.raises(fault):
        releases.ensure(RELEASE, stream)
    assert not list((tmp_path / "releases/blog").iterdir()), "nothing is left of it"


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ("kill -KILL $$", MachineFault),
        ("kill -TERM $$", MachineFault),
        ("echo 'cannot write log: No space left on device'; exit 1", MachineFault),
        ("echo 'error while loading shared libraries: libz.so.1: Error 24' >&2; exit 127", MachineFault),
        ("echo 'AH00526: Syntax error on line 3'; exit 1", HostFault),
        ("echo 'cannot open /srv/log: Permission denied'; exit 1", HostFault),
    ],
)
def test_a_program_that_the_machine_kept_from_its_work_says_nothing_against_a_generation(
    script: str, kind: type[Fault]
) -> None:
    with pytest.raises(HostFault) as raised:
        programs.run_checked(("sh", "-c", script))
    assert type(raised.value) is kind


def test_a_program_that_cannot_be_started_is_the_machines_fault(tmp_path: Path) -> None:
    for argv in (("rolecall-has-no-such-program",), (str(tmp_path),)):
        with pytest.raises(MachineFault):
            programs.run(argv)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_an_error_of_the_machine_has_its_own_remedy_and_one_of_a_name_is_not_the_machines(number: int) -> None:
    with pytest.raises(MachineFault) as raised, files.naming("/srv/file", "write"):
        raise OSError(number, os.strerror(number))
    assert raised.value.hint
    assert "document" not in raised.value.hint
    with pytest.raises(HostFault) as names, files.naming("/srv/file", "write"):
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    assert names.value.whose == "document"
