"""The S3 of the tests is one: boto3 sees of it what it sees of S3, and every fault is the fault that it is called."""

import functools
import hashlib
import http.client
import io
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3.session
import pytest
from botocore import UNSIGNED, exceptions
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from patience import wait_until
from sampling import LONG
from servers.s3 import BUCKET, FAULTS, KEY_ID, MIN_PART, REGION, SECRET, AccessKey, S3Server, etag_of
from servers.tls import Authority

DATA = bytes(range(256)) * 40
TURNS = 25 if LONG else 8  # of each of eight who count
ETAG = etag_of(DATA)
ERROR_OF = {kind: code for kind, code in FAULTS.items() if isinstance(kind, int)}


@functools.cache
def session() -> Any:
    return boto3.session.Session()


def client(server: S3Server, key: str = KEY_ID, secret: str = SECRET, token: str | None = None, **more: Any) -> Any:
    """A client of boto3 that asks once and reads nothing of its environment."""
    style = {"addressing_style": more.pop("style", "path")} | more.pop("s3", {})
    arguments = {name: more.pop(name) for name in ("verify", "endpoint_url", "region_name") if name in more}
    quick = {"connect_timeout": 2, "read_timeout": 5, "retries": {"total_max_attempts": 1}, "max_pool_connections": 16}
    config = Config(proxies={}, s3=style, **(quick | more))
    credentials = {"aws_access_key_id": key, "aws_secret_access_key": secret, "aws_session_token": token}
    where = {"endpoint_url": server.url, "region_name": REGION} | arguments
    return session().client("s3", config=config, **where, **credentials)


def refusal(call: Callable[..., Any], key: str = "key", bucket: str = BUCKET, **more: Any) -> tuple[int, str]:
    """Status and code of the error that boto3 raises."""
    with pytest.raises(exceptions.ClientError) as caught:
        call(Bucket=bucket, Key=key, **more)
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def signed(server: S3Server, method: str, path: str, headers: Any = None, region: str = REGION) -> Any:
    """The headers of a request with any payload, for what boto3 does not let one ask or see."""
    request = AWSRequest(method, server.url + path, headers=headers)
    request.context["client_config"] = Config(s3={"payload_signing_enabled": False})
    S3SigV4Auth(Credentials(KEY_ID, SECRET), "s3", region).add_auth(request)
    return dict(request.headers)


def ask(server: S3Server, method: str, path: str, headers: Any = None) -> tuple[int, "http.client.HTTPMessage", str]:
    with closing(http.client.HTTPConnection(server.host, server.port, timeout=2)) as connection:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")


@pytest.fixture
def server() -> Iterator[S3Server]:
    """A server with one object; at the end nothing is left of it."""
    with S3Server() as made:
        made.put(BUCKET, "key", DATA)
        yield made
    assert not [thread for thread in threading.enumerate() if thread.name == "s3-server"]


@pytest.fixture
def s3(server: S3Server) -> Any:
    return client(server)


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns so often that what is not locked goes wrong."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


# Objects


@pytest.mark.parametrize(
    "key", ["plain", "a folder/b+c~d(1)=&%25'*!$.tar.gz", "ü€😀", "//two//slashes", "a/../b", "?q#h"]
)
def test_an_object_comes_back_as_it_was_put_whatever_its_name(server: S3Server, s3: Any, key: str) -> None:
    assert s3.put_object(Bucket=BUCKET, Key=key, Body=DATA)["ETag"] == ETAG
    assert server.get(BUCKET, key) == server.objects[BUCKET, key] == DATA
    got = s3.get_object(Bucket=BUCKET, Key=key)
    assert (got["Body"].read(), got["ETag"], got["ContentLength"]) == (DATA, ETAG, len(DATA))
    head = s3.head_object(Bucket=BUCKET, Key=key)
    assert (head["ETag"], head["ContentLength"], head["LastModified"]) == (ETAG, len(DATA), got["LastModified"])
    assert key in [listed["Key"] for listed in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    s3.delete_object(Bucket=BUCKET, Key=key)
    assert refusal(s3.get_object, key) == (404, "NoSuchKey")


def test_a_list_comes_in_pages(server: S3Server, s3: Any) -> None:
    for number in range(5):
        server.put(BUCKET, f"list/{number}", b"x" * number)
    pages = list(
        s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="list/", PaginationConfig={"PageSize": 2})
    )
    assert [page["KeyCount"] for page in pages] == [2, 2, 1]
    listed = [(one["Key"], one["Size"], one["ETag"]) for page in pages for one in page["Contents"]]
    assert listed == [(f"list/{number}", number, etag_of(b"x" * number)) for number in range(5)]
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix="other/")


