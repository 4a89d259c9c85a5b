"""A fleet's objects from one store to another, by the real program and with real servers."""

import hashlib
import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import program
from box import ROLECALL, document
from servers.mirror import Mirror
from servers.s3 import BUCKET, KEY_ID, REGION, SECRET, S3Server
from servers.tls import Authority

Process = subprocess.CompletedProcess[str]
BLOG, OLD, LARGE = "releases/blog/2.tar.gz", "releases/blog/1.tar.gz", "releases/video/7.tar"
REPORT = "reports/web1.json"
OTHER = "x"


class Stores:
    """A fleet's store in a folder, and a folder, a bucket and a web server to copy it to."""

    def __init__(self, folder: Path, s3: S3Server, mirror: Mirror, authority: Authority) -> None:
        self.folder, self.s3, self.mirror = folder, s3, mirror
        self.source, self.target = folder / "source", folder / "target"
        self.target.mkdir()
        self.config = folder / "agent.toml"
        self.objects = {BLOG: b"blog 2", OLD: b"blog 1", LARGE: os.urandom(9 * 2**20)}
        for key, data in (*self.objects.items(), (REPORT, b"{}")):
            self.write(self.source / key, data)
        credentials = folder / "credentials"
        credentials.write_text(f"[default]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n")
        credentials.chmod(0o600)
        self.config.write_text(f"""
role = "web"
platform = "debian"
store = ["file://{self.source}"]
trust.unsigned = true
network.ca = "{authority.file}"
aws.credentials = "file:{credentials}"
""")
        self.publish(1)

    @staticmethod
    def write(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def publish(self, serial: int, **parts: Any) -> None:
        """Another document in the source, which names two of the releases."""
        products = {"blog": product(BLOG, self.objects[BLOG]), "video": product(LARGE, self.objects[LARGE])}
        text = json.dumps(document(serial=serial, **{"products": products, **parts}))
        self.objects["fleet.json"] = text.encode()
        self.write(self.source / "fleet.json", text.encode())

    def url(self, kind: str) -> str:
        """The address of a target, or of the source."""
        return {
            "source": f"file://{self.source}",
            "file": f"file://{self.target}",
            "s3": f"s3://{BUCKET}/prod?region={REGION}&endpoint={self.s3.url}",
            "https": f"{self.mirror.url}/prod",
        }[kind]

    def copied(self, kind: str) -> dict[str, bytes]:
        """What is in a target."""
        if kind == "s3":
            return {key.removeprefix("prod/"): data for (_, key), data in self.s3.objects.items()}
        if kind == "https":
            assert isinstance(self.mirror.files, dict)
            return {key.removeprefix("prod/"): data for key, data in self.mirror.files.items()}
        files = [path for path in self.target.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.target)): path.read_bytes() for path in files}

    def rolecall(self, *words: str, ok: int = 0) -> Process:
        """`rolecall store copy`, without a terminal; it ends with this code."""
        words = ("store", "copy", "--config", str(self.config), *words)
        env = {**os.environ, "NO_COLOR": "1", "NO_PROXY": "*", "AWS_EC2_METADATA_DISABLED": "true"}
        process = program.rolecall(words, env)
        assert process.returncode == ok, f"{words}: {process.returncode}\n{process.stdout}{process.stderr}"
        assert "Traceback" not in process.stderr
        return process

    def copy(self, source: str, target: str, *words: str) -> dict[str, Any]:
        """Its answer."""
        answer: dict[str, Any] = json.loads(self.rolecall(self.url(source), self.url(target), *words, "--json").stdout)
        return answer

    def refused(self, source: str, target: str, *words: str, ok: int) -> str:
        """Why it copied nothing, or not all."""
        return self.rolecall(self.url(source), self.url(target), *words, ok=ok).stderr


