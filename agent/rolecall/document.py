"""Data files as text: where each value stands, and every mistake at once in words a person can act on."""

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rolecall.errors import ConfigFault

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

Path = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t\n\r]*")
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
    """('cron', 0, 'name') → 'cron[0].name'."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
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
    near = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else otherwise


def parse_json(text: str, source: str) -> Any:
    """JSON as the document's readers expect it: no key twice, no NaN. Raises Mistakes with the place."""
    twice: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            keys = [key for key, _ in pairs]
            twice.extend(sorted({key for key in keys if keys.count(key) > 1}))
        return made

    def no_constant(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    try:
        data = json.loads(text, object_pairs_hook=once, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        raise Mistakes(source, [Mistake((), f"not JSON: {error.msg}", "", error.lineno, error.colno)]) from None
    except RecursionError:
        raise Mistakes(source, [Mistake((), "not a document: nested too deeply")]) from None
    except ValueError as error:
        raise Mistakes(source, [Mistake((), str(error))]) from None
    if twice:
        raise Mistakes(source, [Mistake((key,), "the key is there twice", "keep one of them") for key in twice])
    return data


def json_places(text: str) -> dict[Path, tuple[int, int]]:
    """Where each value of a *valid* JSON text stands: path → (line, column), for a member at its key."""
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    found: dict[Path, tuple[int, int]] = {}

    def place(offset: int) -> tuple[int, int]:
        import bisect

        line = bisect.bisect_right(starts, offset)
        return line, offset - starts[line - 1] + 1

    def skip(at: int) -> int:
        match = _BLANK.match(text, at)
        return match.end() if match else at

    def value(at: int, path: Path) -> int:
        found.setdefault(path, place(at))
        if text[at] == '"':
            return int(json.decoder.scanstring(text, at + 1)[1])  # type: ignore[attr-defined]
        if text[at] in "{[":
            return container(at, path)
        scalar = _SCALAR.match(text, at)
        return scalar.end() if scalar else at + 1

    def container(at: int, path: Path) -> int:
        is_object, index = text[at] == "{", 0
        at = skip(at + 1)
        while text[at] not in "}]":
            key: str | int = index
            if is_object:
                key_at = at
                key, at = json.decoder.scanstring(text, at + 1)  # type: ignore[attr-defined]
                found[(*path, key)] = place(key_at)
                at = skip(skip(at) + 1)
            at = skip(value(at, (*path, key)))
            at = skip(at + 1) if text[at] == "," else at
            index += 1
        return at + 1

    value(skip(0), ())
    return found


def toml_places(text: str) -> dict[Path, tuple[int, int]]:
    """Where each `[table]` and `key =` of a TOML text stands, near enough for a message."""
    found: dict[Path, tuple[int, int]] = {}
    table: Path = ()
    counts: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if heading := re.match(r"\s*(\[\[?)\s*([A-Za-z0-9_.-]+)\s*\]", line):
            name = heading[2]
            table = tuple(name.split("."))
            if heading[1] == "[[":
                counts[name] = counts.get(name, -1) + 1
                table = (*table, counts[name])
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
        line, column = places.get(at, (0, 0))
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
    # pydantic marks a mistake in a key by '[key]' behind it; the key itself is the path.
    path: Path = tuple(part for part in found["loc"] if part != "[key]")
    kind, given = found["type"], found.get("input")
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
