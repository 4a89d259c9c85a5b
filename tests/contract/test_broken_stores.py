"""Stores over the net that break: what comes is the object or a Fault, and it comes before the deadline."""

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from contract.conftest import QUICK, Cloud, Make, Raw
from patience import ends_within
from rolecall.errors import FetchFault
from rolecall.settings import Network
from rolecall.store import Store
from rolecall.store.https import HttpsStore
from servers.http import KINDS
from servers.mirror import Mirror
from servers.s3 import FAULTS
from servers.tls import Authority

DATA = os.urandom(1000)
NEW = b"what is written while the server is broken"
CALM = Network(timeout=1.5, release_timeout=3.0)
PATIENT = Network(timeout=30, release_timeout=60)  # for answers that come at once, on a busy machine too
FLOODS = ("oversize", "endless", "huge")  # these keep both processors busy: on their own, below
NET = ("s3", "https")


def tried(ask: Callable[[], bytes]) -> str:
    """What comes of it, in a word; an exception that is no FetchFault has an exclamation mark."""
    try:
        data = ask()
    except FetchFault as fault:
        return fault.cause if fault.message else "a fault without words"
    except Exception as error:  # noqa: BLE001 - shown with the others, not alone
        return f"{type(error).__name__}!"
    if data in (DATA, NEW):
        return "the object" if data == DATA else "written"
    return f"{len(data)} bytes of it" if DATA.startswith(data) else f"{len(data)} other bytes"


def read(store: Store, key: str) -> str:
    return tried(lambda: store.get(key, 10_000).data)


def streamed(store: Store, key: str) -> str:
    return tried(lambda: b"".join(store.stream(key)))


def written(store: Store, key: str) -> str:
    def put() -> bytes:
        store.put(key, NEW)
        return NEW

    return tried(put)


Outcomes = tuple[str, str, str]  # of reading, streaming, writing


def all_at_once(store_for: Callable[[str], Store], kinds: Iterable[str]) -> dict[str, Outcomes]:
    """For each kind of fault, what comes of asking for objects below its folder."""
    ways = ((read, "x"), (streamed, "x"), (written, "y"))
    with ThreadPoolExecutor(64) as pool:
        asked = {kind: [pool.submit(how, store_for(kind), f"{kind}/{key}") for how, key in ways] for kind in kinds}
        return {kind: (one.result(), two.result(), three.result()) for kind, (one, two, three) in asked.items()}


def by_patience(open_store: Callable[[Network], Store], expected: dict[str, Outcomes]) -> Callable[[str], Store]:
    """A short time is set only for what never comes in time: a busy machine answers late, too."""
    hasty, patient = open_store(CALM), open_store(PATIENT)
    return lambda kind: hasty if "too-slow" in expected[kind] else patient


def wrong(found: dict[str, Outcomes], expected: dict[str, Outcomes]) -> dict[str, str]:
    """Those of which something else has come than one of the words that are expected."""
    return {
        kind: f"{found[kind]}, not {words}"
        for kind, words in expected.items()
        if not all(one in right.split("|") for one, right in zip(found[kind], words, strict=True))
    }


# S3


OF_S3: dict[str, Outcomes] = {
    "403": ("access-denied",) * 3,
    "404": ("no-key",) * 3,
    "409": ("conflict",) * 3,
    "500": ("server-error",) * 3,
    "503": ("throttled",) * 3,
    "reset": ("unreachable",) * 3,
    "hang": ("too-slow",) * 3,
    "delay": ("the object", "the object", "written"),
    "slow": ("too-slow", "too-slow", "written"),
    "slow-head": ("too-slow",) * 3,
    "truncate": ("broken-answer", "broken-answer", "written"),
    "cut": ("broken-answer", "broken-answer|the object", "written"),
    "corrupt": ("1000 other bytes", "1000 other bytes", "written"),
    "lost": ("unreachable", "unreachable", "unreachable|written"),
}


def test_whatever_s3_does_ends_in_the_object_or_in_its_cause(cloud: Cloud) -> None:
    assert OF_S3.keys() == {str(kind) for kind in FAULTS if kind not in FLOODS} | {"slow-head"}
    store = cloud.store(PATIENT)
    for kind in OF_S3:
        store.put(f"{kind}/x", DATA)
        what, part = ("slow", "header") if kind == "slow-head" else (int(kind) if kind.isdigit() else kind, "body")
        cloud.s3.fault(what, key=f"fleet/{kind}/*", seconds=0.2, size=400, part=part)
    with ends_within(20):
        found = all_at_once(by_patience(cloud.store, OF_S3), OF_S3)
    assert wrong(found, OF_S3) == {}
    cloud.s3.heal()
    for kind in OF_S3:
        assert store.get(f"{kind}/x", 10_000).data == DATA, "nothing of it stays"
        if found[kind][2] == "written":
            assert store.get(f"{kind}/y", 10_000).data == NEW


