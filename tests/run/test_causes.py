"""docs/reference/causes.md, row by row: each cause is made to happen, and is told with its remedy."""

import ast
import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from aws_node import BUCKET, DOCUMENT, KEY_ID, PREFIX, S3, SECRET, TOKEN, AwsNode, aws_node, in_this_process, new_key
from box import ROOT
from database_fleet import WRITER, Fleet
from patience import on_this_machine, wait_until
from rolecall import run
from rolecall.cli import doctor
from rolecall.cli.answers import Diagnosis
from rolecall.database import client, promotion
from rolecall.node.node import open_node
from rolecall.settings import load_settings
from servers.http import Answer, Request, Server
from servers.s3 import AccessKey

PAGE = ROOT / "docs/reference/causes.md"
WRITES = "What only a write shows"  # the parts of the page whose rows doctor cannot see
COPIES = "What only a copy of a store shows"
DATABASE = "A server is not what its database needs"
OF_ONE_PRODUCT = ("no-secret",)  # all other products of the node go on
BY_THE_PROGRAM = ("imds-off", "no-key", "access-denied", "no-credentials", "signature")
SHORT = {"timeout": "200ms"}  # where the end of a deadline is what happens
REPLICATION = "rolecall_replication@127.0.0.1"
CLIENTS = "SHOW STATUS LIKE 'Rpl_semi_sync_master_clients'"
WAITING = "SELECT MAX(TIME) > 4 FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for semi-sync%'"
HELD = 1234.5  # seconds that a table is locked
HOLDER = f"SELECT ID FROM information_schema.PROCESSLIST WHERE INFO = 'DO SLEEP({HELD})'"
APPLYING = "SELECT COMMAND FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table%lock'"
OLD = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Row:
    """A row of the page."""

    part: str
    cause: str
    message: str
    code: int
    number: int  # of the rows of this cause

    @property
    def pattern(self) -> str:
        """The message; … stands for whatever there is."""
        return ".*".join(map(re.escape, self.message.split("…")))


def rows() -> list[Row]:
    """All rows of all tables of the page that have a cause."""
    table: list[Row] = []
    part = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            part = line.removeprefix("## ")
        if match := re.fullmatch(r"\| `([a-z-]+)` \| ([^|]+) \| `([^`|]+)` \| (\d+) \| ([^|]+) \|", line):
            cause, _, message, code, _ = match.groups()
            table.append(Row(part, cause, message, int(code), sum(row.cause == cause for row in table)))
    return table


ROWS = rows()
Scene = Callable[[Any], Any]
SCENES: dict[str, list[Scene]] = {}


def scene(cause: str) -> Callable[[Scene], Scene]:
    """This makes it happen: the scenes of a cause are in the order of its rows."""

    def add(scenery: Scene) -> Scene:
        SCENES.setdefault(cause, []).append(scenery)
        return scenery

    return add


# Who am I


@scene("imds-unreachable")
def nobody_listens(node: AwsNode) -> None:
    node.configure(network=SHORT)
    node.imds.stop()


@scene("imds-unreachable")
def questions_are_not_answered(node: AwsNode) -> None:
    node.configure(network=SHORT)
    node.imds.fault("hang", method="GET")


@scene("imds-hop-limit")
def a_container_asks(node: AwsNode) -> None:
    node.configure(network={"timeout": "1s"})  # where hardly any is left, silence tells nothing
    node.imds.fault("hop-limit")


@scene("imds-off")
def the_service_is_off(node: AwsNode) -> None:
    node.imds.fault("off")


@scene("imds-busy")
def somebody_asks_all_the_time(node: AwsNode) -> None:
    node.configure(network=SHORT)
    node.imds.fault(503)


@scene("imds-error")
def the_service_is_ill(node: AwsNode) -> None:
    node.configure(network=SHORT)
    node.imds.fault(500)


@scene("imds-error")
def a_login_page_answers(node: AwsNode) -> None:
    node.imds.fault("garbage", method="GET")


