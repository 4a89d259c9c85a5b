"""The instance metadata service of EC2, version 2 only: a token by PUT, then GET with it.

Protocol: "Use the Instance Metadata Service to access instance metadata" (EC2 User Guide). 401: the token is no longer
good, take a new one; 403: the service is switched off; 404: there is no such item; 503 and 429: asked too often. A
PUT whose answer never comes, though the connection stands, is what a hop limit that is too low looks like: nothing at
all is ever heard then. A service that has answered before is slow, and nothing else.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING

from rolecall.causes import moment
from rolecall.deadline import within
from rolecall.errors import FetchFault
from rolecall.forms.quantities import duration

if TYPE_CHECKING:
    import requests

_TTL = 21600  # seconds; the most that there is
_MOST = 1 << 20  # bytes of an answer; user-data has 16 KiB at most
_EACH = (1.0, 3.0)  # seconds for one request: to connect, to be answered
_HEALTH = "if this persists, check the instance's health: aws ec2 describe-instance-status"
_TELLING = 0.05  # seconds without an answer that tell something: the service is next door
_PAUSE = (0.1, 2.0)  # seconds before asking again: at first, at most
_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


class _Again(Exception):
    """The last try failed by a cause that may pass; `pause` is what the service asked for."""

    def __init__(self, fault: FetchFault, pause: float | None = None) -> None:
        super().__init__(fault.message)
        self.fault, self.pause = fault, pause


@dataclass
class _Answer:
    status: int
    body: bytes
    pause: float | None  # Retry-After

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class Imds:
    """One connection, one question at a time: the service is throttled per instance."""

    def __init__(self, endpoints: tuple[str, ...]) -> None:
        self.endpoints = list(endpoints)
        self.date: datetime | None = None  # the time that the service told last
        self._answered = False  # whether anything was ever heard of the service
        self._token = ""
        self._session: requests.Session | None = None

    def get(self, path: str, until: float) -> str | None:
        """The item below `/latest/` as text. The rest is as with `read`."""
        body = self.read(path, until)
        return None if body is None else body.decode("utf-8", "replace")

    def read(self, path: str, until: float) -> bytes | None:
        """The item below `/latest/`, or None if there is none. Asks again until the monotonic time `until`.

        Raises FetchFault with the cause imds-unreachable, imds-hop-limit, imds-off, imds-busy or imds-error.
        """
        pause = _PAUSE[0]
        while True:
            try:
                return self._get(path, until)
            except _Again as again:
                wait = max(pause, again.pause or 0.0)
                if time.monotonic() + wait >= until:
                    raise again.fault from None
                time.sleep(wait)
                pause = min(pause * 2, _PAUSE[1])

    def _get(self, path: str, until: float) -> bytes | None:
        for fresh in (False, True):
            if fresh or not self._token:
                self._token = self._new_token(until)
            answer = self._ask("GET", path, {"X-aws-ec2-metadata-token": self._token}, until)
            if answer.status == HTTPStatus.OK:
                return answer.body
            if answer.status == HTTPStatus.NOT_FOUND:
                return None
            if answer.status != HTTPStatus.UNAUTHORIZED:
                break
        raise self._refused(answer, f"GET {path}")

    def _new_token(self, until: float) -> str:
        self._token = ""
        answer = self._ask("PUT", "api/token", {"X-aws-ec2-metadata-token-ttl-seconds": str(_TTL)}, until)
        if answer.status != HTTPStatus.OK or not answer.text.isascii() or not answer.text.isprintable():
            raise self._refused(answer, "PUT api/token")
        return answer.text

    def _refused(self, answer: _Answer, request: str) -> Exception:
        where = f"the metadata service {self.endpoints[0]} answered {answer.status} to {request}"
        if answer.status == HTTPStatus.FORBIDDEN:
            # Asking again will not help, and the next endpoint is the same service.
            hint = (
                "switch it on: aws ec2 modify-instance-metadata-options --http-endpoint enabled --http-tokens required"
            )
            return FetchFault(f"{where}: it is switched off for this instance", hint, "imds-off")
        if answer.status in _BUSY:
            hint = "something on this machine asks it too often; the agent asks again by itself"
            return _Again(FetchFault(f"{where}: it gets too many requests", hint, "imds-busy"), answer.pause)
        return _Again(FetchFault(where, _HEALTH, "imds-error"))

    def _ask(self, method: str, path: str, headers: dict[str, str], until: float) -> _Answer:
        """One request, to the endpoint that answered last, or to the first that lets us connect."""
        import requests
        from urllib3.exceptions import HTTPError

        causes = []
        for endpoint in list(self.endpoints):
            url = f"{endpoint}/latest/{path}"
            left = min(sum(_EACH), until - time.monotonic())
            try:
                answer = within(left, self._request(method, url, headers, left))
            except (requests.ConnectTimeout, requests.ConnectionError) as error:
                causes.append(f"{endpoint}: {_reason(error)}")
                continue
            except (requests.Timeout, TimeoutError):
                self._session = None  # the thread that waits may keep the old one
                raise _Again(self._silent(f"{method} {path}", endpoint, left)) from None
            except (requests.RequestException, HTTPError, ValueError) as error:
                raise _Again(FetchFault(f"{url}: {_reason(error)}", _HEALTH, "imds-error")) from None
            self._answered = True
            self.endpoints.remove(endpoint)
            self.endpoints.insert(0, endpoint)
            return answer
        hint = (
            "not on EC2: remove 'ec2' from identity and set aws.credentials; "
            "on EC2: is there a firewall or a route in the way?"
        )
        raise _Again(FetchFault(f"no metadata service: {'; '.join(causes)}", hint, "imds-unreachable"))

    def _silent(self, request: str, endpoint: str, waited: float) -> FetchFault:
        if request.startswith("PUT") and not self._answered and waited >= _TELLING:
            return FetchFault(
                f"the metadata service {endpoint} accepts connections but does not answer the PUT for a token: "
                "probably its hop limit is too low for this machine's network (a container, a bridge)",
                "aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2",
                "imds-hop-limit",
            )
        left = duration(max(waited, 0.0))
        heard = f"it had answered until then; {left} were left" if self._answered else f"{left} were left for it"
        return FetchFault(
            f"the time for the metadata service {endpoint} ran out at {request}: {heard}",
            "the agent asks again by itself; if it is always slow, raise boot.metadata_timeout and network.timeout "
            "in agent.toml",
            "imds-unreachable",
        )

    def _request(self, method: str, url: str, headers: dict[str, str], left: float) -> Callable[[], _Answer]:
        import requests

        if self._session is None:
            self._session = requests.Session()
            self._session.trust_env = False  # never through a proxy: whoever runs it would get our credentials
        session = self._session
        # Where little time is left, the next endpoint has half of it: an IPv4 address may lead nowhere.
        timeout = (max(min(_EACH[0], left / 2), 0.01), _EACH[1])

        def ask() -> _Answer:
            with session.request(
                method, url, headers=headers, timeout=timeout, stream=True, allow_redirects=False
            ) as answer:
                raw = answer.raw.read(_MOST + 1, decode_content=True)
                if len(raw) > _MOST:
                    raise ValueError(f"answered more than {_MOST} bytes")
                self.date = moment(answer.headers.get("Date"))
                after = answer.headers.get("Retry-After", "")
                return _Answer(answer.status_code, raw, float(after) if after.isdecimal() else None)

        return ask


def _reason(error: Exception) -> str:
    """The last reason of a chain such as urllib3's, without its addresses of objects."""
    text = str(error)
    for reason in ("Connection refused", "No route to host", "Network is unreachable", "Connection reset by peer"):
        if reason in text:
            return reason
    return "no answer" if "timed out" in text else text.rpartition(": ")[2].strip("')> ")
