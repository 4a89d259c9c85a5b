"""A store behind a web server: a mirror of the bucket, with ETags; it may take PUT."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

from rolecall.causes import fault, moment, too_large, too_slow
from rolecall.deadline import within
from rolecall.errors import ConfigFault, FetchFault
from rolecall.settings import Network
from rolecall.store import Entry, Stored, checked_key
from rolecall.store.confirmation import confirmed
from rolecall.store.download import resumed, without_start
from rolecall.store.http_errors import check_answer, fault_of

if TYPE_CHECKING:
    import requests

T = TypeVar("T")
_LOOK = 1 << 25  # bytes; more than is ever written under a condition
_PIECE = 1 << 14  # bytes; of a piece that is cut, nothing is kept
_EACH = (3.0, 5.0)  # seconds to connect, and without a byte
_UPLOAD = (3.0, 60.0)  # the same of a large object: its server may have to move it before it answers
_WRITTEN = (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT)


class HttpsStore:
    """Files below a URL. Every answer comes from the host that the URL names: nothing is followed elsewhere."""

    def __init__(self, url: str, network: Network) -> None:
        self.url, self.network = url.rstrip("/"), network
        if not _is_plain(self.url):  # and is not shown: somebody may have put a password into it
            raise ConfigFault(
                "the https:// URL of a store is wrong", "https://host/prefix, without a user's name, '?' or '#'"
            )

    def location(self, key: str) -> str:
        """`https://host/prefix/key`."""
        return f"{self.url}/{key}"

    def get(self, key: str, limit: int, cached: Stored | None = None) -> Stored:
        """GET with If-None-Match."""
        action = f"read {self.location(key)}"
        condition = {"If-None-Match": cached.etag} if cached and cached.etag else {}

        def ask() -> Stored:
            accepted = (HTTPStatus.OK, HTTPStatus.NOT_MODIFIED) if condition else (HTTPStatus.OK,)
            with self._answer("GET", key, action, condition, accepted) as answer:
                etag, date = answer.headers.get("ETag", ""), moment(answer.headers.get("Date"))
                if cached and answer.status_code == HTTPStatus.NOT_MODIFIED:
                    return Stored(cached.data, cached.etag, date)
                data = bytearray()
                for piece in answer.iter_content(_PIECE):
                    data += piece
                    if len(data) > limit:
                        raise too_large(action, limit)
                return Stored(bytes(data), etag, date)

        return self._within(action, ask)

    def stream(self, key: str, start: int = 0) -> Iterator[bytes]:
        """GET with Range, and with If-Match where it goes on: of the same object, or not at all."""
        action = f"read {self.location(key)}"

        def begin(at: int, etag: str) -> tuple[Iterator[bytes], str]:
            # A weak tag cannot be asked for by If-Match; the SHA-256 of the whole decides in any case.
            headers = {"Range": f"bytes={at}-"} if at else {}
            headers |= {"If-Match": etag} if etag and not etag.startswith("W/") else {}
            pieces = self._pieces(key, action, headers, at)
            return pieces, next(pieces).decode("latin-1")

        return resumed(action, self.network.release_timeout, start, begin)

    def resumes(self, key: str) -> bool:
        """Whether a Range is answered with 206."""
        action = f"read {self.location(key)}"

        def ask() -> bool:
            accepted = (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT)
            with self._answer("GET", key, action, {"Range": "bytes=1-"}, accepted) as answer:
                return answer.status_code == HTTPStatus.PARTIAL_CONTENT

        return self._within(action, ask)

    def put(self, key: str, data: bytes, replacing: str | None = None) -> str:
        """PUT; with `replacing` by If-Match or If-None-Match."""
        action = f"write {self.location(key)}"
        condition = {} if replacing is None else {"If-Match": replacing} if replacing else {"If-None-Match": "*"}

        def ask() -> str:
            with self._answer("PUT", key, action, condition, _WRITTEN, data) as answer:
                return answer.headers.get("ETag", "")

        return confirmed(lambda: self._within(action, ask), lambda: self.get(key, _LOOK), data, replacing)

    def upload(self, key: str, pieces: Iterable[bytes], size: int | None = None) -> str:
        """One PUT, with Content-Length where the size is known, else chunked, within the time of a release."""
        action, seconds = f"write {self.location(key)}", self.network.release_timeout
        if size == 0:
            return self.put(key, b"".join(pieces))
        body = _Body(pieces, size, action, seconds)

        def ask() -> str:
            with self._answer("PUT", key, action, {}, _WRITTEN, body if size else iter(body), _UPLOAD) as answer:
                return answer.headers.get("ETag", "")

        return self._within(action, ask, seconds)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Never: a web server has no listing that one could rely on."""
        raise fault(f"list {self.location(prefix)}", "a web server has no listing", "no-listing")

    def delete(self, key: str) -> None:
        """DELETE; 404 is as good."""
        action = f"delete {self.location(key)}"
        accepted = (*_WRITTEN, HTTPStatus.ACCEPTED, HTTPStatus.NOT_FOUND, HTTPStatus.GONE)

        def ask() -> None:
            with self._answer("DELETE", key, action, {}, accepted):
                pass

        self._within(action, ask)

    def has_tag(self, etag: str, pieces: Iterable[bytes]) -> bool:  # noqa: ARG002
        """A web server makes its tags of what it likes."""
        return False

    def watched_paths(self, key: str) -> tuple[str, ...]:  # noqa: ARG002 - the contract of all stores
        """Nothing on this machine."""
        return ()

    def revalidation(self, key: str, etag: str) -> str:
        """A conditional GET; without a tag to ask with, a GET of the whole."""
        parts = urlsplit(self._object_url(key))
        limits = (self.network.ca or "", str(self.network.timeout))
        tag = etag if etag.isascii() and etag.isprintable() else ""
        return "\t".join(("", "https", parts.netloc, parts.path, tag, "", *limits))

    def _object_url(self, key: str) -> str:
        return f"{self.url}/{quote(checked_key(key))}"

    def _within(self, action: str, ask: Callable[[], T], seconds: float | None = None) -> T:
        limit = self.network.timeout if seconds is None else seconds
        try:
            return within(limit, ask)
        except TimeoutError:
            raise too_slow(action, limit) from None

    def _pieces(self, key: str, action: str, headers: dict[str, str], at: int) -> Iterator[bytes]:
        """The tag first, then the pieces."""
        accepted = (HTTPStatus.PARTIAL_CONTENT, HTTPStatus.OK) if at else (HTTPStatus.OK,)
        with self._answer("GET", key, action, headers, accepted) as answer:
            yield answer.headers.get("ETag", "").encode("latin-1", "replace")
            pieces = answer.iter_content(_PIECE)
            if answer.status_code == HTTPStatus.OK:
                yield from without_start(pieces, at)
            elif answer.headers.get("Content-Range", "").startswith(f"bytes {at}-"):
                yield from pieces
            else:
                raise fault(action, f"the answer is not the part from byte {at} on", "broken-answer")

    @contextmanager
    def _answer(  # noqa: PLR0917 - one request
        self,
        method: str,
        key: str,
        action: str,
        headers: dict[str, str],
        accepted: tuple[int, ...],
        data: "bytes | Iterable[bytes] | None" = None,
        timeout: tuple[float, float] = _EACH,
    ) -> Iterator["requests.Response"]:
        """The answer, if its status is an accepted one; what goes wrong while it is read is told the same way."""
        import requests
        from urllib3.exceptions import HTTPError

        url = self._object_url(key)
        options: dict[str, Any] = {
            # identity: what is written compressed would be another object than the one that the digest is of.
            "headers": {**headers, "Accept-Encoding": "identity"},
            "data": data,
            "timeout": timeout,
            "stream": True,
            "allow_redirects": False,
            "verify": self.network.ca or True,
        }
        try:
            with _session() as session, session.request(method, url, **options) as answer:
                check_answer(answer, action, accepted)
                yield answer
        except (requests.RequestException, HTTPError) as error:
            raise fault_of(error, action, self.network.ca) from None
        except OSError as error:  # a file of authorities that is not there
            raise FetchFault(f"cannot {action}: {error}", "correct network.ca in agent.toml", "tls") from None
        except (ValueError, OverflowError):
            raise fault(action, "the answer is garbled", "broken-answer") from None