# https


STATUSES = {
    "no-key": (404, 410),
    "access-denied": (401, 403),
    "not-writable": (405, 501),
    "conflict": (412,),
    "no-folder": (409,),
    "throttled": (429, 503),
    "server-error": (500, 502, 504, 507, 599),
    "moved": (300, 301, 302, 303, 307, 308),
    "refused": (400, 402, 406, 408, 413, 415, 416, 418, 451, 499),
}
OF_HTTPS: dict[str, Outcomes] = {
    **{str(status): (cause,) * 3 for cause, statuses in STATUSES.items() for status in statuses},
    # Good answers, but to other questions: they bring no object.
    **{str(status): ("broken-answer", "broken-answer", "written|broken-answer") for status in (204, 206, 304)},
    **{kind: words for kind, words in OF_S3.items() if kind in KINDS},
    "409": ("conflict", "conflict", "no-folder"),  # of DAV, where nothing was to be replaced
    "garbage": ("9 other bytes", "9 other bytes", "written|broken-answer"),
}


def test_whatever_a_mirror_does_ends_in_the_object_or_in_its_cause(mirror: Mirror, authority: Authority) -> None:
    def open_store(network: Network) -> Store:
        return HttpsStore(f"{mirror.url}/fleet", network.model_copy(update={"ca": str(authority.file)}))

    assert OF_HTTPS.keys() >= {kind for kind in KINDS if kind not in FLOODS}
    for kind in OF_HTTPS:
        mirror.write(f"fleet/{kind}/x", DATA)
        what = int(kind) if kind.isdigit() else kind
        body = b"<p>Log in" if kind == "garbage" else None
        mirror.fault(what, path_prefix=f"/fleet/{kind}/", seconds=0.2, size=400, body=body)
    store = open_store(PATIENT)
    with ends_within(20):
        found = all_at_once(by_patience(open_store, OF_HTTPS), OF_HTTPS)
    assert wrong(found, OF_HTTPS) == {}
    mirror.heal()
    for kind in OF_HTTPS:
        assert store.get(f"{kind}/x", 10_000).data == DATA, "nothing of it stays"
        if found[kind][2] == "written" and kind in KINDS and kind != "garbage":
            assert store.get(f"{kind}/y", 10_000).data == NEW


# What is hardly HTTP any more


OK = b"HTTP/1.1 200 OK\r\n"
ONE = b"Content-Length: 1\r\n\r\nx"
NONE = b"Content-Length: 0\r\n\r\n"
TAGGED = OK + b'ETag: "x"\r\n'
ODD = {
    "nothing": b"",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "binary": bytes(range(256)),
    "no status": b"HTTP/1.1 fine\r\n\r\n",
    "half of a head": TAGGED + b"Content-Le",
    "a long header": TAGGED + b"X: " + b"x" * 100_000 + b"\r\n" + ONE,
    "many headers": TAGGED + b"X: x\r\n" * 500 + b"Content-Length: 1\r\n\r\nx",
    "no length": TAGGED + b"Content-Length: x\r\n\r\nx",
    "a negative length": TAGGED + b"Content-Length: -1\r\n\r\nx",
    "two lengths": TAGGED + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    "no chunk": TAGGED + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n",
    "no last chunk": TAGGED + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
    "no gzip": TAGGED + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain",
    "no tag": OK + ONE,
    "an odd tag": OK + b"ETag: \xe9\t\xff\r\n" + ONE,
    "a date without an end": TAGGED + b"Date: Mon, 01 Jan 99999999999999999999 00:00:00 GMT\r\n" + ONE,
    "a refusal in the far future": b"HTTP/1.1 403 No\r\nDate: Mon, 01 Jan 9999999999 00:00:00 GMT\r\n" + NONE,
    "a place that is none": b"HTTP/1.1 302 Found\r\nLocation: https://[\r\n" + NONE,
    "a place of bytes": b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe\r\n" + NONE,
    "a redirection to nowhere": b"HTTP/1.1 301 Moved\r\n" + NONE,
    "a redirection to somebody else": b"HTTP/1.1 307 Moved\r\nLocation: http://192.0.2.1/x\r\n" + NONE,
    "no XML": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 7\r\n\r\n<Error>",
    "other XML": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\n<a/>",
    "a part that was not asked for": b'HTTP/1.1 206 OK\r\nETag: "x"\r\nContent-Range: bytes 5-5/9\r\n' + ONE,
    "a status beyond all": b"HTTP/1.1 999 What\r\n" + NONE,
}
NO_OBJECT = ("half of a head", "no last chunk", "no gzip", "a part that was not asked for")


