"""The fake mirror keeps the rules of HTTP, and breaks them only where a test says so."""

import hashlib
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import requests

from patience import wait_until
from servers.mirror import Mirror, etag
from servers.tls import Authority

DATA = bytes(range(256)) * 4
PLAIN = {"Accept-Encoding": "identity"}


def ask(
    server: Mirror, method: str = "GET", path: str = "/a.bin", data: bytes | None = None, **headers: str
) -> requests.Response:
    """One request without settings from the environment; If_Match is If-Match."""
    named = PLAIN | {name.replace("_", "-"): value for name, value in headers.items()}
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, server.url + path, data=data, headers=named, timeout=10, allow_redirects=False)


def status(server: Mirror, method: str = "GET", path: str = "/a.bin", **headers: str) -> int:
    return ask(server, method, path, None, **headers).status_code


@pytest.fixture
def server() -> Iterator[Mirror]:
    with Mirror({"a.bin": DATA, "sub/b.txt": b"b"}) as made:
        yield made


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


# Reading


def test_a_file_comes_with_its_tag_and_head_without_the_content(server: Mirror) -> None:
    found = ask(server)
    assert (found.status_code, found.content) == (200, DATA)
    assert found.headers["ETag"] == etag(DATA) == f'"{hashlib.sha256(DATA).hexdigest()[:32]}"'
    head = ask(server, "HEAD")
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (200, b"", "1024")
    assert head.headers["ETag"] == etag(DATA)
    assert ask(server, path="/sub/b.txt?v=1").content == b"b"


@pytest.mark.parametrize(
    "path", ["/", "/sub", "/sub/", "/x", "/%2e%2e/a.bin", "/sub/../../a.bin", "/sub//b.txt", "/%00"]
)
def test_what_is_not_a_file_is_not_found(tmp_path: Path, path: str) -> None:
    (tmp_path / "files" / "sub").mkdir(parents=True)
    (tmp_path / "files" / "sub" / "b.txt").write_bytes(b"b")
    for files in (tmp_path / "files", {"sub/b.txt": b"b"}):
        with Mirror(files) as server:
            assert status(server, path=path) == 404
            assert status(server, path="/sub/b.txt") == 200


def test_a_known_tag_is_answered_not_modified(server: Mirror) -> None:
    for known in (etag(DATA), f"W/{etag(DATA)}", "*", f'"x", {etag(DATA)}'):
        found = ask(server, If_None_Match=known)
        assert (found.status_code, found.content, found.headers["ETag"]) == (304, b"", etag(DATA))
    assert status(server, If_None_Match='"x"') == 200
    server.files = {"a.bin": b"new"}
    assert ask(server, If_None_Match=etag(DATA)).content == b"new"


def test_a_tag_that_must_match_and_does_not_fails(server: Mirror) -> None:
    assert [status(server, If_Match=tag) for tag in (etag(DATA), "*", '"x"')] == [200, 200, 412]
    assert status(server, path="/x", If_Match='"x"') == 404


@pytest.mark.parametrize(
    ("asked", "expected", "content_range"),
    [
        ("bytes=0-0", DATA[:1], "bytes 0-0/1024"),
        ("bytes=1000-", DATA[1000:], "bytes 1000-1023/1024"),
        ("bytes=1000-9999", DATA[1000:], "bytes 1000-1023/1024"),
        ("bytes=-24", DATA[-24:], "bytes 1000-1023/1024"),
        ("bytes=-9999", DATA, "bytes 0-1023/1024"),
    ],
)
def test_a_range_is_answered_with_that_part(server: Mirror, asked: str, expected: bytes, content_range: str) -> None:
    found = ask(server, Range=asked, If_Match=etag(DATA))
    assert (found.status_code, found.content, found.headers["Content-Range"]) == (206, expected, content_range)
    assert found.headers["ETag"] == etag(DATA)


def test_a_range_that_is_not_there_or_of_another_file_or_not_understood(server: Mirror) -> None:
    beyond = ask(server, Range="bytes=1024-")
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, "bytes */1024")
    assert status(server, Range="bytes=1-2", If_Match='"x"') == 412
    assert ask(server, Range="bytes=1-2", If_Range='"x"').content == DATA
    assert ask(server, Range="bytes=1-2", If_Range=etag(DATA)).content == DATA[1:3]
    assert [status(server, Range=odd) for odd in ("bytes=-", "lines=1-2", "bytes=0-1,3-4")] == [200, 200, 200]
    assert status(server, "HEAD", Range="bytes=1-2") == 200


