"""What a node does while stores, the metadata service or all of AWS are out, and when they are back."""

import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aws_node import DOCUMENT, PREFIX, S3, SECRET, TOKEN, AwsNode, aws_node, in_this_process
from patience import on_this_machine
from processes import watching
from servers.http import Answer, Request, Server

AGES = re.compile(r"going on with serial (\d+), first read (\S+), (less than an hour|\S+ \S+) ago")
AMAZON = {"boto3", "botocore", "s3transfer"}


@pytest.fixture(scope="module")
def _node() -> Iterator[AwsNode]:
    with in_this_process(), aws_node() as made:
        yield made


@pytest.fixture
def node(_node: AwsNode) -> Iterator[AwsNode]:
    """A machine that was never booted; its document is in all stores, and all servers are well."""
    document = _node.snapshot()
    _node.publish()
    yield _node
    _node.heal()
    _node.cut()
    _node.configure()
    _node.forget()
    shutil.rmtree(_node.machine.store)
    _node.machine.store.mkdir()
    _node.document = document


@pytest.fixture(scope="module")
def serving() -> Iterator[AwsNode]:
    """A node with Apache and a site, whose stores are S3 and a mirror."""
    with aws_node(daemons=True) as made:
        made.configure(store=[S3, made.mirror_url])
        made.product("blog", runtime="static")
        made.publish()
        made.boot()
        yield made


def stores_are_out(node: AwsNode) -> None:
    """Nobody answers at any of them."""
    node.s3.stop()
    node.mirror.stop()


def aged(node: AwsNode, hours: float) -> None:
    """As if the last document had been read so long ago."""
    note = node.state / "fleet/verified.json"
    known = json.loads(note.read_bytes())
    known["fetched"] = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="seconds")
    note.write_text(json.dumps(known))


# A node that serves


def test_with_all_stores_out_a_node_serves_and_says_how_old_its_document_is_until_one_is_back(
    serving: AwsNode,
) -> None:
    before = serving.links
    aged(serving, 5)
    stores_are_out(serving)
    for _ in range(3):
        said = serving.rolecall("refresh").stderr
        assert (found := AGES.search(said)), said
        assert (int(found[1]), found[3]) == (serving.document["serial"], "5 h")
        assert "\n  cause: unreachable (docs/reference/causes.md)\n" in said
        assert serving.get("blog.example.com")[2] == "release=1\n"
    assert serving.links == before
    known = serving.json("status", ok=True)
    assert (known["serving"], known["healthy"], known["serial"]) == (True, True, serving.document["serial"])
    assert 5 * 3600 <= known["document_age_seconds"] < 5 * 3600 + 120
    assert known["last_run"]["cause"] == "unreachable"
    assert AGES.search(known["last_run"]["degraded"])
    text = serving.rolecall("status").stdout
    assert re.search(r"first read 5\S* h ago", text)
    assert "degraded  no store answers" in text
    # One is back: no restart, and what waited for it is written.
    serving.product("blog", "2", runtime="static")
    serving.publish()
    serving.s3.start()
    said = serving.rolecall("refresh").stderr
    assert "degraded" not in said
    assert serving.get("blog.example.com")[2] == "release=2\n"
    assert (serving.reported()["outcome"], serving.reported()["degraded"]) == ("ready", "")
    assert list(outbox(serving)) == [serving.mirror_url]
    # And the other one.
    serving.mirror.start()
    serving.rolecall("refresh", "--json")
    assert isinstance(serving.mirror.files, dict)
    assert json.loads(serving.mirror.files[f"{PREFIX}/reports/web1.json"])["outcome"] == "unchanged"
    assert not (serving.state / "outbox.json").exists()


def test_a_reboot_with_all_stores_out_serves_what_was_served_before(serving: AwsNode) -> None:
    serving.heal()
    serving.rolecall("refresh", "--json")
    before = serving.links
    serving.reboot()
    stores_are_out(serving)
    began = time.monotonic()
    report = serving.json("boot", ok=True)
    assert (report["outcome"], report["cause"]) == ("unchanged", "unreachable")
    assert AGES.search(report["degraded"])
    assert time.monotonic() - began < on_this_machine(30)
    assert serving.links == before
    assert serving.get("blog.example.com")[0] == 200
    assert serving.json("status", ok=True)["healthy"] is True
    serving.heal()
    assert serving.json("refresh", ok=True)["degraded"] == ""


# A node in files, in this process