def send_parts(s3: Any, key: str, parts: list[bytes]) -> tuple[str, list[dict[str, Any]]]:
    """A multipart upload that has all its parts, and what completes it."""
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
    common = {"Bucket": BUCKET, "Key": key, "UploadId": upload}
    tags = [s3.upload_part(**common, PartNumber=n, Body=part)["ETag"] for n, part in enumerate(parts, 1)]
    return upload, [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]


def test_the_parts_of_an_upload_are_an_object_once_it_is_complete(s3: Any, server: S3Server) -> None:
    parts = [b"a" * MIN_PART, b"b"]
    upload, named = send_parts(s3, "parts", parts)
    assert (BUCKET, "parts") not in server.objects
    target = {"Bucket": BUCKET, "Key": "parts", "UploadId": upload, "MultipartUpload": {"Parts": named}}
    tag = s3.complete_multipart_upload(**target)["ETag"]
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    assert tag == f'"{hashlib.md5(digests).hexdigest()}-2"' == s3.head_object(Bucket=BUCKET, Key="parts")["ETag"]
    assert s3.get_object(Bucket=BUCKET, Key="parts")["Body"].read() == b"".join(parts)
    with pytest.raises(exceptions.ClientError, match="NoSuchUpload"):
        s3.complete_multipart_upload(**target)


def test_an_upload_with_a_part_that_is_too_small_or_not_the_one_named_is_refused(s3: Any, server: S3Server) -> None:
    upload, named = send_parts(s3, "small", [b"a", b"b"])
    for wrong, code in ((named, "EntityTooSmall"), ([{**named[0], "ETag": ETAG}], "InvalidPart"), ([], "MalformedXML")):
        with pytest.raises(exceptions.ClientError, match=code):
            s3.complete_multipart_upload(Bucket=BUCKET, Key="small", UploadId=upload, MultipartUpload={"Parts": wrong})
    s3.abort_multipart_upload(Bucket=BUCKET, Key="small", UploadId=upload)
    assert not server.uploads
    assert (BUCKET, "small") not in server.objects


def test_what_it_does_not_know_it_refuses(s3: Any) -> None:
    assert refusal(s3.copy_object, CopySource=f"{BUCKET}/key") == (501, "NotImplemented")
    assert refusal(s3.get_object, VersionId="1") == (501, "NotImplemented")
    assert refusal(s3.put_object, Body=b"", IfNoneMatch=ETAG) == (501, "NotImplemented")
    assert refusal(s3.delete_object, IfMatch=ETAG) == (501, "NotImplemented")
    assert refusal(s3.put_object, Body=b"", ChecksumCRC64NVME="x") == (501, "NotImplemented")


def test_requests_are_recorded_as_they_came(server: S3Server, s3: Any) -> None:
    s3.get_object(Bucket=BUCKET, Key="key", IfNoneMatch='"other"')
    refusal(s3.get_object, "a b")
    found, missing = server.requests
    assert (found.method, found.path, found.status, found.headers["If-None-Match"]) == (
        "GET",
        "/bucket/key",
        200,
        '"other"',
    )
    assert (missing.path, missing.key, missing.status) == ("/bucket/a%20b", "a b", 404)
    assert "amz-sdk-invocation-id" in found.headers.keys()  # noqa: SIM118 - as it was written, lower case
    server.forget()
    assert server.requests == []


