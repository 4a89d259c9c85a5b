"""What is S3's own: every way not to be let in has its cause, and nothing but the role's credentials is ever used."""

import io
import os
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from urllib3 import HTTPResponse

from contract.conftest import QUICK, Cloud
from patience import ends_within
from rolecall.aws.credentials import Credentials
from rolecall.aws.s3 import S3Store
from rolecall.aws.signer import CREDENTIALS
from rolecall.errors import ConfigFault, Fault, FetchFault
from rolecall.node.providers import Providers
from rolecall.settings import Access, Aws, Network
from rolecall.store import Store
from servers.imds import Imds
from servers.s3 import AccessKey, S3Server
from servers.tls import Authority

ROLES = "/latest/meta-data/iam/security-credentials/"


def refused(store: Store, key: str = "fleet.json") -> Fault:
    """The fault of reading an object."""
    with pytest.raises(Fault) as told:
        store.get(key, 100)
    assert told.value.message
    return told.value


def asked_for_credentials(cloud: Cloud) -> int:
    return sum(one.path.startswith(f"{ROLES}node") for one in cloud.imds.requests)


# The role


def test_an_instance_without_a_role_is_told_so(cloud: Cloud) -> None:
    cloud.imds.role(None)
    fault = refused(cloud.store())
    assert fault.cause == "no-role"
    assert "instance profile" in fault.hint
    assert not cloud.s3.requests, "nothing is sent that nobody could have signed"


@pytest.mark.parametrize(
    "answer",
    [
        404,
        b"",
        b"{",
        b"<html>",
        b'{"Code": "Success"}',
        b'{"Code": "Success", "AccessKeyId": "A", "SecretAccessKey": "S", "Expiration": "2099-01-01T00:00:00Z"}',
        b'{"Code": "Success", "AccessKeyId": "A", "SecretAccessKey": "S", "Token": "T", "Expiration": "soon"}',
        b'{"Code": "Success", "AccessKeyId": "A", "SecretAccessKey": "S", "Token": "T", "Expiration": null}',
        b'{"Code": "Success", "AccessKeyId": null, "SecretAccessKey": null, "Token": "", "Expiration": "2099-01-01"}',
    ],
)
def test_credentials_that_are_not_there_yet_are_waited_for(
    cloud: Cloud, answer: int | bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "stray")  # what stands in for half a role, if anything may
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "stray")
    kind, body = (answer, None) if isinstance(answer, int) else ("garbage", answer)
    cloud.imds.fault(kind, path_prefix=f"{ROLES}node", body=body)
    store = cloud.store()
    fault = refused(store)
    assert (fault.cause, "node" in fault.message) == ("credentials-pending", True)
    assert not cloud.s3.requests
    cloud.imds.heal()
    store.put("fleet.json", b"x")
    assert store.get("fleet.json", 10).data == b"x", "the same process goes on once they are there"


def test_a_role_that_ec2_may_not_assume_is_named_with_the_reason(cloud: Cloud) -> None:
    cloud.imds.refuse_role("node")
    fault = refused(cloud.store())
    assert fault.cause == "role-broken"
    assert "node" in fault.message
    assert "AssumeRoleUnauthorizedAccess" in fault.message


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("off", "imds-off"),
        ("hop-limit", "imds-hop-limit"),
        (503, "imds-busy"),
        (500, "imds-error"),
        (401, "imds-error"),
    ],
)
def test_without_the_metadata_service_its_cause_is_told(cloud: Cloud, kind: int | str, cause: str) -> None:
    cloud.imds.fault(kind)
    with ends_within(5):
        assert refused(cloud.store(Network(timeout=1.5))).cause == cause


def test_where_no_metadata_service_answers_it_is_unreachable(cloud: Cloud, nobody: str) -> None:
    providers = cloud.providers(QUICK, imds=(nobody,))
    with ends_within(5):
        assert refused(providers.open_store(cloud.url())).cause == "imds-unreachable"


def test_a_download_and_a_write_tell_the_same_causes(cloud: Cloud) -> None:
    cloud.s3.keys["ASIA1"] = AccessKey("secret-1", "token-1", allowed=[])
    for cause in ("access-denied", "no-role"):
        store = cloud.store()
        with pytest.raises(FetchFault) as of_stream:
            list(store.stream("x"))
        with pytest.raises(FetchFault) as of_put:
            store.put("x", b"x")
        assert of_stream.value.cause == of_put.value.cause == cause
        cloud.imds.role(None)