@scene("imds-error")
def the_answer_does_not_end(node: AwsNode) -> None:
    node.configure(network=SHORT)
    node.imds.fault("huge", method="GET", size=2 << 20)


@scene("no-identity")
def no_file_says_who(node: AwsNode) -> None:
    node.configure(identity=["file:/nowhere/identity.json"])


# Credentials and the clock


@scene("no-role")
def no_instance_profile(node: AwsNode) -> None:
    node.imds.role(None)


@scene("role-broken")
def the_role_does_not_trust_ec2(node: AwsNode) -> None:
    node.imds.refuse_role("node")


@scene("credentials-pending")
def the_role_is_new(node: AwsNode) -> None:
    node.imds.fault(404, path_prefix="/latest/meta-data/iam/security-credentials/node")


@scene("credentials-expired")
def the_metadata_service_has_old_ones(node: AwsNode) -> None:
    node.imds.role("node", KEY_ID, SECRET, TOKEN, expires=OLD)


@scene("credentials-expired")
def s3_says_that_they_are_old(node: AwsNode) -> None:
    node.s3.keys = {KEY_ID: AccessKey(SECRET, token=TOKEN, expires=OLD.timestamp())}


@scene("credentials-refused")
def s3_does_not_know_the_key(node: AwsNode) -> None:
    node.s3.keys = {"ASIAANOTHER": AccessKey()}


@scene("credentials-refused")
def the_secret_is_another_one(node: AwsNode) -> None:
    node.s3.keys = {KEY_ID: AccessKey("another", token=TOKEN)}


@scene("no-credentials")
def no_file_of_credentials(node: AwsNode) -> None:
    node.configure(aws={"credentials": "file:/nowhere/aws"})


@scene("no-credentials")
def a_file_of_something_else(node: AwsNode) -> None:
    file = credentials(node)
    file.write_text("aws_access_key_id = 1\n")
    node.configure(aws={"credentials": f"file:{file}"})


@scene("no-credentials")
def a_file_for_everybody(node: AwsNode) -> None:
    file = credentials(node)
    file.chmod(0o644)
    node.configure(aws={"credentials": f"file:{file}"})