def test_a_machine_without_a_document_takes_the_images_seed_until_a_store_is_back(node: AwsNode) -> None:
    seed = node.machine.root / "etc/rolecall/seed.json"
    seed.write_bytes(node.sealed())
    node.configure(store=[S3, node.mirror_url], paths={"seed": str(seed)})
    stores_are_out(node)
    report = node.run("boot")
    assert (report.outcome, report.exit_code, report.source) == ("ready", 0, f"file://{seed}"), report.error
    assert report.degraded.endswith("; seed used")
    assert report.cause == "unreachable"
    node.document["servers"]["web1"]["zone"] = "b"
    node.publish()
    node.heal()
    report = node.run()
    assert (report.exit_code, report.degraded, report.source) == (0, "", f"{S3}/fleet.json")
    assert node.reported()["serial"] == node.document["serial"]


def test_a_machine_that_has_nothing_waits_its_time_and_ends_with_75_and_the_cause(node: AwsNode) -> None:
    node.configure(store=[S3, node.mirror_url], boot={"metadata_timeout": "1s"})
    stores_are_out(node)
    began = time.monotonic()
    report = node.run("boot")
    assert 1 <= time.monotonic() - began < on_this_machine(10)
    assert (report.outcome, report.exit_code, report.cause) == ("failed", 75, "unreachable")
    for what in (f"cannot read {S3}/fleet.json", f"cannot read {node.mirror_url}/fleet.json"):
        assert what in report.error
    assert "there is no earlier document and no seed to go on with" in report.hint
    assert node.links[1] == ""
    # What a boot could not do a later refresh does.
    node.heal()
    assert node.run().outcome == "ready"
    assert node.reported()["outcome"] == "ready"


def test_a_store_that_comes_late_at_boot_is_waited_for(node: AwsNode) -> None:
    node.configure(boot={"metadata_timeout": "20s"})
    node.s3.stop()
    late = threading.Timer(1.0, node.s3.start)
    late.start()
    report = node.run("boot")
    late.join()
    assert (report.outcome, report.degraded) == ("ready", ""), report.error


def test_reports_wait_for_each_store_that_is_out_the_last_one_only(node: AwsNode) -> None:
    node.configure(store=[S3, node.mirror_url])
    assert node.run("boot").outcome == "ready"
    stores_are_out(node)
    for _ in range(3):
        report = node.run()
        assert (report.exit_code, report.outcome) == (0, "unchanged")
    assert {url: len(waiting) for url, waiting in outbox(node).items()} == {S3: 1, node.mirror_url: 1}
    assert [diagnosis.remedy for diagnosis in node.doctor() if "1 reports wait" in diagnosis.what] == [
        "they are written as soon as that store accepts them again"
    ] * 2
    node.mirror.start()
    report = node.run()
    assert report.source == f"{node.mirror_url}/fleet.json"
    assert list(outbox(node)) == [S3]
    node.s3.start()
    node.run()
    assert outbox(node) == {}
    assert node.reported()["source"] == f"{S3}/fleet.json"


def outbox(node: AwsNode) -> dict[str, Any]:
    """What waits for each store."""
    note = node.state / "outbox.json"
    return dict(json.loads(note.read_bytes())["stores"]) if note.exists() else {}


# Several stores


def test_where_s3_is_out_the_mirror_gives_the_document_and_the_release(node: AwsNode) -> None:
    node.configure(store=[S3, node.mirror_url])
    node.product("blog", runtime="static")
    node.publish()
    node.s3.stop()
    report = node.run("boot")
    assert (report.outcome, report.exit_code, report.degraded) == ("ready", 0, ""), report.error
    assert report.source == f"{node.mirror_url}/fleet.json"
    assert any(re.search(f"passed over: cannot read {S3}/fleet.json", one) for one in report.warnings)
    assert report.releases == {"blog": "1"}


@pytest.mark.parametrize("order", ["s3 first", "mirror first"])
def test_a_mirror_that_is_behind_does_not_win(order: str, node: AwsNode) -> None:
    stores = [S3, node.mirror_url]
    node.configure(store=stores if order == "s3 first" else stores[::-1])
    assert isinstance(node.mirror.files, dict)
    old = node.mirror.files[DOCUMENT]
    node.product("blog", runtime="static")
    node.publish()
    assert node.run("boot").outcome == "ready"
    node.mirror.files[DOCUMENT] = old
    report = node.run()
    assert (report.exit_code, report.outcome, report.source) == (0, "unchanged", f"{S3}/fleet.json"), report.error
    stale = f"passed over: {node.mirror_url}/fleet.json has serial"
    assert any(one.startswith(stale) for one in report.warnings) == (order == "mirror first")
    # With S3 out it does not win either: the node goes on with what it has.
    node.s3.stop()
    report = node.run()
    assert (report.exit_code, report.outcome, report.serial) == (0, "unchanged", node.document["serial"])
    assert AGES.search(report.degraded)
    assert report.releases == {"blog": "1"}
    assert any(one.startswith(stale) for one in report.warnings)


