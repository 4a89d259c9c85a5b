"""User-data that speaks to us: `{"rolecall": {"role": "web", "products": ["blog"]}}`; any other is somebody else's.

A machine has one user-data for all its programs. So ours is looked for in what people hand over: plain or packed by
gzip, as it is or as a part of MIME, with the mark of Windows' editors (BOM) or without. What was meant for us and
cannot be read is a mistake with its place; of the rest nothing is said.
"""

import base64
import binascii
import codecs
import contextlib
import difflib
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from rolecall.fleet.tags import PRODUCTS, ROLE
from rolecall.forms.mistakes import Mistake, Mistakes, dotted, locate, mistakes_of, suggest
from rolecall.forms.positions import json_positions, parse_json
from rolecall.forms.scalars import Frozen, Name

_KEY = "rolecall"
_MOST = 1 << 20  # bytes, unpacked
_MOST_MISTAKES, _MOST_LETTERS = 20, 400  # that a report can bear
_EXAMPLE = '{"rolecall": {"role": "web", "products": ["blog"]}}'
_MARKS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_WORD = re.compile(r"(?<![A-Za-z_-])[A-Za-z_-]{6,10}(?![A-Za-z_-])")
_TOP_LEVEL = re.compile(r"^[\"']?rolecall[\"']?[ \t]*:", re.IGNORECASE | re.MULTILINE)


class Section(Frozen):
    """The member `rolecall` of the JSON."""

    role: Name = ""
    products: tuple[Name, ...] = ()


class _UserData(Frozen):
    rolecall: Section


@dataclass
class UserData:
    """What user-data says, as the tags that would say the same, where each stands, and what is wrong in it."""

    tags: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)


def read_user_data(raw: bytes) -> UserData:
    """What it says to us: nothing, where it is somebody else's."""
    user_data = UserData()
    sections = 0
    for place, part in _parts(raw, "user-data"):
        try:
            sections += _read(part, place, user_data)
        except Mistakes as wrong:
            user_data.mistakes += [_line(place, mistake) for mistake in wrong.mistakes]
    if sections > 1:
        user_data.mistakes.append(f"user-data: {sections} of its parts have a section {_KEY!r} — keep one of them")
    if len(user_data.mistakes) > _MOST_MISTAKES:
        rest = len(user_data.mistakes) - _MOST_MISTAKES
        user_data.mistakes[_MOST_MISTAKES:] = [f"user-data: … and {rest} more mistakes"]
    return user_data


def _parts(raw: bytes, place: str) -> Iterator[tuple[str, bytes]]:
    """Whatever may be ours in it, unpacked, with the words for where it is."""
    raw = _unpacked(raw)
    head = raw[:4096].lstrip().lower()
    if not re.match(rb"(?:[a-z-]+:.*\n)*?(?:content-type|mime-version):", head):
        yield place, raw
        return
    from email import message_from_bytes

    try:
        leaves = [part for part in message_from_bytes(raw.lstrip()).walk() if not part.is_multipart()]
    except RecursionError:
        return
    for number, part in enumerate(leaves, 1):
        body = part.get_payload(decode=True)
        if isinstance(body, bytes):
            yield f"{place}, part {number}", _unpacked(body)


def _unpacked(raw: bytes) -> bytes:
    """Without gzip and without a BOM, cut off where it is too large; what only looks like gzip stays as it is."""
    if raw.startswith(b"\x1f\x8b"):
        with contextlib.suppress(zlib.error):
            raw = zlib.decompressobj(wbits=31).decompress(raw, _MOST + 1)
    return raw.removeprefix(codecs.BOM_UTF8)