def credentials(node: AwsNode) -> Path:
    """A file of good ones."""
    file = node.machine.root / "etc/rolecall/aws"
    file.touch(0o600)
    file.chmod(0o600)
    keys = {"aws_access_key_id": KEY_ID, "aws_secret_access_key": SECRET, "aws_session_token": TOKEN}
    file.write_text("[default]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()))
    return file


@scene("no-credentials")
def nothing_for_the_aws_tools(node: AwsNode) -> None:
    node.configure(aws={"credentials": "boto3"})


@scene("clock-skew")
def the_clock_is_ahead_of_the_credentials(node: AwsNode) -> None:
    node.imds.clock = lambda: OLD - timedelta(hours=1)
    node.imds.role("node", KEY_ID, SECRET, TOKEN, expires=OLD)


@scene("clock-skew")
def the_clock_is_wrong(node: AwsNode) -> None:
    node.s3.skew(20 * 60)


# Stores


@scene("access-denied")
def the_policy_lacks_it(node: AwsNode) -> None:
    node.s3.keys = {KEY_ID: AccessKey(SECRET, token=TOKEN, allowed=())}


@scene("access-denied")
def the_mirror_wants_a_password(node: AwsNode) -> None:
    node.configure(store=[node.mirror_url])
    node.mirror.authorization = "Basic YTpi"


@scene("no-bucket")
def no_such_bucket(node: AwsNode) -> None:
    node.configure(store=[f"s3://heavy-fleet/{PREFIX}"])


@scene("no-key")
def nothing_published(node: AwsNode) -> None:
    node.configure(store=[f"s3://{BUCKET}/elsewhere"])


@scene("no-key")
def nothing_on_the_mirror(node: AwsNode) -> None:
    node.configure(store=[f"{node.mirror.url}/elsewhere"])


@scene("no-key")
def nothing_in_the_folder(node: AwsNode) -> None:
    node.configure(store=[f"file://{node.machine.root}/etc"])


class NoSecrets(Server):
    """Stores of secrets in which there is nothing."""

    def answer(self, request: Request) -> Answer:
        names = json.loads(request.body).get("Names")
        if names:
            return Answer(200, json.dumps({"Parameters": [], "InvalidParameters": names}).encode())
        error = {"__type": "ResourceNotFoundException", "Message": "Secrets Manager can't find the specified secret."}
        return Answer(400, json.dumps(error).encode())


def ask_for_a_secret(node: AwsNode, reference: str) -> None:
    """A product of the node has a secret that is not there."""
    secrets = node._ends.enter_context(NoSecrets())
    node.configure(aws={"endpoints": {"s3": node.s3.url, "ssm": secrets.url, "secretsmanager": secrets.url}})
    node.product("blog", runtime="static", secrets={"TOKEN": reference})
    node.publish()


@scene("no-secret")
def no_such_parameter(node: AwsNode) -> None:
    ask_for_a_secret(node, "ssm:/prod/token")


@scene("no-secret")
def no_such_secret(node: AwsNode) -> None:
    ask_for_a_secret(node, "secretsmanager:prod/token")


@scene("wrong-region")
def the_bucket_is_elsewhere(node: AwsNode) -> None:
    node.s3.buckets[BUCKET] = "eu-west-1"


@scene("throttled")
def too_many_requests(node: AwsNode) -> None:
    node.s3.fault(503)


@scene("unreachable")
def s3_is_gone(node: AwsNode) -> None:
    node.s3.stop()


@scene("unreachable")
def the_mirror_is_gone(node: AwsNode) -> None:
    node.configure(store=[node.mirror_url])
    node.mirror.stop()


@scene("unreachable")
def the_folder_is_not_mounted(node: AwsNode) -> None:
    node.configure(store=["file:///nowhere/mirror"])


@scene("too-slow")
def s3_hangs(node: AwsNode) -> None:
    node.configure(network=SHORT)
    node.s3.fault("hang")


@scene("too-large")
def something_else_was_uploaded(node: AwsNode) -> None:
    node.s3.put(BUCKET, DOCUMENT, bytes(17 << 20))


@scene("broken-answer")
def half_of_it_comes(node: AwsNode) -> None:
    node.s3.fault("truncate")


@scene("broken-answer")
def half_of_it_comes_from_the_mirror(node: AwsNode) -> None:
    node.configure(store=[node.mirror_url])
    node.mirror.fault("truncate")


@scene("broken-answer")
def the_disk_fails(node: AwsNode) -> None:
    # A document that opens and whose first page cannot be read, as on a dead mount.
    folder = node.machine.root / "srv/dead"
    folder.mkdir(exist_ok=True)
    (folder / "fleet.json").unlink(missing_ok=True)
    (folder / "fleet.json").symlink_to("/proc/self/mem")
    node.configure(store=[f"file://{folder}"])


@scene("server-error")
def s3_is_ill(node: AwsNode) -> None:
    node.s3.fault(500)


@scene("moved")
def the_mirror_has_moved(node: AwsNode) -> None:
    node.configure(store=[node.mirror_url])
    node.mirror.redirect("/", "https://mirror.example.com/")


@scene("tls")
def nobody_vouches_for_the_mirror(node: AwsNode) -> None:
    node.configure(store=[node.mirror_url], network={"ca": None})


@scene("refused")
def s3_does_not_understand(node: AwsNode) -> None:
    node.s3.answer = mock.Mock(side_effect=refusal(405, "MethodNotAllowed"))  # type: ignore[method-assign]


@scene("refused")
def the_mirror_does_not_understand(node: AwsNode) -> None:
    node.configure(store=[node.mirror_url])
    node.mirror.fault(400)


@scene("aws-settings")
def no_name_of_a_bucket(node: AwsNode) -> None:
    node.configure(store=[f"s3://fleet!/{PREFIX}"])


@scene("aws-settings")
def no_name_of_a_region(node: AwsNode) -> None:
    node.configure(aws={"region": "us_east"})


@scene("aws-settings")
def nobody_says_the_region(node: AwsNode) -> None:
    identity = [f"file:{node.machine.root}/etc/rolecall/identity.json"]
    node.configure(identity=identity, aws={"credentials": f"file:{credentials(node)}", "region": None})


def refusal(status: int, code: str) -> Exception:
    from servers.s3 import Refusal

    return Refusal(status, code)


# Documents that are refused


@scene("signature")
def nobody_signed(node: AwsNode) -> None:
    node.publish(json.dumps(node.document).encode())


@scene("signature")
def somebody_else_signed(node: AwsNode) -> None:
    key = node.machine.root / "other-key"
    if not key.exists():
        new_key(key)
    node.publish(node.sealed(key=key))


@scene("signature")
def half_an_envelope(node: AwsNode) -> None:
    node.publish(b'{"rolecall": "signed document", "payload": "{}"}')


@scene("signature")
def no_keys_in_the_image(node: AwsNode) -> None:
    node.configure(trust={"signers": "/nowhere/allowed_signers"})


@scene("other-fleet")
def the_image_is_of_another_fleet(node: AwsNode) -> None:
    node.configure(trust={"fleet": "heavy"})


@scene("other-fleet")
def the_node_was_of_another_fleet(node: AwsNode) -> None:
    assert node.run("boot").exit_code == 0
    node.document["fleet"] = "other"
    node.publish()


@scene("old-serial")
def an_old_document_is_back(node: AwsNode) -> None:
    assert node.run("boot").exit_code == 0
    node.document["serial"] -= 2
    node.publish()


@scene("old-serial")
def nobody_raised_the_serial(node: AwsNode) -> None:
    assert node.run("boot").exit_code == 0
    node.document["servers"]["web1"]["zone"] = "b"
    node.publish(raise_serial=False)


@scene("old-epoch")
def an_old_copy_was_published_with_a_new_serial(node: AwsNode) -> None:
    node.document["databases"]["blog"]["epoch"] = 2
    node.publish()
    assert node.run("boot").exit_code == 0
    node.document["databases"]["blog"]["epoch"] = 1
    node.publish()


@scene("old-epoch")
def the_master_was_changed_and_the_epoch_was_not(node: AwsNode) -> None:
    assert node.run("boot").exit_code == 0
    node.document["databases"]["blog"] |= {"master": "db2", "candidate": "db1"}
    node.publish()


@scene("expired")
def nobody_published_for_a_week(node: AwsNode) -> None:
    node.document["not_after"] = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    node.publish()


# A server is not what its database needs: each begins where the one before has ended, and gives the server to look at


@scene("upstream")
def the_upstream_is_not_there_yet(fleet: Fleet) -> str:
    fleet.small_disk("db2")
    fleet.document.setdefault("roles", {})["database"] = {"max_ack_wait": "4s"}
    fleet.become(replicas=["db5"], snapshot=None)
    for name in ("db1", "db2"):
        fleet.nodes[name].rolecall("image", "attach")
    return "db2"


@scene("diverged")
def somebody_makes_data_on_it(fleet: Fleet) -> str:
    fleet.sql("db2", "SET sql_log_bin = 0; CREATE DATABASE mine; CREATE TABLE mine.t (n INT)")
    return "db2"


@scene("upstream")
def the_upstream_does_not_let_it_copy(fleet: Fleet) -> str:
    assert fleet.sql("db2", "SHOW DATABASES LIKE 'mine'") == "mine"
    fleet.sql("db2", "SET sql_log_bin = 0; DROP DATABASE mine")
    fleet.run("db1")
    fleet.sql("db1", f"SET sql_log_bin = 0; REVOKE SELECT ON *.* FROM {REPLICATION}")
    return "db2"


@scene("diverged")
def somebody_writes_to_a_replica(fleet: Fleet) -> str:
    fleet.sql("db1", f"SET sql_log_bin = 0; GRANT SELECT ON *.* TO {REPLICATION}")
    fleet.run("db2", "db1")
    fleet.sql("db1", "CREATE TABLE blog.t (n INT PRIMARY KEY)")
    assert fleet.sql("db2", f"SELECT MASTER_GTID_WAIT('{fleet.sql('db1', 'SELECT @@gtid_binlog_pos')}', 20)") == "0"
    fleet.sql("db2", "SET sql_log_bin = 0; INSERT INTO blog.t VALUES (1)")
    fleet.sql("db1", "INSERT INTO blog.t VALUES (1)")
    until = time.monotonic() + 20
    while fleet.duty("db2")[2] != "No" and time.monotonic() < until:
        time.sleep(0.1)
    return "db2"


@scene("acknowledgement")
def nobody_acknowledges(fleet: Fleet) -> str:
    assert fleet.sql("db2", "SELECT n FROM blog.t") == "1", "nothing is overwritten"
    fleet.sql("db2", "SET sql_log_bin = 0; DELETE FROM blog.t; START SLAVE")
    fleet.run("db2", "db1")
    fleet.sql("db1", "ALTER TABLE blog.t ADD k VARCHAR(40), MODIFY n INT AUTO_INCREMENT")
    fleet.sql("db1", f"CREATE USER {WRITER}@localhost; GRANT SELECT, INSERT ON blog.* TO {WRITER}@localhost")
    fleet.sql("db2", "STOP SLAVE")
    wait_until(lambda: fleet.sql("db1", CLIENTS).endswith("0"), "it has left")
    return "db1"


@scene("acknowledgement")
def the_candidate_is_frozen(fleet: Fleet) -> str:
    fleet.run("db2")
    wait_until(lambda: fleet.sql("db1", CLIENTS).endswith("1"), "it is there again")
    os.kill(fleet.pid("db2"), signal.SIGSTOP)
    fleet.waiting_write("db1", "k")
    wait_until(lambda: fleet.sql("db1", WAITING) == "1", "it waits")
    return "db1"


@scene("server-hangs")
def it_is_frozen_itself(fleet: Fleet) -> str:
    assert (Path("/proc") / str(fleet.pid("db2")) / "stat").read_text().rpartition(")")[2].split()[0] == "T"
    return "db2"


@scene("disk-full")
def its_logs_have_no_room(fleet: Fleet) -> str:
    os.kill(fleet.pid("db2"), signal.SIGCONT)
    fleet.fill_disk(fleet.nodes["db2"].machine.root / "var/lib/mysql-binlog/filler", "db2")
    return "db2"


@scene("long-statement")
def its_applier_is_at_something_long(fleet: Fleet) -> str:
    (fleet.nodes["db2"].machine.root / "var/lib/mysql-binlog/filler").unlink(missing_ok=True)
    fleet.kill("db2")  # left alone it would look for room again within a minute
    fleet.start("db2")
    fleet.run("db2")
    fleet.become(candidate=None, replicas=["db2", "db5"])
    fleet.run("db1", "db2")
    fleet.hold(f"LOCK TABLES blog.t READ; DO SLEEP({HELD})", "db2")
    fleet.sql("db1", "INSERT INTO blog.t (k) VALUES ('held')")
    wait_until(lambda: "Slave_SQL" in fleet.sql("db2", APPLYING), "it comes to it")
    (fleet.folder / "repl").write_text("another")
    fleet.run("db1")
    return "db2"


@scene("long-statement")
def somebody_has_locked_the_master(fleet: Fleet) -> str:
    fleet.sql("db2", f"KILL {fleet.sql('db2', HOLDER)}")
    fleet.become(candidate="db2", replicas=["db5"])
    fleet.follow("db2", "db1")
    fleet.hold(f"FLUSH TABLES WITH READ LOCK; DO SLEEP({HELD})", "db1")
    fleet.waiting_write("db1", "k")
    wait_until(lambda: fleet.sql("db1", WAITING.replace("semi-sync", "backup lock")) == "1", "it waits")
    return "db1"


@scene("former-master")
def the_former_master_has_not_heard_of_it(fleet: Fleet) -> str:
    fleet.sql("db1", f"KILL {fleet.sql('db1', HOLDER)}")
    fleet.follow("db1")
    fleet.become(epoch=2, master="db2", candidate="db1")
    return "db2"


@scene("former-master")
def it_is_behind_what_the_former_master_wrote(fleet: Fleet) -> str:
    fleet.sql("db2", "STOP SLAVE; CHANGE MASTER TO MASTER_DELAY = 3600; START SLAVE")
    fleet.sql("db1", "SET GLOBAL rpl_semi_sync_master_enabled = OFF; INSERT INTO blog.t () VALUES ()")
    fleet.run("db1", ok=False)  # it is closed, and has nobody to follow yet
    assert fleet.duty("db1")[0] == "1"
    return "db2"


@scene("former-master")
def another_server_is_silent(fleet: Fleet) -> str:
    fleet.sql("db2", "STOP SLAVE SQL_THREAD")
    os.kill(int((fleet.nodes["db1"].machine.root / "run/mysqld/mysqld.pid").read_text()), signal.SIGKILL)
    return "db2"


@scene("former-master")
def the_former_master_is_given_up(fleet: Fleet) -> str:
    fleet.become(epoch=3, candidate=None, replicas=[])
    return "db2"


@scene("diverged")
def an_empty_server_is_to_replace_one_that_has_the_data(fleet: Fleet) -> str:
    fleet.become(epoch=4, master="db3", replicas=["db2", "db5"])
    fleet.nodes["db3"].rolecall("image", "attach")
    return "db3"


# What only a write shows


@scene("conflict")
def two_people_publish(node: AwsNode) -> Any:
    document = node.machine.root / "mine.json"
    document.write_text(json.dumps({**node.document, "serial": 1}))
    return document, S3


@scene("conflict")
def two_people_publish_at_the_same_time(node: AwsNode) -> Any:
    document = node.machine.root / "mine.json"
    document.write_text(json.dumps(node.document))
    node.s3.fault(409, key=f"{PREFIX}/fleet.json", method="PUT")
    return document, S3


@scene("not-writable")
def a_mirror_takes_nothing(node: AwsNode) -> Any:
    document = node.machine.root / "mine.json"
    document.write_text(json.dumps(node.document))
    node.mirror.read_only = True
    return document, node.mirror_url


@scene("no-conditions")
def a_mirror_ignores_conditions(node: AwsNode) -> Any:
    document = node.machine.root / "mine.json"
    document.write_text(json.dumps(node.document))
    node.mirror.conditions = "ignored"
    return document, node.mirror_url


@scene("no-conditions")
def a_server_knows_no_conditions(node: AwsNode) -> Any:
    document = node.machine.root / "mine.json"
    document.write_text(json.dumps(node.document))
    node.s3.conditions = "unknown"
    return document, S3


@scene("not-as-written")
def a_cache_shows_the_old_document(node: AwsNode) -> Any:
    document = node.machine.root / "mine.json"
    document.write_text(json.dumps(node.document))
    node.mirror.loses = "fleet.json"
    return document, node.mirror_url


# What only a copy of a store shows


@scene("no-folder")
def a_store_is_copied_to_a_web_server_that_makes_no_folders(node: AwsNode) -> Any:
    node.s3.put(BUCKET, f"{PREFIX}/releases/video.tar", b"video")
    node.mirror.fault(409, method="PUT", path_prefix="/copy/releases")
    return S3, f"{node.mirror.url}/copy"


@scene("no-listing")
def a_web_server_is_copied(node: AwsNode) -> Any:
    return node.mirror_url, f"file://{node.machine.root}"


@scene("conflict")
def a_newer_document_is_copied_over(node: AwsNode) -> Any:
    target = node.machine.root / "copy"
    target.mkdir()
    (target / "fleet.json").write_text(json.dumps({**node.document, "serial": node.document["serial"] + 1}))
    return S3, f"file://{target}"


# The tests


@pytest.fixture(scope="module")
def _node() -> Iterator[AwsNode]:
    nothing = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull,
               "AWS_SHARED_CREDENTIALS_FILE": os.devnull}  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with mock.patch.dict(os.environ, {**environment, **nothing}, clear=True), in_this_process(), aws_node() as node:
        yield node


