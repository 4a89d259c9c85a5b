"""The one small request of a refresh: True only where the store itself says that nothing has changed."""

import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from contract.conftest import QUICK, Cloud, Kept, Raw
from patience import ends_within
from rolecall.aws.credentials import Credentials
from rolecall.settings import Network
from rolecall.shortcut.request import unchanged
from rolecall.shortcut.stamps import write_signing_file
from rolecall.store import Store
from servers.http import KINDS
from servers.mirror import Mirror
from servers.s3 import FAULTS, AccessKey, S3Server
from servers.tls import Authority

KEY = "fleet.json"


@dataclass
class Asked:
    """A store with a document, the question that a run has left, and the run folder."""

    store: Store
    question: str
    run: Path
    kept: Kept

    def unchanged(self) -> bool:
        return unchanged(self.question, str(self.run))

    def impatient(self) -> None:
        """With a shorter deadline."""
        self.question = "\t".join([*self.question.split("\t")[:-1], "0.4"])

    def requests(self) -> int:
        assert self.kept.server
        return len(self.kept.server.requests)


def leave_credentials(run: Path, credentials: Credentials | None) -> None:
    run.mkdir(exist_ok=True)
    if credentials:
        write_signing_file(run / "credentials", credentials.lines())


@pytest.fixture
def of_s3(cloud: Cloud, tmp_path: Path, authority: Authority) -> Asked:
    providers = cloud.providers(QUICK.model_copy(update={"ca": str(authority.file)}))
    store = providers.open_store(cloud.url())
    question = store.revalidation(KEY, store.put(KEY, b"{}"))
    leave_credentials(tmp_path / "run", providers.aws.session.held())
    cloud.s3.forget()
    return Asked(store, question, tmp_path / "run", Kept(lambda: store, cloud.s3))


@pytest.fixture
def of_https(mirror: Mirror, cloud: Cloud, tmp_path: Path, authority: Authority) -> Asked:
    providers = cloud.providers(QUICK.model_copy(update={"ca": str(authority.file)}))
    store = providers.open_store(f"{mirror.url}/fleet")
    question = store.revalidation(KEY, store.put(KEY, b"{}"))
    mirror.requests.clear()
    return Asked(store, question, tmp_path / "run", Kept(lambda: store, mirror))


@pytest.fixture
def asked(request: pytest.FixtureRequest) -> Asked:
    found: Asked = request.getfixturevalue(request.param)
    return found


both = pytest.mark.parametrize("asked", ["of_s3", "of_https"], indirect=True)


@both
def test_while_nothing_changes_one_request_says_so(asked: Asked) -> None:
    assert asked.unchanged()
    assert asked.unchanged()
    assert [one.status for one in asked.kept.asked()] == [304, 304]


@both
def test_a_change_is_noticed_and_so_is_a_change_back(asked: Asked) -> None:
    asked.store.put(KEY, b'{"serial": 2}')
    assert not asked.unchanged()
    asked.store.put(KEY, b"{}")
    assert asked.unchanged()


@both
def test_a_document_that_is_sent_each_time_is_compared_byte_by_byte(asked: Asked, tmp_path: Path) -> None:
    """By a server that does not look at tags, or has none: its document is no news."""
    server, known = asked.kept.server, tmp_path / "document.json"
    assert server
    server.revalidates = False
    known.write_bytes(b"{}")
    question = f"{asked.question}\t{known}"
    assert unchanged(question, str(asked.run))
    assert not asked.unchanged(), "nothing is known of what was read before"
    without_tag = "\t".join("" if place == 4 else field for place, field in enumerate(question.split("\t")))
    assert unchanged(without_tag, str(asked.run))
    for other in (b"[]", b"{}\n", b"{", b""):
        asked.store.put(KEY, other)
        assert not unchanged(question, str(asked.run)), other
        assert not unchanged(without_tag, str(asked.run)), other
    asked.store.put(KEY, b"{}")
    if isinstance(server, Mirror):
        server.compress = "always"
        assert not unchanged(question, str(asked.run)), "compressed bytes are not the document's"


