"""JSON and TOML as text: what is in it, and where each value stands."""

import bisect
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from rolecall.forms.mistakes import Mistake, Mistakes, Path

_BLANK = re.compile(r"[ \t\n\r]*")
_SEPARATOR = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|(-?(?:NaN|Infinity))')
_SCALAR = re.compile(r"[^,\]}\s]+")


def parse_json(text: str, source: str) -> Any:
    """JSON as the document's readers expect it: no key twice, no NaN. Raises Mistakes with the place."""
    twice = False

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal twice
        made = dict(pairs)
        twice = twice or len(made) < len(pairs)
        return made

    def no_constant(name: str) -> Any:
        raise ValueError(f"not JSON: there is no {name} in it")

    place = _line_and_column(text)
    try:
        data = json.loads(text, object_pairs_hook=once, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        raise Mistakes(source, [Mistake((), f"not JSON: {error.msg}", "", error.lineno, error.colno)]) from None
    except RecursionError:
        raise Mistakes(source, [Mistake((), "not a document: nested too deeply")]) from None
    except ValueError as error:
        at = next((one.start(1) for one in _CONSTANT.finditer(text) if one[1]), None)
        where = place(at) if at is not None else (0, 0)
        raise Mistakes(source, [Mistake((), str(error).partition(";")[0], "", *where)]) from None
    if twice:
        raise Mistakes(source, _repeated(text))
    return data


def parse_toml(text: str, source: str) -> Any:
    """TOML as plain data. Raises Mistakes with the place."""
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"line (\d+), column (\d+)", str(error))
        line, column = (int(place[1]), int(place[2])) if place else _line_and_column(text)(len(text))
        words = str(error).partition(" (at ")[0]
        raise Mistakes(source, [Mistake((), f"not TOML: {words}", "", line, column)]) from None
    except RecursionError:
        raise Mistakes(source, [Mistake((), "not TOML: nested too deeply")]) from None
    except ValueError as error:  # a number that is too long for one
        raise Mistakes(source, [Mistake((), f"not TOML: {str(error).partition(';')[0]}")]) from None


def json_positions(text: str) -> dict[Path, tuple[int, int]]:
    """Where each value of a *valid* JSON text stands: path → (line, column), for a member at its key."""
    place = _line_and_column(text)
    return {path: place(offset) for path, offset in _values(text)}


def json_span(text: str, key: str) -> tuple[int, int]:
    """Where the value of a member of a *valid* JSON object begins and ends. Raises KeyError."""
    for path, at in _values(text):
        if path == (key,):
            end = int(json.decoder.scanstring(text, at + 1)[1])  # type: ignore[attr-defined]
            start = end + len(_SEPARATOR.match(text, end)[0])  # type: ignore[index]
            return start, json.JSONDecoder().raw_decode(text, start)[1]
    raise KeyError(key)


def _repeated(text: str) -> list[Mistake]:
    """Each key that is there a second time, where it is; not what is below it."""
    place, seen, again, found = _line_and_column(text), set[Path](), set[Path](), []
    for path, offset in _values(text):
        if path[:-1] in again:
            again.add(path)
        elif path in seen:
            again.add(path)
            found.append(Mistake(path, "the key is there twice", "keep one of them", *place(offset)))
        seen.add(path)
    return found


def _line_and_column(text: str) -> Callable[[int], tuple[int, int]]:
    starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def place(offset: int) -> tuple[int, int]:
        line = bisect.bisect_right(starts, offset)
        return line, offset - starts[line - 1] + 1

    return place


def _values(text: str) -> Iterator[tuple[Path, int]]:
    """The path and the offset of each value of a valid JSON text, in its order. No recursion: the text may be deep."""
    path: list[str | int] = []  # of the value that comes next
    indexes: list[int | None] = []  # of the entries in the lists around it; None for an object

    def skip(at: int) -> int:
        match = _BLANK.match(text, at)
        return match.end() if match else at

    at = skip(0)
    yield (), at
    while True:
        if text[at] in "{[":
            indexes.append(None if text[at] == "{" else -1)
            path.append("")
            at += 1
        elif text[at] == '"':
            at = int(json.decoder.scanstring(text, at + 1)[1])  # type: ignore[attr-defined]
        elif scalar := _SCALAR.match(text, at):
            at = scalar.end()
        at = skip(at)
        while indexes and text[at] in "}]":
            indexes.pop()
            path.pop()
            at = skip(at + 1)
        if not indexes:
            return
        if text[at] == ",":
            at = skip(at + 1)
        index = indexes[-1]
        if index is None:
            key, end = json.decoder.scanstring(text, at + 1)  # type: ignore[attr-defined]
            path[-1] = key
            yield tuple(path), at
            at = skip(skip(end) + 1)
        else:
            path[-1] = indexes[-1] = index + 1
            yield tuple(path), at


def toml_positions(text: str) -> dict[Path, tuple[int, int]]:
    """Where each `[table]` and `key =` of a TOML text stands, near enough for a message."""
    found: dict[Path, tuple[int, int]] = {}
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
                found.setdefault(table[: n + 1], (number, heading.start(2) + 1))
        elif key := re.match(r"\s*\"?([A-Za-z0-9_-]+)\"?\s*=", line):
            found.setdefault((*table, key[1]), (number, key.start(1) + 1))
    return found
