"""Golden trees: identity and document in, every file of the generation out. `make accept` rewrites them; read the diff.

A case is a folder `tests/roles/<role>/<case>/` with `fleet.json` and `identity.json`; what it becomes on each platform
stands in `expected/<platform>/`. Secrets and tags stand there as their names, so that a diff stays readable.
"""

import json
import os
import random
import re
import shutil
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from box import ROOT
from rolecall.database.dialects import DIALECTS, Dialect
from rolecall.fleet.assignment import assign
from rolecall.fleet.check import Check
from rolecall.fleet.identity import Identity
from rolecall.fleet.schema import parse_fleet
from rolecall.host.roles import read_role
from rolecall.render.contents import DirectCommands
from rolecall.render.generation import Generation, shown
from rolecall.render.platforms import platforms
from rolecall.render.rendering import render
from rolecall.render.settings import RenderSettings

HERE = Path(__file__).parent
CASES = sorted(path.parent for path in HERE.glob("*/*/fleet.json"))
BOTH = [
    pytest.param(case, platform, id=f"{case.parent.name}-{case.name}-{platform}")
    for case in CASES
    for platform in platforms(read_role(ROOT / "templates", case.parent.name).table.platform)
]


def generation(case: Path, platform: str, raw: bytes | None = None) -> Generation:
    """What the case's machine becomes."""
    fleet = parse_fleet(raw or (case / "fleet.json").read_bytes())
    identity = Identity.model_validate_json((case / "identity.json").read_bytes())
    role = case.parent.name
    return render(read_role(ROOT / "templates", role), assign(identity, fleet, role), RenderSettings(platform))


def tree(made: Generation) -> dict[str, str]:
    """The generation as files that people can read."""
    lines = [f"server {made.server}", f"accounts {made.accounts}", f"folders {made.folders}"]
    lines += [
        f"file {one.mode:04o} {one.owner}:{one.group} {one.path} → {', '.join(one.units) or '-'}" for one in made.files
    ]
    lines += [f"release {one.product} {one.version}: {one.artifact} in {one.folder}, {one.document_root}, writable "
              f"{', '.join(one.writable) or '-'}" for one in made.releases]  # fmt: skip
    lines += [f"unit {one.name}: {one.action} {one.service}; {fields_of(one.direct)}" for one in made.units]
    lines += [f"attachment {one.path} → {one.link or one.to or json.dumps(one.content)}" for one in made.attachments]
    lines += [f"validator {one.name} of {one.unit}: {' '.join(one.argv)}" for one in made.validators]
    lines += [f"check {one.name}: {one.kind} {one.target} {expectation(one)} within "
              f"{one.timeout:g} s{'' if one.required else ', advisory'}" for one in made.checks]  # fmt: skip
    lines += [f"secret {key}" for key in made.secrets]
    return {"GENERATION": "\n".join(lines) + "\n", **{one.path: shown(one.text) for one in made.files}}


def fields_of(direct: DirectCommands | None) -> str:
    """The fields with their names; not what the class is called."""
    return repr(direct).removeprefix(type(direct).__name__)


def expectation(check: Check) -> str:
    """What a check expects, with tags as their names."""
    return re.sub(r"\\u0002(.*?)\\u0002", r"<tag of \1>", json.dumps(check.expect))


@pytest.mark.parametrize(("case", "platform"), BOTH)
def test_a_machine_becomes_what_its_golden_tree_says(case: Path, platform: str) -> None:
    made = tree(generation(case, platform))
    expected = case / "expected" / platform
    if os.environ.get("ROLECALL_ACCEPT"):
        shutil.rmtree(expected, ignore_errors=True)
        for path, text in made.items():
            (expected / path).parent.mkdir(parents=True, exist_ok=True)
            (expected / path).write_text(text)
    found = {path.relative_to(expected).as_posix(): path.read_text() for path in expected.rglob("*") if path.is_file()}
    assert sorted(found) == sorted(made)
    for path, text in made.items():
        assert found[path] == text, f"{path} differs; `make accept` rewrites it"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_an_equal_document_in_another_order_gives_the_same_generation(case: Path) -> None:
    data = json.loads((case / "fleet.json").read_bytes())
    wanted = generation(case, "debian").id
    for seed in range(3):
        assert generation(case, "debian", json.dumps(shuffled(data, random.Random(seed))).encode()).id == wanted


def test_a_document_with_one_other_value_gives_another_generation() -> None:
    case = HERE / "web/one"
    data = json.loads((case / "fleet.json").read_bytes())
    data["products"]["blog"]["environment"]["APP_ENV"] = "staging"
    assert generation(case, "debian", json.dumps(data).encode()).id != generation(case, "debian").id


def test_the_statements_of_both_database_servers_are_what_their_text_says() -> None:
    path, text = HERE / "database/statements.txt", statements()
    if os.environ.get("ROLECALL_ACCEPT"):
        path.write_text(text)
    assert path.read_text() == text, "`make accept` rewrites it"


def statements() -> str:
    """What is said to a MariaDB and to a MySQL server, side by side, a statement a line."""
    lines = ["What the agent says to MariaDB 10.11 and to MySQL 8.4, of which only MariaDB's has been run."]
    for one in fields(Dialect):
        lines += ["", one.name]
        for name, dialect in DIALECTS.items():
            value = getattr(dialect, one.name)
            text = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            lines += [f"  {name if n == 0 else '':8} {statement}" for n, statement in enumerate(text.split("; "))]
    return "\n".join(lines) + "\n"


def test_no_role_is_without_a_golden_tree() -> None:
    tables = {path.parent.name: tomllib.loads(path.read_text()) for path in (ROOT / "templates").glob("*/role.toml")}
    parts = {name for table in tables.values() for name in table.get("include", [])}
    assert tables.keys() - parts == {case.parent.name for case in CASES}, "a part stands in the trees of those with it"


def shuffled(value: Any, chance: random.Random) -> Any:
    """The same JSON with the keys of every object in another order; lists keep theirs, which means something."""
    if isinstance(value, dict):
        items = list(value.items())
        chance.shuffle(items)
        return {key: shuffled(one, chance) for key, one in items}
    return [shuffled(one, chance) for one in value] if isinstance(value, list) else value