def test_credentials_are_asked_for_once_in_a_run(cloud: Cloud) -> None:
    providers = cloud.providers()
    for _ in range(2):
        store = providers.open_store(cloud.url())
        store.put("fleet.json", b"x")
        assert store.get("fleet.json", 10).data == b"x"
    assert asked_for_credentials(cloud) == 1
    assert {one.headers["X-Amz-Security-Token"] for one in cloud.s3.requests} == {"token-1"}


def test_credentials_of_an_earlier_run_are_used_until_shortly_before_their_end(cloud: Cloud, tmp_path: Path) -> None:
    for seconds, asked in ((3600, 0), (299, 1), (-10, 2)):
        earlier = Credentials("ASIA1", "secret-1", "token-1", time.time() + seconds)
        (tmp_path / CREDENTIALS).write_text(earlier.lines())
        providers = Providers(Access(aws=Aws(imds=(cloud.imds.url,))), tmp_path)
        providers.open_store(cloud.url()).put("fleet.json", b"x")
        assert asked_for_credentials(cloud) == asked


def test_credentials_that_the_metadata_service_itself_has_let_expire_are_told_so(cloud: Cloud) -> None:
    cloud.imds.role("node", "ASIA1", "secret-1", "token-1", datetime.now(UTC) - timedelta(minutes=1))
    fault = refused(cloud.store())
    assert fault.cause == "credentials-expired"
    assert "clock" in fault.hint


# Expired, revoked, changed


def test_expired_credentials_are_asked_for_anew_and_the_call_succeeds(cloud: Cloud) -> None:
    store = cloud.store()
    store.put("fleet.json", b"x")
    cloud.s3.keys["ASIA1"] = AccessKey("secret-1", "token-1", expires=0)
    cloud.renew("2")
    assert store.get("fleet.json", 10).data == b"x"
    assert [one.status for one in cloud.s3.requests] == [200, 400, 200]
    assert asked_for_credentials(cloud) == 2


def test_credentials_that_stay_expired_are_asked_for_once_more_and_no_oftener(cloud: Cloud) -> None:
    cloud.s3.keys["ASIA1"] = AccessKey("secret-1", "token-1", expires=0)
    with pytest.raises(FetchFault) as told:
        cloud.store().get("fleet.json", 100)
    assert told.value.cause == "credentials-expired"
    assert (len(cloud.s3.requests), asked_for_credentials(cloud)) == (2, 2)


