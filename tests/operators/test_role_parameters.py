"""What the document tells roles is checked where it is written: `fleet check` and `fleet publish` ask role.toml."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import program
from box import document

ROLE = """description = "a cache of pages"
[platform.debian]
[parameter.contact]
type = "word"
default = "root@localhost"
help = "Who is told."
[parameter.connections]
type = "integer"
default = 4096
min = 1
help = "At most so many."
"""


@pytest.fixture
def roles(tmp_path: Path) -> Path:
    """A folder with one role, `pages`."""
    folder = tmp_path / "roles"
    (folder / "pages").mkdir(parents=True)
    (folder / "pages/role.toml").write_text(ROLE)
    return folder


def fleet(verb: str, *words: object) -> "subprocess.CompletedProcess[str]":
    return rolecall("fleet", verb, *words)


def rolecall(*words: object) -> "subprocess.CompletedProcess[str]":
    return program.rolecall([str(word) for word in words])


def write(folder: Path, roles: dict[str, Any], **parts: Any) -> Path:
    file = folder / "fleet.json"
    file.write_text(json.dumps(document(roles=roles, **parts), indent=1))
    return file


def test_a_document_whose_parameters_fit_is_right(tmp_path: Path, roles: Path) -> None:
    file = write(tmp_path, {"pages": {"contact": "ops@example.com", "connections": 100}})
    answer = fleet("check", file, "--templates", roles)
    assert answer.returncode == 0, answer.stderr


def test_every_mistake_is_told_at_once_with_its_place_beside_those_of_the_rest(tmp_path: Path, roles: Path) -> None:
    file = write(tmp_path, {"pages": {"contakt": "x", "connections": 0}, "pagse": {}}, serial="1")
    answer = fleet("check", file, "--templates", roles)
    assert answer.returncode == 78
    lines = file.read_text().splitlines()
    for path, message in (
        ("serial", "must be a whole number"),
        ("roles.pages.contakt", "unknown key — did you mean 'contact'?"),
        ("roles.pages.connections", "input should be greater than or equal to 1, but is 0"),
        ("roles.pagse", "there is no such role — did you mean 'pages'?"),
    ):
        key = f'"{path.rpartition(".")[2]}"'
        row = next(number for number, line in enumerate(lines, 1) if key in line)
        column = lines[row - 1].index(key) + 1
        assert f"  {row}:{column}: {path}: {message}" in answer.stderr


def test_a_wrong_shape_is_told_once(tmp_path: Path, roles: Path) -> None:
    shapes: list[Any] = [[], {"pages": []}, {"pages": {"contact": {}}}, {"pages": {"Bad": 1}}]
    for shape in shapes:
        answer = fleet("check", write(tmp_path, shape), "--templates", roles)
        assert (answer.returncode, answer.stderr.count("  ")) == (78, 1), answer.stderr


def test_what_is_not_published_is_not_in_the_store(tmp_path: Path, roles: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    words = ("--store", f"file://{store}", "--unsigned", "--templates", roles)
    refused = fleet("publish", write(tmp_path, {"pages": {"connections": "many"}}), *words)
    assert (refused.returncode, list(store.iterdir())) == (78, [])
    assert "roles.pages.connections: must be a whole number" in refused.stderr
    published = fleet("publish", write(tmp_path, {"pages": {"connections": 7}}), *words)
    assert published.returncode == 0, published.stderr
    assert json.loads((store / "fleet.json").read_text())["roles"] == {"pages": {"connections": 7}}


def test_a_plan_for_another_server_says_which_parameters_its_role_does_not_have(tmp_path: Path, roles: Path) -> None:
    servers = {"pages1": {"role": "pages", "address": "10.0.0.1", "zone": "a"}}
    file = write(tmp_path, {"pages": {"contakt": "x"}}, servers=servers, databases={}, caches={})
    answer = rolecall("plan", "--fleet", file, "--as", "pages1", "--templates", roles, "--platform", "debian")
    assert answer.returncode == 0, answer.stderr
    assert "note: roles.pages.contakt of the document is ignored" in answer.stderr


def test_the_schema_lists_the_parameters_of_the_roles_for_editors(roles: Path) -> None:
    answer = json.loads(fleet("schema", "--templates", roles).stdout)["properties"]["roles"]
    assert answer["properties"].keys() == {"pages"}
    assert answer["additionalProperties"] is False
    pages = answer["properties"]["pages"]
    assert (pages["description"], pages["additionalProperties"]) == ("a cache of pages", False)
    contact = pages["properties"]["contact"]
    assert contact == {"title": "Contact", "type": "string", "default": "root@localhost", "description": "Who is told."}