# Who may ask


def test_a_wrong_signature_is_refused_as_s3_refuses_it(server: S3Server) -> None:
    assert refusal(client(server, secret="wrong").get_object) == (403, "SignatureDoesNotMatch")
    assert refusal(client(server, secret="wrong").put_object, Body=b"x") == (403, "SignatureDoesNotMatch")
    assert refusal(client(server, secret="wrong").head_object) == (403, "403")
    assert server.get(BUCKET, "key") == DATA


def test_a_header_changed_or_added_on_the_way_breaks_the_signature(server: S3Server) -> None:
    headers = signed(server, "GET", "/bucket/key", {"Range": "bytes=0-1"})
    assert ask(server, "GET", "/bucket/key", headers)[0] == 206
    assert "SignatureDoesNotMatch" in ask(server, "GET", "/bucket/key", headers | {"Range": "bytes=0-2"})[2]
    assert "SignatureDoesNotMatch" in ask(server, "GET", "/bucket/other", headers)[2]
    assert "HeadersNotSigned" in ask(server, "GET", "/bucket/key", headers | {"x-amz-meta-a": "b"})[2]


def test_an_unknown_key_is_refused(server: S3Server) -> None:
    assert refusal(client(server, key="AKIAOTHER").get_object) == (403, "InvalidAccessKeyId")


def test_an_unsigned_request_is_refused(server: S3Server) -> None:
    assert refusal(client(server, signature_version=UNSIGNED).get_object) == (403, "AccessDenied")
    assert "AuthorizationHeaderMalformed" in ask(server, "GET", "/bucket/key", {"Authorization": "Basic x"})[2]


def test_a_temporary_key_needs_its_token_and_its_time(server: S3Server) -> None:
    server.keys["ASIATESTS"] = AccessKey("temporary", token="token", expires=server.now() + 60)
    temporary = functools.partial(client, server, "ASIATESTS", "temporary")
    assert temporary("token").get_object(Bucket=BUCKET, Key="key")["ETag"] == ETAG
    assert refusal(temporary("wrong").get_object) == (400, "InvalidToken")
    assert refusal(temporary(None).get_object) == (403, "InvalidAccessKeyId")
    assert refusal(client(server, token="superfluous").get_object) == (400, "InvalidToken")
    server.skew(61)
    assert refusal(temporary("token").get_object) == (400, "ExpiredToken")


def test_the_servers_clock_can_be_moved_and_refuses_what_is_too_far_off(server: S3Server, s3: Any) -> None:
    for seconds in (14 * 60, -14 * 60):
        server.skew(seconds)
        ahead = server.now() - time.time()
        told = s3.get_object(Bucket=BUCKET, Key="key")["ResponseMetadata"]["HTTPHeaders"]["date"]
        assert abs(ahead - seconds) < 60
        assert abs(time.mktime(time.strptime(told, "%a, %d %b %Y %H:%M:%S GMT")) - time.timezone - server.now()) < 60
    for seconds in (16 * 60, -16 * 60):
        server.skew(seconds)
        assert refusal(s3.get_object) == (403, "RequestTimeTooSkewed")
    server.skew(0)
    assert s3.get_object(Bucket=BUCKET, Key="key")["ETag"] == ETAG


def test_a_key_may_do_what_it_was_granted_and_nothing_else(server: S3Server) -> None:
    grants = [("GetObject", "bucket/"), ("PutObject", "bucket/nodes/"), ("ListBucket", "bucket/nodes/")]
    server.keys["AKIANODE"] = AccessKey("node", allowed=grants)
    node = client(server, "AKIANODE", "node")
    assert node.get_object(Bucket=BUCKET, Key="key")["ETag"] == ETAG
    assert node.head_object(Bucket=BUCKET, Key="key")["ETag"] == ETAG
    node.put_object(Bucket=BUCKET, Key="nodes/a", Body=b"")
    assert node.list_objects_v2(Bucket=BUCKET, Prefix="nodes/")["KeyCount"] == 1
    assert refusal(node.put_object, Body=b"") == (403, "AccessDenied")
    assert refusal(node.delete_object, "nodes/a") == (403, "AccessDenied")
    with pytest.raises(exceptions.ClientError, match="AccessDenied"):
        node.list_objects_v2(Bucket=BUCKET)
    assert set(server.objects) == {(BUCKET, "key"), (BUCKET, "nodes/a")}


