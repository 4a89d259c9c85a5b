"""What the answer of a web server means, or that there is none: one cause each."""

from http import HTTPStatus
from typing import TYPE_CHECKING

from rolecall.causes import conflict, fault, is_skewed, moment, replaced, skewed
from rolecall.errors import FetchFault

if TYPE_CHECKING:
    import requests

_LENGTHS = {"content-length", "transfer-encoding"}
_OTHER_PROTOCOL = ("NO_APPLICATION_PROTOCOL", "BadStatusLine")  # as OpenSSL and http.client have it
_CONDITIONS = {"If-Match", "If-None-Match"}
_CAUSES: dict[int, str] = {
    HTTPStatus.NOT_FOUND: "no-key",
    HTTPStatus.GONE: "no-key",
    HTTPStatus.UNAUTHORIZED: "access-denied",
    HTTPStatus.FORBIDDEN: "access-denied",
    HTTPStatus.METHOD_NOT_ALLOWED: "not-writable",
    HTTPStatus.NOT_IMPLEMENTED: "not-writable",
    HTTPStatus.TOO_MANY_REQUESTS: "throttled",
    HTTPStatus.SERVICE_UNAVAILABLE: "throttled",
}


def check_answer(answer: "requests.Response", action: str, accepted: tuple[int, ...]) -> None:
    """Raises FetchFault unless the status is an accepted one, and the end of the body can be told."""
    status = answer.status_code
    if status in accepted:
        # Without a length an end is no different from a cut, also in the middle of the head.
        names = {name.lower() for name in answer.headers}
        if answer.request.method == "GET" and status != HTTPStatus.NOT_MODIFIED and not _LENGTHS & names:
            raise fault(action, "the answer does not say where it ends", "broken-answer")
        return
    conditional = bool(_CONDITIONS & answer.request.headers.keys())
    if status == HTTPStatus.CONFLICT and answer.request.method == "PUT" and not conditional:  # RFC 4918 §9.7.1
        raise fault(action, f"{status} {answer.reason}: is there no such folder on the server?", "no-folder")
    if status in (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.CONFLICT):
        if answer.request.method == "GET":
            raise replaced(action)
        raise conflict(action, doubtful=status == HTTPStatus.CONFLICT)
    if status == HTTPStatus.NOT_IMPLEMENTED and conditional:
        raise fault(action, f"{status} {answer.reason}: the server takes no conditions", "no-conditions")
    if status < 300 or status == HTTPStatus.NOT_MODIFIED:
        raise fault(action, f"{status} is not an answer to this request", "broken-answer")
    date = moment(answer.headers.get("Date"))
    if status in (401, 403) and is_skewed(date):
        raise skewed(action, date)
    where = f" to {answer.headers['Location']}" if "Location" in answer.headers else ""
    cause = _CAUSES.get(status) or ("moved" if status < 400 else "server-error" if status >= 500 else "")
    if cause == "access-denied":  # no policy of a provider is asked here
        words = f"cannot {action}: {status} {answer.reason}"
        raise FetchFault(words, "let the server answer whoever asks from here; it is given no password", cause)
    raise fault(action, f"{status} {answer.reason}{where}", cause or "refused")


def fault_of(error: Exception, action: str, ca: str | None) -> FetchFault:
    """What requests or urllib3 raised, with its cause. `ca`: the file of the authorities that are believed, if any."""
    import requests
    from urllib3.exceptions import SSLError

    reason = str(error).rpartition(": ")[2].strip("'\")>( ") or type(error).__name__
    reason += ")" * (reason.count("(") - reason.count(")"))
    if any(word in str(error) for word in _OTHER_PROTOCOL):
        words = f"cannot {action}: the server does not answer in HTTP/1.1; HTTP/2 alone is not enough"
        return FetchFault(words, "let it speak HTTP/1.1 too; or is another service at this port?", "broken-answer")
    if isinstance(error, (requests.exceptions.SSLError, SSLError)):
        authorities = f" (authorities: {ca})" if ca else ""
        return fault(action, f"the certificate is not accepted{authorities}: {reason}", "tls")
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return fault(action, "no answer in time", "too-slow")
    if isinstance(error, (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)):
        return fault(action, "the answer is incomplete", "broken-answer")
    return fault(action, reason, "unreachable")