# The metadata service


@pytest.mark.parametrize("region", ["us-east-1", None], ids=["region in agent.toml", "the instance's region"])
def test_without_the_metadata_service_a_refresh_goes_on_as_who_it_was_and_follows_the_document(
    region: str | None, node: AwsNode
) -> None:
    node.configure(aws={"region": region}, network={"timeout": "1s"})
    assert node.run("boot").outcome == "ready"
    node.imds.stop()
    node.product("blog", runtime="static")
    node.publish()
    report = node.run()
    assert any("the identity from earlier in this boot is used" in one for one in report.warnings)
    assert report.exit_code == 0
    assert (report.outcome, report.degraded, report.releases) == ("ready", "", {"blog": "1"})


def test_without_the_metadata_service_a_boot_waits_its_time_and_ends_with_75_though_a_mirror_answers(
    node: AwsNode,
) -> None:
    node.configure(store=[node.mirror_url], boot={"metadata_timeout": "2s"})
    assert node.run("boot").outcome == "ready"
    before = node.links
    node.reboot()
    node.imds.stop()
    began = time.monotonic()
    report = node.run("boot")
    assert 1 <= time.monotonic() - began < on_this_machine(10)
    assert (report.outcome, report.exit_code, report.cause) == ("failed", 75, "imds-unreachable")
    assert report.hint
    assert node.links == before, "who it is it does not know, but what it served it serves"
    node.imds.start()
    report = node.run()
    assert (report.outcome, report.exit_code, report.warnings) == ("unchanged", 0, [])


def test_without_credentials_of_the_role_the_mirror_is_enough(node: AwsNode) -> None:
    node.configure(store=[S3, node.mirror_url])
    node.imds.role(None)
    report = node.run("boot")
    assert (report.outcome, report.source, report.degraded) == ("ready", f"{node.mirror_url}/fleet.json", "")
    assert any("passed over: no role is attached to this instance" in one for one in report.warnings)


@pytest.mark.parametrize("lacks", ["credentials", "the right credentials"])
def test_a_store_that_cannot_be_asked_at_all_keeps_no_report_from_the_others(lacks: str, node: AwsNode) -> None:
    node.configure(store=[S3, node.mirror_url])
    node.s3.stop()
    assert node.run("boot").outcome == "ready"
    assert list(outbox(node)) == [S3]
    node.s3.start()
    node.reboot()
    file = node.machine.root / "etc/rolecall/aws"
    file.touch(0o600)
    file.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    where = "/nowhere/aws" if lacks == "credentials" else str(file)
    node.configure(store=[S3, node.mirror_url], aws={"credentials": f"file:{where}", "region": None})
    assert isinstance(node.mirror.files, dict)
    del node.mirror.files[f"{PREFIX}/reports/web1.json"]
    report = node.run()
    assert (report.exit_code, report.source) == (0, f"{node.mirror_url}/fleet.json")
    words = "cannot read the credentials in /nowhere/aws" if lacks == "credentials" else "cannot read s3://"
    assert any(f"passed over: {words}" in one for one in report.warnings)
    assert f"{PREFIX}/reports/web1.json" in node.mirror.files
    assert list(outbox(node)) == [S3]


# Without AWS


def test_a_physical_machine_boots_without_anything_of_aws(node: AwsNode) -> None:
    del node.document["servers"]["web1"]["instance"]
    node.product("blog", runtime="static")
    node.publish()
    identity, folder = node.machine.root / "etc/rolecall/identity.json", f"file://{node.machine.store}"
    identity.write_text('{"server": "web1"}')
    node.configure(identity=[f"file:{identity}"], store=[node.mirror_url, folder])
    node.s3.forget()
    node.imds.requests.clear()

    def says(*words: str) -> tuple[Any, list[str]]:
        """What the program answers, and which modules of AWS it has loaded by then."""
        code = (
            "import sys; from rolecall.__main__ import main; code = main();"
            f"print(*({AMAZON} & sys.modules.keys()), file=sys.stderr);"
            "sys.exit(code)"
        )
        argv = [sys.executable, "-c", code, *words, "--json", "--config", str(node.machine.config)]
        done = subprocess.run(argv, env=node.env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout), done.stderr.split()

    report, loaded = says("boot")
    assert (report["outcome"], report["source"], loaded) == ("ready", f"{node.mirror_url}/fleet.json", [])
    assert report["releases"] == {"blog": "1"}
    assert (node.machine.store / "reports/web1.json").exists()
    found, loaded = says("doctor")
    assert (all(one["ok"] for one in found), loaded) == (True, [])
    node.mirror.stop()
    report, loaded = says("refresh")
    assert (report["outcome"], report["source"], loaded) == ("unchanged", f"{folder}/fleet.json", [])
    assert (node.s3.requests, node.imds.requests) == ([], [])