def test_what_is_missing_is_told_only_to_who_may_list(server: S3Server, s3: Any) -> None:
    server.keys["AKIABLIND"] = AccessKey("blind", allowed=[("GetObject", "")])
    blind = client(server, "AKIABLIND", "blind")
    assert (refusal(s3.get_object, "no"), refusal(s3.head_object, "no")) == ((404, "NoSuchKey"), (404, "404"))
    assert (refusal(blind.get_object, "no"), refusal(blind.head_object, "no")) == ((403, "AccessDenied"), (403, "403"))
    assert refusal(s3.get_object, bucket="nowhere") == (404, "NoSuchBucket")


def test_a_conditional_write_needs_the_right_to_read_too(server: S3Server) -> None:
    server.keys["AKIAWRITER"] = AccessKey("writer", allowed=[("PutObject", "")])
    writer = client(server, "AKIAWRITER", "writer")
    assert refusal(writer.put_object, Body=b"", IfMatch=ETAG) == (403, "AccessDenied")
    assert refusal(writer.put_object, Body=b"", IfNoneMatch="*") == (412, "PreconditionFailed")


# Where it is


def test_boto3_corrects_a_wrong_region_by_itself(server: S3Server) -> None:
    elsewhere = client(server, region_name="eu-west-1")
    assert elsewhere.get_object(Bucket=BUCKET, Key="key")["ETag"] == ETAG
    assert [request.status for request in server.requests] == [400, 200]
    status, headers, text = ask(server, "GET", "/bucket/key", signed(server, "GET", "/bucket/key", region="eu-west-1"))
    assert (status, headers["x-amz-bucket-region"]) == (400, REGION)
    assert "<Code>AuthorizationHeaderMalformed</Code>" in text
    assert f"<Region>{REGION}</Region>" in text


def test_a_bucket_of_another_region_is_a_redirect(server: S3Server, s3: Any) -> None:
    server.buckets["far"] = "eu-west-1"
    assert refusal(s3.get_object, bucket="far") == (301, "PermanentRedirect")
    assert [request.status for request in server.requests] == [301, 301]  # the second signed for eu-west-1
    assert "/eu-west-1/" in server.requests[1].headers["Authorization"]
    assert ask(server, "HEAD", "/far")[1]["x-amz-bucket-region"] == "eu-west-1"


def test_a_server_is_of_the_region_that_it_is_told(server: S3Server) -> None:
    with S3Server(region="eu-central-1") as other:
        other.put(BUCKET, "key", DATA)
        assert client(other, region_name="eu-central-1").get_object(Bucket=BUCKET, Key="key")["ETag"] == ETAG
        assert [request.status for request in other.requests] == [200]


@pytest.mark.parametrize("endpoint", ["s3.cloud.test", "cloud.test"])
def test_a_bucket_may_be_in_the_name_of_the_host(
    server: S3Server, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: here)
    virtual = client(server, style="virtual", endpoint_url=f"http://{endpoint}:{server.port}")
    assert virtual.get_object(Bucket=BUCKET, Key="key")["ETag"] == ETAG
    assert virtual.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 1
    virtual.put_object(Bucket=BUCKET, Key="/slash", Body=b"x")
    assert server.get(BUCKET, "/slash") == b"x"
    assert [request.path for request in server.requests if request.key] == ["/key", "//slash"]
    assert server.requests[0].headers["Host"] == f"bucket.{endpoint}:{server.port}"


def test_it_listens_on_ipv6() -> None:
    with S3Server(host="::1") as server:
        assert server.url == f"http://[::1]:{server.port}"
        client(server).put_object(Bucket=BUCKET, Key="key", Body=DATA)
        assert client(server).get_object(Bucket=BUCKET, Key="key")["Body"].read() == DATA


