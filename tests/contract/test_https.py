"""What is the web server's own: redirections, certificates, encodings, tags, and servers that can do less."""

import gzip
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from contract.conftest import QUICK, Raw
from patience import ends_within
from rolecall.errors import ConfigFault, ConflictFault, Fault, FetchFault
from rolecall.settings import Network
from rolecall.store import Store
from rolecall.store.download import PIECE
from rolecall.store.http_errors import fault_of
from rolecall.store.https import HttpsStore
from servers.mirror import Mirror, etag
from servers.tls import Authority


@pytest.fixture
def network(authority: Authority) -> Network:
    return Network(ca=str(authority.file))


@pytest.fixture
def store(mirror: Mirror, network: Network) -> HttpsStore:
    return HttpsStore(f"{mirror.url}/fleet", network)


def refused(store: Store, key: str = "fleet.json") -> FetchFault:
    """The fault of reading an object; a download and a write come to the same."""
    with pytest.raises(FetchFault) as told:
        store.get(key, 100)
    with pytest.raises(FetchFault) as of_stream:
        list(store.stream(key))
    with pytest.raises(FetchFault) as of_put:
        store.put(key, b"x")
    assert told.value.cause == of_stream.value.cause == of_put.value.cause
    return told.value


# Redirections


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_nothing_is_followed_elsewhere(mirror: Mirror, store: Store, authority: Authority, status: int) -> None:
    with Mirror({"fleet/fleet.json": b"{}"}, authority.context()) as other:
        mirror.redirect("/fleet", f"{other.url}/fleet", status)
        fault = refused(store)
        assert (fault.cause, f"{other.url}/fleet/fleet.json" in fault.message) == ("moved", True)
        assert not other.requests


def test_a_redirection_to_the_same_server_is_not_followed_either(mirror: Mirror, store: Store) -> None:
    mirror.write("new/fleet.json", b"{}")
    mirror.redirect("/fleet", "/new")
    assert refused(store).cause == "moved"


def test_a_redirection_whose_page_has_no_end_is_told_at_once(mirror: Mirror, network: Network) -> None:
    mirror.redirect("/fleet", "https://elsewhere.invalid")
    mirror.fault("endless")
    store = HttpsStore(f"{mirror.url}/fleet", network.model_copy(update={"timeout": 1.5}))
    with ends_within(10), pytest.raises(FetchFault) as told:
        store.get("fleet.json", 100)
    assert told.value.cause == "moved", "its page is not read"


# Certificates


@pytest.mark.parametrize("wrong", ["stranger", "expired", "misnamed"])
def test_a_certificate_that_is_wrong_is_not_accepted(
    wrong: str, authority: Authority, network: Network, tmp_path: Path
) -> None:
    contexts = {
        "stranger": Authority(tmp_path, "stranger.pem").context,
        "expired": authority.expired,
        "misnamed": authority.misnamed,
    }
    with Mirror({"fleet/fleet.json": b"{}"}, contexts[wrong]()) as mirror:
        fault = refused(open_https(mirror.url, network))
        assert (fault.cause, "certificate" in fault.message) == ("tls", True)
        assert "network.ca" in fault.hint
        assert not mirror.requests


def open_https(url: str, network: Network) -> Store:
    return HttpsStore(f"{url}/fleet", network)