def product(key: str, data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    name = key.split("/")[1]
    release = {"version": "1", "artifact": key, "sha256": digest, "size": len(data)}
    return {"hostnames": [f"{name}.example.com"], "user": f"{name}-user", "release": release}


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    authority = Authority(tmp_path)
    with S3Server() as s3, Mirror(context=authority.context()) as mirror:
        yield Stores(tmp_path, s3, mirror, authority)


# What is copied


@pytest.mark.parametrize("target", ["file", "s3", "https"])
def test_a_copy_has_all_that_the_fleet_needs_and_is_not_made_twice(stores: Stores, target: str) -> None:
    answer = stores.copy("source", target)
    assert stores.copied(target) == stores.objects
    assert answer["copied"] == [*sorted({*stores.objects} - {"fleet.json"}), "fleet.json"]
    assert (answer["serial"], answer["unchanged"], answer["deleted"]) == (1, 0, [])
    again = stores.copy("source", target)
    assert (again["copied"], again["unchanged"], again["bytes"]) == ([], len(stores.objects), 0)


def test_a_copy_is_copied_back_and_on(stores: Stores) -> None:
    """From a bucket to a disk, as the article has it, and to another bucket."""
    stores.copy("source", "s3")
    stores.copy("s3", "file")
    assert stores.copied("file") == stores.objects
    assert stores.copy("file", "s3")["copied"] == []


def test_what_is_there_already_is_not_downloaded_again_from_a_bucket(stores: Stores) -> None:
    stores.copy("source", "s3")
    stores.copy("s3", "file")
    stores.s3.forget()
    for source, target in (("s3", "file"), ("file", "s3")):
        assert stores.copy(source, target)["copied"] == []
    assert {request.key for request in stores.s3.requests} == {"", "prod/fleet.json"}


def test_the_document_is_written_after_everything_that_it_names(stores: Stores) -> None:
    stores.copy("source", "s3")
    writes = [request.key for request in stores.s3.requests if request.method in ("PUT", "POST")]
    assert writes[-1] == "prod/fleet.json"
    assert writes.count("prod/fleet.json") == 1


def test_reports_are_left_to_the_nodes_in_each_store(stores: Stores) -> None:
    stores.write(stores.target / REPORT, b'{"newer": true}')
    stores.copy("source", "file", "--delete")
    assert stores.copied("file")[REPORT] == b'{"newer": true}'


def test_the_documents_of_the_past_are_copied_too(stores: Stores) -> None:
    stores.write(stores.source / "history/1.json", stores.objects["fleet.json"])
    stores.copy("source", "s3")
    assert stores.copied("s3")["history/1.json"] == stores.objects["fleet.json"]


@pytest.mark.parametrize("target", ["file", "s3", "https"])
def test_an_object_with_other_bytes_of_the_same_length_is_copied(stores: Stores, target: str) -> None:
    stores.copy("source", target)
    stores.objects[OLD] = b"blog I"
    stores.write(stores.source / OLD, b"blog I")
    assert stores.copy("source", target)["copied"] == [OLD]
    assert stores.copied(target) == stores.objects


# A copy that is cut off


def test_a_copy_that_was_cut_off_leaves_the_old_document_and_goes_on_where_it_stopped(stores: Stores) -> None:
    stores.copy("source", "s3")
    before = stores.copied("s3")["fleet.json"]
    stores.objects[BLOG], stores.objects[LARGE] = b"blog 3", os.urandom(17 * 2**20)
    for key in (BLOG, LARGE):
        stores.write(stores.source / key, stores.objects[key])
    stores.publish(2)
    stores.s3.fault(403, method="PUT", key="prod/releases/video/*")
    said = stores.refused("source", "s3", ok=75)
    assert f"cannot write s3://{BUCKET}/prod/{LARGE}" in said
    assert stores.copied("s3")["fleet.json"] == before
    assert not stores.s3.uploads
    stores.s3.heal()
    assert stores.copy("source", "s3")["copied"] == [LARGE, "fleet.json"]
    assert stores.copied("s3") == stores.objects


def test_what_does_not_read_as_it_was_written_is_told_and_the_document_is_not_written(stores: Stores) -> None:
    stores.s3.fault("corrupt", method="GET", key=f"prod/{LARGE}")
    said = stores.refused("source", "s3", ok=75)
    assert f"prod/{LARGE} does not read as it was written" in said
    assert "fleet.json" not in stores.copied("s3")


# What is not copied


def test_a_release_that_is_not_the_one_of_the_document_is_not_copied(stores: Stores) -> None:
    stores.write(stores.source / BLOG, b"blog X")
    for target in ("file", "s3", "https"):
        assert f"{BLOG} is not the release that the document names" in stores.refused("source", target, ok=78)
        assert not {BLOG, "fleet.json"} & stores.copied(target).keys()


def test_a_document_whose_releases_are_missing_is_not_copied(stores: Stores) -> None:
    (stores.source / BLOG).unlink()
    assert f"releases that its store does not have: {BLOG}" in stores.refused("source", "file", ok=78)
    assert stores.copied("file") == {}


def test_a_newer_document_is_not_replaced_by_an_older_one(stores: Stores) -> None:
    stores.publish(5)
    stores.copy("source", "file")
    stores.publish(4)
    assert "has serial 5" in stores.refused("source", "file", ok=75)
    stores.publish(5, caches={})
    assert "nodes would refuse it" in stores.refused("source", "file", ok=75)
    assert json.loads(stores.copied("file")["fleet.json"])["caches"]


def test_the_document_of_another_fleet_is_not_replaced(stores: Stores) -> None:
    stores.copy("source", "file")
    stores.publish(9, fleet="other")
    assert "is the document of the fleet 'test'" in stores.refused("source", "file", "--delete", ok=78)


def test_a_store_without_a_listing_cannot_be_copied_nor_cleared_but_copied_to(stores: Stores) -> None:
    stores.copy("source", "https")
    for source, target, words in (("https", "file", ()), ("source", "https", ("--delete",))):
        said = stores.refused(source, target, *words, ok=75)
        assert "a web server has no listing" in said
        assert "cause: no-listing" in said


def test_a_store_is_not_copied_to_itself(stores: Stores) -> None:
    assert "to itself" in stores.refused("source", "source", ok=78)


# --delete, --dry-run


@pytest.mark.parametrize("target", ["file", "s3"])
def test_only_when_asked_is_removed_what_the_source_does_not_have_and_then_last(stores: Stores, target: str) -> None:
    stores.copy("source", target)
    (stores.source / OLD).unlink()
    stores.publish(2)
    assert stores.copy("source", target)["deleted"] == []
    assert OLD in stores.copied(target)
    stores.s3.forget()
    stores.publish(3)
    assert stores.copy("source", target, "--delete")["deleted"] == [OLD]
    del stores.objects[OLD]
    assert stores.copied(target) == stores.objects
    if target == "s3":
        assert [one.method for one in stores.s3.requests if one.method in ("PUT", "DELETE")] == ["PUT", "DELETE"]


@pytest.mark.parametrize("target", ["file", "s3", "https"])
def test_a_dry_run_tells_what_would_be_done_and_does_nothing(stores: Stores, target: str) -> None:
    stores.write(stores.target / OTHER, b"x")
    stores.s3.put(BUCKET, f"prod/{OTHER}", b"x")
    before = stores.copied(target)
    delete = () if target == "https" else ("--delete",)
    words = stores.rolecall(stores.url("source"), stores.url(target), "--dry-run", *delete).stdout
    assert "would be copied: 4" in words
    assert f"  copy {BLOG}\n" in words
    assert (f"  delete {OTHER}\n" in words) == bool(delete)
    assert stores.copied(target) == before


# What people see


def test_a_pipe_gets_a_line_for_each_object(stores: Stores) -> None:
    process = stores.rolecall(stores.url("source"), stores.url("file"))
    assert process.stderr.splitlines() == [
        "4 objects, 9.0 MiB",
        f"copied {OLD}, 6 bytes",
        f"copied {BLOG}, 6 bytes",
        f"copied {LARGE}, 9.0 MiB",
        f"copied fleet.json, {len(stores.objects['fleet.json']) / 1024:.1f} KiB",
    ]
    assert process.stdout == (
        f"file://{stores.target}: test, serial 1. copied: 4 (9.0 MiB), unchanged: 0, deleted: 0\n"
    )


def test_a_terminal_gets_a_bar(stores: Stores) -> None:
    main, terminal = pty.openpty()
    argv = [*ROLECALL, "store", "copy", stores.url("source"), stores.url("file")]
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(argv, stderr=terminal, stdout=subprocess.PIPE, text=True, env=env) as process:
        os.close(terminal)
        seen = b""
        while process.poll() is None or seen.count(b"\n") < 1:
            try:
                seen += os.read(main, 65536)
            except OSError:  # the terminal is closed: EIO
                break
        assert process.stdout
        assert "copied: 4" in process.stdout.read()
    os.close(main)
    assert "━" in seen.decode()
    assert "MB" in seen.decode()
