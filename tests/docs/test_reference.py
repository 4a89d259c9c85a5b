"""The reference pages name every key, command and option that there is, and none that there is not.

A key has a row of its own in its section's table, or a section of its own: `[trust]` in settings.md, `products.NAME` in
document.md, `[[file]]` in role.md.
"""

import argparse
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from box import ROOT
from pages import codes, sections
from rolecall.cli.parser import parser
from rolecall.fleet.assignment import AssignedProduct, Assignment
from rolecall.fleet.identity import Identity
from rolecall.fleet.schema import Fleet
from rolecall.fleet.topology import NodeCache, NodeDatabase, Peer
from rolecall.render.role import RoleFile
from rolecall.render.settings import Hardware
from rolecall.settings import Settings
from schemas import has_key, keys

REFERENCE = ROOT / "docs/reference"
PAGES: list[Any] = [
    pytest.param("document.md", "", Fleet, id="document"),
    pytest.param("settings.md", "", Settings, id="settings"),
    pytest.param("settings.md", "identity.json", Identity, id="identity"),
    pytest.param("role.md", "", RoleFile, id="role"),
]


def path_of(code: str) -> str:
    """`[trust]`, `[[file]]`, `[platform.NAME-VARIANT]`, `products.NAME.cron` → the path of the key without names."""
    return ".".join(part for part in code.strip("[]").split(".") if not re.fullmatch(r"[A-Z-]+", part))


def named(page: Path, part: str) -> tuple[set[str], set[str]]:
    """The keys that have a row, and those that have a section; `part` is the section of another file on that page."""
    rows, headings = set(), set()
    for section in sections(page):
        code = next(iter(codes(section.title)), "")
        another_file = code.endswith((".json", ".toml")) and code not in (part, f"{page.stem}.toml")
        if another_file or (part and code != part):
            continue
        above = "" if code.endswith((".json", ".toml")) else path_of(code)
        headings.add(above)
        cells = section.rows.get("key", []) + (section.rows.get("kind", []) if above else [])
        for cell in cells:
            for key in map(path_of, codes(cell)):
                rows.add(key if not above or key.startswith(f"{above}.") else f"{above}.{key}")
    return rows, headings


@pytest.mark.parametrize(("name", "part", "model"), PAGES)
def test_every_key_stands_in_its_page(name: str, part: str, model: type[BaseModel]) -> None:
    rows, headings = named(REFERENCE / name, part)
    tables = {row[: dot.start()] for row in rows for dot in re.finditer(r"\.", row)}  # of rows with a whole path
    assert sorted(keys(model) - rows - tables - headings) == []


@pytest.mark.parametrize(("name", "part", "model"), PAGES)
def test_no_page_names_a_key_that_does_not_exist(name: str, part: str, model: type[BaseModel]) -> None:
    rows, _ = named(REFERENCE / name, part)
    assert [row for row in sorted(rows) if row not in keys(model) and not has_key(model, row)] == []


def commands(above: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command that can be given as it is typed, such as `fleet check`, with its parser."""
    groups = [action for action in above._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield name, above
    for group in groups:
        for word, below in group.choices.items():
            yield from commands(below, f"{name} {word}".strip())


def synopses() -> dict[str, str]:
    """The first block of each section of commands.md whose heading names a command, by command."""
    found: dict[str, str] = {}
    for section in sections(REFERENCE / "commands.md"):
        for name in codes(section.title):
            lines = section.blocks[0].text.splitlines() if section.blocks else []
            found[name] = "\n".join(line for line in lines if re.match(rf"rolecall {name}( |$)", line))
    return found


def options(command: argparse.ArgumentParser) -> set[str]:
    return {max(action.option_strings, key=len) for action in command._actions if action.option_strings} - {"--help"}


COMMANDS = dict(commands(parser()))


def test_every_command_has_a_section_and_a_line_of_the_table() -> None:
    (table,) = [section.rows["command"] for section in sections(REFERENCE / "commands.md") if "command" in section.rows]
    assert {name.removeprefix("rolecall ") for cell in table for name in codes(cell)} == COMMANDS.keys()
    assert synopses().keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_synopsis_of_a_command_has_its_options_and_no_others(name: str) -> None:
    assert set(re.findall(r"(?<!\w)--?[a-z][a-z-]*", synopses()[name])) == options(COMMANDS[name])


@pytest.mark.parametrize("kind", [AssignedProduct, Assignment, NodeDatabase, NodeCache, Peer, Hardware])
def test_what_a_template_sees_of_an_assignment_stands_in_the_page_of_roles(kind: type) -> None:
    page = (REFERENCE / "role.md").read_text()
    names = {field.name for field in fields(kind)} - {"everything"}  # which templates have as `fleet`
    assert sorted(name for name in names if f"`{name}`" not in page) == []
