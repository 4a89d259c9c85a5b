"""What the roles have to say about a document: whether its `roles` fit their parameters, and how editors show them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from rolecall.fleet import schema
from rolecall.fleet.account_numbers import number_mistakes
from rolecall.forms.mistakes import Mistake, Mistakes, locate, suggest
from rolecall.forms.positions import json_positions
from rolecall.host.roles import read_role, role_names, roles_folder
from rolecall.render.parameters import parameter_mistakes, values_model


def parse_document(raw: bytes, source: str, templates: Path | None) -> schema.Fleet:
    """The document as a type, its `roles` checked against the roles of a folder (by default those installed), and its
    accounts for numbers that two have: a node refuses only those that it would have to make.

    Raises Mistakes with everything that is wrong in any respect, and ConfigFault for a role that cannot be read.
    """
    fleet, mistakes = None, list[Mistake]()
    try:
        fleet = schema.parse_fleet(raw, source)
    except Mistakes as fault:
        mistakes = list(fault.mistakes)
    paths = {mistake.path for mistake in mistakes}
    mistakes += [mistake for mistake in _further_mistakes(raw, templates) if mistake.path not in paths]
    if mistakes or fleet is None:
        raise Mistakes(source, mistakes)
    return fleet


def _further_mistakes(raw: bytes, templates: Path | None) -> list[Mistake]:
    """Those in `roles` and among numbers, with their lines. What has a wrong shape has been refused already."""
    try:
        text = raw.decode("utf-8")
        data = from_json(text)
    except ValueError:
        return []
    roles, servers, products = (_object(data, key) for key in ("roles", "servers", "products"))
    mistakes = list(number_mistakes({name: each for name, each in products.items() if isinstance(each, dict)}))
    if roles:
        mistakes += _mistakes(roles, set(servers), _folder(templates))
    return locate(mistakes, json_positions(text)) if mistakes else []


def _object(data: Any, key: str) -> dict[str, Any]:
    value = data.get(key) if isinstance(data, dict) else None
    return value if isinstance(value, dict) else {}


def _mistakes(roles: dict[str, Any], servers: set[str], folder: Path) -> Iterator[Mistake]:
    names = role_names(folder)
    for name, settings in roles.items():
        if name not in names:
            hint = suggest(name, names, f"the roles in {folder}: {', '.join(names)}; --templates names another folder")
            yield Mistake(("roles", name), "there is no such role", hint)
        elif isinstance(settings, dict):
            yield from parameter_mistakes(read_role(folder, name), settings, servers)


def document_schema(templates: Path | None) -> dict[str, Any]:
    """The JSON Schema of the document, with the parameters of each role of a folder. Raises ConfigFault."""
    folder = _folder(templates)
    document = schema.schema()
    roles = {name: _role_schema(folder, name) for name in role_names(folder)}
    document["properties"]["roles"] |= {"properties": roles, "additionalProperties": False}
    return document


def _role_schema(folder: Path, name: str) -> dict[str, Any]:
    role = read_role(folder, name)
    return values_model(role.table.parameter).model_json_schema() | {
        "title": name,
        "description": role.table.description,
    }


def _folder(templates: Path | None) -> Path:
    return roles_folder(str(templates) if templates else None)
