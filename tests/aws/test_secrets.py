"""Secrets by reference: the value comes from its store, reaches the product, and is told to nobody else."""

import http.client
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from box import Box
from processes import watching
from rolecall.errors import ConfigFault, Fault, FetchFault
from rolecall.fleet.secrets import Secret
from rolecall.host.secrets import Secrets
from rolecall.node.node import open_node
from rolecall.node.providers import Providers
from rolecall.report import Report
from rolecall.run import decide
from rolecall.settings import Access, Aws, Network, load_settings
from servers.http import Answer, Request, Server
from servers.imds import Imds
from servers.moto import ACCOUNT, REGION, Key, Moto

CANARY = "c4n4ry"  # a part of every value
GET_PARAMETERS, GET_SECRET = "AmazonSSM.GetParameters", "secretsmanager.GetSecretValue"
ARN = "arn:aws:{}:{}:{}:{}"
POLICY: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "ssm:GetParameters",
         "Resource": ARN.format("ssm", REGION, ACCOUNT, "parameter/prod/*")},
        {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue",
         "Resource": ARN.format("secretsmanager", REGION, ACCOUNT, "secret:prod/*")},
    ],
}  # fmt: skip
NAMES = ("DB_PASSWORD", "API_KEY", "WHOLE", "LOCAL")
PAGE = f"<?php echo json_encode(array_intersect_key($_SERVER, array_flip(explode(',', '{','.join(NAMES)}'))));"


class Relay(Server):
    """In front of moto: it records what is asked, and breaks on demand."""

    def __init__(self, moto: Moto) -> None:
        super().__init__()
        self.behind = moto.url.removeprefix("http://")

    def answer(self, request: Request) -> Answer:
        connection = http.client.HTTPConnection(self.behind, timeout=30)
        connection.request(request.method, request.path, request.body, dict(request.headers))
        found = connection.getresponse()
        body = found.read()
        connection.close()
        drop = ("connection", "content-length", "date", "server", "transfer-encoding")
        return Answer(
            found.status, body, {key: value for key, value in found.headers.items() if key.lower() not in drop}
        )

    def asked(self) -> list[tuple[str, Any]]:
        """Operation and parameters of each request since the last look."""
        told = [(one.headers["X-Amz-Target"], json.loads(one.body)) for one in self.requests]
        self.requests.clear()
        return told


class Aside:
    """What stands for AWS: its stores of secrets, the metadata of the instance, and the key of the instance's role."""

    def __init__(self, moto: Moto, relay: Relay, imds: Imds, key: Key) -> None:
        self.moto, self.relay, self.imds, self.key = moto, relay, imds, key
        self.ssm, self.manager = moto.client("ssm"), moto.client("secretsmanager")

    def parameter(self, name: str, value: str) -> None:
        self.ssm.put_parameter(Name=name, Value=value, Type="SecureString", Overwrite=True)

    def secret(self, name: str, value: str | bytes) -> None:
        form = {"SecretString": value} if isinstance(value, str) else {"SecretBinary": value}
        try:
            self.manager.put_secret_value(SecretId=name, **form)
        except self.manager.exceptions.ResourceNotFoundException:
            self.manager.create_secret(Name=name, **form)

    def providers(self, timeout: float = 10.0) -> Providers:
        """As a run has them."""
        ends = {"ssm": self.relay.url, "secretsmanager": self.relay.url}
        table = Aws(region=REGION, imds=(self.imds.url,), endpoints=ends)
        return Providers(Access(network=Network(timeout=timeout), aws=table))

    def fetch(self, *references: str) -> dict[str, str | Fault]:
        return self.providers().read_secrets(references)


@pytest.fixture(scope="module")
def aws() -> Iterator[Aside]:
    with Moto() as moto, Relay(moto) as relay, Imds() as imds:
        key = moto.principal("node", POLICY)
        imds.role("node", *key[:2], key.token or "")
        made = Aside(moto, relay, imds, key)
        made.secret("prod/kept", f"{CANARY} b")
        yield made