@both
def test_a_document_that_is_gone_is_a_change(asked: Asked) -> None:
    server = asked.kept.server
    if isinstance(server, S3Server):
        server.objects.clear()
    else:
        assert isinstance(server, Mirror)
        server.files = {}
    assert not asked.unchanged()


@both
def test_a_key_or_a_prefix_with_odd_signs_is_asked_for_rightly(asked: Asked) -> None:
    for key in ("a b", "ü.json", "100%", "a+b&c=d", "#/?"):
        question = asked.store.revalidation(key, asked.store.put(key, key.encode()))
        assert unchanged(question, str(asked.run))
        asked.store.put(key, b"another")
        assert not unchanged(question, str(asked.run))


@both
def test_a_store_that_is_out_is_asked_again_by_the_run_itself(asked: Asked) -> None:
    assert asked.kept.server
    asked.kept.server.stop()
    assert not asked.unchanged()
    asked.kept.server.start()
    assert asked.unchanged()


@both
@pytest.mark.parametrize("kind", ["hang", "slow-head"])
def test_a_server_that_says_nothing_holds_no_refresh_up(asked: Asked, kind: str) -> None:
    asked.kept.break_with(kind, seconds=0.3)
    asked.impatient()
    with ends_within(3):
        assert not asked.unchanged()


@both
def test_a_connection_that_is_taken_and_left_alone_holds_no_refresh_up(asked: Asked) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        kind, scheme, _, *rest = asked.question.split("\t")
        asked.question = "\t".join([kind, scheme, f"127.0.0.1:{silent.getsockname()[1]}", *rest])
        asked.impatient()
        with ends_within(3):
            assert not asked.unchanged()


@both
def test_a_name_with_many_addresses_of_which_none_answers_holds_no_refresh_up_for_each(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As S3's has: the deadline is one for all of them."""
    here = socket.getaddrinfo("127.0.0.1", 9, type=socket.SOCK_STREAM)
    tried: list[object] = []

    def never(self: socket.socket, address: object) -> None:
        tried.append(address)
        time.sleep(self.gettimeout() or 60)
        raise TimeoutError

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: here * 8)
    monkeypatch.setattr(socket.socket, "connect", never)
    asked.impatient()
    with ends_within(2):
        assert not asked.unchanged()
    assert tried


BROKEN: dict[str, list[int | str]] = {
    "of_s3": [kind for kind in FAULTS if kind not in ("delay", "slow", "truncate", "cut", "corrupt", "hang")],
    "of_https": [
        *(kind for kind in KINDS if kind not in ("delay", "slow", "truncate", "cut", "corrupt", "hang", "slow-head")),
        *(200, 204, 206, 301, 302, 307, 308, 401, 403, 404, 405, 412, 429, 500, 502, 503, 504),
    ],
}


@both
def test_any_answer_but_not_modified_is_a_change(asked: Asked) -> None:
    """Where it is the answer to an object that has changed, or that nobody gave: the run finds out."""
    server = asked.kept.server
    name = "of_s3" if isinstance(server, S3Server) else "of_https"
    assert server
    with ends_within(30):
        for kind in BROKEN[name]:
            asked.store.put(KEY, b"another")
            asked.kept.break_with(kind, seconds=0.1)
            assert not asked.unchanged(), kind
            server.heal()


HEADS: dict[str, bytes] = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "another alphabet": "HTTP/1.1 ³04 ok\r\n\r\n".encode(),
    "binary": bytes(range(256)),
    "no line": b"x" * 100_000,
    "no status": b"HTTP/1.1\r\n\r\n",
    "the number elsewhere": b"HTTP/1.1 200 304\r\n\r\n",
    "more than the number": b"HTTP/1.1 3040 Not Modified\r\n\r\n",
}


@pytest.mark.parametrize("head", HEADS)
def test_what_is_hardly_http_is_a_change(of_https: Asked, authority: Authority, head: str) -> None:
    with Raw({"fleet.json": HEADS[head]}, authority.context()) as server:
        kind, scheme, _, *rest = of_https.question.split("\t")
        question = "\t".join([kind, scheme, server.url.removeprefix("https://"), *rest])
        with ends_within(5):
            assert not unchanged(question, str(of_https.run))
        assert server.asked


