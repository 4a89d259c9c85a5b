"""Every command answers with data: one type for each answer, the same for JSON and for people."""

import argparse
import dataclasses
import json
import typing
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any

import pytest

from box import Box, document
from cli.test_commands import rolecall
from rolecall.cli.command import Command
from rolecall.cli.dispatch import find_command
from rolecall.cli.parser import parser
from rolecall.forms.answers import Answer

# For each command a command line that it answers, in the order of a node's life: `image detach` ends it.
# {config} is the settings of a node, {file} a document on disk, {store} a store that has one, {copy} an empty store.
ON_A_NODE = "--config {config}"
COMMAND_LINES = {
    "image attach": ON_A_NODE,
    "boot": ON_A_NODE,
    "refresh": ON_A_NODE,
    "plan": ON_A_NODE,
    "status": ON_A_NODE,
    "selftest": ON_A_NODE,
    "doctor": ON_A_NODE,
    "history": ON_A_NODE,
    "blame": ON_A_NODE,
    "why": ON_A_NODE + " apache/50-blog.conf:5",
    "adopt": ON_A_NODE,
    "drain": ON_A_NODE,
    "rollback": ON_A_NODE,
    "image check": "--root {root} --config /etc/rolecall/agent.toml",
    "image install": ON_A_NODE,
    "image detach": ON_A_NODE,
    "fleet check": "{file}",
    "fleet show": "{file}",
    "fleet diff": "{file} {file}",
    "fleet publish": "{file} --store {store} --unsigned",
    "fleet history": "--store {store}",
    "fleet fetch": "--store {store}",
    "fleet schema": "",
    "fleet certificates": "{file} --store {store}",
    "store check": "{copy}",
    "store copy": "{store} {copy}",
    "demo": "",
}
BY_A_TEST_OF_THEIR_OWN = {"demo"}  # tests/demo


def commands(above: argparse.ArgumentParser, *words: str) -> Iterator[str]:
    """Every command that the parser has, as it is typed."""
    groups = [action for action in above._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield " ".join(words)
    for group in groups:
        for name, below in group.choices.items():
            yield from commands(below, *words, name)


def command_of(name: str) -> Command[Any]:
    return find_command(parser().parse_args(any_words(name)))


def any_words(name: str) -> list[str]:
    """A command with arguments that name nothing."""
    words = COMMAND_LINES[name].format(config="c", file="f", store="s", copy="t", root="r").split()
    return [*name.split(), *words]


def answer_types(name: str) -> list[type[Answer]]:
    """The types that a command can answer with, by its annotation."""
    kind = typing.get_type_hints(command_of(name).answer)["return"]
    return list(typing.get_args(kind)) if isinstance(kind, UnionType) else [kind]


def test_every_command_of_the_parser_has_a_command_line_here() -> None:
    assert set(commands(parser())) == set(COMMAND_LINES)


@pytest.mark.parametrize("name", list(commands(parser())))
def test_every_command_answers_with_a_frozen_dataclass_and_takes_json(name: str) -> None:
    for kind in answer_types(name):
        assert issubclass(kind, Answer)
        assert dataclasses.is_dataclass(kind)
        assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
        assert not kind.sole_field or kind.sole_field in {field.name for field in dataclasses.fields(kind)}
    assert parser().parse_args([*any_words(name), "--json"]).json


@pytest.fixture(scope="module")
def places(module_box: Box, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the command lines name: a node that has booted, a document, a store."""
    module_box.product("blog")
    module_box.publish()
    module_box.boot()
    folder = tmp_path_factory.mktemp("operator")
    (folder / "store").mkdir()
    (folder / "copy").mkdir()
    (folder / "fleet.json").write_text(json.dumps(document()))
    return {
        "config": str(module_box.machine.config),
        "root": str(module_box.machine.root),
        "file": str(folder / "fleet.json"),
        "store": f"file://{folder}/store",
        "copy": f"file://{folder}/copy",
    }


@pytest.mark.parametrize("name", [name for name in COMMAND_LINES if name not in BY_A_TEST_OF_THEIR_OWN])
def test_the_json_of_every_command_has_the_fields_of_its_answer(
    name: str, places: dict[str, str], module_box: Box
) -> None:
    if name == "rollback":  # needs a generation to go back to
        module_box.document["products"]["blog"]["environment"] = {"NEW": "1"}
        module_box.publish()
        module_box.rolecall("refresh")
    words = COMMAND_LINES[name].format(**places).split()
    result = rolecall(*name.split(), *words, "--json", env=module_box.env)
    assert result.stdout, result.stderr
    answer = json.loads(result.stdout)
    assert "mistakes" not in answer or name == "fleet check", f"a fault: {answer}"
    kind = answer_types(name)[0]
    if kind.verbatim:
        assert Path(places["store"].removeprefix("file://"), "fleet.json").read_text() == result.stdout
    elif not kind.sole_field:
        assert answer.keys() == {field.name for field in dataclasses.fields(kind)}


def test_a_fault_is_an_answer_too() -> None:
    result = rolecall("fleet", "check", "/nowhere/fleet.json", "--json")
    fault = json.loads(result.stdout)
    assert fault.keys() == {"error", "hint", "cause", "exit_code", "mistakes"}
    assert (fault["exit_code"], fault["error"]) == (result.returncode, result.stderr.splitlines()[0][10:])