@pytest.fixture(autouse=True)
def _well(aws: Aside) -> Iterator[None]:
    """Every test finds the stores of secrets well, and with a list of requests of its own."""
    aws.relay.asked()
    yield
    aws.relay.stop()
    aws.relay.heal()
    aws.relay.start()


class QuietBox(Box):
    """A node none of whose commands may say a secret."""

    canaries: tuple[str, ...] = (CANARY,)

    @property
    def secret(self) -> list[bytes]:
        """What nobody but the product and root may see."""
        return [one.encode() for one in self.canaries]

    def rolecall(self, *words: str, ok: bool | int = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        done = super().rolecall(*words, ok=ok, timeout=timeout)
        assert not [one for one in self.canaries if one in done.stdout + done.stderr], words
        return done

    def full(self, ok: bool | int = True) -> subprocess.CompletedProcess[str]:
        """A refresh that looks at everything."""
        (self.machine.run / "steady").unlink(missing_ok=True)
        return self.rolecall("refresh", ok=ok)

    @property
    def local(self) -> Path:
        """The secret in a file."""
        return self.machine.root / "etc/rolecall/local"

    @property
    def kept(self) -> Path:
        """Where the last values are, if they are kept."""
        return self.state / "secrets.json"

    @property
    def generation(self) -> str:
        return (self.state / "current").readlink().name

    def page(self) -> dict[str, str]:
        """The secrets as the product has them."""
        found: dict[str, str] = json.loads(self.get("blog.example.com")[2])
        return found

    def set_keep(self, keep: bool) -> None:
        text = self.machine.config.read_text().removesuffix("[secrets]\nkeep = true\n")
        self.machine.config.write_text(text + "[secrets]\nkeep = true\n" * keep)


@pytest.fixture(scope="module")
def node(aws: Aside) -> Iterator[QuietBox]:
    """A node that has booted, with a secret of each kind; each test leaves it well."""
    values(aws)
    folder = Path(tempfile.mkdtemp(prefix="rc-"))
    folder.chmod(0o755)
    settings = f"""
[network]
timeout = "5s"
[aws]
imds = ["{aws.imds.url}"]
region = "{REGION}"
[aws.endpoints]
ssm = "{aws.relay.url}"
secretsmanager = "{aws.relay.url}"
"""
    box = QuietBox(folder, settings)
    box.canaries = (CANARY, aws.key.secret, aws.key.token or CANARY)
    box.local.touch(0o600)
    box.local.write_text(f"{CANARY}-local\n")
    secrets = {"DB_PASSWORD": "ssm:/prod/blog/db", "API_KEY": "secretsmanager:prod/blog#api",
               "WHOLE": "secretsmanager:prod/whole", "LOCAL": f"file:{box.local}"}  # fmt: skip
    job = {"name": "tell", "schedule": "@daily", "command": ["sh", "-c", 'echo "$DB_PASSWORD $API_KEY"']}
    try:
        box.product("blog", secrets=secrets, cron=[job])
        files = {"public/index.php": PAGE, "public/health": "ok"}
        box.document["products"]["blog"]["release"] = box.release("blog", "s", files)
        box.publish()
        box.boot()
        yield box
    finally:
        box.stop()
        shutil.rmtree(folder)


def values(aws: Aside, mark: str = "1") -> dict[str, str]:
    """Put a value into each store; what the page then shows."""
    made = {"DB_PASSWORD": f'{CANARY}-db-{mark} "$\\ %', "API_KEY": f"{CANARY}-api-{mark}",
            "WHOLE": f'{{"{CANARY}": "whole-{mark}"}}', "LOCAL": f"{CANARY}-local"}  # fmt: skip
    aws.parameter("/prod/blog/db", made["DB_PASSWORD"])
    aws.secret("prod/blog", json.dumps({"api": made["API_KEY"], "other": f"{CANARY}-other", "number": 5}))
    aws.secret("prod/whole", made["WHOLE"])
    return made


@contextmanager
def secrets_of_blog(node: QuietBox, **more: str) -> Iterator[None]:
    """A document with other secrets, for a while."""
    before = node.snapshot()
    node.document["products"]["blog"]["secrets"] |= more
    node.publish()
    try:
        yield
    finally:
        node.document["products"], node.document["servers"] = before["products"], before["servers"]
        node.publish()
        assert node.rolecall("refresh").returncode == 0


# --- they reach the product ----------------------------------------------------------------------------------------
def test_the_values_reach_the_pages_the_jobs_and_the_client_of_the_database(aws: Aside, node: QuietBox) -> None:
    expected = values(aws)
    assert node.page() == expected
    current = node.state / "current"
    done = subprocess.run(["sh", current / "jobs/blog.sh", "tell"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{expected['DB_PASSWORD']} {expected['API_KEY']}\n"
    argv = ["my_print_defaults", f"--defaults-file={current}/mysql/blog.cnf", "client"]
    told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert f"--password={expected['DB_PASSWORD']}\n" in told
    modes = {str(path.relative_to(current.resolve())): path.stat().st_mode & 0o777
             for path in current.resolve().rglob("*") if path.is_file() and CANARY in path.read_text()}  # fmt: skip
    assert modes == {"apache/50-blog.conf": 0o600, "jobs/blog.sh": 0o640, "mysql/blog.cnf": 0o640}


def test_equal_values_are_the_same_generation(aws: Aside, node: QuietBox) -> None:
    before = node.generation
    values(aws)
    done = node.full()
    assert "unchanged: " in done.stdout
    assert "up to date" in done.stderr
    assert node.generation == before


def test_a_changed_value_is_a_new_generation_at_the_next_run_that_looks_at_everything(
    aws: Aside, node: QuietBox
) -> None:
    before = node.generation
    expected = values(aws, mark="2")
    assert node.rolecall("refresh").stdout == "", "no store of secrets is asked every minute"
    done = node.full()
    assert "ready: " in done.stdout
    assert "reload apache" in done.stderr
    assert node.generation != before
    assert node.page() == expected
    expected = values(aws)
    node.full()
    assert node.generation == before, "the first values again, so the first generation"
    assert node.page() == expected


def test_a_refresh_with_secrets_reads_them_anew_and_tells_by_their_keys_which_have_changed(
    aws: Aside, node: QuietBox
) -> None:
    expected = values(aws, mark="3")
    report = node.json("refresh", "--secrets", ok=0)
    assert report["outcome"] == "ready"
    assert report["new_secrets"] == ["blog.API_KEY", "blog.DB_PASSWORD", "blog.WHOLE"]
    assert node.page() == expected
    done = node.rolecall("refresh", "--secrets")
    assert "unchanged: " in done.stdout
    assert "secrets read: 4, new values: none" in done.stderr
    values(aws)
    assert "new values: blog.API_KEY, blog.DB_PASSWORD, blog.WHOLE\n" in node.rolecall("refresh", "--secrets").stderr


def test_a_refresh_with_secrets_goes_by_no_value_that_is_kept(aws: Aside, node: QuietBox) -> None:
    node.set_keep(True)
    try:
        node.full()
        before = node.generation
        aws.relay.stop()
        assert "last known values are used" in node.full().stderr
        report = node.json("refresh", "--secrets", ok=75)
        assert (report["outcome"], report["cause"], node.generation) == ("failed", "unreachable", before)
    finally:
        aws.relay.start()
        node.set_keep(False)
        node.full()


def test_each_secret_is_asked_for_once_whoever_uses_it(aws: Aside, node: QuietBox) -> None:
    again = {"A": "ssm:/prod/blog/db", "B": "secretsmanager:prod/blog#other", "C": "secretsmanager:prod/whole"}
    with secrets_of_blog(node, **again):
        node.product("video", runtime="static", secrets=again)
        node.publish()
        aws.relay.asked()
        node.rolecall("refresh")
        assert sorted(aws.relay.asked(), key=str) == [
            (GET_PARAMETERS, {"Names": ["/prod/blog/db"], "WithDecryption": True}),
            (GET_SECRET, {"SecretId": "prod/blog"}),
            (GET_SECRET, {"SecretId": "prod/whole"}),
        ]


def test_parameters_are_asked_for_ten_at_a_time(aws: Aside) -> None:
    names = [f"/prod/many/{number}" for number in range(11)]
    for name in names:
        aws.parameter(name, f"{CANARY} of {name}")
    found = aws.fetch(*(f"ssm:{name}" for name in names))
    assert found == {f"ssm:{name}": f"{CANARY} of {name}" for name in names}
    asked = aws.relay.asked()
    assert [target for target, _ in asked] == [GET_PARAMETERS] * 2
    assert [len(one["Names"]) for _, one in asked] == [10, 1]


def test_a_member_of_a_secret_may_be_a_number_or_an_object(aws: Aside) -> None:
    aws.secret("prod/kinds", json.dumps({"number": 5, "yes": True, "deep": {"a": ["b"]}, "ü": "ä", "": "nothing"}))
    wanted = [f"secretsmanager:prod/kinds#{key}" for key in ("number", "yes", "deep")]
    assert list(aws.fetch(*wanted).values()) == ["5", "true", '{"a": ["b"]}']
    assert len(aws.relay.asked()) == 1


OLD = ARN.format("ssm", REGION, ACCOUNT, "parameter/prod/old")
NAMED: dict[str, dict[str, dict[str, str]]] = {
    "by version": {"/prod/old:3": {"Selector": ":3"}},
    "by label": {"/prod/old:blue": {"Selector": ":blue"}},
    "by ARN": {OLD: {}},
    "by ARN and version": {f"{OLD}:3": {"Selector": ":3"}},
    "of another account": {OLD: {"Name": OLD}},
    "of two versions": {"/prod/old:3": {"Selector": ":3"}, "/prod/old:blue": {"Selector": ":blue"}, "/prod/old": {}},
}


@pytest.mark.parametrize("answers", NAMED.values(), ids=NAMED)
def test_a_parameter_may_be_named_by_its_version_its_label_or_its_arn(
    aws: Aside, answers: dict[str, dict[str, str]]
) -> None:
    # moto tells neither the selector nor the ARN, which are what such a parameter is known by.
    found = [
        {"Name": "/prod/old", "ARN": OLD, "Value": f"{CANARY} of {name}", **more} for name, more in answers.items()
    ]
    aws.relay.fault("garbage", body=json.dumps({"Parameters": found[::-1], "InvalidParameters": []}).encode())
    assert aws.fetch(*(f"ssm:{name}" for name in answers)) == {f"ssm:{name}": f"{CANARY} of {name}" for name in answers}
    assert aws.relay.asked() == [(GET_PARAMETERS, {"Names": list(answers), "WithDecryption": True})]


# --- what is wrong is told by its name -----------------------------------------------------------------------------
WRONG = {
    "no such parameter": ("ssm:/prod/blog/none", FetchFault, "no-secret", "no such parameter"),
    "no such secret": ("secretsmanager:prod/none", FetchFault, "no-secret", "can't find"),
    "a parameter of others": ("ssm:/other/db", FetchFault, "access-denied", "AccessDenied"),
    "a secret of others": ("secretsmanager:other/db", FetchFault, "access-denied", "AccessDenied"),
    "no such member": ("secretsmanager:prod/blog#none", ConfigFault, "", "has no member 'none'"),
    "a member of a text": ("secretsmanager:prod/text#api", ConfigFault, "", "has no member 'api'"),
    "a member of a list": ("secretsmanager:prod/list#0", ConfigFault, "", "has no member '0'"),
    "a member of what is too deep": ("secretsmanager:prod/deep#a", ConfigFault, "", "has no member 'a'"),
    "a binary": ("secretsmanager:prod/binary", ConfigFault, "", "is binary"),
    "a member of a binary": ("secretsmanager:prod/binary#api", ConfigFault, "", "is binary"),
}


@pytest.mark.parametrize(("reference", "kind", "cause", "says"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_had_is_told_by_its_name_without_a_value(
    aws: Aside, reference: str, kind: type[Fault], cause: str, says: str
) -> None:
    values(aws)
    aws.secret("prod/text", f"{CANARY}, no JSON")
    aws.secret("prod/list", json.dumps([CANARY]))
    aws.secret("prod/deep", "[" * 60_000)
    aws.secret("prod/binary", CANARY.encode())
    aws.secret("other/db", CANARY)
    aws.parameter("/other/db", CANARY)
    others = ("ssm:/prod/blog/db", "secretsmanager:prod/whole")
    answers = aws.fetch(*others, reference)
    assert all(isinstance(answers[other], str) for other in others), "one keeps nobody from the others"
    fault = answers[reference]
    assert isinstance(fault, kind)
    assert (fault.cause, says in fault.message, reference in fault.message) == (cause, True, True), fault.message
    assert fault.hint
    assert CANARY not in fault.message + fault.hint


def test_a_product_whose_new_secret_cannot_be_had_goes_on_without_it(node: QuietBox) -> None:
    before, page = node.generation, node.page()
    with secrets_of_blog(node, NEW="ssm:/prod/blog/none"):
        report = node.json("refresh", ok=75)
        assert (report["outcome"], report["cause"]) == ("refused", "no-secret")
        assert "correct its name in the document" in report["hint"]
        assert "ssm:/prod/blog/none" in report["error"]
        assert "ssm:/prod/blog/none" in report["left_out"]["blog"]
        assert (node.generation, node.page()) == (before, page)


def test_a_value_that_no_file_can_hold_is_refused_by_its_name(aws: Aside, node: QuietBox) -> None:
    before, page = node.generation, node.page()
    aws.secret("prod/blog", json.dumps({"api": f"{CANARY}\n{CANARY}"}))
    assert "the secret blog.API_KEY cannot be written to " in node.full(ok=78).stderr
    assert (node.generation, node.page()) == (before, page)
    values(aws)
    node.full()


# --- when the store of secrets is out ------------------------------------------------------------------------------
def test_with_the_store_of_secrets_out_a_run_fails_and_what_serves_goes_on(aws: Aside, node: QuietBox) -> None:
    before, page = node.generation, node.page()
    aws.relay.stop()
    (node.machine.run / "steady").unlink()
    report = node.json("refresh", ok=75)
    assert (report["outcome"], report["cause"]) == ("failed", "unreachable")
    assert "ssm:/prod/blog/db" in report["error"]
    assert (node.generation, node.page()) == (before, page)
    assert not node.kept.exists()


def test_what_is_kept_stands_in_for_a_store_that_is_out_until_nothing_is_kept_any_more(
    aws: Aside, node: QuietBox
) -> None:
    node.set_keep(True)
    node.rolecall("refresh")
    assert node.kept.stat().st_mode & 0o777 == 0o600
    page = node.page()
    aws.relay.stop()
    node.document["products"]["blog"]["environment"] = {"NEWS": "yes"}
    node.publish()
    done = node.rolecall("refresh")
    assert "ready: " in done.stdout, "the news do not wait for the store of secrets"
    assert re.search(r"ssm:/prod/blog/db.*the secrets' last known values are used \(secrets.keep\)", done.stderr)
    assert node.page() == page
    aws.relay.start()
    node.set_keep(False)
    node.rolecall("refresh")
    assert not node.kept.exists()


def test_a_value_that_is_refused_is_not_kept(aws: Aside, node: QuietBox) -> None:
    node.set_keep(True)
    node.rolecall("refresh")
    aws.secret("prod/blog", json.dumps({"api": f"{CANARY}\n"}))
    node.full(ok=78)
    aws.relay.stop()
    done = node.full(ok=False)
    aws.relay.start()
    values(aws)
    node.set_keep(False)
    node.rolecall("refresh")
    assert done.returncode == 0, done.stderr


def test_what_was_kept_is_removed_when_no_product_has_a_stored_secret_any_more(node: QuietBox) -> None:
    node.kept.write_text("{}")
    try:
        with secrets_of_blog(node, **dict.fromkeys(NAMES, f"file:{node.local}")):
            node.rolecall("refresh")
            assert not node.kept.exists()
    finally:
        node.kept.unlink(missing_ok=True)


@pytest.mark.parametrize("keep", [False, True])
def test_a_look_without_a_run_writes_nothing(aws: Aside, node: QuietBox, keep: bool) -> None:
    values(aws, mark="2")
    node.kept.write_text("{}")
    before = stamps([node.state])
    node.set_keep(keep)
    try:
        plan = decide(open_node(load_settings(node.machine.config)), Report("plan"), dry=True).prospect.plan
        assert "apache/50-blog.conf" in [one.path for one in plan.changes]
        assert stamps([node.state]) == before
    finally:
        node.kept.unlink(missing_ok=True)
        node.set_keep(False)
        values(aws)


def stamps(folders: list[Path]) -> dict[str, tuple[int, ...]]:
    """Everything below, with all that tells a change."""
    found = {str(path): path.lstat() for folder in folders for path in (folder, *folder.rglob("*"))}
    return {path: (one.st_ino, one.st_mode, one.st_size, one.st_mtime_ns) for path, one in found.items()}


OUT: dict[str, Callable[[Relay], None]] = {
    "500": lambda relay: relay.fault(500),
    "503": lambda relay: relay.fault(503),
    "throttled": lambda relay: relay.fault(400, body=b'{"__type": "ThrottlingException"}'),
    "no answer": lambda relay: relay.fault("hang"),
    "reset": lambda relay: relay.fault("reset"),
    "cut": lambda relay: relay.fault("truncate"),
    "a portal": lambda relay: relay.fault("garbage"),
    "another answer": lambda relay: relay.fault("garbage", body=b'{"Parameters": []}'),
    "stopped": lambda relay: relay.stop(),
}
GARBLED = ("cut", "a portal", "another answer")
SSM, MANAGER = Secret("blog", "A", "ssm:/prod/kept"), Secret("blog", "B", "secretsmanager:prod/kept")
FOUND = {SSM.key: f"{CANARY} a", MANAGER.key: f"{CANARY} b"}
# Codes of the two services, by which the value is no longer this node's to have.
REFUSED = [
    (SSM, "AccessDeniedException"), (SSM, "InvalidKeyId"), (SSM, "UnrecognizedClientException"),
    (MANAGER, "AccessDeniedException"), (MANAGER, "DecryptionFailure"), (MANAGER, "InvalidRequestException"),
    (MANAGER, "ResourceNotFoundException"),
]  # fmt: skip


def secrets(aws: Aside, state: Path, *, keep: bool = True, timeout: float = 10.0) -> Secrets:
    """As another run has them."""
    return Secrets(state, aws.providers(timeout).read_secrets, keep=keep)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder in which the last values are kept."""
    kept = tmp_path / "secrets.json"
    kept.touch(0o600)
    kept.write_text(json.dumps({one.reference: FOUND[one.key] for one in (SSM, MANAGER)}))
    return tmp_path


@pytest.mark.parametrize(
    ("secret", "name"), [*((SSM, name) for name in OUT), *((MANAGER, name) for name in OUT if name in GARBLED)]
)
def test_kept_values_are_used_however_their_store_is_out_and_said(
    aws: Aside, state: Path, secret: Secret, name: str
) -> None:
    OUT[name](aws.relay)
    told: list[str] = []
    # What does not come in time is out too, so that it need not be long.
    values, _ = secrets(aws, state, timeout=0.5).read([secret], told.append)
    assert values == {secret.key: FOUND[secret.key]}
    assert len(told) == 1
    assert told[0].endswith("; the secrets' last known values are used (secrets.keep)")
    assert secret.reference in told[0]
    assert CANARY not in told[0]


def test_values_that_are_not_kept_or_not_all_kept_are_not_used(aws: Aside, state: Path) -> None:
    aws.relay.stop()
    new = Secret("blog", "C", "ssm:/prod/new")
    for keep, wanted in ((False, [SSM, MANAGER]), (True, [SSM, new]), (True, [new])):
        with pytest.raises(FetchFault) as raised:
            secrets(aws, state, keep=keep, timeout=0.5).read(wanted, pytest.fail)
        assert CANARY not in raised.value.message


@pytest.mark.parametrize(("secret", "code"), REFUSED)
def test_what_the_store_refuses_is_not_handed_out_from_the_disk(
    aws: Aside, state: Path, secret: Secret, code: str
) -> None:
    aws.relay.fault(400, body=json.dumps({"__type": code, "message": "no"}).encode())
    if code == "UnrecognizedClientException":  # which says nothing of this secret
        with pytest.raises(FetchFault, match=code):
            secrets(aws, state).read([secret], pytest.fail)
        return
    values, faults = secrets(aws, state).read([secret], pytest.fail)
    assert (values, code in faults[secret.key].message) == ({}, True)


def test_a_parameter_that_was_deleted_is_not_handed_out_from_the_disk(aws: Aside, state: Path) -> None:
    values, faults = secrets(aws, state).read([SSM], pytest.fail)
    assert values == {}
    assert "ssm:/prod/kept: there is no such parameter" in faults[SSM.key].message


@pytest.mark.parametrize("content", ["", "[1]", "null", "7", "{", '{"ssm:/prod/kept": 1}', "\udc80"])
def test_a_kept_file_that_is_damaged_is_none(aws: Aside, state: Path, content: str) -> None:
    (state / "secrets.json").write_text(content, "utf-8", "surrogateescape")
    aws.relay.stop()
    with pytest.raises(FetchFault):
        secrets(aws, state, timeout=0.2).read([SSM], pytest.fail)


def test_an_instance_that_has_no_role_for_a_while_goes_on_with_what_is_kept(aws: Aside, state: Path) -> None:
    before = aws.imds.meta.pop("iam")
    told: list[str] = []
    try:
        assert secrets(aws, state).read([SSM, MANAGER], told.append) == (FOUND, {})
    finally:
        aws.imds.meta["iam"] = before
    assert "no role is attached" in told[0]


# --- and nobody else is told ---------------------------------------------------------------------------------------
def test_no_process_of_a_run_shows_a_secret_on_its_command_line_or_in_its_environment(
    aws: Aside, node: QuietBox
) -> None:
    expected = values(aws, mark="2")
    with watching() as seen:
        node.full()
    assert node.page() == expected
    parts = {where.partition(" ")[0] for text, where in seen.items() if str(node.machine.root) in text}
    assert parts == {"cmdline", "environ"}, "the run was seen"
    assert not [where for text, where in seen.items() if any(one in text for one in node.canaries)]


def test_no_command_no_log_and_no_file_for_everybody_tells_a_secret(aws: Aside, node: QuietBox) -> None:
    root = node.machine.root
    node.document["products"]["blog"]["environment"] = {"NEWS": "more"}
    node.publish()
    node.set_keep(True)
    values(aws, mark="3")
    said = [node.rolecall("plan"), node.rolecall("plan", "--json"), node.rolecall("doctor")]
    assert all("<secret blog.DB_PASSWORD>" in done.stdout for done in said[:2])
    node.rolecall("refresh", "--json")
    node.rolecall("status")
    node.rolecall("history", "--json")
    told = {str(path.relative_to(root)): path for path in root.rglob("*")
            if path.is_file() and not path.is_symlink() and any(one in path.read_bytes() for one in node.secret)
            }  # fmt: skip
    assert not [name for name, path in told.items() if path.stat().st_mode & 0o007]
    rendered = "apache/50-(blog|video)\\.conf|jobs/blog\\.sh|mysql/blog\\.cnf"
    generation = rf"var/lib/rolecall/generations/[0-9a-f]{{32}}/({rendered})"
    others = [name for name in told if not re.fullmatch(generation, name)]
    assert sorted(others) == ["etc/rolecall/local", "run/rolecall/credentials", "var/lib/rolecall/secrets.json"]
    assert (node.machine.store / "reports/web1.json").exists()