def test_a_persons_credentials_that_have_expired_are_renewed_by_the_person(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.s3.keys["ASIA1"] = AccessKey("secret-1", "token-1", expires=0)
    for name, value in (("ACCESS_KEY_ID", "ASIA1"), ("SECRET_ACCESS_KEY", "secret-1"), ("SESSION_TOKEN", "token-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    fault = refused(cloud.providers(credentials="boto3").open_store(cloud.url()))
    assert (fault.cause, fault.hint) == ("credentials-expired", "log in again, as with `aws sso login`")


def test_a_role_that_was_attached_anew_is_used_at_once(cloud: Cloud) -> None:
    store = cloud.store()
    store.put("fleet.json", b"x")
    cloud.s3.keys.clear()
    cloud.renew("2")
    assert store.get("fleet.json", 10).data == b"x"


@pytest.mark.parametrize(
    "key",
    [None, AccessKey("another", "token-1"), AccessKey("secret-1", "another")],
    ids=["unknown key", "wrong secret", "wrong token"],
)
def test_credentials_that_s3_does_not_believe_are_refused(cloud: Cloud, key: AccessKey | None) -> None:
    cloud.s3.keys.clear()
    if key:
        cloud.s3.keys["ASIA1"] = key
    fault = refused(cloud.store())
    assert fault.cause == "credentials-refused"
    assert "secret-1" not in fault.message


# The clock


@pytest.mark.parametrize(("ahead", "words"), [(1800, "30 min behind"), (-1800, "30 min ahead of")])
def test_a_clock_that_is_wrong_is_told_with_minutes_and_direction(cloud: Cloud, ahead: float, words: str) -> None:
    cloud.s3.skew(ahead)
    fault = refused(cloud.store())
    assert fault.cause == "clock-skew"
    assert words in fault.message
    assert "chrony" in fault.hint
    with pytest.raises(FetchFault, match=words):
        cloud.store().put("reports/web1.json", b"{}")


@pytest.mark.parametrize("ahead", [600, -600])
def test_a_clock_that_is_wrong_but_not_by_too_much_does_no_harm(cloud: Cloud, ahead: float) -> None:
    cloud.s3.skew(ahead)
    store = cloud.store()
    store.put("fleet.json", b"x")
    assert store.get("fleet.json", 10).data == b"x"


def test_expired_credentials_by_a_clock_that_is_wrong_are_the_clocks_fault(cloud: Cloud) -> None:
    """A machine whose clock is behind believes its credentials for longer than S3 does."""
    cloud.s3.skew(600)
    cloud.s3.keys["ASIA1"] = AccessKey("secret-1", "token-1", expires=time.time() + 300)
    with pytest.raises(FetchFault, match="10 min behind") as told:
        cloud.store().get("fleet.json", 100)
    assert told.value.cause == "clock-skew"


# Permissions, buckets, regions


def test_what_the_policy_does_not_allow_is_denied(cloud: Cloud) -> None:
    cloud.s3.keys["ASIA1"] = AccessKey("secret-1", "token-1", allowed=[("PutObject", "bucket/fleet/reports/")])
    store = cloud.store()
    fault = refused(store)
    assert (fault.cause, "fleet.json" in fault.message) == ("access-denied", True)
    assert "policy" in fault.hint
    store.put("reports/web1.json", b"{}")
    with pytest.raises(FetchFault) as told:
        store.put("fleet.json", b"{}")
    assert told.value.cause == "access-denied"
    assert len(cloud.s3.requests) == 3, "what is denied is not asked again"


def test_who_may_not_list_the_bucket_is_not_told_what_is_missing(cloud: Cloud) -> None:
    cloud.s3.keys["ASIA1"] = AccessKey("secret-1", "token-1", allowed=[("GetObject", "bucket/fleet/")])
    assert refused(cloud.store()).cause == "access-denied"
    cloud.s3.keys["ASIA1"] = AccessKey("secret-1", "token-1", allowed=[("GetObject", "bucket/"), ("ListBucket", "")])
    assert refused(cloud.store()).cause == "no-key"


def test_a_bucket_that_there_is_not_is_named(cloud: Cloud) -> None:
    cloud.s3.buckets.clear()
    fault = refused(cloud.store())
    assert (fault.cause, "s3://bucket/fleet/fleet.json" in fault.message) == ("no-bucket", True)


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_a_bucket_in_another_region_is_told_with_its_region(cloud: Cloud, style: str, resolved: None) -> None:
    cloud.s3.buckets["bucket"] = "eu-central-1"
    endpoint = cloud.s3.url.replace("127.0.0.1", "localhost") if style == "virtual" else cloud.s3.url
    fault = refused(cloud.store(style=style, endpoint=endpoint))
    assert fault.cause == "wrong-region"
    assert "eu-central-1" in fault.message
    assert "region" in fault.hint


def test_the_region_is_the_instances_own_unless_another_is_set(cloud: Cloud) -> None:
    cloud.imds.meta["placement"]["region"] = "us-east-1"
    for providers, url in (
        (cloud.providers(), cloud.url(region="")),
        (cloud.providers(region="us-east-1"), cloud.url(region="")),
    ):
        cloud.imds.requests.clear()
        providers.open_store(url).put("x", b"x")
        asked = [one for one in cloud.imds.requests if one.path.endswith("placement/region")]
        assert len(asked) == (0 if providers.access.aws.region else 1)
    assert all("/us-east-1/s3/" in one.headers["Authorization"] for one in cloud.s3.requests)


def test_without_any_region_the_setting_is_named(cloud: Cloud) -> None:
    del cloud.imds.meta["placement"]
    with pytest.raises(FetchFault, match="no AWS region") as told:
        cloud.providers().open_store(cloud.url(region="")).get("x", 10)
    assert "region" in told.value.hint


def test_a_region_that_is_none_is_a_fault(cloud: Cloud) -> None:
    for region in ("nowhere at all", "us/east", "-", "x" * 300):
        with pytest.raises(Fault):
            cloud.store(region=region).get("x", 10)


# The server


def test_what_is_asked_too_often_is_asked_again_three_times_at_most(cloud: Cloud) -> None:
    store = cloud.store()
    store.put("fleet.json", b"x")
    cloud.s3.fault(503, times=2)
    assert store.get("fleet.json", 10).data == b"x"
    cloud.s3.forget()
    cloud.s3.fault(503)
    with pytest.raises(FetchFault) as told:
        store.get("fleet.json", 10)
    assert (told.value.cause, len(cloud.s3.requests)) == ("throttled", 3)


def test_a_server_that_is_not_there_is_unreachable(cloud: Cloud) -> None:
    cloud.s3.stop()
    fault = refused(cloud.store())
    assert (fault.cause, cloud.s3.url in fault.message) == ("unreachable", True)
    cloud.s3.start()


def test_a_name_that_nobody_has_is_unreachable(cloud: Cloud) -> None:
    with ends_within(40), pytest.raises(FetchFault) as told:
        cloud.store(endpoint="http://no-such-host.invalid", style="path").get("fleet.json", 10)
    assert told.value.cause in ("unreachable", "too-slow")


@pytest.mark.parametrize("wrong", ["", "stranger", "expired", "misnamed"])
def test_s3_by_tls_is_believed_by_the_authority_of_network_ca_only(
    wrong: str, imds: Imds, authority: Authority, tmp_path: Path
) -> None:
    contexts = {
        "": authority.context,
        "stranger": Authority(tmp_path, "stranger.pem").context,
        "expired": authority.expired,
        "misnamed": authority.misnamed,
    }
    with S3Server(context=contexts[wrong]()) as s3:
        store = Cloud(s3, imds).store(Network(ca=str(authority.file)))
        if wrong:
            fault = refused(store)
            assert (fault.cause, "certificate" in fault.message) == ("tls", True)
            assert not s3.requests
        else:
            store.put("fleet.json", b"x")
            assert b"".join(store.stream("fleet.json")) == b"x"


def test_an_authority_that_the_system_knows_is_not_enough_where_another_is_set(
    imds: Imds, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(authority.file))
    other = Authority(authority.file.parent, "other.pem")
    with S3Server(context=authority.context()) as s3:
        assert refused(Cloud(s3, imds).store(Network(ca=str(other.file)))).cause == "tls"


# Nothing of this machine


@pytest.fixture
def strays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3Server]:
    """Whatever people leave on machines: keys, profiles, endpoints, in the environment and below ~/.aws."""
    home = tmp_path / "home"
    (home / ".aws").mkdir(parents=True)
    with S3Server(keys={"STRAY": AccessKey("stray")}) as decoy:
        keys = "aws_access_key_id = STRAY\naws_secret_access_key = stray\n"
        (home / ".aws" / "credentials").write_text(f"[default]\n{keys}[other]\n{keys}")
        settings = f"region = eu-west-3\nendpoint_url = {decoy.url}\nuse_dualstack_endpoint = true\n"
        (home / ".aws" / "config").write_text(f"[default]\n{settings}[profile other]\n{settings}")
        for name, value in {
            "HOME": str(home),
            "AWS_ACCESS_KEY_ID": "STRAY",
            "AWS_SECRET_ACCESS_KEY": "stray",
            "AWS_SESSION_TOKEN": "stray",
            "AWS_SECURITY_TOKEN": "stray",
            "AWS_REGION": "eu-west-3",
            "AWS_DEFAULT_REGION": "eu-west-3",
            "AWS_ENDPOINT_URL": decoy.url,
            "AWS_ENDPOINT_URL_S3": decoy.url,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": decoy.url,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": decoy.url,
            "AWS_CA_BUNDLE": str(home / "nothing.pem"),
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_RETRY_MODE": "legacy",
        }.items():
            monkeypatch.setenv(name, value)
        yield decoy
        assert not decoy.requests


def test_what_lies_about_on_a_machine_never_wins_over_the_role(cloud: Cloud, strays: S3Server) -> None:
    cloud.imds.meta["placement"]["region"] = "us-east-1"
    store = cloud.providers().open_store(cloud.url(region=""))
    store.put("fleet.json", b"x")
    assert store.get("fleet.json", 10).data == b"x"
    assert all("ASIA1" in one.headers["Authorization"] for one in cloud.s3.requests)
    assert not strays.requests


def test_what_lies_about_on_a_machine_never_stands_in_for_a_role_that_is_missing(
    cloud: Cloud, strays: S3Server
) -> None:
    cloud.s3.keys["STRAY"] = AccessKey("stray", "stray")
    cloud.imds.role(None)
    assert refused(cloud.store()).cause == "no-role"
    assert not cloud.s3.requests
    assert not strays.requests


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_PROFILE", "no-such-profile"),
        ("AWS_DEFAULT_PROFILE", "no-such-profile"),
        ("AWS_PROFILE", "other"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
        ("AWS_USE_FIPS_ENDPOINT", "true"),
        ("AWS_CONFIG_FILE", "/dev/full"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/nowhere"),
        ("AWS_S3_US_EAST_1_REGIONAL_ENDPOINT", "legacy"),
        ("AWS_RETRY_MODE", "nonsense"),
        ("AWS_MAX_ATTEMPTS", "nonsense"),
        ("AWS_DEFAULTS_MODE", "mobile"),
        ("AWS_REQUEST_CHECKSUM_CALCULATION", "nonsense"),
        ("AWS_ENDPOINT_URL", "nonsense"),
        ("AWS_DATA_PATH", "/nowhere"),
        ("BOTO_CONFIG", "/nowhere"),
    ],
)
def test_a_variable_of_the_aws_tools_does_not_break_the_agent(
    cloud: Cloud, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    store = cloud.store()
    store.put("fleet.json", b"x")
    assert store.get("fleet.json", 10).data == b"x"


# Credentials from a file, or from the AWS tools


def test_credentials_may_come_from_a_file_and_then_no_metadata_service_is_asked(cloud: Cloud, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(
        "[default]\naws_access_key_id = ASIA1\naws_secret_access_key=secret-1\naws_session_token= token-1\n"
    )
    keys.chmod(0o600)
    providers = cloud.providers(credentials=f"file:{keys}")
    store = providers.open_store(cloud.url())
    store.put("fleet.json", b"x")
    assert store.get("fleet.json", 10).data == b"x"
    assert not cloud.imds.requests


def test_a_file_of_credentials_that_everybody_may_read_is_not_used(cloud: Cloud, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("[default]\naws_access_key_id = ASIA1\naws_secret_access_key = secret-1\n")
    keys.chmod(0o644)
    with pytest.raises(FetchFault, match="read by everybody"):
        cloud.providers(credentials=f"file:{keys}").open_store(cloud.url()).get("x", 10)
    assert not cloud.s3.requests


def test_credentials_may_be_those_of_the_aws_tools(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ACCESS_KEY_ID": "ASIA1", "SECRET_ACCESS_KEY": "secret-1", "SESSION_TOKEN": "token-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    store = cloud.providers(credentials="boto3").open_store(cloud.url())
    store.put("fleet.json", b"x")
    assert not cloud.imds.requests


def test_where_the_aws_tools_have_no_credentials_either_it_is_told(cloud: Cloud) -> None:
    with pytest.raises(FetchFault) as told:
        cloud.providers(credentials="boto3").open_store(cloud.url()).get("x", 10)
    assert told.value.cause == "no-credentials"


# URLs


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of a bucket below localhost is this machine, as a name server would say."""
    ask = socket.getaddrinfo
    here = {"bucket.localhost": "localhost"}
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: ask(here.get(host, host), *rest, **more))


def test_a_bucket_is_a_part_of_the_path_or_of_the_hosts_name(cloud: Cloud, resolved: None) -> None:
    endpoint = cloud.s3.url.replace("127.0.0.1", "localhost")
    for style, host, path in (("path", "localhost", "/bucket/fleet/x"), ("virtual", "bucket.localhost", "/fleet/x")):
        store = cloud.store(endpoint=endpoint, style=style)
        store.put("x", style.encode())
        assert b"".join(store.stream("x")) == style.encode()
        last = cloud.s3.requests[-1]
        assert (last.headers["Host"].rpartition(":")[0], last.path) == (host, path)


def test_an_endpoint_of_its_own_is_asked_by_path_unless_the_style_says_otherwise(cloud: Cloud) -> None:
    store = cloud.providers().open_store(cloud.url())
    store.put("x", b"x")
    assert cloud.s3.requests[-1].path == "/bucket/fleet/x"
    assert store.revalidation("x", '"1"').split("\t")[2:4] == [cloud.s3.url.removeprefix("http://"), "/bucket/fleet/x"]


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("s3://bucket/a/b?region=eu-west-1", "bucket.s3.eu-west-1.amazonaws.com", "/a/b/fleet.json"),
        ("s3://bucket/a/b/?region=eu-west-1", "bucket.s3.eu-west-1.amazonaws.com", "/a/b/fleet.json"),
        ("s3://bucket?region=us-east-1", "bucket.s3.us-east-1.amazonaws.com", "/fleet.json"),
        ("s3://bucket/?region=cn-north-1", "bucket.s3.cn-north-1.amazonaws.com.cn", "/fleet.json"),
        ("s3://a.bucket/x?region=eu-west-1", "s3.eu-west-1.amazonaws.com", "/a.bucket/x/fleet.json"),
        ("s3://bucket/x?region=eu-west-1&style=path", "s3.eu-west-1.amazonaws.com", "/bucket/x/fleet.json"),
        ("s3://bucket/x?region=r&endpoint=https://[::1]:9000", "[::1]:9000", "/bucket/x/fleet.json"),
        ("s3://bucket/x?region=r&endpoint=https://minio:9000&style=virtual", "bucket.minio:9000", "/x/fleet.json"),
    ],
)
def test_bucket_prefix_and_options_make_the_address(cloud: Cloud, url: str, host: str, path: str) -> None:
    """As boto3 makes it, which a signature is for."""
    providers = cloud.providers()
    session = providers.aws.session
    store = S3Store(url, session)
    question = store.revalidation("fleet.json", '"tag"').split("\t")
    assert question[:5] == ["aws", "https", host, path, '"tag"']
    asked: list[str] = []

    def unsent(request: Any, **_: Any) -> AWSResponse:
        asked.append(request.url)
        return AWSResponse(request.url, 404, {}, HTTPResponse(io.BytesIO(), preload_content=False))

    session.client("s3", store.region, store.endpoint, store.style).meta.events.register("before-send", unsent)
    with pytest.raises(FetchFault):
        store.get("fleet.json", 10)
    # For us-east-1 boto3 takes an older name of the same.
    assert [url.replace(".s3.amazonaws.com", ".s3.us-east-1.amazonaws.com") for url in asked] == [
        f"https://{host}{path}"
    ]


def test_the_endpoint_of_the_settings_is_used_where_the_url_names_none(cloud: Cloud) -> None:
    providers = cloud.providers(endpoints={"s3": cloud.s3.url})
    providers.open_store("s3://bucket/fleet?region=us-east-1").put("x", b"x")
    assert cloud.s3.get("bucket", "fleet/x") == b"x"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://", "a bucket and a prefix"),
        ("s3:///prefix", "a bucket and a prefix"),
        ("s3://bucket/x#part", "a bucket and a prefix"),
        ("s3://bucket/x?zone=eu-west-1", r"\?zone="),
        ("s3://bucket/x?region=eu-west-1&ssl=off", r"\?ssl="),
        ("s3://bucket/x?style=host", "style 'host'"),
        ("s3://AKIAEXAMPLE:secret@bucket/x", "a bucket and a prefix"),
        ("s3://[bucket/x", "a bucket and a prefix"),
    ],
)
def test_a_url_that_is_wrong_is_refused_before_anything_is_asked(cloud: Cloud, url: str, words: str) -> None:
    with pytest.raises(ConfigFault, match=words) as told:
        cloud.providers().open_store(url)
    assert "secret" not in told.value.message
    assert "s3://bucket/prefix" in told.value.hint or "virtual" in told.value.hint


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("s3://bucket/x?endpoint=https://[::1", "IPv6"),
        ("s3://bucket/x?endpoint=minio:9000", "minio:9000"),
        ("s3://bucket/x?endpoint=//minio", "minio"),
        ("s3://bucket/x?endpoint=ftp://localhost:1", "localhost:1"),
        ("s3://my bucket/x", "bucket"),
    ],
)
def test_an_endpoint_or_a_bucket_that_is_none_is_named(cloud: Cloud, url: str, word: str) -> None:
    with pytest.raises(Fault) as told:
        cloud.providers(QUICK, region="us-east-1").open_store(url).get("fleet.json", 10)
    assert word in told.value.message
    assert told.value.cause != "too-slow"


def test_an_object_is_named_without_options_and_the_store_with_them(cloud: Cloud) -> None:
    providers = cloud.providers()
    for url, place in (
        ("s3://bucket", "s3://bucket/fleet.json"),
        ("s3://bucket/?region=r&style=path", "s3://bucket/fleet.json"),
        ("s3://bucket/a/b/?region=r", "s3://bucket/a/b/fleet.json"),
    ):
        store = providers.open_store(url)
        assert (store.url, store.location("fleet.json")) == (url, place)


def test_this_process_has_a_home_of_its_own() -> None:
    """The tests above would pass on a machine without ~/.aws, and fail on others."""
    assert not any(name.startswith("AWS_") for name in os.environ if name != "AWS_EC2_METADATA_DISABLED")