def test_a_stopped_server_refuses_connections_and_starts_again_on_its_port(server: S3Server, s3: Any) -> None:
    port = server.port
    s3.get_object(Bucket=BUCKET, Key="key")["Body"].read()
    server.stop()
    with pytest.raises(exceptions.EndpointConnectionError):
        s3.get_object(Bucket=BUCKET, Key="key")
    server.start()
    assert server.port == port
    assert s3.get_object(Bucket=BUCKET, Key="key")["Body"].read() == DATA


def test_it_is_a_program_too() -> None:
    command = [sys.executable, "-m", "servers.s3"]
    with subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout
            said = dict(word.split("=") for word in program.stdout.readline().split())
            there = S3Server(port=int(said["AWS_ENDPOINT_URL_S3"].rpartition(":")[2]))
            s3 = client(there, said["AWS_ACCESS_KEY_ID"], said["AWS_SECRET_ACCESS_KEY"])
            s3.put_object(Bucket=BUCKET, Key="key", Body=DATA)
            assert s3.get_object(Bucket=BUCKET, Key="key")["Body"].read() == DATA
        finally:
            program.terminate()


# Conditions and ranges


@pytest.mark.parametrize("etag", [ETAG, ETAG.strip('"'), f'"other", {ETAG}', "*"])
def test_what_has_not_changed_is_not_sent_again(server: S3Server, s3: Any, etag: str) -> None:
    assert refusal(s3.get_object, IfNoneMatch=etag) == (304, "304")
    assert refusal(s3.head_object, IfNoneMatch=etag) == (304, "304")
    assert s3.get_object(Bucket=BUCKET, Key="key", IfNoneMatch='"other"')["ETag"] == ETAG
    assert s3.get_object(Bucket=BUCKET, Key="key", IfMatch=etag)["ETag"] == ETAG
    headers = signed(server, "GET", "/bucket/key", {"If-None-Match": etag})
    status, told, body = ask(server, "GET", "/bucket/key", headers)
    assert (status, told["ETag"], told["Content-Length"], body) == (304, ETAG, None, "")


@pytest.mark.parametrize(
    ("spec", "first", "end"),
    [
        ("bytes=100-", 100, None),
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=5-99999999", 5, None),
        ("bytes=-7", -7, None),
    ],
)
def test_a_range_is_a_part_of_the_object_that_was_meant(s3: Any, spec: str, first: int, end: int | None) -> None:
    got = s3.get_object(Bucket=BUCKET, Key="key", Range=spec, IfMatch=ETAG)
    expected = DATA[first:end]
    start = range(len(DATA))[first]
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert got["ContentRange"] == f"bytes {start}-{start + len(expected) - 1}/{len(DATA)}"
    assert got["Body"].read() == expected
    assert refusal(s3.get_object, Range=spec, IfMatch='"other"') == (412, "PreconditionFailed")


def test_a_range_beyond_the_end_is_refused_and_one_that_makes_no_sense_is_ignored(s3: Any) -> None:
    assert refusal(s3.get_object, Range=f"bytes={len(DATA)}-") == (416, "InvalidRange")
    for spec in ("bytes=9-8", "lines=1-2", "bytes=-"):
        assert s3.get_object(Bucket=BUCKET, Key="key", Range=spec)["Body"].read() == DATA


def test_conditional_writes_answer_as_those_of_s3(server: S3Server, s3: Any) -> None:
    assert refusal(s3.put_object, Body=b"new", IfNoneMatch="*") == (412, "PreconditionFailed")
    assert refusal(s3.put_object, Body=b"new", IfMatch='"other"') == (412, "PreconditionFailed")
    assert refusal(s3.put_object, "missing", Body=b"new", IfMatch=ETAG) == (404, "NoSuchKey")
    server.fault(409, method="PUT", times=1)
    assert refusal(s3.put_object, Body=b"new", IfMatch=ETAG) == (409, "ConditionalRequestConflict")
    assert server.objects == {(BUCKET, "key"): DATA}
    s3.put_object(Bucket=BUCKET, Key="key", Body=b"new", IfMatch=ETAG)
    s3.put_object(Bucket=BUCKET, Key="missing", Body=b"new", IfNoneMatch="*")
    assert server.objects == {(BUCKET, "key"): b"new", (BUCKET, "missing"): b"new"}


