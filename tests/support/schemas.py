"""The keys that a model of pydantic has, by its JSON Schema."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]


def _definition(schema: Schema, part: Schema) -> Schema:
    reference = part.get("$ref")
    definition: Schema = schema["$defs"][reference.rpartition("/")[2]] if reference else part
    return definition


def _inner(part: Schema) -> Iterator[Schema]:
    """What stands at the same path, or in a list or a table there."""
    parts = [*part.get("anyOf", ()), *part.get("oneOf", ()), part.get("items"), part.get("additionalProperties")]
    yield from (inner for inner in parts if isinstance(inner, dict))


def keys(model: type[BaseModel]) -> set[str]:
    """Every key as a path, such as `products.release.size`: names in tables, and indices of lists, are left out."""
    schema = model.model_json_schema()

    def below(part: Schema, path: str) -> Iterator[str]:
        part = _definition(schema, part)
        for inner in _inner(part):
            yield from below(inner, path)
        for name, inner in part.get("properties", {}).items():
            yield f"{path}{name}"
            yield from below(inner, f"{path}{name}.")

    return set(below(schema, ""))


def has_key(model: type[BaseModel], path: str) -> bool:
    """Whether there is such a key; names in tables are part of the path, and any word is one."""
    schema = model.model_json_schema()

    def at(part: Schema, key: str) -> Iterator[Schema]:
        part = _definition(schema, part)
        if key in part.get("properties", {}):
            yield part["properties"][key]
        elif isinstance(part.get("additionalProperties"), dict):
            yield part["additionalProperties"]
        for inner in _inner(part):
            if inner is not part.get("additionalProperties"):
                yield from at(inner, key)

    parts = [schema]
    for word in path.split("."):
        parts = [inner for part in parts for inner in at(part, word)]
    return bool(parts)
