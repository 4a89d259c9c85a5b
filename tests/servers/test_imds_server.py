"""The fake metadata service keeps the rules of the real one."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
import requests

from patience import ends_within, wait_until
from servers.imds import Imds, facts

TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "X-aws-ec2-metadata-token"
CREDENTIALS = "meta-data/iam/security-credentials/"
DOCUMENT = "dynamic/instance-identity/document"


class Client:
    """A client that reads no settings from the environment."""

    def __init__(self, server: Imds) -> None:
        self.server = server
        self.session = requests.Session()
        self.session.trust_env = False
        self.token = ""

    def ask(
        self, path: str, headers: dict[str, str] | None = None, method: str = "GET", timeout: float = 10
    ) -> requests.Response:
        sent = {TOKEN: self.token} if headers is None else headers
        return self.session.request(method, self.server.url + path, headers=sent, timeout=timeout)

    def put(self, ttl: str | None = "60", path: str = "/latest/api/token", **headers: str) -> requests.Response:
        return self.ask(path, headers if ttl is None else headers | {TTL: ttl}, "PUT")

    def get(self, path: str) -> str:
        found = self.ask(f"/latest/{path}")
        assert (found.status_code, found.headers["Content-Type"]) == (200, "text/plain"), path
        return found.text

    def status(self, path: str, method: str = "GET") -> int:
        return self.ask(f"/latest/{path}", method=method).status_code


@pytest.fixture
def server() -> Iterator[Imds]:
    with Imds() as made:
        yield made


@pytest.fixture
def client(server: Imds) -> Iterator[Client]:
    made = Client(server)
    made.token = made.put().text
    server.requests.clear()
    with made.session:
        yield made


# Tokens


@pytest.mark.parametrize("ttl", ["1", "60", "21600"])
def test_a_token_is_given_for_one_second_to_six_hours(client: Client, ttl: str) -> None:
    given = client.put(ttl)
    assert (given.status_code, given.headers[TTL]) == (200, ttl)
    client.token = given.text
    found = client.ask("/latest/meta-data/instance-id")
    assert (found.status_code, found.text) == (200, "i-0123456789abcdef0")
    assert 1 <= int(found.headers[TTL]) <= int(ttl)


@pytest.mark.parametrize("ttl", [None, "", "0", "21601", "-1", "1.5", "soon", "9" * 30])
def test_a_token_with_a_missing_or_bad_time_to_live_is_a_bad_request(client: Client, ttl: str | None) -> None:
    assert client.put(ttl).status_code == 400


def test_a_token_is_refused_below_a_dated_version_and_through_a_proxy(client: Client) -> None:
    assert client.put(path="/2021-07-15/api/token").status_code == 403
    assert client.put(**{"X-Forwarded-For": "10.0.0.1"}).status_code == 403
    assert client.put(path="/latest/api/tokens").status_code == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_nothing_is_told_without_a_token_or_with_a_foreign_or_an_expired_one(client: Client, method: str) -> None:
    path = "/latest/meta-data/instance-id"
    assert client.ask(path, {}, method).status_code == 401
    assert client.ask(path, {TOKEN: "foreign"}, method).status_code == 401
    assert client.ask("/latest/nothing", {}, method).status_code == 401
    assert client.ask(path, method=method).status_code == 200
    client.server.expire_tokens()
    assert client.ask(path, method=method).status_code == 401
    client.token = client.put().text
    assert client.ask(path, method=method).status_code == 200


def test_a_token_expires_by_itself(client: Client) -> None:
    client.token = client.put("2").text
    assert client.status("meta-data/mac") == 200
    time.sleep(2.05)
    assert client.status("meta-data/mac") == 401


# What it knows


def test_every_page_that_an_agent_reads_is_there(client: Client) -> None:
    expected = {
        "instance-id": "i-0123456789abcdef0",
        "ami-id": "ami-0123456789abcdef0",
        "instance-type": "m7i.large",
        "instance-life-cycle": "on-demand",
        "local-ipv4": "10.0.1.11",
        "public-ipv4": "203.0.113.11",
        "ipv6": "2001:db8::11",
        "mac": "02:00:0a:00:01:0b",
        "hostname": "ip-10-0-1-11.eu-central-1.compute.internal",
        "placement/availability-zone": "eu-central-1a",
        "placement/availability-zone-id": "euc1-az2",
        "placement/region": "eu-central-1",
        "services/domain": "amazonaws.com",
        "services/partition": "aws",
        "autoscaling/target-lifecycle-state": "InService",
    }
    assert {path: client.get(f"meta-data/{path}") for path in expected} == expected
    document = json.loads(client.get(DOCUMENT))
    assert document == facts()["dynamic"]["instance-identity"]["document"]
    assert (document["accountId"], document["kernelId"]) == ("123456789012", None)
    assert client.get("user-data") == ""


def test_what_it_knows_may_change_while_it_runs(client: Client) -> None:
    for path in ("meta-data/spot/instance-action", "meta-data/events/recommendations/rebalance"):
        assert client.status(path) == 404
    notice = {"action": "terminate", "time": "2026-01-02T03:04:05Z"}
    client.server.meta["spot"] = {"instance-action": notice}
    client.server.meta["events"] = {"recommendations": {"rebalance": {"noticeTime": notice["time"]}}}
    client.server.data["user-data"] = b"\x1f\x8b\x00"
    client.server.data["dynamic"]["instance-identity"]["document"]["region"] = "eu-west-1"
    assert json.loads(client.get("meta-data/spot/instance-action")) == notice
    assert json.loads(client.get("meta-data/events/recommendations/rebalance")) == {"noticeTime": notice["time"]}
    assert client.ask("/latest/user-data").content == b"\x1f\x8b\x00"
    assert json.loads(client.get(DOCUMENT))["region"] == "eu-west-1"


def test_a_folder_lists_its_names_and_marks_folders(client: Client) -> None:
    assert client.get("").splitlines() == ["dynamic/", "meta-data/", "user-data"]
    for path in ("meta-data", "meta-data/"):
        names = client.get(path).splitlines()
        assert names == sorted(names)
        assert {"placement/", "instance-id"} <= set(names)
    assert client.get("dynamic/instance-identity/") == "document"
    assert "latest" in client.ask("/").text.splitlines()
    assert client.ask("/2021-07-15/meta-data/mac").text == client.get("meta-data/mac")


@pytest.mark.parametrize(
    "path",
    ["x", "meta-data/x", "meta-data/mac/", "meta-data/mac/x", f"{DOCUMENT}/", f"{DOCUMENT}/region", "/meta-data"],
)
def test_an_unknown_path_is_not_found(client: Client, path: str) -> None:
    assert client.status(path) == 404
    assert client.ask("/2001-01-01/meta-data/mac").status_code == 404


def test_head_answers_like_get_without_the_page(client: Client) -> None:
    found = client.ask("/latest/meta-data/instance-id", method="HEAD")
    assert (found.status_code, found.content, found.headers["Content-Length"]) == (200, b"", "19")
    assert client.status("meta-data/instance-id", "POST") == 405


def test_tags_are_there_once_they_are_enabled(client: Client) -> None:
    assert client.status("meta-data/tags/instance") == 404
    client.server.tags({"Name": "web 1", "rolecall:role": "web"})
    assert client.get("meta-data/tags/instance").splitlines() == ["Name", "rolecall:role"]
    assert client.get("meta-data/tags/instance/rolecall:role") == "web"
    assert client.get("meta-data/tags/instance/Name") == "web 1"
    assert client.status("meta-data/tags/instance/name") == 404
    client.server.tags(None)
    assert client.status("meta-data/tags/instance") == 404


# The role


def test_a_machine_without_a_role_has_no_credentials(client: Client) -> None:
    assert client.status(CREDENTIALS) == 404
    client.server.role("web", "AKIAEXAMPLE", "secret", "token")
    client.server.role(None)
    assert client.status(CREDENTIALS) == client.status("meta-data/iam/info") == 404


def test_the_credentials_of_a_role_have_the_form_of_the_real_ones(client: Client) -> None:
    client.server.role("web", "AKIAEXAMPLE", "secret", "token", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert client.get(CREDENTIALS) == "web"
    known = json.loads(client.get(f"{CREDENTIALS}web"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", known.pop("LastUpdated"))
    assert known == {
        "Code": "Success",
        "Type": "AWS-HMAC",
        "AccessKeyId": "AKIAEXAMPLE",
        "SecretAccessKey": "secret",
        "Token": "token",
        "Expiration": "2026-01-02T03:04:05Z",
    }
    assert json.loads(client.get("meta-data/iam/info"))["InstanceProfileArn"].endswith("/web")
    assert client.status(f"{CREDENTIALS}db") == 404


def test_a_role_that_ec2_cannot_assume_is_answered_with_a_code_and_no_keys(client: Client) -> None:
    client.server.refuse_role("web")
    known = json.loads(client.get(f"{CREDENTIALS}web"))
    assert known["Code"] == "AssumeRoleUnauthorizedAccess"
    assert known.keys() == {"Code", "Message", "LastUpdated"}


def test_a_role_may_arrive_late(client: Client) -> None:
    client.server.role("web", "AKIAEXAMPLE", "secret", "token")
    client.server.fault(404, path_prefix="/latest/meta-data/iam/", times=2)
    assert [client.status(CREDENTIALS) for _ in range(3)] == [404, 404, 200]


def test_boto3_finds_the_credentials(server: Imds, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.url)
    server.role("web", "AKIAEXAMPLE", "secret", "token", datetime.now(UTC) + timedelta(hours=1))
    found = boto3.Session().get_credentials()
    assert found is not None
    assert found.get_frozen_credentials()[:3] == ("AKIAEXAMPLE", "secret", "token")


# Faults


def test_a_service_that_is_switched_off_forbids_everything_until_healed(client: Client) -> None:
    client.server.fault("off")
    assert [client.put().status_code, client.status("meta-data/mac")] == [403, 403]
    client.server.heal()
    assert [client.put().status_code, client.status("meta-data/mac")] == [200, 200]


def test_a_fault_is_for_a_path_a_method_and_a_number_of_requests(client: Client) -> None:
    client.server.fault(500, path_prefix="/latest/meta-data/placement", times=1)
    client.server.fault(503, method="PUT", retry_after=7)
    client.server.fault(401, path_prefix="/latest/user-data")
    assert [client.status("meta-data/placement/region") for _ in range(2)] == [500, 200]
    refused = client.put()
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "7")
    assert [client.status("user-data"), client.status("meta-data/mac")] == [401, 200]


def test_an_unknown_fault_is_a_mistake_of_the_test(server: Imds) -> None:
    with pytest.raises(ValueError, match="no such fault: resets"):
        server.fault("resets")


def test_a_container_behind_the_hop_limit_gets_no_answer_to_put_and_401_to_get(client: Client) -> None:
    client.server.fault("hop-limit")
    with pytest.raises(requests.ReadTimeout):
        client.ask("/latest/api/token", {TTL: "60"}, "PUT", timeout=0.2)
    assert [client.status("meta-data/mac", method) for method in ("GET", "HEAD")] == [401, 401]


def test_a_reset_connection_is_reset(client: Client) -> None:
    client.server.fault("reset", times=1)
    with pytest.raises(requests.ConnectionError, match="ConnectionResetError"):
        client.status("meta-data/mac")
    assert client.status("meta-data/mac") == 200


def test_a_late_answer_is_right(client: Client) -> None:
    client.server.fault("delay", seconds=0.2, times=1)
    started = time.monotonic()
    assert client.get("meta-data/mac") == "02:00:0a:00:01:0b"
    assert time.monotonic() - started >= 0.2


def test_a_garbage_answer_says_that_all_is_well(client: Client) -> None:
    client.server.fault("garbage", path_prefix=f"/latest/{DOCUMENT}", body=b'{"region": ')
    client.server.fault("garbage", method="PUT")
    assert client.ask(f"/latest/{DOCUMENT}").text == '{"region": '
    assert "log in" in client.put().text


@pytest.mark.parametrize("kind", ["slow", "slow-head"])
def test_a_slow_answer_comes_byte_by_byte(client: Client, kind: str) -> None:
    client.server.fault(kind, seconds=0.005)
    started = time.monotonic()
    assert client.get("meta-data/mac") == "02:00:0a:00:01:0b"
    assert time.monotonic() - started >= 16 * 0.005


def test_a_huge_body_has_the_size_that_was_asked_for(client: Client) -> None:
    client.server.fault("huge", size=5_000_000, times=1)
    assert len(client.ask("/latest/user-data").content) == 5_000_000
    assert client.get("user-data") == ""


# The server


def test_what_was_asked_is_recorded(client: Client) -> None:
    client.get("meta-data/mac")
    client.server.fault("reset", times=1)
    with pytest.raises(requests.ConnectionError):
        client.put()
    first, second = client.server.requests
    assert (first.method, first.path, first.status) == ("GET", "/latest/meta-data/mac", 200)
    assert first.headers[TOKEN.lower()] == client.token
    assert (second.method, second.path, second.headers[TTL], second.status) == ("PUT", "/latest/api/token", "60", 0)


def test_stop_ends_what_hangs_at_once_and_the_same_port_serves_again(
    client: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    threads_before, url, ended = threading.active_count(), client.server.url, []

    def ask(path: str) -> None:
        with pytest.raises(requests.RequestException), Client(client.server).session as session:
            session.get(f"{url}/latest/{path}", headers={TOKEN: client.token}, timeout=30)
        ended.append(path)

    client.server.fault("hang", path_prefix="/latest/meta-data")
    client.server.fault("slow", path_prefix="/latest/dynamic", seconds=30)
    client.server.fault("delay", path_prefix="/latest/user-data", seconds=30)
    paths = ["meta-data/mac", DOCUMENT, "user-data"]
    asking = [threading.Thread(target=ask, args=(path,)) for path in paths]
    for thread in asking:
        thread.start()
    wait_until(lambda: len(client.server.requests) == 3, "the server has all questions")
    with ends_within(5):  # the clients wait for half a minute
        client.server.stop()
        for thread in asking:
            thread.join(25)
    assert sorted(ended) == sorted(paths)
    assert threading.active_count() < threads_before

    with pytest.raises(requests.ConnectionError, match="refused"):
        client.status("meta-data/mac")
    client.server.heal()
    client.server.start()
    assert client.server.url == url
    assert client.status("meta-data/mac") == 200
    assert capfd.readouterr().err == ""


def test_it_serves_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no ::1")
    with Imds(address="::1") as server:
        assert server.url.startswith("http://[::1]:")
        assert Client(server).put().status_code == 200


def test_a_mistake_of_the_server_fails_the_test() -> None:
    server = Imds()
    server.start()
    client = Client(server)
    client.token = client.put().text
    server.data["dynamic"]["instance-identity"]["document"] = {"region": object()}
    with pytest.raises(requests.ConnectionError):
        client.status(DOCUMENT)
    with pytest.raises(TypeError, match="not JSON serializable"):
        server.__exit__()


def test_it_runs_as_a_program_that_reads_its_facts_anew(tmp_path: Path) -> None:
    known = facts()
    (tmp_path / "facts.json").write_text(json.dumps(known))
    tests = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-m", "servers.imds", "--facts", str(tmp_path / "facts.json")]
    with subprocess.Popen(command, cwd=tests, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout
            url = program.stdout.readline().strip()
            client = Client(Imds(port=int(url.rpartition(":")[2])))
            client.token = client.put().text
            assert client.get("meta-data/placement/region") == "eu-central-1"
            known["meta-data"]["placement"]["region"] = "eu-west-1"
            (tmp_path / "facts.json").write_text(json.dumps(known))
            assert client.get("meta-data/placement/region") == "eu-west-1"
        finally:
            program.terminate()
            left = program.communicate(timeout=10)
    assert (program.returncode, *left) == (0, "", "")