@pytest.mark.usefixtures("restless")
def test_of_many_compare_and_swaps_none_is_lost(server: S3Server, s3: Any) -> None:
    server.put(BUCKET, "count", b"0")

    def increment() -> bool:
        seen = s3.get_object(Bucket=BUCKET, Key="count")
        count = int(seen["Body"].read()) + 1
        try:
            s3.put_object(Bucket=BUCKET, Key="count", Body=str(count).encode(), IfMatch=seen["ETag"])
        except exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "PreconditionFailed":
                raise
            return False
        return True

    def work(number: int) -> None:
        done = 0
        while done < TURNS:
            done += increment()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert server.get(BUCKET, "count") == b"%d" % (8 * TURNS)
    statuses = Counter(request.status for request in server.requests if request.method == "PUT")
    assert statuses[200] == 8 * TURNS
    assert statuses.keys() == {200, 412}


@pytest.mark.usefixtures("restless")
def test_of_many_who_create_the_same_object_one_wins(server: S3Server, s3: Any) -> None:
    together = threading.Barrier(16)

    def create(number: int) -> int:
        together.wait()
        try:
            s3.put_object(Bucket=BUCKET, Key="lock", Body=b"%d" % number, IfNoneMatch="*")
        except exceptions.ClientError as error:
            return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
        return number

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(create, range(16)))
    (winner,) = [number for number in results if number != 412]
    assert server.get(BUCKET, "lock") == b"%d" % winner


# What arrives is what was sent