def test_a_mirror_may_compress_for_who_asks_or_for_all(server: Mirror) -> None:
    server.compress = "asked"
    assert "Content-Encoding" not in ask(server).headers
    packed = ask(server, Accept_Encoding="gzip", Range="bytes=0-1")
    assert (packed.status_code, packed.headers["Content-Encoding"], packed.content) == (200, "gzip", DATA)
    assert packed.headers["ETag"] == f"W/{etag(DATA)}"
    assert status(server, Accept_Encoding="gzip", If_None_Match=packed.headers["ETag"]) == 304
    assert status(server, Accept_Encoding="gzip", If_Match=packed.headers["ETag"]) == 412
    server.compress = "always"
    assert ask(server).headers["Content-Encoding"] == "gzip"


def test_the_date_is_that_of_the_clock(server: Mirror) -> None:
    assert ask(server).headers["Date"].endswith(" GMT")
    server.clock = lambda: datetime(2031, 1, 2, 4, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    assert ask(server).headers["Date"] == "Thu, 02 Jan 2031 03:04:05 GMT"


# Writing


def test_what_is_put_is_read_again(tmp_path: Path) -> None:
    kept: dict[str, bytes] = {}
    for files in (tmp_path, kept):
        with Mirror(files) as server:
            assert ask(server, "PUT", "/new/c", b"one").status_code == 201
            made = ask(server, "PUT", "/new/c", b"two")
            assert (made.status_code, made.headers["ETag"]) == (200, etag(b"two"))
            assert ask(server, path="/new/c").content == b"two"
            assert server.requests[0].body == b"one"
    assert kept == {"new/c": b"two"}
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["new", "new/c"]


def test_a_put_with_a_condition_that_does_not_hold_changes_nothing(server: Mirror) -> None:
    def put(path: str, **condition: str) -> int:
        return ask(server, "PUT", path, b"new", **condition).status_code

    assert put("/a.bin", If_None_Match="*") == 412
    assert put("/a.bin", If_Match='"x"') == 412
    assert put("/x", If_Match=etag(DATA)) == put("/x", If_Match="*") == 412
    assert server.files == {"a.bin": DATA, "sub/b.txt": b"b"}
    assert put("/x", If_None_Match="*") == 201
    assert put("/a.bin", If_Match=etag(DATA)) == 200
    assert put("/a.bin", If_Match=etag(DATA)) == 412


def test_of_many_writers_with_the_same_tag_one_wins(server: Mirror) -> None:
    def write(number: int) -> None:
        found.append(ask(server, "PUT", data=b"%d" % number, If_Match=etag(DATA)).status_code)

    found: list[int] = []
    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(found) == [200] + [412] * 7


def test_a_read_only_mirror_refuses_to_write_and_to_delete(server: Mirror) -> None:
    server.read_only = True
    assert status(server, "DELETE") == 405
    refused = ask(server, "PUT", "/x", b"x")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD")
    assert status(server) == 200


def test_a_put_in_chunks_is_put_together(server: Mirror) -> None:
    with requests.Session() as session:
        session.trust_env = False
        assert session.put(f"{server.url}/chunks", data=iter([b"x" * 70_000, b"y"]), timeout=10).status_code == 201
    assert ask(server, "GET", "/chunks").content == b"x" * 70_000 + b"y"


def test_what_was_deleted_is_gone(server: Mirror) -> None:
    ask(server, "PUT", "/deleted", b"x")
    answers = [ask(server, method, "/deleted").status_code for method in ("DELETE", "GET", "DELETE")]
    assert answers == [204, 404, 404]


# Who may read, and where


def test_a_mirror_may_want_a_name_and_a_password(server: Mirror) -> None:
    server.authorization = "Bearer right"
    refused = ask(server)
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Basic")
    assert status(server, Authorization="Bearer wrong") == 403
    assert status(server, Authorization="Bearer right") == 200


def test_a_mirror_may_send_clients_elsewhere(server: Mirror) -> None:
    server.redirect("/sub/", "http://other.example.com/", status=301)
    server.redirect("/a.bin", f"{server.url}/sub2/b.txt")
    found = ask(server, path="/sub/b.txt")
    assert (found.status_code, found.headers["Location"]) == (301, "http://other.example.com/b.txt")
    found = ask(server)
    assert (found.status_code, found.headers["Location"]) == (302, f"{server.url}/sub2/b.txt")


# TLS


def test_https_is_trusted_by_who_knows_the_authority_by_name_and_by_address(authority: Authority) -> None:
    with Mirror({"a": b"a"}, authority.context()) as server, requests.Session() as session:
        session.trust_env = False
        assert server.url.startswith("https://127.0.0.1:")
        for host in ("localhost", "127.0.0.1"):
            found = session.get(f"https://{host}:{server.port}/a", verify=str(authority.file), timeout=10)
            assert (found.status_code, found.content) == (200, b"a")


def test_https_is_refused_by_who_does_not_know_the_authority(
    authority: Authority, capfd: pytest.CaptureFixture[str]
) -> None:
    other = Authority(authority.file.parent, "other.pem")
    assert other.file != authority.file
    for context, verify, words in (
        (authority.context(), other.file, "CERTIFICATE_VERIFY_FAILED"),
        (authority.expired(), authority.file, "certificate has expired"),
        (authority.misnamed(), authority.file, "IP address mismatch"),
    ):
        with Mirror({"a": b"a"}, context) as server, requests.Session() as session:
            session.trust_env = False
            with pytest.raises(requests.exceptions.SSLError, match=words):
                session.get(f"{server.url}/a", verify=str(verify), timeout=10)
            assert server.requests == []
    assert capfd.readouterr().err == ""


def test_a_reset_and_a_stop_go_through_tls(authority: Authority) -> None:
    with Mirror({"a": b"a"}, authority.context()) as server, requests.Session() as session:
        session.trust_env = False
        session.verify = str(authority.file)
        server.fault("reset", times=1)
        with pytest.raises(requests.ConnectionError, match="aborted"):  # Python's TLS tells no reset from an end
            session.get(f"{server.url}/a", timeout=10)
        server.fault("hang")

        def stop() -> None:
            wait_until(lambda: len(server.requests) == 2, "the server has the question")
            server.stop()

        stopper = threading.Thread(target=stop)
        stopper.start()
        with pytest.raises(requests.ConnectionError):  # a client that gave up by itself would say ReadTimeout
            session.get(f"{server.url}/a", timeout=60)
        stopper.join()


# Faults


def test_a_busy_mirror_says_when_to_come_again(server: Mirror) -> None:
    server.fault(503, times=1, retry_after="Thu, 02 Jan 2031 03:04:05 GMT")
    server.fault(500, times=1)
    server.fault(403, path_prefix="/sub")
    busy = ask(server)
    assert (busy.status_code, busy.headers["Retry-After"]) == (503, "Thu, 02 Jan 2031 03:04:05 GMT")
    assert [status(server), status(server), status(server, path="/sub/b.txt")] == [500, 200, 403]
    assert [one.status for one in server.requests] == [503, 500, 200, 403]


@pytest.mark.parametrize(("kind", "size", "sent"), [("truncate", 0, 512), ("cut", 100, 100), ("cut", 0, 0)])
def test_a_body_may_end_too_early(server: Mirror, kind: str, size: int, sent: int) -> None:
    server.fault(kind, size=size)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match=f"{sent} bytes read, {1024 - sent} more"):
        ask(server)


