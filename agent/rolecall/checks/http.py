"""A page asked over loopback, what is wrong with its answer, and the answers that were wrong."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rolecall.errors import machine_error
from rolecall.fleet.check import Check
from rolecall.host.redaction import Redaction

if TYPE_CHECKING:
    from requests import Response

_MOST = 16  # answers that are kept: one cause seldom has more faces
_BODY = 32 * 1024  # bytes of one that are kept


@dataclass(frozen=True)
class Answer:
    """What a page was answered with: its status line and headers, the beginning of its body, the body's bytes."""

    head: str
    body: str
    size: int


class Answers:
    """The last answer of each check whose answer was wrong, by the check's product and name."""

    def __init__(self) -> None:
        self.wrong: dict[tuple[str, str], Answer] = {}

    def keep(self, check: Check, answer: Answer | None) -> None:
        """The newest replaces the one before; None: this one was right."""
        self.wrong.pop((check.product, check.name), None)
        if answer and len(self.wrong) < _MOST:
            self.wrong[check.product, check.name] = answer


def problem(check: Check, redaction: Redaction) -> tuple[str, Answer | None]:
    """What is wrong, or '', and the answer, if there was one. Raises OSError where it is the machine that fails.

    GET over loopback with the product's hostname; never through a proxy, never following a redirect elsewhere.
    """
    import requests

    expect = check.expect
    with requests.Session() as session:
        session.trust_env = False
        try:
            response = session.get(
                f"http://{expect['port']}{check.target}",
                headers={"Host": expect["host"]},
                timeout=check.timeout,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            if cause := machine_error(error):
                raise cause from None
            return f"no answer from {expect['port']}: {_cause(error)}", None
    return _mistake(response, check, redaction), _answer(response)


def _mistake(response: "Response", check: Check, redaction: Redaction) -> str:
    expect = check.expect
    if response.status_code != expect["status"]:
        return f"answered {response.status_code} instead of {expect['status']}: {start_of(response.text, redaction)}"
    for name, value in expect["headers"].items():
        if response.headers.get(name) != value:
            return f"another configuration answered ({name}: {response.headers.get(name, 'none')}, not {value})"
    text = expect.get("contains")
    if text and text not in response.text:
        return f"the answer does not contain {text!r}: {start_of(response.text, redaction)}"
    return ""


def _answer(response: "Response") -> Answer:
    version = {10: "HTTP/1.0", 11: "HTTP/1.1"}.get(response.raw.version, "HTTP")
    lines = [f"{version} {response.status_code} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    body = response.content[:_BODY].decode("utf-8", "replace")
    return Answer("\n".join(lines), body, len(response.content))


def _cause(error: BaseException) -> str:
    """The innermost cause: requests wraps it several times."""
    while inner := (error.__cause__ or error.__context__):
        error = inner
    return str(error) or type(error).__name__


def start_of(text: str, redaction: Redaction | None = None) -> str:
    """The first words of an answer, for a message."""
    words = " ".join((redaction or Redaction()).redacted(text).split())
    return repr(words if len(words) <= 120 else f"{words[:119]}…")