@pytest.mark.parametrize("tag", ['"a\tb"', '"\xe9"', '"a b"', 'W/"x"', "x" * 5000])
def test_a_tag_with_odd_signs_breaks_no_refresh(authority: Authority, tag: str, tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nETag: " + tag.encode("latin-1") + b"\r\n\r\n{}"
    with Raw({"fleet.json": head}, authority.context()) as server:
        network = QUICK.model_copy(update={"ca": str(authority.file)})
        store = Cloud.nobody(network).open_store(f"{server.url}/fleet")
        found = store.get(KEY, 10)
        question = store.revalidation(KEY, found.etag)
        assert not (question and unchanged(question, str(tmp_path)))


# Signatures and credentials


def test_the_server_checks_the_signature(of_s3: Asked, cloud: Cloud) -> None:
    assert of_s3.unchanged()
    (last,) = cloud.s3.requests
    assert last.headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=ASIA1/")
    assert last.headers["X-Amz-Security-Token"] == "token-1"
    cloud.s3.keys["ASIA1"] = AccessKey("another", "token-1")
    assert not of_s3.unchanged()
    assert [one.status for one in cloud.s3.requests] == [304, 403]


def test_keys_without_a_token_are_signed_with_too(of_s3: Asked, cloud: Cloud) -> None:
    cloud.s3.keys["AKIA"] = AccessKey("secret")
    leave_credentials(of_s3.run, Credentials("AKIA", "secret"))
    assert of_s3.unchanged()


@pytest.mark.parametrize("ahead", [1800, -1800])
def test_a_clock_that_is_wrong_is_left_to_the_run(of_s3: Asked, cloud: Cloud, ahead: float) -> None:
    cloud.s3.skew(ahead)
    assert not of_s3.unchanged()


@pytest.mark.parametrize("left", [299.0, 0.0, -1000.0])
def test_credentials_that_end_soon_are_not_used(of_s3: Asked, left: float) -> None:
    leave_credentials(of_s3.run, Credentials("ASIA1", "secret-1", "token-1", time.time() + left))
    assert not of_s3.unchanged()
    assert of_s3.requests() == 0


@pytest.mark.parametrize(
    "text", [None, "", "\n", "a\nb\nc\n", "a\nb\nc\nsoon\n", "a\nb\nc\n9e99\nd\n", "\xfc\nb\nc\n9e99\n"]
)
def test_credentials_that_cannot_be_read_are_left_to_the_run(of_s3: Asked, text: str | None) -> None:
    path = of_s3.run / "credentials"
    path.unlink()
    if text is not None:
        path.write_text(text)
    assert not of_s3.unchanged()
    assert of_s3.requests() == 0


def test_credentials_are_kept_where_only_the_agent_reads_them(of_s3: Asked) -> None:
    assert (of_s3.run / "credentials").stat().st_mode & 0o777 == 0o600


def test_a_mirror_is_asked_without_credentials(of_https: Asked, mirror: Mirror) -> None:
    assert not of_https.run.exists()
    assert of_https.unchanged()
    (last,) = mirror.requests
    assert "Authorization" not in last.headers
    assert last.headers["Accept-Encoding"] == "identity"


# TLS, styles, proxies


@pytest.mark.parametrize("wrong", ["", "stranger", "expired", "misnamed"])
@pytest.mark.parametrize("kind", ["s3", "https"])
def test_a_certificate_that_is_not_believed_is_left_to_the_run(
    kind: str, wrong: str, cloud: Cloud, authority: Authority, tmp_path: Path
) -> None:
    made: dict[str, Callable[[], ssl.SSLContext]] = {
        "": authority.context,
        "stranger": Authority(tmp_path, "stranger.pem").context,
        "expired": authority.expired,
        "misnamed": authority.misnamed,
    }
    providers = cloud.providers(Network(ca=str(authority.file)))
    leave_credentials(tmp_path / "run", providers.aws.session.credentials())
    context = made[wrong]()
    if kind == "s3":
        with S3Server(cloud.s3.buckets, cloud.s3.keys, context=context) as s3:
            s3.put("bucket", f"fleet/{KEY}", b"{}")
            question = providers.open_store(cloud.url(endpoint=s3.url)).revalidation(
                KEY, '"99914b932bd37a50b983c5e7c90ae93b"'
            )
            assert unchanged(question, str(tmp_path / "run")) == (not wrong)
    else:
        with Mirror({f"fleet/{KEY}": b"{}"}, context) as mirror:
            question = providers.open_store(f"{mirror.url}/fleet").revalidation(KEY, "*")
            assert unchanged(question, str(tmp_path / "run")) == (not wrong)


def test_authorities_that_are_not_there_are_left_to_the_run(of_https: Asked) -> None:
    fields = of_https.question.split("\t")
    fields[6] = "/nowhere/ca.pem"
    assert not unchanged("\t".join(fields), str(of_https.run))


def test_a_bucket_as_a_part_of_the_hosts_name(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look_up = socket.getaddrinfo
    here = dict.fromkeys(("bucket.localhost", b"bucket.localhost"), "localhost")
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: look_up(here.get(host, host), *rest, **more))
    providers = cloud.providers()
    endpoint = cloud.s3.url.replace("127.0.0.1", "localhost")
    store = providers.open_store(cloud.url(endpoint=endpoint, style="virtual"))
    question = store.revalidation(KEY, store.put(KEY, b"{}"))
    leave_credentials(tmp_path / "run", providers.aws.session.held())
    assert unchanged(question, str(tmp_path / "run"))


def test_servers_at_ipv6_addresses(cloud: Cloud, authority: Authority, tmp_path: Path) -> None:
    providers = cloud.providers(Network(ca=str(authority.file)))
    leave_credentials(tmp_path / "run", providers.aws.session.credentials())
    with (
        S3Server(cloud.s3.buckets, cloud.s3.keys, host="::1") as s3,
        Mirror(context=authority.context(), address="::1") as mirror,
    ):
        for url in (cloud.url(endpoint=s3.url), f"{mirror.url}/fleet"):
            store = providers.open_store(url)
            question = store.revalidation(KEY, store.put(KEY, b"{}"))
            assert unchanged(question, str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("of_s3", "HTTP_PROXY"),
        ("of_s3", "http_proxy"),
        ("of_https", "HTTPS_PROXY"),
        ("of_https", "https_proxy"),
        ("of_https", "ALL_PROXY"),  # which boto3 does not know
        ("of_https", "all_proxy"),
    ],
    indirect=["asked"],
)
def test_where_a_proxy_is_set_the_run_itself_asks(
    asked: Asked, name: str, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, nobody)
    assert not asked.unchanged()
    assert asked.requests() == 0


# What it costs


def test_neither_boto3_nor_requests_is_loaded_for_it(of_https: Asked, of_s3: Asked) -> None:
    code = (
        "import sys; from rolecall.shortcut.request import unchanged; print(unchanged(*sys.argv[1:]));"
        "print(*{'boto3', 'botocore', 'requests', 'urllib3', 'pydantic', 'json', 'http.client'} & {*sys.modules})"
    )
    for asked in (of_s3, of_https):
        argv = [sys.executable, "-c", code, asked.question, str(asked.run)]
        told = subprocess.run(argv, env={**os.environ}, check=True, capture_output=True, text=True, timeout=60)
        assert told.stdout == "True\n\n"


def test_a_question_of_another_version_is_left_to_the_run(of_https: Asked) -> None:
    for question in ("x", "https", of_https.question + "\tmore", of_https.question.rpartition("\t")[0], "\t" * 7):
        assert not unchanged(question, str(of_https.run))


def test_a_copy_with_another_tag_is_another_question(of_https: Asked) -> None:
    fields = of_https.question.split("\t")
    fields[4] = '"another"'
    assert not replace(of_https, question="\t".join(fields)).unchanged()
