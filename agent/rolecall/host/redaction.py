"""Values of secrets taken out of texts that others wrote, in the forms that programs and people write them in."""

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from rolecall.forms.quoting import FORMATS

REDACTED = "<secret>"
_SHORTEST = 6  # characters in Base64: what is shorter stands for too many other values


class Redaction:
    """Replaces each of some values by `<secret>`, wherever a text has it."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        forms = {form for value in values for form in _forms(value) if form}
        self._forms = sorted(forms, key=len, reverse=True)  # the longest first, or its end would stay
        self._pattern = re.compile("|".join(map(re.escape, self._forms))) if forms else None

    def redacted(self, text: str, *, cut_off: bool = False) -> str:
        """The text without the values. `cut_off`: it is the beginning of a longer one, and may end within a value."""
        if self._pattern is None:
            return text
        text = self._pattern.sub(REDACTED, text)
        if cut_off:
            text = text[: len(text) - max(_overlap(text, form) for form in self._forms)]
        return text


def _overlap(text: str, form: str) -> int:
    """How many characters at the end of a text are the beginning of a value."""
    lengths = range(min(len(text), len(form) - 1), 0, -1)
    return next((length for length in lengths if text.endswith(form[:length])), 0)


def _forms(value: str) -> Iterator[str]:
    yield value
    for quoted in FORMATS.values():
        try:
            yield _bare(quoted(value))
        except ValueError:
            continue
    yield from (quote(value, safe=""), quote(value), quote_plus(value), html.escape(value))
    yield from (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    yield from (form for form in _base64_forms(value.encode()) if len(form) >= _SHORTEST)


def _bare(quoted: str) -> str:
    return quoted[1:-1] if quoted[:1] in ("'", '"', "`") and quoted[-1:] == quoted[:1] else quoted


def _base64_forms(raw: bytes) -> Iterator[str]:
    """In each of the three places that a value can have within a longer one, such as `user:password`."""
    for before in range(3):
        first, end = (before * 8 + 5) // 6, (before + len(raw)) * 8 // 6
        yield base64.b64encode(bytes(before) + raw).decode()[first:end]
        yield base64.urlsafe_b64encode(bytes(before) + raw).decode()[first:end]