def _read(raw: bytes, place: str, user_data: UserData) -> bool:
    """Add what one part says. Whether it has our section. Raises Mistakes if it was meant for us and is wrong."""
    text = _decoded(raw)
    data = _parsed(text)
    if data is None:
        return False
    positions = json_positions(text)
    try:
        section = _UserData.model_validate_json(json.dumps(data)).rolecall
    except ValidationError as error:
        raise Mistakes(place, locate(mistakes_of(error, _UserData), positions)) from None
    if not section.model_fields_set:
        hint = f"write {_EXAMPLE}, or remove the section"
        raise Mistakes(place, locate([Mistake((_KEY,), "says neither role nor products", hint)], positions))
    for key, tag, value in (("role", ROLE, section.role), ("products", PRODUCTS, ",".join(section.products))):
        if key in section.model_fields_set:
            line, column = positions[_KEY, key]
            user_data.tags[tag] = value
            user_data.places[tag] = f"{place} {line}:{column}: {_KEY}.{key}"
    return True


def _decoded(raw: bytes) -> str:
    """The text. Raises Mistakes for one that mentions us and cannot be read; '' for any other."""
    mark = next((mark for mark in _MARKS if raw.startswith(mark)), b"")
    body = raw.removeprefix(mark)
    encoding = _MARKS.get(mark, "utf-8")
    text = body.decode(encoding, "replace")
    if not _mentions_us(text):
        if _mentions_us(_from_base64(body)):
            raise _wrong("is encoded in Base64 twice", "hand it over as it is: EC2's tools encode it themselves")
        return ""
    if len(raw) > _MOST:
        raise _wrong(f"is more than {_MOST} bytes", "at most that much is read")
    if text.encode(encoding) != body:
        raise _wrong("is not UTF-8", "save it as UTF-8")
    return text


def _mentions_us(text: str) -> bool:
    """Whether a text is JSON, or tries to be, and names us; or has our key at the start of a line, as YAML would."""
    if text.lstrip()[:1] in ("{", "[", '"', "'"):
        return any(map(_resembles_us, set(_WORD.findall(text))))
    return not text.startswith(("#!", "<")) and bool(_TOP_LEVEL.search(text))


def _resembles_us(word: str) -> bool:
    return difflib.SequenceMatcher(None, word.lower(), _KEY).ratio() > 0.86  # not "recall"


def _from_base64(raw: bytes) -> str:
    try:
        return base64.b64decode(b"".join(raw.split()), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def _parsed(text: str) -> dict[str, Any] | None:
    """The JSON with our section alone; None where there is none, nor anything that was meant to be one."""
    if not text:
        return None
    if text.lstrip()[:1] not in ("{", "[", '"', "'"):
        raise _wrong(f"has a key {_KEY!r}, but is not JSON", f"write {_EXAMPLE}, as a part of its own if need be")
    try:
        data = parse_json(text, "user-data")
    except Mistakes as wrong:
        ours = [mistake for mistake in wrong.mistakes if mistake.path[:1] in ((), (_KEY,))]
        if ours:
            raise Mistakes("user-data", ours) from None
        data = json.loads(text)  # a key that occurs twice in somebody else's part
    if isinstance(data, list) and any(isinstance(entry, dict) and _KEY in entry for entry in data):
        raise _wrong("is a list", f"write {_EXAMPLE}")
    if not isinstance(data, dict):
        return None
    if _KEY in data:
        return {_KEY: data[_KEY]}
    for key in filter(_resembles_us, data):
        mistake = Mistake((key,), "is none of ours", suggest(key.lower(), (_KEY,), f"write {_EXAMPLE}"))
        raise Mistakes("user-data", locate([mistake], json_positions(text)))
    return None


def _wrong(message: str, hint: str) -> Mistakes:
    return Mistakes("user-data", [Mistake((), message, hint)])


def _line(place: str, mistake: Mistake) -> str:
    at = f" {mistake.line}:{mistake.column}" if mistake.line else ""
    path = f" {dotted(mistake.path)}:" if mistake.path else ""
    text = f"{place}{at}:{path} {mistake.message}" + (f" — {mistake.hint}" if mistake.hint else "")
    return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 1]}…"