def test_a_private_authority_is_believed_where_it_is_set_only(mirror: Mirror, authority: Authority) -> None:
    assert refused(open_https(mirror.url, Network())).cause == "tls"
    open_https(mirror.url, Network(ca=str(authority.file))).put("x", b"x")


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_authorities_of_agent_toml_are_not_those_of_a_variable(
    mirror: Mirror, authority: Authority, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other.pem")
    monkeypatch.setenv(name, str(authority.file))
    assert refused(open_https(mirror.url, Network(ca=str(other.file)))).cause == "tls"
    monkeypatch.setenv(name, str(other.file))
    open_https(mirror.url, Network(ca=str(authority.file))).put("x", b"x")


@pytest.mark.parametrize("content", [None, "", "no certificate\n"])
def test_authorities_that_cannot_be_read_are_a_fault_that_names_their_file(
    mirror: Mirror, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "authorities.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(Fault, match=r"authorities\.pem"):
        open_https(mirror.url, Network(ca=str(file))).get("x", 10)


def test_a_server_without_tls_is_not_talked_to(network: Network) -> None:
    with Mirror({"fleet/fleet.json": b"{}"}) as plain:
        fault = refused(open_https(plain.url.replace("http:", "https:"), network))
        assert fault.cause in ("tls", "unreachable")
        assert not plain.requests


# Permissions


def test_a_mirror_that_takes_nothing_is_not_writable_and_can_be_read(mirror: Mirror, store: Store) -> None:
    mirror.write("fleet/fleet.json", b"{}")
    mirror.read_only = True
    for over in (None, "", etag(b"{}")):
        with pytest.raises(FetchFault, match="405") as told:
            store.put("fleet.json", b"x", over)
        assert told.value.cause == "not-writable"
    assert store.get("fleet.json", 10).data == b"{}"


def test_a_mirror_that_wants_a_password_denies_access(mirror: Mirror, store: Store) -> None:
    mirror.authorization = "Basic eDp5"
    assert refused(store).cause == "access-denied"


def test_a_password_that_lies_about_is_sent_to_nobody(
    mirror: Mirror, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "home").mkdir()
    for name in (".netrc", "_netrc"):
        (tmp_path / "home" / name).write_text("machine 127.0.0.1 login x password y\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "home" / ".netrc"))
    store.put("fleet.json", b"{}")
    store.get("fleet.json", 10)
    assert not any("Authorization" in one.headers for one in mirror.requests)


@pytest.mark.parametrize(("ahead", "words"), [(1800, "30 min behind"), (-1800, "30 min ahead of")])
def test_a_refusal_by_a_server_with_another_time_is_the_clocks_fault(
    mirror: Mirror, store: Store, ahead: float, words: str
) -> None:
    from datetime import UTC, datetime, timedelta

    mirror.clock = lambda: datetime.now(UTC) + timedelta(seconds=ahead)
    mirror.fault(403)
    fault = refused(store)
    assert (fault.cause, words in fault.message) == ("clock-skew", True)


# Encodings and tags


@pytest.mark.parametrize("compress", ["asked", "always"])
def test_an_object_is_read_as_it_is_though_the_server_compresses(mirror: Mirror, store: Store, compress: str) -> None:
    data = os.urandom(100) * 10_000
    mirror.write("fleet/x", data)
    mirror.compress = compress  # type: ignore[assignment]
    assert store.get("x", 2**20).data == data
    assert b"".join(store.stream("x")) == data
    assert {one.headers["Accept-Encoding"] for one in mirror.requests} == {"identity"}


def test_a_small_answer_that_unpacks_to_a_large_one_is_read_to_the_limit_only(
    mirror: Mirror, store: HttpsStore
) -> None:
    mirror.write("fleet/x", bytes(50_000_000))
    mirror.compress = "always"
    with pytest.raises(FetchFault) as told:
        store.get("x", 100_000)
    assert told.value.cause == "too-large"


def test_a_compressed_download_that_is_cut_is_read_from_its_start(mirror: Mirror, store: Store) -> None:
    """A range of the plain bytes cannot be asked for, and one of the packed ones would be another thing."""
    data = os.urandom(4 * PIECE)
    mirror.write("fleet/x", data)
    mirror.compress = "always"
    mirror.fault("cut", times=1, size=len(gzip.compress(data)) // 2)
    assert b"".join(store.stream("x")) == data


def test_a_weak_tag_will_do_to_ask_whether_anything_is_new(mirror: Mirror, store: Store) -> None:
    mirror.write("fleet/x", b"x")
    mirror.compress = "always"
    known = store.get("x", 10)
    assert known.etag.startswith("W/")
    assert store.get("x", 10, known).data == b"x"
    assert [one.status for one in mirror.requests] == [200, 304]


def test_a_server_without_tags_will_do_and_is_asked_for_the_whole(authority: Authority, network: Network) -> None:
    with Mirror(context=authority.context()) as mirror:
        store = open_https(mirror.url, network)
        mirror.tags = "none"
        assert store.put("x", b"old") == ""
        known = store.get("x", 10)
        assert (known.data, known.etag) == (b"old", "")
        assert store.revalidation("x", known.etag).split("\t")[4] == ""
        store.put("x", b"new")
        assert store.get("x", 10, known).data == b"new"
        assert not any("If-None-Match" in one.headers for one in mirror.requests)


@pytest.mark.parametrize("tags", ["strong", "none"])
def test_of_a_server_without_ranges_a_download_that_is_cut_is_whole(
    authority: Authority, network: Network, tags: Any
) -> None:
    with Mirror(context=authority.context()) as mirror:
        mirror.tags, mirror.ranges = tags, False
        store, data = open_https(mirror.url, network), os.urandom(4 * PIECE)
        mirror.write("fleet/x", data)
        assert b"".join(store.stream("x")) == data
        mirror.fault("cut", times=1, size=2 * PIECE)
        assert b"".join(store.stream("x")) == data, "the start is not taken for the rest"
        assert [one.status for one in mirror.requests] == [200, 200, 200]
        mirror.fault("cut", size=2 * PIECE)
        got: list[bytes] = []
        with pytest.raises(FetchFault) as told:
            got.extend(store.stream("x"))
        assert told.value.cause == "broken-answer"
        assert data.startswith(b"".join(got))


def test_a_weak_tag_is_not_asked_for_by_if_match_and_the_download_goes_on(
    authority: Authority, network: Network
) -> None:
    with Mirror(context=authority.context()) as mirror:
        mirror.tags = "weak"
        store, data = open_https(mirror.url, network), os.urandom(4 * PIECE)
        mirror.write("fleet/x", data)
        mirror.fault("cut", times=1, size=2 * PIECE)
        assert b"".join(store.stream("x")) == data
        assert not any("If-Match" in one.headers for one in mirror.requests)


def test_a_write_over_a_weak_tag_is_a_conflict_not_a_write(mirror: Mirror, store: Store) -> None:
    mirror.write("fleet/x", b"old")
    mirror.compress = "always"
    tag = store.get("x", 10).etag
    with pytest.raises(ConflictFault):
        store.put("x", b"new", replacing=tag)
    assert mirror.read("fleet/x") == b"old"


SETTINGS = b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"  # an HTTP/2 server's first frame


def test_a_server_of_http_2_alone_is_told_in_plain_words(authority: Authority, network: Network) -> None:
    with Raw({"fleet.json": SETTINGS + b"\r\n"}, authority.context()) as server:
        fault = refused(open_https(server.url, network))
    assert (fault.cause, "HTTP/2 alone is not enough" in fault.message) == ("broken-answer", True), fault.message
    alert = requests.exceptions.SSLError("[SSL: TLSV1_ALERT_NO_APPLICATION_PROTOCOL] tlsv1 alert")
    assert fault_of(alert, "read x", None).message == fault.message.replace(f"{server.url}/fleet/fleet.json", "x")


def test_a_body_that_stands_still_is_too_slow(mirror: Mirror, network: Network) -> None:
    """The longest wait for a byte is shorter than the deadline, and comes to the same cause."""
    mirror.write("fleet/x", b"xx")
    mirror.fault("slow", seconds=60)
    with ends_within(20), pytest.raises(FetchFault) as told:
        open_https(mirror.url, network).get("x", 10)
    assert told.value.cause == "too-slow"


# URLs


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https:///fleet",
        "https://host/x?version=1",
        "https://host/x#part",
        "https://user@host/x",
        "https://user:secret@host/x",
        "https://:secret@host/x",
        "https://[::1/x",
        "https://host:port/x",
        "https://host:99999/x",
    ],
)
def test_a_url_that_is_wrong_is_refused_before_anything_is_asked(url: str, network: Network) -> None:
    with pytest.raises(ConfigFault, match="URL of a store is wrong") as told:
        HttpsStore(url, network)
    assert "https://host/prefix" in told.value.hint
    assert "secret" not in told.value.message


@pytest.mark.parametrize(
    "host", ["x" * 64 + ".invalid", "a..invalid", ".invalid", "xn--.invalid", "ü" * 70 + ".invalid"]
)
def test_a_name_that_is_none_is_a_fault_at_the_latest_when_it_is_asked(host: str) -> None:
    with pytest.raises(Fault):
        HttpsStore(f"https://{host}/fleet", QUICK).get("fleet.json", 10)


def test_a_name_that_nobody_has_is_unreachable() -> None:
    assert refused(HttpsStore("https://no-such-host.invalid/fleet", Network())).cause == "unreachable"


def test_a_server_that_is_not_there_is_unreachable(nobody: str) -> None:
    fault = refused(open_https(f"https{nobody.removeprefix('http')}", Network()))
    assert (fault.cause, "refused" in fault.message) == ("unreachable", True)


def test_a_slash_at_the_end_does_not_matter(mirror: Mirror, network: Network) -> None:
    for end in ("", "/", "//"):
        store = HttpsStore(f"{mirror.url}/fleet{end}", network)
        assert store.url == f"{mirror.url}/fleet"
        store.put("a/b.json", b"x")
    assert {one.path for one in mirror.requests} == {"/fleet/a/b.json"}


def test_a_store_may_be_the_whole_host(mirror: Mirror, network: Network) -> None:
    store = open_https(mirror.url, network)
    HttpsStore(mirror.url, network).put("fleet/x", b"x")
    assert store.get("x", 10).data == b"x"


def test_a_store_at_an_ipv6_address(authority: Authority, network: Network) -> None:
    with Mirror(context=authority.context(), address="::1") as mirror:
        store = open_https(mirror.url, network)
        tag = store.put("x", b"x")
        assert b"".join(store.stream("x")) == b"x"
        assert store.revalidation("x", tag).split("\t")[2] == urlsplit(mirror.url).netloc


# Proxies


def test_a_proxy_of_the_environment_is_used(
    mirror: Mirror, store: Store, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.write("fleet/fleet.json", b"{}")
    monkeypatch.setenv("HTTPS_PROXY", nobody)
    assert refused(store).cause == "unreachable"
    assert not mirror.requests
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert store.get("fleet.json", 10).data == b"{}"