class _Body:
    """The pieces of an upload; with a length, so that requests sends it ahead. Ends when the time is over."""

    def __init__(self, pieces: Iterable[bytes], size: int | None, action: str, seconds: float) -> None:
        self.pieces, self.size, self.action, self.seconds = pieces, size, action, seconds

    def __len__(self) -> int:
        return self.size or 0

    def __iter__(self) -> Iterator[bytes]:
        until, sent = time.monotonic() + self.seconds, 0
        for piece in self.pieces:
            if time.monotonic() > until:  # whoever asked has gone: see deadline.py
                raise too_slow(self.action, self.seconds)
            sent += len(piece)
            if self.size is not None and sent > self.size:
                break
            yield piece
        if self.size is not None and sent != self.size:
            # The server waits for as many bytes as were announced, so that it takes nothing of this.
            words = f"cannot {self.action}: it does not have the {self.size} bytes that were announced"
            raise FetchFault(words, "it has changed meanwhile: write it again", "broken-answer")


def _is_plain(url: str) -> bool:
    """Whether a URL is a host, perhaps a port, and a path, and nothing else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    return bool(parts.hostname) and "@" not in parts.netloc and not parts.query and not parts.fragment and port != 0


def _session() -> "requests.Session":
    """A session that follows nothing, and finds no password in a ~/.netrc."""
    import requests

    class Session(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
            return None

    session = Session()
    session.auth = lambda request: request
    return session