@pytest.fixture
def node(_node: AwsNode) -> Iterator[AwsNode]:
    """A machine that was never booted; all its servers are well."""
    document = _node.snapshot()
    _node.publish()
    yield _node
    _node.s3.__dict__.pop("answer", None)
    _node.heal()
    _node.cut()
    _node.configure()
    _node.forget()
    _node.document = document


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.part not in (WRITES, COPIES, DATABASE)],
    ids=lambda row: f"{row.cause}-{row.number + 1}",
)
def test_a_run_and_doctor_tell_the_cause_with_its_remedy(row: Row, node: AwsNode) -> None:
    SCENES[row.cause][row.number](node)
    if row.cause in BY_THE_PROGRAM and row.number == 0:
        report = node.json("refresh", ok=row.code)
        diagnoses = [Diagnosis(**diagnosis) for diagnosis in node.json("doctor", ok=1)]
    else:
        report = node.run().data()
        diagnoses = node.doctor()
    assert (report["cause"], report["exit_code"]) == (row.cause, row.code), report["error"]
    assert re.search(row.pattern, report["error"]), report["error"]
    assert report["hint"]
    outcome = "refused" if row.code == 78 else "incomplete" if row.cause in OF_ONE_PRODUCT else "failed"
    assert report["outcome"] == outcome
    named = [diagnosis for diagnosis in diagnoses if not diagnosis.ok and diagnosis.what.endswith(f" [{row.cause}]")]
    assert any(re.search(row.pattern, diagnosis.what) for diagnosis in named), diagnoses
    assert all(diagnosis.remedy for diagnosis in named), named


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.part == WRITES], ids=lambda row: f"{row.cause}-{row.number + 1}"
)
def test_who_publishes_is_told_the_cause_with_its_remedy_and_doctor_which_writes_nothing_finds_none(
    row: Row, node: AwsNode
) -> None:
    file, url = SCENES[row.cause][row.number](node)
    result = node.fleet_publish_program(file, url)
    answer = json.loads(result.stdout)
    assert (answer["cause"], answer["exit_code"], result.returncode) == (row.cause, row.code, row.code), answer
    assert re.search(row.pattern, answer["error"]), answer
    assert answer["hint"]
    assert f"  cause: {row.cause} (docs/reference/causes.md)" in result.stderr
    assert all(diagnosis.ok for diagnosis in node.doctor())


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.part == COPIES], ids=lambda row: f"{row.cause}-{row.number + 1}"
)
def test_who_copies_a_store_is_told_the_cause_with_its_remedy(row: Row, node: AwsNode) -> None:
    source, target = SCENES[row.cause][row.number](node)
    process = node.program("store", "copy", source, target)
    answer = json.loads(process.stdout)
    assert (answer["cause"], answer["exit_code"], process.returncode) == (row.cause, row.code, row.code), answer
    assert re.search(row.pattern, answer["error"]), answer
    assert answer["hint"]
    assert f"  cause: {row.cause} (docs/reference/causes.md)" in process.stderr