# Canaries

CANARIES = {"ssm": "canary-of-the-parameter", "manager": "canary-of-the-manager", "file": "canary-of-the-file"}


class Vault(Server):
    """Parameter Store and Secrets Manager, as far as this node asks; who asks is not looked at."""

    def answer(self, request: Request) -> Answer:
        asked = json.loads(request.body)
        if request.headers["X-Amz-Target"] == "AmazonSSM.GetParameters":
            found = [{"Name": name, "Value": CANARIES["ssm"], "Type": "SecureString"} for name in asked["Names"]]
            told: dict[str, Any] = {"Parameters": found, "InvalidParameters": []}
        else:
            told = {"Name": asked["SecretId"], "SecretString": json.dumps({"password": CANARIES["manager"]})}
        return Answer(200, json.dumps(told).encode(), {"Content-Type": "application/x-amz-json-1.1"})


def test_no_secret_of_a_product_or_of_the_role_is_told_by_any_command_whatever_fails() -> None:
    told = (*CANARIES.values(), SECRET, TOKEN)
    said: list[str] = []
    with aws_node(daemons=True) as node, Vault() as vault, watching() as seen:
        endpoints = {"s3": node.s3.url, "ssm": vault.url, "secretsmanager": vault.url}
        node.configure(aws={"endpoints": endpoints}, store=[S3, node.mirror_url], boot={"selftest_deadline": "2s"},
                       network={"timeout": "4s"})  # fmt: skip
        site(node, "1")
        node.rolecall("image", "attach")

        def runs(*words: str, ok: int = 0) -> None:
            done = node.rolecall(*words, ok=ok)
            said.extend((done.stdout, done.stderr))

        runs("boot")
        assert node.get("blog.example.com")[0] == 200
        conf = (node.state / "current/apache/50-blog.conf").read_text()
        assert all(one in conf for one in CANARIES.values()), "the product has them"
        for words in (["plan"], ["status"], ["doctor"]):
            runs(*words)
        for code in failures(node, vault):
            runs("refresh", "--json", ok=code)
            if code == 75:
                runs("doctor", ok=1)
            vault.heal()
            node.heal()
        root = node.machine.root
        said += [path.read_text() for path in node.state.glob("reports/*.json")]
        said += [data.decode() for (_, key), data in node.s3.objects.items() if "/reports/" in key]
        assert isinstance(node.mirror.files, dict)
        said += [data.decode() for key, data in node.mirror.files.items() if "/reports/" in key]
        everybody = [path for path in root.rglob("*") if path.is_file() and path.stat().st_mode & 0o007]
        assert [path for path in everybody if any(one.encode() in path.read_bytes() for one in told)] == []
    assert not [text for text in said for one in told if one in text]
    mine = {text: where for text, where in seen.items() if str(root) in text}
    assert {where.partition(" ")[0] for where in mine.values()} == {"cmdline", "environ"}, "the runs were seen"
    assert not [where for text, where in seen.items() if any(one in text for one in told)]


def site(node: AwsNode, version: str, **parts: Any) -> None:
    """Publish a product with secrets of all kinds."""
    file = node.machine.root / "etc/rolecall/password"
    file.touch(0o600)
    file.write_text(CANARIES["file"])
    secrets = {"A": "ssm:/prod/a", "B": "secretsmanager:prod/b#password", "C": f"file:{file}"}
    node.product("blog", version, secrets=secrets, **parts)
    node.publish()


def failures(node: AwsNode, vault: Vault) -> Iterator[int]:
    """What may go wrong, and the exit code of a run then."""
    vault.fault(500, body=b"no")
    yield 75
    vault.fault("garbage", body=f"<html>{CANARIES}</html>".encode())
    yield 75
    node.s3.keys = {}
    node.mirror.fault(500)
    yield 0
    site(node, "2", health="down")
    yield 1
    node.publish(b"{}")
    yield 78


def test_what_is_no_answer_of_parameter_store_is_a_broken_answer_and_what_serves_goes_on(node: AwsNode) -> None:
    with Vault() as vault:
        node.configure(aws={"endpoints": {"s3": node.s3.url, "ssm": vault.url, "secretsmanager": vault.url}})
        site(node, "1")
        assert node.run("boot").outcome == "ready"
        before = node.links
        vault.fault("garbage", body=b'{"message": "Please log in to use this network."}')
        report = node.run()
        assert (report.exit_code, report.cause, node.links) == (75, "broken-answer", before), report.error
