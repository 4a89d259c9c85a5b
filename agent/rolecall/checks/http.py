"""The probe over HTTP, and how an answer is shown."""

from rolecall.errors import machine_error
from rolecall.fleet.check import Check


def answer_problem(check: Check) -> str:
    """GET over loopback with the product's hostname; never through a proxy, never following a redirect elsewhere."""
    import requests

    expect = check.expect
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.get(
                f"http://{expect['port']}{check.target}",
                headers={"Host": expect["host"]},
                timeout=check.timeout,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            if cause := machine_error(error):
                raise cause from None
            return f"no answer from {expect['port']}: {_cause(error)}"
    if answer.status_code != expect["status"]:
        return f"answered {answer.status_code} instead of {expect['status']}: {start_of(answer.text)}"
    for name, value in expect["headers"].items():
        if answer.headers.get(name) != value:
            return f"another configuration answered ({name}: {answer.headers.get(name, 'none')}, not {value})"
    text = expect.get("contains")
    if text and text not in answer.text:
        return f"the answer does not contain {text!r}: {start_of(answer.text)}"
    return ""


def _cause(error: BaseException) -> str:
    """The innermost cause: requests wraps it several times."""
    while inner := (error.__cause__ or error.__context__):
        error = inner
    return str(error) or type(error).__name__


def start_of(text: str) -> str:
    """The beginning of an answer, for messages."""
    words = " ".join(text.split())
    return repr(words if len(words) <= 120 else f"{words[:119]}…")