def test_a_database_server_tells_why_it_is_not_what_the_document_says_and_overwrites_nothing(fleet: Fleet) -> None:
    for row in [row for row in ROWS if row.part == DATABASE]:
        if row.cause == "disk-full" and os.geteuid():
            continue  # only root can mount a small disk
        box = fleet.nodes[SCENES[row.cause][row.number](fleet)]
        with (
            mock.patch.dict(os.environ, box.env),
            mock.patch.multiple(promotion, FORMER_MASTER_TIMEOUT=0.5, CATCH_UP_TIMEOUT=1),
            mock.patch.multiple(client, ANSWER_TIMEOUT=on_this_machine(1), STOPPING_TIMEOUT=on_this_machine(1)),
        ):
            node = open_node(load_settings(box.machine.config))
            report = run.converge(node, "refresh", config=box.machine.config, resume=True).data()
            failures = [diagnosis.what for diagnosis in doctor.diagnose(box.machine.config) if not diagnosis.ok]
        assert (report["cause"], report["exit_code"]) == (row.cause, row.code), (row, report["error"])
        assert re.search(row.pattern, report["error"]), (row, report["error"])
        assert report["hint"]
        assert report["outcome"] == "not ready"
        assert [failure for failure in failures if failure.startswith("blog: replication: ")], (row, failures)


