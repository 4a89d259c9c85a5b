"""What a store keeps of the documents that it had, by the real program: who published what, and when."""

import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from box import ROLECALL
from desk import Desk, new_desk, opened
from rolecall.fleet.differences import Difference, differences
from servers.mirror import Mirror
from servers.s3 import BUCKET, KEY_ID, REGION, SECRET, Answer, Request, S3Server
from servers.tls import Authority
from signed import Keys, Member


@pytest.fixture
def desk(tmp_path: Path, keys: Keys) -> Desk:
    """An operator whose documents name the one that they replace."""
    return new_desk(tmp_path, keys, history={})


def kept(desk: Desk, serial: int) -> Path:
    """Where a store in a folder keeps a document."""
    return desk.live.parent / f"history/{serial}.json"


def publish(desk: Desk, count: int = 1) -> None:
    """So many documents, each with another zone of web1."""
    for _ in range(count):
        servers = desk.data()["servers"]
        desk.edit(servers={**servers, "web1": {**servers["web1"], "zone": f"z{desk.data()['serial']}"}})
        desk.publish()


def history(desk: Desk, *words: str, ok: int = 0) -> list[dict[str, Any]]:
    """The documents of `fleet history`, the newest first."""
    words = ("fleet", "history", "--store", desk.url, "--signers", str(desk.signers), *words, "--json")
    documents: list[dict[str, Any]] = json.loads(desk.rolecall(*words, ok=ok).stdout)["documents"]
    return documents


def problems(desk: Desk) -> dict[int, list[str]]:
    """What is wrong with which document; the exit code says that something is."""
    return {row["serial"]: row["problems"] for row in history(desk, ok=1) if row["problems"]}


def notes(desk: Desk) -> dict[int, list[str]]:
    """What is told of documents that nothing is wrong with."""
    return {row["serial"]: row["notes"] for row in history(desk) if row["notes"]}


# What is kept


def test_each_published_document_is_kept_as_it_was_with_the_digest_of_the_one_before_it(desk: Desk) -> None:
    publish(desk, 3)
    assert kept(desk, 4).read_bytes() == desk.live.read_bytes()
    for serial in (3, 4):
        payload, _ = opened(kept(desk, serial).read_bytes())
        before = kept(desk, serial - 1).read_bytes()
        previous = {"serial": serial - 1, "sha256": sha256(before).hexdigest()}
        assert json.loads(payload)["history"] == {"previous": previous}
    assert json.loads(opened(kept(desk, 2).read_bytes())[0])["history"] == {"previous": None}


def test_a_document_without_the_key_stays_without_it_so_that_nodes_of_an_older_version_take_it(desk: Desk) -> None:
    desk.write()
    publish(desk, 2)
    assert "history" not in json.loads(opened(desk.live.read_bytes())[0])
    assert [row["serial"] for row in history(desk)] == [3, 2]


def test_a_node_follows_documents_whose_predecessors_are_gone(desk: Desk, tmp_path: Path) -> None:
    member = Member(tmp_path / "member", desk.keys)
    member.settle(desk.url)
    desk.file.write_bytes(member.payload(1, "a", history={}))
    desk.publish()
    assert member.run("boot").outcome == "ready"
    publish(desk)
    for path in kept(desk, 2).parent.iterdir():
        path.unlink()
    assert (member.run().serial, member.zone) == (3, "z2")


def test_who_changed_what_and_when_is_told(desk: Desk) -> None:
    publish(desk)
    desk.edit(caches={})
    desk.publish(key="two")
    new, old = history(desk)
    assert (new["serial"], new["signer"], old["signer"]) == (3, "two@example.com", "ops@example.com")
    assert new["changes"] == [{"action": "remove", "path": "caches.sessions"}]
    assert old["changes"] is None
    assert new["issued"].startswith(desk.data()["issued"].removesuffix("Z"))
    assert new["sha256"] == sha256(desk.live.read_bytes()).hexdigest()
    assert new["document"] == sha256(desk.file.read_bytes()).hexdigest(), "as a node's report has it"
    without = json.loads(desk.rolecall("fleet", "history", "--store", desk.url, "--json").stdout)["documents"]
    assert {row["signer"][:7] for row in without} == {"SHA256:"}, "whosever they are"
    assert [row["serial"] for row in history(desk, "-n", "1")] == [3]


def test_on_a_terminal_of_80_columns_the_changes_fold(desk: Desk) -> None:
    publish(desk)
    servers = desk.data()["servers"]
    desk.edit(servers={**servers, **{f"web{n}": {**servers["web1"], "address": f"10.1.0.{n}"} for n in range(10, 40)}})
    desk.publish()
    main, terminal = pty.openpty()
    argv = [*ROLECALL, "fleet", "history", "--store", desk.url, "--signers", str(desk.signers)]
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "1"}
    subprocess.run(argv, stdout=terminal, env=env, check=True)
    os.close(terminal)
    lines = re.sub("\x1b[^m]*m", "", os.read(main, 65536).decode()).splitlines()
    os.close(main)
    assert max(map(len, lines)) <= 80
    assert "+servers.web10" in lines[1]
    assert "and 22 more" in " ".join(line.strip() for line in lines)