def test_a_wrong_checksum_is_a_bad_digest(server: S3Server, s3: Any) -> None:
    assert refusal(s3.put_object, Body=b"x", ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==") == (400, "BadDigest")
    assert refusal(s3.put_object, Body=b"x", ChecksumCRC32="AAAAAA==") == (400, "BadDigest")
    assert refusal(s3.put_object, Body=b"x", ChecksumSHA256="A" * 43 + "=") == (400, "BadDigest")
    s3.meta.events.register("before-send.s3.PutObject", lambda request, **_: setattr(request, "body", b"y"))
    assert refusal(s3.put_object, Body=b"x") == (400, "XAmzContentSHA256Mismatch")
    unsigned = client(server, s3={"payload_signing_enabled": False})
    unsigned.put_object(Bucket=BUCKET, Key="unsigned", Body=b"x")
    assert server.requests[-1].headers["X-Amz-Content-SHA256"] == "UNSIGNED-PAYLOAD"
    unsigned.meta.events.register("before-send.s3.PutObject", lambda request, **_: setattr(request, "body", b"y"))
    assert refusal(unsigned.put_object, Body=b"x") == (400, "BadDigest")
    assert server.objects == {(BUCKET, "key"): DATA, (BUCKET, "unsigned"): b"x"}


def test_over_tls_boto3_sends_chunks_with_a_checksum_behind_them(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with S3Server(context=authority.context()) as server, socket.create_connection((server.host, server.port)):
        s3 = client(server, verify=str(authority.file))
        for data in (b"", DATA, DATA * 200):
            for body in (data, io.BytesIO(data)):
                s3.put_object(Bucket=BUCKET, Key="key", Body=body)
                assert s3.get_object(Bucket=BUCKET, Key="key")["Body"].read() == server.get(BUCKET, "key") == data
        assert server.requests[0].headers["X-Amz-Content-SHA256"] == "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
        for changed, code in {
            b"1\r\ny\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n": "BadDigest",
            b"1\r\ny\r\n0\r\n\r\n": "MalformedTrailerError",
            b"2\r\nyy\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n": "IncompleteBody",
        }.items():
            tampering = client(server, verify=str(authority.file))
            tampering.meta.events.register(
                "before-send.s3.PutObject", lambda request, changed=changed, **_: setattr(request, "body", changed)
            )
            assert refusal(tampering.put_object, Body=b"x") == (400, code)
        with pytest.raises(exceptions.SSLError):
            client(server).get_object(Bucket=BUCKET, Key="key")


def test_a_body_that_was_cut_on_its_way_is_not_applied(server: S3Server) -> None:
    def put(key: str, body: bytes) -> int:
        with closing(http.client.HTTPConnection(server.host, server.port, timeout=2)) as connection:
            connection.putrequest("PUT", f"/bucket/{key}", skip_accept_encoding=True)
            for name, value in {**signed(server, "PUT", f"/bucket/{key}"), "Content-Length": str(len(DATA))}.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            connection.sock.shutdown(socket.SHUT_WR)
            return connection.getresponse().status

    assert put("whole", DATA) == 200
    with pytest.raises(http.client.RemoteDisconnected):
        put("cut", DATA[:-1])
    assert set(server.objects) == {(BUCKET, "key"), (BUCKET, "whole")}


# Faults


def failure(call: Callable[[], Any]) -> str:
    """The name of the exception."""
    with pytest.raises(exceptions.BotoCoreError) as caught:
        call()
    return type(caught.value).__name__


@pytest.mark.parametrize("kind", ERROR_OF)
def test_a_status_is_answered_to_the_requests_that_it_is_for(server: S3Server, s3: Any, kind: int) -> None:
    server.fault(kind, method="GET", key="k*", times=2, retry_after=7)
    assert refusal(s3.get_object, "other") == (404, "NoSuchKey")
    assert s3.head_object(Bucket=BUCKET, Key="key")["ETag"] == ETAG
    assert refusal(s3.get_object) == (kind, ERROR_OF[kind])
    with pytest.raises(exceptions.ClientError) as caught:
        s3.get_object(Bucket=BUCKET, Key="key")
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "7"
    assert s3.get_object(Bucket=BUCKET, Key="key")["ETag"] == ETAG
    server.fault(kind)
    assert refusal(s3.put_object, "new", Body=b"") == (kind, ERROR_OF[kind])
    assert refusal(s3.head_object) == (kind, str(kind))
    server.heal()
    assert s3.head_object(Bucket=BUCKET, Key="key")["ETag"] == ETAG
    assert (BUCKET, "new") not in server.objects


def test_a_fault_that_does_not_exist_is_a_mistake_of_the_test(server: S3Server) -> None:
    with pytest.raises(ValueError, match="no such fault: 418"):
        server.fault(418)
    with pytest.raises(TypeError):
        server.fault(503, tims=1)


@pytest.mark.parametrize(("kind", "applied"), [("reset", False), ("lost", True)])
def test_a_connection_ends_without_an_answer(server: S3Server, s3: Any, kind: str, applied: bool) -> None:
    server.fault(kind)
    assert failure(lambda: s3.get_object(Bucket=BUCKET, Key="key")) == "ConnectionClosedError"
    assert failure(lambda: s3.put_object(Bucket=BUCKET, Key="new", Body=b"x")) == "ConnectionClosedError"
    assert [request.status for request in server.requests] == [0, 0]
    assert ((BUCKET, "new") in server.objects) == applied
    with pytest.raises(ConnectionResetError if kind == "reset" else http.client.RemoteDisconnected) as caught:
        ask(server, "GET", "/bucket/key")
    assert type(caught.value) is (ConnectionResetError if kind == "reset" else http.client.RemoteDisconnected)


def test_a_server_that_hangs_is_noticed_by_the_read_timeout_and_ends_at_stop(server: S3Server) -> None:
    hasty, patient, failures = client(server, read_timeout=0.3), client(server, read_timeout=600), list[str]()
    server.fault("hang")
    assert failure(lambda: hasty.get_object(Bucket=BUCKET, Key="key")) == "ReadTimeoutError"

    def ask() -> None:
        failures.append(failure(lambda: patient.head_object(Bucket=BUCKET, Key="key")))

    waiting = threading.Thread(target=ask)
    waiting.start()
    wait_until(lambda: len(server.requests) == 2, "the server has the second question")
    server.stop()
    waiting.join(60)
    assert failures == ["ConnectionClosedError"], "it was not the client who gave up"


def test_a_delay_is_only_a_delay(server: S3Server, s3: Any) -> None:
    server.fault("delay", seconds=0.3)
    began = time.monotonic()
    assert s3.get_object(Bucket=BUCKET, Key="key")["Body"].read() == DATA
    assert time.monotonic() - began >= 0.3


def test_a_slow_answer_escapes_the_read_timeout(server: S3Server) -> None:
    read_timeout = 1.0  # so long a busy machine may stop between two pieces
    hasty = client(server, read_timeout=read_timeout)
    server.put(BUCKET, "key", b"slow")
    for part in ("body", "header"):
        server.fault("slow", part=part, seconds=0.3 if part == "body" else 0.01)
        began = time.monotonic()
        assert hasty.get_object(Bucket=BUCKET, Key="key")["Body"].read() == b"slow"
        assert time.monotonic() - began > read_timeout
        server.heal()


@pytest.mark.parametrize(("kind", "size"), [("truncate", len(DATA) // 2), ("cut", 100)])
def test_a_body_that_ends_early_is_noticed_and_can_be_resumed(server: S3Server, s3: Any, kind: str, size: int) -> None:
    server.fault(kind, size=size, times=1)
    body = s3.get_object(Bucket=BUCKET, Key="key")["Body"]
    begun = body.read(size)
    assert begun == DATA[:size]
    assert failure(body.read) in ("ResponseStreamingError", "IncompleteReadError")
    assert begun + s3.get_object(Bucket=BUCKET, Key="key", IfMatch=ETAG, Range=f"bytes={size}-")["Body"].read() == DATA


def test_corrupt_bytes_are_noticed_by_boto3_only_where_it_gets_a_checksum(server: S3Server, s3: Any) -> None:
    server.fault("corrupt")
    assert failure(s3.get_object(Bucket=BUCKET, Key="key")["Body"].read) == "FlexibleChecksumError"
    assert s3.get_object(Bucket=BUCKET, Key="key", Range="bytes=0-9")["Body"].read() != DATA[:10]
    server.checksums = False
    got = s3.get_object(Bucket=BUCKET, Key="key")
    assert got["ETag"] == ETAG
    assert sum(one != other for one, other in zip(got["Body"].read(), DATA, strict=True)) == 1


def test_an_endless_body_announces_no_length(server: S3Server, s3: Any) -> None:
    server.fault("oversize")
    got = s3.get_object(Bucket=BUCKET, Key="key")
    assert "ContentLength" not in got
    assert len(got["Body"].read(10_000_000)) == 10_000_000


def test_nothing_goes_to_the_terminal_whatever_clients_do(server: S3Server, capfd: pytest.CaptureFixture[str]) -> None:
    for kind in FAULTS:
        server.fault(kind, key=str(kind), seconds=0.001)
        with socket.create_connection((server.host, server.port)) as connection:
            connection.sendall(f"GET /bucket/{kind} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            connection.recv(1) if kind not in ("hang", "lost", "reset") else None
    for rubbish in (
        b"",
        b"\x16\x03\x01",
        b"GET\r\n\r\n",
        b"PUT /bucket/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ):
        with socket.create_connection((server.host, server.port)) as connection:
            connection.sendall(rubbish)
    server.stop()
    assert capfd.readouterr() == ("", "")
    assert server.mistakes == []


def test_a_mistake_of_the_server_itself_is_raised_at_its_end() -> None:
    server = S3Server()
    server.buckets = None  # type: ignore[assignment]
    with pytest.raises(AttributeError), server:
        failure(lambda: client(server).head_object(Bucket=BUCKET, Key="key"))