@pytest.mark.parametrize("name", NET)
def test_an_answer_of_any_form_ends_in_an_object_or_a_fetch_fault(
    name: str, cloud: Cloud, authority: Authority
) -> None:
    trusting = CALM.model_copy(update={"ca": str(authority.file)})
    answers = {quote(kind): answer for kind, answer in ODD.items()}
    with Raw(answers, authority.context() if name == "https" else None) as server:
        url = cloud.url(endpoint=server.url) if name == "s3" else f"{server.url}/fleet"
        store = cloud.providers(trusting).open_store(url)
        read(store, "nothing")  # so that all share one client
        with ends_within(20):
            found = all_at_once(lambda _: store, ODD)
    assert {kind: words for kind, words in found.items() if any("!" in one for one in words)} == {}
    read_all_the_same = {kind: found[kind] for kind in NO_OBJECT if any("bytes" in one for one in found[kind])}
    # boto3 leaves an encoding as it is, which is what S3 means by it; and the digest of a document tells the rest.
    assert {kind for kind in read_all_the_same if name != "s3" or kind != "no gzip"} == set()


# Deadlines


def test_no_server_holds_anybody_up_for_longer_than_the_deadline(make: Make) -> None:
    """A byte now and then is no progress: a socket's timeout would never end."""
    servers = [make(name, QUICK) for name in NET]
    kinds = ("hang", "slow-head", "slow")
    for kept in servers:
        for kind in kinds:
            kept.open().put(f"{kind}/x", DATA)
            kept.break_with(kind, below=f"fleet/{kind}/", seconds=0.3)
    stores = [kept.open() for kept in servers]
    with ThreadPoolExecutor(32) as pool:
        with ends_within(5):
            asked = {
                kind: [pool.submit(how, store, f"{kind}/x") for how in (read, written) for store in stores]
                for kind in kinds
            }
            streams = [pool.submit(streamed, store, f"{kind}/x") for store in stores for kind in kinds]
            found = {kind: [one.result() for one in four] for kind, four in asked.items()}
        with ends_within(8):
            assert [one.result() for one in streams] == ["too-slow"] * 6
    assert found["hang"] == found["slow-head"] == ["too-slow"] * 4
    assert found["slow"] == ["too-slow"] * 2 + ["written"] * 2, "a body after a PUT's head is not waited for"


@pytest.mark.parametrize("name", NET)
def test_a_body_without_an_end_is_read_to_the_limit_or_the_deadline(name: str, make: Make) -> None:
    """If at all: where no length is announced, an end is no different from a cut."""
    kept = make(name, QUICK)
    store = kept.open()
    store.put("x", DATA)
    kept.break_with("endless", method="GET")
    with ends_within(5):
        assert read(store, "x") in ("too-large", "broken-answer")
    with ends_within(8), pytest.raises(FetchFault) as told:
        for _ in store.stream("x"):
            pass
    assert told.value.cause in ("too-slow", "broken-answer")


def test_a_body_that_is_huge_is_not_read(make: Make) -> None:
    kept = make("https", QUICK)
    store = kept.open()
    store.put("x", DATA)
    kept.break_with("huge", size=2**40)
    with ends_within(5):
        assert read(store, "x") == "too-large"


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that takes connections and says nothing, no handshake either."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def test_a_server_that_does_not_shake_hands_holds_nobody_up(cloud: Cloud, silent: str) -> None:
    providers = cloud.providers(QUICK)
    urls = [*(cloud.url(endpoint=f"{scheme}://{silent}") for scheme in ("http", "https")), f"https://{silent}/fleet"]
    stores = [providers.open_store(url) for url in urls]
    with ThreadPoolExecutor(16) as pool, ends_within(8):
        asked = [pool.submit(how, store, "x") for store in stores for how in (read, written, streamed)]
        # On a busy machine the time may be over before the metadata service has said all.
        assert {one.result() for one in asked} <= {"too-slow", "imds-unreachable"}


def test_a_metadata_service_that_hangs_holds_up_no_store(cloud: Cloud) -> None:
    cloud.imds.fault("hang")
    with ThreadPoolExecutor(16) as pool, ends_within(8):
        asked = [pool.submit(how, cloud.store(QUICK), "x") for how in (read, written, streamed)]
        assert {one.result() for one in asked} <= {"too-slow", "imds-hop-limit"}
