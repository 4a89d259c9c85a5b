"""Data files as text: where each value stands, and every mistake at once in words a person can act on."""

import bisect
import difflib
import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rolecall.errors import ConfigFault

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

Path = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t\n\r]*")
_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|(-?(?:NaN|Infinity))')
_SCALAR = re.compile(r"[^,\]}\s]+")


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong: where (path in the document), what, and what to do about it."""

    path: Path
    message: str
    hint: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """`servers.web1.role: … (line:column)`, then the remedy."""
        at = f"{self.line}:{self.column}: " if self.line else ""
        return f"{at}{dotted(self.path)}: {self.message}" + (f" — {self.hint}" if self.hint else "")


def dotted(path: Path) -> str:
    """('cron', 0, 'name') → 'cron[0].name'; what could forge a line of the message is escaped."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            word = part if re.fullmatch(r"[ -~]+", part) else ascii(part)
            text += f".{word}" if text else word
    return text or "(the whole document)"


class Mistakes(ConfigFault):
    """A document that is refused, with all that is wrong in it."""

    def __init__(self, source: str, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda m: (m.line, m.column, dotted(m.path))))
        count = len(self.mistakes)
        head = f"{source} has {count} mistake{'s' if count != 1 else ''}; nothing was changed:"
        super().__init__("\n".join([head, *(f"  {mistake}" for mistake in self.mistakes)]))


def suggest(wrong: str, known: Iterable[str], otherwise: str = "") -> str:
    """'did you mean …?' where one of the known names is near, else the other remedy."""
    near = _nearest(wrong, tuple(known))
    return f"did you mean {near!r}?" if near else otherwise


@functools.lru_cache(maxsize=256)  # a product that was renamed is unknown to thousands of servers at once
def _nearest(wrong: str, known: tuple[str, ...]) -> str | None:
    return next(iter(difflib.get_close_matches(wrong, known, n=1, cutoff=0.6)), None)


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


def json_places(text: str) -> dict[Path, tuple[int, int]]:
    """Where each value of a *valid* JSON text stands: path → (line, column), for a member at its key."""
    place = _line_and_column(text)
    return {path: place(offset) for path, offset in _values(text)}


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


def toml_places(text: str) -> dict[Path, tuple[int, int]]:
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
            found.setdefault(table, (number, heading.start(2) + 1))
        elif key := re.match(r"\s*\"?([A-Za-z0-9_-]+)\"?\s*=", line):
            found.setdefault((*table, key[1]), (number, key.start(1) + 1))
    return found


def placed(mistakes: Iterable[Mistake], places: dict[Path, tuple[int, int]]) -> list[Mistake]:
    """The mistakes with line and column; what is missing is shown where its parent stands."""
    result = []
    for mistake in mistakes:
        at = mistake.path
        while at not in places and at:
            at = at[:-1]
        line, column = (mistake.line, mistake.column) if mistake.line else places.get(at, (0, 0))
        result.append(Mistake(mistake.path, mistake.message, mistake.hint, line, column))
    return result


def mistakes_of(error: "ValidationError", model: type["BaseModel"]) -> list[Mistake]:
    """pydantic's findings in our words."""
    every: list[dict[str, Any]] = [dict(found) for found in error.errors(include_url=False)]
    # pydantic also calls a list too short whose only entries are wrong: one mistake is enough.
    deeper = {found["loc"][:depth] for found in every for depth in range(len(found["loc"]))}
    return [_mistake(found, model) for found in every if found["type"] != "too_short" or found["loc"] not in deeper]


_WANTED = {
    "string_type": "text in quotes",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "tuple_type": "a list",
    "list_type": "a list",
    "datetime_type": "a time such as '2026-11-21T18:00:00Z'",
    "datetime_parsing": "a time such as '2026-11-21T18:00:00Z'",
    "datetime_from_date_parsing": "a time such as '2026-11-21T18:00:00Z'",
    "timezone_aware": "a time with its zone, such as '2026-11-21T18:00:00Z'",
}


def _mistake(found: dict[str, Any], model: type["BaseModel"]) -> Mistake:
    path, kind, given = tuple(found["loc"]), found["type"], found.get("input")
    if path[-1:] == ("[key]",) and kind != "extra_forbidden":
        path = path[:-1]  # pydantic's mark behind a key that is wrong itself
    if kind == "json_invalid":
        said, _, where = str(found["ctx"]["error"]).partition(" at line ")
        line, _, column = where.partition(" column ")
        said = "nested too deeply" if said == "recursion limit exceeded" else said
        return Mistake((), f"not JSON: {said}", "", int(line or 0), int(column or 0))
    if kind == "extra_forbidden":
        known = _fields_at(model, path[:-1])
        return Mistake(path, "unknown key", suggest(str(path[-1]), known, f"known here: {', '.join(sorted(known))}"))
    if kind == "missing":
        return Mistake(path, "missing", f"add {path[-1]!r}")
    if kind in _WANTED:
        return Mistake(path, f"must be {_WANTED[kind]}, not {_shown(given)}")
    if kind == "literal_error":
        expected = str(found["ctx"]["expected"])
        return Mistake(
            path,
            f"is {_shown(given)}",
            suggest(str(given), re.findall(r"'([^']*)'", expected)) or f"must be {expected}",
        )
    if kind == "too_short":
        return Mistake(path, "must not be empty")
    if kind in ("value_error", "assertion_error"):
        return Mistake(path, str(found["ctx"]["error"]))
    return Mistake(path, f"{found['msg'][:1].lower()}{found['msg'][1:]}, but is {_shown(given)}")


def _shown(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=True)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _fields_at(model: type["BaseModel"], path: Path) -> list[str]:
    """The keys that the model knows at a path, for 'did you mean'."""
    from pydantic import BaseModel

    at: Any = model
    for part in path:
        if isinstance(at, type) and issubclass(at, BaseModel):
            at = next(
                (field.annotation for name, field in at.model_fields.items() if part in (name, field.alias)),
                None,
            )
        else:
            # dict[K, V] → V, tuple[V, ...] → V, V | None → V
            inner = [one for one in getattr(at, "__args__", ()) if one not in (type(None), Ellipsis)]
            at = inner[-1] if inner else None
        at = _unwrapped(at)
    if isinstance(at, type) and issubclass(at, BaseModel):
        return [field.alias or name for name, field in at.model_fields.items()]
    return []


def _unwrapped(kind: Any) -> Any:
    """`X | None` → X."""
    import types

    if isinstance(kind, types.UnionType):
        inner = [one for one in kind.__args__ if one is not type(None)]
        return inner[0] if len(inner) == 1 else kind
    return kind
