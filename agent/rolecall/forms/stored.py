"""What the agent writes as JSON for itself, read back as dataclasses with every type checked."""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

T = TypeVar("T")
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def json_object(raw: str | bytes) -> dict[str, Any]:
    """A JSON object. Raises ValueError on anything else, also on one that is nested too deep."""
    data = from_json(raw)
    if not isinstance(data, dict):
        raise ValueError("it holds no object")  # noqa: TRY004 - of the file, not of an argument
    return data


def typed(kind: type[T], data: dict[str, Any]) -> T:
    """A dataclass, and those in it, from plain data; unknown keys are passed over.

    Raises ValueError, which names the first key that is wrong and shows no value.
    """
    try:
        value: T = _adapter(kind).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return value


def plain(value: Any) -> Any:
    """A dataclass, and those in it, as plain data that JSON can hold."""
    return _adapter(type(value)).dump_python(value, mode="json")