def test_people_are_shown_the_cause_and_the_remedy(node: AwsNode) -> None:
    the_service_is_off(node)
    output = node.rolecall("boot", ok=75).stderr
    assert re.search(r"\n  hint: switch it on: .*\n  cause: imds-off \(docs/reference/causes.md\)\n", output)
    output = node.rolecall("doctor", ok=1).stdout
    assert re.search(
        r"\n✗ identity: .*: it is switched off for this instance \[imds-off\]\n(✗ .*\n)*  remedy: switch it on", output
    )


@pytest.mark.parametrize(
    ("happens", "cause"), [(the_policy_lacks_it, "access-denied"), (no_file_of_credentials, "no-credentials")]
)
def test_a_node_that_has_a_document_goes_on_with_it_and_the_exit_code_is_0(
    happens: Scene, cause: str, node: AwsNode
) -> None:
    assert node.run("boot").outcome == "ready"
    before = node.links
    node.reboot()  # which takes the credentials of the role away
    happens(node)
    report = node.run()
    assert (report.exit_code, report.outcome, report.cause, node.links) == (0, "unchanged", cause, before)
    assert "going on with serial" in report.degraded


def test_a_refused_document_changes_nothing_and_the_exit_code_is_78(node: AwsNode) -> None:
    assert node.run("boot").outcome == "ready"
    before = node.links
    nobody_signed(node)
    report = node.run()
    assert (report.exit_code, report.outcome, report.cause, node.links) == (78, "refused", "signature", before)


