"""A store behind a web server: a mirror of the bucket, with ETags; it may take PUT."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, urlsplit

from rolecall.causes import conflict, fault, is_skewed, moment, skewed, too_large, too_slow
from rolecall.deadline import within
from rolecall.errors import ConfigFault, FetchFault
from rolecall.settings import Network
from rolecall.store import Stored
from rolecall.store.confirmation import confirmed
from rolecall.store.download import resumed

if TYPE_CHECKING:
    import requests

T = TypeVar("T")
_LOOK = 1 << 25  # bytes; more than is ever written under a condition
_LENGTHS = {"content-length", "transfer-encoding"}
_PIECE = 1 << 14  # bytes; of a piece that is cut, nothing is kept
_EACH = (3.0, 5.0)  # seconds to connect, and without a byte
_CAUSES = {404: "no-key", 410: "no-key", 401: "access-denied", 403: "access-denied", 405: "not-writable",
           501: "not-writable", 429: "throttled", 503: "throttled"}  # fmt: skip


class HttpsStore:
    """Files below a URL. Every answer comes from the host that the URL names: nothing is followed elsewhere."""

    def __init__(self, url: str, network: Network) -> None:
        self.url, self.network = url.rstrip("/"), network
        try:
            parts = urlsplit(self.url)
            good = bool(parts.hostname) and "@" not in parts.netloc and not parts.query and not parts.fragment
            good = good and parts.port != 0
        except ValueError:
            good = False
        if not good:  # without showing it: somebody may have put a password into it
            raise ConfigFault(
                "no store's address: an https:// URL is wrong", "https://host/prefix, without a user or ?"
            )

    def location(self, key: str) -> str:
        """`https://host/prefix/key`."""
        return f"{self.url}/{key}"

    def get(self, key: str, limit: int, cached: Stored | None = None) -> Stored:
        """GET with If-None-Match."""
        what = f"read {self.location(key)}"
        condition = {"If-None-Match": cached.etag} if cached and cached.etag else {}

        def ask() -> Stored:
            good = (HTTPStatus.OK, HTTPStatus.NOT_MODIFIED) if condition else (HTTPStatus.OK,)
            with self._answer("GET", key, what, condition, good) as answer:
                etag, date = answer.headers.get("ETag", ""), moment(answer.headers.get("Date"))
                if cached and answer.status_code == HTTPStatus.NOT_MODIFIED:
                    return Stored(cached.data, cached.etag, date)
                data = bytearray()
                for piece in answer.iter_content(_PIECE):
                    data += piece
                    if len(data) > limit:
                        raise too_large(what, limit)
                return Stored(bytes(data), etag, date)

        return self._within(what, ask)

    def stream(self, key: str, start: int = 0) -> Iterator[bytes]:
        """GET with Range, and with If-Match where it goes on: of the same object, or not at all."""
        what = f"read {self.location(key)}"

        def begin(at: int, etag: str) -> tuple[Iterator[bytes], str]:
            # A weak tag cannot be asked for by If-Match; the SHA-256 of the whole decides in any case.
            more = {"Range": f"bytes={at}-"} if at else {}
            more |= {"If-Match": etag} if etag and not etag.startswith("W/") else {}
            pieces = self._pieces(key, what, more, at)
            return pieces, next(pieces).decode("latin-1")

        return resumed(what, self.network.release_timeout, start, begin)

    def put(self, key: str, data: bytes, replacing: str | None = None) -> str:
        """PUT; with `replacing` by If-Match or If-None-Match."""
        what = f"write {self.location(key)}"
        condition = {} if replacing is None else {"If-Match": replacing} if replacing else {"If-None-Match": "*"}
        good = (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT)

        def ask() -> str:
            with self._answer("PUT", key, what, condition, good, data) as answer:
                return answer.headers.get("ETag", "")

        return confirmed(lambda: self._within(what, ask), lambda: self.get(key, _LOOK), data, replacing)

    def watched_paths(self, key: str) -> list[str]:  # noqa: ARG002 - the contract of all stores
        """Nothing on this machine."""
        return []

    def revalidation(self, key: str, etag: str) -> str:
        """A conditional GET; none without a tag to ask with."""
        parts = urlsplit(f"{self.url}/{quote(key)}")
        limits = (self.network.ca or "", str(self.network.timeout))
        fields = ("", "https", parts.netloc, parts.path, etag, "", *limits)
        return "\t".join(fields) if etag and etag.isascii() and etag.isprintable() else ""

    def _within(self, what: str, ask: Callable[[], T]) -> T:
        try:
            return within(self.network.timeout, ask)
        except TimeoutError:
            raise too_slow(what, self.network.timeout) from None

    def _pieces(self, key: str, what: str, headers: dict[str, str], at: int) -> Iterator[bytes]:
        """The tag first, then the pieces."""
        good = (HTTPStatus.PARTIAL_CONTENT,) if at else (HTTPStatus.OK,)
        with self._answer("GET", key, what, headers, good) as answer:
            yield answer.headers.get("ETag", "").encode("latin-1", "replace")
            yield from answer.iter_content(_PIECE)

    @contextmanager
    def _answer(  # noqa: PLR0917 - one request
        self,
        method: str,
        key: str,
        what: str,
        headers: dict[str, str],
        good: tuple[int, ...],
        data: bytes | None = None,
    ) -> Iterator["requests.Response"]:
        """The answer, if its status is a good one; what goes wrong while it is read is told the same way."""
        import requests
        from urllib3.exceptions import HTTPError

        # identity: what is written compressed would be another object than the one that the digest is of.
        headers = {**headers, "Accept-Encoding": "identity"}
        try:
            with _session() as session, session.request(
                method, f"{self.url}/{quote(key)}", headers=headers, data=data, timeout=_EACH, stream=True,
                allow_redirects=False, verify=self.network.ca or True,
            ) as answer:  # fmt: skip
                _judge(answer, what, good)
                yield answer
        except (requests.RequestException, HTTPError) as error:
            raise _told(error, what, self.network.ca) from None
        except OSError as error:  # a file of authorities that is not there
            raise fault(what, str(error), "tls") from None
        except (ValueError, OverflowError):
            raise fault(what, "the answer is garbled", "broken-answer") from None


def _session() -> "requests.Session":
    """A session that follows nothing, and finds no password in a ~/.netrc."""
    import requests

    class Session(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
            return None

    made = Session()
    made.auth = lambda request: request
    return made


def _judge(answer: "requests.Response", what: str, good: tuple[int, ...]) -> None:
    status = answer.status_code
    if status in good:
        # Without a length an end is no different from a cut, also in the middle of the head.
        if answer.request.method == "GET" and status != HTTPStatus.NOT_MODIFIED and not _LENGTHS & {*_names(answer)}:
            raise fault(what, "the answer does not say where it ends", "broken-answer")
        return
    if status in (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.CONFLICT):
        raise conflict(what, doubtful=status == HTTPStatus.CONFLICT)
    if status < 300 or status == HTTPStatus.NOT_MODIFIED:
        raise fault(what, f"{status} is no answer to this request", "broken-answer")
    date = moment(answer.headers.get("Date"))
    if status in (401, 403) and is_skewed(date):
        raise skewed(what, date)
    where = f" to {answer.headers['Location']}" if "Location" in answer.headers else ""
    cause = _CAUSES.get(status) or ("moved" if status < 400 else "server-error" if status >= 500 else "")
    words = f"{status} {answer.reason}{where}"
    raise fault(what, words, cause or "refused")


def _names(answer: "requests.Response") -> Iterator[str]:
    yield from (name.lower() for name in answer.headers)


def _told(error: Exception, what: str, ca: str | None) -> FetchFault:
    import requests
    from urllib3.exceptions import SSLError

    reason = str(error).rpartition(": ")[2].strip("'\")>( ") or type(error).__name__
    reason += ")" * (reason.count("(") - reason.count(")"))
    if isinstance(error, (requests.exceptions.SSLError, SSLError)):
        authorities = f" (authorities: {ca})" if ca else ""
        return fault(what, f"the certificate is not accepted{authorities}: {reason}", "tls")
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return fault(what, "no answer in time", "too-slow")
    if isinstance(error, (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)):
        return fault(what, "the answer breaks off", "broken-answer")
    return fault(what, reason, "unreachable")