def test_a_corrupt_body_differs_in_one_bit_and_has_the_tag_of_the_right_one(server: Mirror) -> None:
    server.fault("corrupt", times=1)
    found = ask(server)
    assert len(found.content) == len(DATA)
    assert [one ^ other for one, other in zip(found.content, DATA, strict=True) if one != other] == [1]
    assert found.headers["ETag"] == etag(DATA)
    assert ask(server).content == DATA


def test_a_body_may_be_huge_or_without_an_end(server: Mirror) -> None:
    server.fault("huge", size=3_000_000, times=1)
    found = ask(server)
    assert (found.headers["Content-Length"], len(found.content), found.content[:1024]) == ("3000000", 3_000_000, DATA)
    server.fault("endless", times=1)
    with requests.get(f"{server.url}/a.bin", headers=PLAIN, stream=True, timeout=10) as endless:
        assert "Content-Length" not in endless.headers
        assert sum(len(block) for _, block in zip(range(100), endless.iter_content(65536), strict=False)) > 5_000_000
    assert status(server) == 200


def test_a_slow_or_silent_mirror_runs_into_the_timeout_of_its_client(server: Mirror) -> None:
    for kind in ("slow", "slow-head", "hang", "delay"):
        server.fault(kind, seconds=5, times=1)
        with pytest.raises((requests.ReadTimeout, requests.ConnectionError), match="timed out"):
            requests.get(f"{server.url}/a.bin", timeout=0.1)
    assert status(server) == 200


def test_a_lost_answer_is_that_of_a_put_that_was_done(server: Mirror) -> None:
    server.fault("lost", method="PUT", times=1)
    with pytest.raises(requests.ConnectionError):
        ask(server, "PUT", "/x", b"new", If_None_Match="*")
    assert ask(server, path="/x").content == b"new"
    assert [one.status for one in server.requests] == [0, 200]
    server.fault("reset", method="PUT", times=1)
    with pytest.raises(requests.ConnectionError):
        ask(server, "PUT", "/y", b"new")
    assert status(server, path="/y") == 404


def test_one_connection_serves_many_requests(server: Mirror) -> None:
    before = threading.active_count()
    with requests.Session() as session:
        session.trust_env = False
        for path in ("a.bin", "x", "sub/b.txt"):
            session.get(f"{server.url}/{path}", timeout=10)
            session.head(f"{server.url}/{path}", timeout=10)
        assert threading.active_count() == before + 1
    assert [one.status for one in server.requests] == [200, 200, 404, 404, 200, 200]
    assert server.requests[0].headers["host"] == server.url.removeprefix("http://")
