"""What a command found out, as data: JSON, the terminal and the panel show the same answer."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from typing import Any, ClassVar, Protocol, runtime_checkable


@dataclass(frozen=True)
class Answer:
    """What a command found out. The names of its fields are the keys of its JSON.

    `sole_field` names the field whose value is all that JSON has: for an answer that is a list, or an object whose keys
    are names from a document. Its other fields are for people.

    `verbatim`: the answer is JSON already, and is printed as its author wrote it, with and without `--json`.
    """

    sole_field: ClassVar[str] = ""
    verbatim: ClassVar[bool] = False

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        return 0

    def data(self) -> Any:
        """The answer as plain data, for JSON."""
        if self.sole_field:
            return _as_json(getattr(self, self.sole_field))
        return {field.name: _as_json(getattr(self, field.name)) for field in fields(self)}


@runtime_checkable
class Describable(Protocol):
    """What knows its own plain form, such as an answer or a run's report."""

    def data(self) -> Any:
        """Plain data, for JSON."""


def _as_json(value: Any) -> Any:
    """A value as JSON has it: dataclasses become objects, tuples lists, sets sorted lists, times ISO 8601."""
    if isinstance(value, Describable):
        return value.data()
    if is_dataclass(value):
        return {field.name: _as_json(getattr(value, field.name)) for field in fields(value)}
    match value:
        case Mapping():
            return {str(key): _as_json(content) for key, content in value.items()}
        case AbstractSet():
            return sorted(_as_json(element) for element in value)
        case list() | tuple():
            return [_as_json(element) for element in value]
        case datetime():
            return value.isoformat()
    return value
