"""All mistakes of a document at once, each with its position and its remedy, in words a person can act on."""

import difflib
import functools
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

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


M = TypeVar("M", bound=Mistake)


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


_MAX_SHOWN = 200  # in a message, which goes into reports too


class Mistakes(ConfigFault):
    """A document that is refused, with all that is wrong in it."""

    def __init__(self, source: str, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes, key=lambda m: (m.line, m.column, dotted(m.path))))
        count = len(self.mistakes)
        head = f"{source} has {count} mistake{'s' if count != 1 else ''}; nothing was changed:"
        lines = [f"  {mistake}" for mistake in self.mistakes[:_MAX_SHOWN]]
        if count > _MAX_SHOWN:
            lines.append(f"  … and {count - _MAX_SHOWN} more")
        super().__init__("\n".join([head, *lines]))


def suggest(wrong: str, names: Iterable[str], otherwise: str = "") -> str:
    """'did you mean …?' where one of the names is near, else the other remedy."""
    nearest = _nearest(wrong, tuple(names))
    return f"did you mean {nearest!r}?" if nearest else otherwise


@functools.lru_cache(maxsize=256)  # a product that was renamed is unknown to thousands of servers at once
def _nearest(wrong: str, names: tuple[str, ...]) -> str | None:
    return next(iter(difflib.get_close_matches(wrong, names, n=1, cutoff=0.6)), None)


def locate(mistakes: Iterable[M], positions: dict[Path, tuple[int, int]]) -> list[M]:
    """The mistakes with line and column; what is missing is shown where its parent stands."""
    located = []
    for mistake in mistakes:
        path = mistake.path
        while path not in positions and path:
            path = path[:-1]
        line, column = (mistake.line, mistake.column) if mistake.line else positions.get(path, (0, 0))
        located.append(replace(mistake, line=line, column=column))
    return located


def validation_error(title: str, mistakes: Iterable[Mistake]) -> "ValidationError":
    """What a model's own validator raises for mistakes in its members: `mistakes_of` gives them back as they were.

    Their paths begin at the model; pydantic puts the model's own path before them.
    """
    from pydantic import ValidationError
    from pydantic_core import InitErrorDetails, PydanticCustomError

    details = [
        InitErrorDetails(
            type=PydanticCustomError("value_error", "{error}", {"error": mistake.message, "hint": mistake.hint}),
            loc=mistake.path,
            input=None,
        )
        for mistake in mistakes
    ]
    return ValidationError.from_exception_data(title, details)


def mistakes_of(error: "ValidationError", model: type["BaseModel"]) -> list[Mistake]:
    """The errors that pydantic found, in words for people who write documents."""
    details: list[dict[str, Any]] = [dict(detail) for detail in error.errors(include_url=False)]
    # pydantic also calls a list too short whose only entries are wrong: one mistake is enough.
    outer = {detail["loc"][:depth] for detail in details for depth in range(len(detail["loc"]))}
    return [
        _mistake(detail, model) for detail in details if detail["type"] != "too_short" or detail["loc"] not in outer
    ]


_TYPES = {
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


def _mistake(detail: dict[str, Any], model: type["BaseModel"]) -> Mistake:
    path, kind, value = tuple(detail["loc"]), detail["type"], detail.get("input")
    if path[-1:] == ("[key]",) and kind != "extra_forbidden":
        path = path[:-1]  # pydantic's mark behind a key that is wrong itself
    if kind == "json_invalid":
        message, _, position = str(detail["ctx"]["error"]).partition(" at line ")
        line, _, column = position.partition(" column ")
        message = "nested too deeply" if message == "recursion limit exceeded" else message
        return Mistake((), f"not JSON: {message}", "", int(line or 0), int(column or 0))
    if kind == "extra_forbidden":
        names = _fields_at(model, path[:-1])
        return Mistake(path, "unknown key", suggest(str(path[-1]), names, f"known here: {', '.join(sorted(names))}"))
    if kind == "missing":
        return Mistake(path, "missing", f"add {path[-1]!r}")
    if kind in _TYPES:
        return Mistake(path, f"must be {_TYPES[kind]}, not {_shown(value)}")
    if kind == "literal_error":
        expected = str(detail["ctx"]["expected"])
        hint = suggest(str(value), re.findall(r"'([^']*)'", expected)) or f"must be {expected}"
        return Mistake(path, f"is {_shown(value)}", hint)
    if kind in ("too_short", "string_too_short") and detail["ctx"]["min_length"] == 1:
        return Mistake(path, "must not be empty")
    if kind in ("value_error", "assertion_error"):
        return Mistake(path, str(detail["ctx"]["error"]), detail["ctx"].get("hint", ""))
    return Mistake(path, f"{detail['msg'][:1].lower()}{detail['msg'][1:]}, but is {_shown(value)}")


def _shown(value: object) -> str:
    text = json.dumps(value, default=str, ensure_ascii=True)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _fields_at(model: type["BaseModel"], path: Path) -> list[str]:
    """The keys that the model has at a path, for 'did you mean'."""
    from pydantic import BaseModel

    kind: Any = model
    for part in path:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            fields = kind.model_fields.items()
            kind = next((field.annotation for name, field in fields if part in (name, field.alias)), None)
        else:
            # dict[K, V] → V, tuple[V, ...] → V, V | None → V
            types = [each for each in getattr(kind, "__args__", ()) if each not in (type(None), Ellipsis)]
            kind = types[-1] if types else None
        kind = _unwrapped(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [field.alias or name for name, field in kind.model_fields.items()]
    return []


def _unwrapped(kind: Any) -> Any:
    """`X | None` → X."""
    import types

    if isinstance(kind, types.UnionType):
        members = [member for member in kind.__args__ if member is not type(None)]
        return members[0] if len(members) == 1 else kind
    return kind
