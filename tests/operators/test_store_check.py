"""Stores that take conditions and do not keep to them, and those that do: by the real program, with real servers."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import program
from box import document
from servers.http import Answer, Request
from servers.mirror import Mirror
from servers.s3 import BUCKET, KEY_ID, REGION, SECRET, S3Server
from servers.tls import Authority

Process = subprocess.CompletedProcess[str]
KINDS = ("file", "s3", "https")
AT_A_SERVER = ("s3", "https")
CONDITIONS = {"replace no other", "create once", "one of many creators", "one of many replacers"}


class Desk:
    """An operator's file, and three stores that it can be published to."""

    def __init__(self, folder: Path, s3: S3Server, mirror: Mirror, authority: Authority) -> None:
        self.s3, self.mirror, self.folder, self.file = s3, mirror, folder / "store", folder / "fleet.json"
        self.folder.mkdir()
        self.urls = {
            "file": f"file://{self.folder}",
            "s3": f"s3://{BUCKET}/prod?region={REGION}&endpoint={s3.url}",
            "https": f"{mirror.url}/prod",
        }
        credentials, self.config = folder / "credentials", folder / "agent.toml"
        credentials.write_text(f"[default]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n")
        credentials.chmod(0o600)
        self.config.write_text(f"""
role = "web"
platform = "debian"
store = ["file://{self.folder}"]
trust.unsigned = true
network.ca = "{authority.file}"
aws.credentials = "file:{credentials}"
""")
        self.write(1)

    def write(self, serial: int, **parts: Any) -> None:
        """The operator's file."""
        self.file.write_text(json.dumps(document(serial=serial, **parts)))

    def objects(self) -> dict[str, bytes]:
        """What is in the stores, by its key."""
        assert isinstance(self.mirror.files, dict)
        files = {str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*")}
        return files | {
            key.removeprefix("prod/"): data
            for key, data in (*((key, data) for (_, key), data in self.s3.objects.items()), *self.mirror.files.items())
        }

    def rolecall(self, *words: str, ok: int) -> Process:
        """The program, without a terminal; it ends with this code."""
        env = {**os.environ, "NO_COLOR": "1", "NO_PROXY": "*", "AWS_EC2_METADATA_DISABLED": "true"}
        process = program.rolecall((*words, "--config", str(self.config)), env)
        assert process.returncode == ok, f"{words}: {process.returncode}\n{process.stdout}{process.stderr}"
        assert "Traceback" not in process.stderr
        return process

    def publish(self, kind: str, *words: str, ok: int = 0) -> Process:
        """`fleet publish`."""
        return self.rolecall(
            "fleet", "publish", str(self.file), "--store", self.urls[kind], "--unsigned", *words, ok=ok
        )

    def failures(self, kind: str, *, ok: int = 1) -> dict[str, str]:
        """What `store check` found that the store does not do, and what was seen of it."""
        proofs = json.loads(self.rolecall("store", "check", self.urls[kind], "--json", ok=ok).stdout)["proofs"]
        return {proof["name"]: proof["seen"] for proof in proofs if not proof["holds"]}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    authority = Authority(tmp_path)
    with S3Server() as s3, Mirror({}, context=authority.context()) as mirror:
        yield Desk(tmp_path, s3, mirror, authority)


@pytest.mark.parametrize("kind", KINDS)
def test_a_store_that_does_all_is_proven_and_left_as_it_was(kind: str, desk: Desk) -> None:
    assert desk.failures(kind, ok=0).keys() == ({"listing"} if kind == "https" else set())
    assert desk.objects() == {}
    said = desk.rolecall("store", "check", desk.urls[kind], ok=0).stdout
    assert [line for line in said.splitlines() if line != line.rstrip()] == [], "nothing is padded in a pipe"
    assert said.endswith("can be published to by several people\n")


@pytest.mark.parametrize("kind", AT_A_SERVER)
def test_a_store_that_ignores_conditions_is_found_out_and_published_to_by_one_alone(kind: str, desk: Desk) -> None:
    desk.s3.conditions = desk.mirror.conditions = "ignored"
    assert desk.failures(kind).keys() - {"listing"} == CONDITIONS
    refusal = desk.publish(kind, ok=78).stderr
    assert "does not keep two people apart" in refusal
    assert "cause: no-conditions" in refusal
    assert desk.objects() == {}
    desk.publish(kind, "--alone")
    assert desk.objects().keys() == {"fleet.json", "history/2.json"}
    desk.write(1)
    assert "already has serial" in desk.publish(kind, "--alone", ok=75).stderr, "an older one than is there"


@pytest.mark.parametrize("kind", AT_A_SERVER)
def test_a_store_that_knows_no_conditions_has_its_own_cause_and_a_way_out(kind: str, desk: Desk) -> None:
    """As Swift does: the first document is taken, 501 is the answer to each one after it."""
    desk.s3.conditions = desk.mirror.conditions = "unknown"
    refusal = desk.publish(kind, ok=78).stderr
    assert "501" in refusal
    assert "cause: no-conditions" in refusal
    assert "--alone" in refusal
    desk.publish(kind, "--alone")
    desk.publish(kind, "--alone")
    assert "replace the same" in desk.failures(kind)


@pytest.mark.parametrize("tags", ["weak", "none"])
def test_a_server_whose_tags_no_condition_can_name_is_not_published_to(tags: Any, desk: Desk) -> None:
    desk.mirror.tags = tags
    assert "tag" in desk.failures("https")["replace the same"]
    assert "cause: no-conditions" in desk.publish("https", ok=78).stderr
    desk.publish("https", "--alone")
    desk.publish("https", "--alone")


@pytest.mark.parametrize("kind", AT_A_SERVER)
def test_what_makes_refreshes_and_downloads_dearer_is_told_and_forbids_nothing(kind: str, desk: Desk) -> None:
    desk.s3.ranges = desk.mirror.ranges = desk.s3.revalidates = desk.mirror.revalidates = False
    assert desk.failures(kind, ok=0).keys() - {"listing"} == {"unchanged", "ranges"}


def test_a_mirror_that_is_for_reading_only_is_proven_by_the_document_that_it_has(desk: Desk) -> None:
    desk.publish("https")
    desk.mirror.read_only, desk.mirror.ranges = True, False
    assert desk.failures("https").keys() == {"write", "ranges"}
    assert desk.rolecall("store", "check", desk.urls["https"], ok=1).stdout.endswith("is for reading only\n")


def test_a_store_that_is_out_is_not_judged(desk: Desk) -> None:
    desk.mirror.fault(503)
    assert "cause: throttled" in desk.rolecall("store", "check", desk.urls["https"], ok=75).stderr


def test_what_a_check_wrote_is_removed_where_it_breaks_off(desk: Desk) -> None:
    desk.mirror.fault("reset", method="GET")
    desk.rolecall("store", "check", desk.urls["https"], ok=75)
    assert desk.mirror.requests, "it was asked"
    assert desk.objects() == {}


def test_a_document_that_was_not_kept_is_not_said_to_be_published(desk: Desk) -> None:
    before, desk.mirror.loses = desk.file.read_bytes(), "fleet.json"
    assert "cause: not-as-written" in desk.publish("https", ok=75).stderr
    assert desk.file.read_bytes() == before


class Overtaken(Mirror):
    """A server where somebody else publishes in the moment after each document."""

    def answer(self, request: Request) -> Answer:
        answer = super().answer(request)
        if request.method == "PUT" and request.path.endswith("fleet.json") and answer.status < 300:
            self.write(request.path[1:], json.dumps(document(serial=9)).encode())
        return answer


def test_a_document_that_was_replaced_at_once_was_published_all_the_same(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with S3Server() as s3, Overtaken({}, context=authority.context()) as mirror:
        assert "published serial 2" in Desk(tmp_path, s3, mirror, authority).publish("https").stdout


def test_a_web_server_that_makes_no_folders_says_so(desk: Desk) -> None:
    desk.publish("file")
    (desk.folder / "releases").mkdir()
    (desk.folder / "releases/1.tar").write_bytes(b"1")
    desk.mirror.fault(409, method="PUT")
    assert "cause: no-folder" in desk.rolecall("store", "copy", desk.urls["file"], desk.urls["https"], ok=75).stderr


def test_doctor_tells_what_a_store_makes_dearer_and_finds_no_fault_in_it(desk: Desk) -> None:
    desk.publish("https")
    desk.mirror.ranges = desk.mirror.revalidates = False
    desk.config.write_text(desk.config.read_text().replace(desk.urls["file"], desk.urls["https"]))
    said = desk.rolecall("doctor", ok=1).stdout  # of a machine that has no identity
    assert f"✓ {desk.urls['https']}: it sends the whole object though the tag is still the same (no 304)" in said
    assert "(no 206): a download that was cut begins again at its first byte" in said
    assert "proven by writing, which no node does: `fleet publish` does each time" in said
    assert f"`rolecall store check {desk.urls['https']}` tells all" in said