# The page


def words_of_the_source() -> set[str]:
    """Every word that a fault of the agent can have as its cause."""
    causes = set()
    for path in sorted((ROOT / "agent/rolecall").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                arguments = node.args[2:3] + [keyword.value for keyword in node.keywords if keyword.arg == "cause"]
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name.lower().endswith("fault"):
                    causes |= {text.value for text in arguments if isinstance(text, ast.Constant)}
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_CAUSE":
                causes.add(ast.literal_eval(node.value))
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("HINTS", "_CAUSES"):
                causes |= words_of_a_table(node.value, path)
    return {str(word) for word in causes} - {""}


def words_of_a_table(table: ast.expr, path: Path) -> set[Any]:
    """The causes in HINTS and words._CAUSES, whose keys they are, and in https._CAUSES, whose values they are."""
    assert isinstance(table, ast.Dict)
    words = [constant for constant in [*table.keys, *table.values] if isinstance(constant, ast.Constant)]
    return {constant.value for constant in words if re.fullmatch("[a-z]+(-[a-z]+)*", str(constant.value))}


def test_every_cause_of_the_source_has_its_rows_and_every_row_its_scene() -> None:
    assert {row.cause for row in ROWS} == words_of_the_source()
    assert Counter(row.cause for row in ROWS) == {cause: len(scenes) for cause, scenes in SCENES.items()}


def test_the_page_has_no_row_that_is_not_read() -> None:
    _, _, parts = PAGE.read_text().partition("\n## ")
    assert len([line for line in parts.splitlines() if line.startswith("| `")]) == len(ROWS)
