"""Golden trees: identity and document in, every file of the generation out. `make accept` rewrites them; read the diff.

A case is a folder `tests/roles/<role>/<case>/` with `fleet.json` and `identity.json`, and `left-out.json` where it has
products whose release is refused; what it becomes on each platform stands in `expected/<platform>/`. Secrets and tags
stand there as their names, so that a diff stays readable.
"""

import json
import os
import random
import re
import shutil
import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from box import ROOT
from rolecall.database.dialect import Dialect
from rolecall.database.dialects import DIALECTS
from rolecall.fleet.assignment import assign
from rolecall.fleet.check import Check
from rolecall.fleet.identity import Identity
from rolecall.fleet.schema import parse_fleet
from rolecall.host.roles import read_role
from rolecall.render.contents import Attachment, DeployedRelease, DirectCommands
from rolecall.render.generation import Generation, ManagedFile, shown
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
    assignment = assign(identity, fleet, role)
    if (case / "left-out.json").exists():
        names = json.loads((case / "left-out.json").read_text())
        left_out = tuple(product for product in assignment.products if product.name in names)
        products = tuple(product for product in assignment.products if product.name not in names)
        assignment = replace(assignment, products=products, left_out=left_out)
    return render(read_role(ROOT / "templates", role), assignment, RenderSettings(platform))


def tree(generation: Generation) -> dict[str, str]:
    """The generation as files that people can read."""
    lines = [
        f"server {generation.server}",
        f"accounts {generation.accounts}",
        f"folders {generation.folders}",
        *map(file_line, generation.files),
        *map(release_line, generation.releases),
        *(f"unit {unit.name}: {unit.action} {unit.service}; {fields_of(unit.direct)}" for unit in generation.units),
        *map(attachment_line, generation.attachments),
        *(
            f"validator {validator.name} of {validator.unit}: {' '.join(validator.argv)}"
            for validator in generation.validators
        ),
        *map(check_line, generation.checks),
        *(f"secret {key}" for key in generation.secrets),
    ]
    return {"GENERATION": "\n".join(lines) + "\n", **{file.path: shown(file.text) for file in generation.files}}


def file_line(file: ManagedFile) -> str:
    return f"file {file.mode:04o} {file.owner}:{file.group} {file.path} → {', '.join(file.units) or '-'}"


def release_line(release: DeployedRelease) -> str:
    place = f"{release.artifact} in {release.folder}, {release.document_root}"
    return f"release {release.product} {release.version}: {place}, writable {', '.join(release.writable) or '-'}"


def attachment_line(attachment: Attachment) -> str:
    return f"attachment {attachment.path} → {attachment.link or attachment.to or json.dumps(attachment.content)}"


def check_line(check: Check) -> str:
    advisory = "" if check.required else ", advisory"
    return f"check {check.name}: {check.kind} {check.target} {expectation(check)} within {check.timeout:g} s{advisory}"


def fields_of(direct: DirectCommands | None) -> str:
    """The fields with their names; not what the class is called."""
    return repr(direct).removeprefix(type(direct).__name__)


def expectation(check: Check) -> str:
    """What a check expects, with tags as their names."""
    return re.sub(r"\\u0002(.*?)\\u0002", r"<tag of \1>", json.dumps(check.expect))


@pytest.mark.parametrize(("case", "platform"), BOTH)
def test_a_machine_becomes_what_its_golden_tree_says(case: Path, platform: str) -> None:
    texts = tree(generation(case, platform))
    expected = case / "expected" / platform
    if os.environ.get("ROLECALL_ACCEPT"):
        shutil.rmtree(expected, ignore_errors=True)
        for path, text in texts.items():
            (expected / path).parent.mkdir(parents=True, exist_ok=True)
            (expected / path).write_text(text)
    accepted = {
        path.relative_to(expected).as_posix(): path.read_text() for path in expected.rglob("*") if path.is_file()
    }
    assert sorted(accepted) == sorted(texts)
    for path, text in texts.items():
        assert accepted[path] == text, f"{path} differs; `make accept` rewrites it"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_an_equal_document_in_another_order_gives_the_same_generation(case: Path) -> None:
    data = json.loads((case / "fleet.json").read_bytes())
    usual = generation(case, "debian").id
    for seed in range(3):
        assert generation(case, "debian", json.dumps(shuffled(data, random.Random(seed))).encode()).id == usual


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
    lines = ["What the agent says to MariaDB 10.11 and to MySQL 8.4."]
    for field in fields(Dialect):
        lines += ["", field.name]
        for name, dialect in DIALECTS.items():
            value = getattr(dialect, field.name)
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
        return {key: shuffled(entry, chance) for key, entry in items}
    return [shuffled(entry, chance) for entry in value] if isinstance(value, list) else value