def test_a_document_of_the_past_is_fetched_as_its_author_wrote_it(desk: Desk) -> None:
    publish(desk)
    before = desk.file.read_text()
    publish(desk)
    fetch = ("fleet", "fetch", "--store", desk.url, "--serial")
    assert desk.rolecall(*fetch, "2").stdout == before
    assert desk.rolecall(*fetch, "3").stdout == desk.file.read_text()
    kept(desk, 3).unlink()
    assert desk.rolecall(*fetch, "3").stdout == desk.file.read_text(), "the one in force"
    refusal = desk.rolecall(*fetch, "7", ok=75).stderr
    assert "history/7.json" in refusal
    assert "rolecall fleet history" in refusal
    kept(desk, 2).write_bytes(desk.live.read_bytes())
    assert "is not the document with that serial" in desk.rolecall(*fetch, "2", ok=78).stderr


# What is said aloud


def damaged(raw: bytes) -> bytes:
    return raw.replace(b'\\"zone\\": \\"z2\\"', b'\\"zone\\": \\"zz\\"')


def unsigned(raw: bytes) -> bytes:
    return opened(raw)[0]


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "changed": (damaged, "the signature is refused: "),
    "without its signature": (unsigned, "is not signed"),
    "cut off": (lambda raw: raw[:-9], "is not a fleet document"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_kept_document_that_is_not_what_was_published_is_told(desk: Desk, name: str) -> None:
    damage, words = DAMAGE[name]
    publish(desk, 3)
    kept(desk, 3).write_bytes(damage(kept(desk, 3).read_bytes()))
    told = problems(desk)
    assert any(words in problem for problem in told[3]), told
    assert told[4] == ["replaced another document than the one that is kept as serial 3"]
    shown = desk.rolecall("fleet", "history", "--store", desk.url, "--signers", str(desk.signers), ok=1).stdout
    assert f"serial 3 {words}" in shown


def test_another_document_with_the_same_serial_and_a_good_signature_is_told(desk: Desk) -> None:
    publish(desk, 3)
    payload = opened(kept(desk, 3).read_bytes())[0].replace(b'"z2"', b'"zz"')
    kept(desk, 3).write_bytes(desk.keys.seal("ops", payload))
    assert problems(desk) == {4: ["replaced another document than the one that is kept as serial 3"]}


def test_a_document_that_is_missing_in_between_or_in_the_wrong_place_is_told(desk: Desk) -> None:
    publish(desk, 4)
    raw = kept(desk, 3).read_bytes()
    kept(desk, 3).unlink()
    assert problems(desk) == {4: ["replaced serial 3, which is not kept"]}
    kept(desk, 3).write_bytes(kept(desk, 2).read_bytes())
    assert problems(desk)[3] == ["has serial 2"]
    kept(desk, 3).write_bytes(raw)
    kept(desk, 9).write_bytes(raw)
    assert "older than what is kept (serial 9)" in problems(desk)[5][0]


def test_a_key_that_may_not_sign_is_told(desk: Desk) -> None:
    publish(desk)
    desk.publish(key="two")
    desk.signers.write_text(desk.keys.line("ops") + "\n")
    (problem,) = problems(desk)[3]
    assert problem.startswith("the signature is refused: ")


def test_where_documents_do_not_name_the_one_before_a_gap_is_told_and_is_no_mistake(desk: Desk) -> None:
    desk.write()
    publish(desk, 2)
    desk.edit(serial=9)
    publish(desk)
    assert notes(desk) == {10: ["nothing is kept of serials 4 to 9, if there was anything"]}


# Publications that are cut off, race, or may not write


class Killing(S3Server):
    """An S3 that kills who publishes just before it takes the object with this key."""

    def __init__(self) -> None:
        super().__init__()
        self.key, self.victim = "", list[subprocess.Popen[str]]()

    def answer(self, request: Request) -> Answer:
        if self.victim and (request.method, request.key) == ("PUT", self.key):
            self.victim.pop().kill()
            return Answer(500)
        return super().answer(request)

    def kept(self) -> dict[str, bytes]:
        """The documents that are kept, by their serials."""
        return {
            key.removeprefix("prod/history/").removesuffix(".json"): data
            for (_, key), data in self.objects.items()
            if "/history/" in key
        }

    @property
    def live(self) -> bytes:
        return self.get(BUCKET, "prod/fleet.json")


@pytest.fixture
def s3() -> Iterator[Killing]:
    with Killing() as server:
        yield server


def in_s3(desk: Desk, server: S3Server) -> Desk:
    """The same operator with a bucket."""
    url = f"s3://{BUCKET}/prod?region={REGION}&endpoint={server.url}&style=path"
    return replace(desk, url=url, environment={"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET})


def kill_at(desk: Desk, server: Killing, key: str) -> None:
    """A publication that is killed before its write of this key is done."""
    argv = [*ROLECALL, "fleet", "publish", str(desk.file), "--store", desk.url, "--key", str(desk.keys.file("ops"))]
    env = {**os.environ, "NO_PROXY": "*", **desk.environment}
    server.key = key
    with subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, text=True) as process:
        server.victim.append(process)
    assert process.returncode == -signal.SIGKILL


def test_what_a_publication_that_was_killed_has_not_kept_is_kept_by_the_next_one(desk: Desk, s3: Killing) -> None:
    desk = in_s3(desk, s3)
    desk.publish()
    first = s3.live
    kill_at(desk, s3, "prod/fleet.json")
    assert (s3.live, s3.kept()) == (first, {"2": first}), "neither in force nor kept"
    kill_at(desk, s3, "prod/history/3.json")
    second = s3.live
    assert s3.kept() == {"2": first}, "in force, and not kept yet"
    assert notes(desk) == {3: ["is not kept yet: the next publication does that"]}
    desk.file.write_bytes(opened(second)[0])
    desk.publish()
    assert s3.kept() == {"2": first, "3": second, "4": s3.live}
    assert [row["serial"] for row in history(desk)] == [4, 3, 2]


def test_who_may_not_write_the_history_publishes_all_the_same_and_is_told(desk: Desk, s3: Killing) -> None:
    desk = in_s3(desk, s3)
    s3.fault(403, method="PUT", key="prod/history/*", times=None)
    process = desk.publish()
    assert "published serial 2" in process.stdout
    assert "note: the history is not as it should be: cannot write s3://bucket/prod/history/2.json" in process.stderr
    assert "publisher.json" in process.stderr
    s3.heal()
    desk.publish()
    assert s3.kept().keys() == {"2", "3"}


def test_what_is_kept_is_never_written_over(desk: Desk) -> None:
    publish(desk)
    kept(desk, 3).write_bytes(b"of somebody else")
    said = desk.publish().stderr
    assert "history/3.json is another document with that serial" in said
    assert kept(desk, 3).read_bytes() == b"of somebody else"
    assert problems(desk)[3] == ["is kept as another document than the one in force"]


def test_as_many_are_kept_as_the_document_says_and_the_newest_always(desk: Desk) -> None:
    desk.write(history={"keep": 2})
    publish(desk, 4)
    assert sorted(path.name for path in kept(desk, 5).parent.iterdir()) == ["4.json", "5.json"]
    assert notes(desk) == {4: ["older ones are not kept (history.keep)"]}
    desk.edit(history={"keep": 1})
    assert "history.keep" in desk.publish(ok=78).stderr


def test_a_web_server_without_a_listing_has_a_history_too(desk: Desk, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    config = tmp_path / "agent.toml"
    config.write_text(f'role = "web"\nplatform = "debian"\nstore = ["{desk.url}"]\ntrust.unsigned = true\n'
                      f'network.ca = "{authority.file}"\n')  # fmt: skip
    with Mirror({}, authority.context()) as mirror:
        web, settings = replace(desk, url=f"{mirror.url}/prod"), ("--config", str(config))
        web.publish(*settings)
        web.edit(serial=7)
        web.publish(*settings)
        web.publish(*settings)
        assert [(row["serial"], row["notes"]) for row in history(web, *settings)] == [(9, []), (8, []), (2, [])]
        web.write(serial=9)
        web.publish(*settings)
        web.edit(serial=20)
        web.publish(*settings)
        (row,) = history(web, *settings)
        assert row["notes"] == [
            "older ones are not found: it does not name the one that it replaced, and this store has no listing"
        ]


# What has changed, as paths


def test_differences_name_members_down_to_the_third_level_and_pass_over_what_each_publication_sets() -> None:
    before = {
        "serial": 1,
        "history": {"previous": None, "keep": 5},
        "servers": {"web1": {"zone": "a"}, "web2": {"zone": "a"}},
        "products": {"blog": {"release": {"version": "1", "size": 1}, "workers": 8}},
    }
    after = {
        "serial": 2,
        "history": {"previous": {"serial": 1}},
        "servers": {"web1": {"zone": "a"}, "web3": {"zone": "a"}},
        "products": {"blog": {"release": {"version": "2", "size": 2}, "workers": 8}},
        "caches": {},
    }
    assert differences(before, after) == (
        Difference("add", "caches"),
        Difference("remove", "history.keep"),
        Difference("change", "products.blog.release"),
        Difference("remove", "servers.web2"),
        Difference("add", "servers.web3"),
    )
