"""JSON and TOML as text: the data in it, and where each value stands.

Offsets count characters from 0; lines and columns are for people and count from 1.
"""

import bisect
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from rolecall.forms.mistakes import Mistake, Mistakes, Path

_BLANK = re.compile(r"[ \t\n\r]*")
_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|(-?(?:NaN|Infinity))')
_DECODER = json.JSONDecoder()
_SCALAR = re.compile(r"[^,\]}\s]+")


def parse_json(text: str, source: str) -> Any:
    """JSON as the document's readers expect it: no key twice, no NaN. Raises Mistakes with their positions."""
    repeated = False

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        members = dict(pairs)
        repeated = repeated or len(members) < len(pairs)
        return members

    def no_constant(name: str) -> Any:
        raise ValueError(f"not JSON: there is no {name} in it")

    try:
        data = json.loads(text, object_pairs_hook=unique, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        raise Mistakes(source, [Mistake((), f"not JSON: {error.msg}", "", error.lineno, error.colno)]) from None
    except RecursionError:
        raise Mistakes(source, [Mistake((), "not a document: nested too deeply")]) from None
    except ValueError as error:
        constant = next((match for match in _CONSTANT.finditer(text) if match[1]), None)
        position = line_and_column(text)(constant.start(1)) if constant else (0, 0)
        raise Mistakes(source, [Mistake((), str(error).partition(";")[0], "", *position)]) from None
    if repeated:
        raise Mistakes(source, _repeated_keys(text))
    return data


def parse_toml(text: str, source: str) -> Any:
    """TOML as plain data. Raises Mistakes with their positions."""
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, _, position = str(error).partition(" (at ")
        numbers = re.search(r"line (\d+), column (\d+)", position)
        # tomllib names no line where the text ends too early.
        line, column = (int(numbers[1]), int(numbers[2])) if numbers else line_and_column(text)(len(text))
        raise Mistakes(source, [Mistake((), f"not TOML: {message}", "", line, column)]) from None
    except RecursionError:
        raise Mistakes(source, [Mistake((), "not TOML: nested too deeply")]) from None
    except ValueError as error:  # a number that is too long for one
        raise Mistakes(source, [Mistake((), f"not TOML: {str(error).partition(';')[0]}")]) from None


def line_and_column(text: str) -> Callable[[int], tuple[int, int]]:
    """A function that tells the line and the column of an offset of this text."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def position(offset: int) -> tuple[int, int]:
        line = bisect.bisect_right(starts, offset)
        return line, offset - starts[line - 1] + 1

    return position


def json_positions(text: str) -> dict[Path, tuple[int, int]]:
    """Where each value of a *valid* JSON text stands: path → (line, column), for a member at its key."""
    position = line_and_column(text)
    return {path: position(offset) for path, offset in _values(text)}


class Member(NamedTuple):
    """A member of an object or an entry of a list: its key or index, and the offsets of its parts."""

    key: str | int
    start: int  # of its key; in a list, of its value
    colon: int  # behind its key; in a list, its start
    value: int
    end: int  # behind its value


def json_members(text: str, start: int) -> list[Member]:
    """The members of the object or list that begins at an offset of a *valid* JSON text; none of another value."""
    members: list[Member] = []
    if text[start] not in "{[":
        return members
    at = skip_blank(text, start + 1)
    while text[at] not in "}]":
        key: str | int = len(members)
        member = colon = value = at
        if text[start] == "{":
            key, colon = _scan_string(text, member)
            value = skip_blank(text, skip_blank(text, colon) + 1)
        end = _DECODER.raw_decode(text, value)[1]
        members.append(Member(key, member, colon, value, end))
        at = skip_blank(text, end)
        if text[at] == ",":
            at = skip_blank(text, at + 1)
    return members


def skip_blank(text: str, at: int) -> int:
    """The offset of what follows white space."""
    match = _BLANK.match(text, at)
    return match.end() if match else at


def _scan_string(text: str, at: int) -> tuple[str, int]:
    """The JSON string that begins at an offset, and the offset behind it."""
    value, end = json.decoder.scanstring(text, at + 1)  # type: ignore[attr-defined]
    return str(value), int(end)


def _repeated_keys(text: str) -> list[Mistake]:
    """Each key that is there a second time, where it is; not what is below it."""
    position, first, repeated, mistakes = line_and_column(text), set[Path](), set[Path](), []
    for path, offset in _values(text):
        if path[:-1] in repeated:
            repeated.add(path)
        elif path in first:
            repeated.add(path)
            mistakes.append(Mistake(path, "the key occurs twice", "keep one of them", *position(offset)))
        first.add(path)
    return mistakes


def _values(text: str) -> Iterator[tuple[Path, int]]:
    """The path and the offset of each value of a valid JSON text, in its order. No recursion: the text may be deep."""
    path: list[str | int] = []  # of the value that comes next
    indexes: list[int | None] = []  # of the entries in the lists around it; None for an object
    at = skip_blank(text, 0)
    yield (), at
    while True:
        if text[at] in "{[":
            indexes.append(None if text[at] == "{" else -1)
            path.append("")
            at += 1
        elif text[at] == '"':
            at = _scan_string(text, at)[1]
        elif scalar := _SCALAR.match(text, at):
            at = scalar.end()
        at = skip_blank(text, at)
        while indexes and text[at] in "}]":
            indexes.pop()
            path.pop()
            at = skip_blank(text, at + 1)
        if not indexes:
            return
        if text[at] == ",":
            at = skip_blank(text, at + 1)
        index = indexes[-1]
        if index is None:
            path[-1], end = _scan_string(text, at)
            yield tuple(path), at
            at = skip_blank(text, skip_blank(text, end) + 1)
        else:
            path[-1] = indexes[-1] = index + 1
            yield tuple(path), at


def toml_positions(text: str) -> dict[Path, tuple[int, int]]:
    """Where each `[table]` and `key =` of a TOML text stands, near enough for a message."""
    positions: dict[Path, tuple[int, int]] = {}
    table: Path = ()
    counts: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if heading := re.match(r"\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]", line):
            name, table = heading[2], ()
            if heading[1] == "[[":
                counts[name] = counts.get(name, -1) + 1
            parts = name.split(".")
            for n, part in enumerate(parts, 1):
                index = counts.get(".".join(parts[:n]))
                table = (*table, part) if index is None else (*table, part, index)
            for n in range(len(table)):
                positions.setdefault(table[: n + 1], (number, heading.start(2) + 1))
        elif key := re.match(r"\s*\"?([A-Za-z0-9_-]+)\"?\s*=", line):
            positions.setdefault((*table, key[1]), (number, key.start(1) + 1))
    return positions
