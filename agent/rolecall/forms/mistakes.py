"""Every mistake at once, each with its place and its remedy, in words a person can act on."""

import difflib
import functools
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rolecall.errors import ConfigFault

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

Path = tuple[str | int, ...]


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


_MOST = 200  # in a message, which goes into reports too


class Mistakes(ConfigFault):
    """A document that is refused, with all that is wrong in it."""

    def __init__(self, source: str, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda m: (m.line, m.column, dotted(m.path))))
        count = len(self.mistakes)
        head = f"{source} has {count} mistake{'s' if count != 1 else ''}; nothing was changed:"
        more = [f"  … and {count - _MOST} more"] if count > _MOST else []
        super().__init__("\n".join([head, *(f"  {mistake}" for mistake in self.mistakes[:_MOST]), *more]))


def suggest(wrong: str, known: Iterable[str], otherwise: str = "") -> str:
    """'did you mean …?' where one of the known names is near, else the other remedy."""
    near = _nearest(wrong, tuple(known))
    return f"did you mean {near!r}?" if near else otherwise


@functools.lru_cache(maxsize=256)  # a product that was renamed is unknown to thousands of servers at once
def _nearest(wrong: str, known: tuple[str, ...]) -> str | None:
    return next(iter(difflib.get_close_matches(wrong, known, n=1, cutoff=0.6)), None)


def locate(mistakes: Iterable[Mistake], places: dict[Path, tuple[int, int]]) -> list[Mistake]:
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
