"""Every line of every golden tree leads back to a line of a template, and to keys that really decide it."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from box import ROOT
from rolecall.errors import Fault
from rolecall.fleet.assignment import Assignment, assign
from rolecall.fleet.identity import Identity
from rolecall.fleet.schema import parse_fleet
from rolecall.forms.mistakes import dotted
from rolecall.host.roles import read_role
from rolecall.render.generation import Generation
from rolecall.render.origins import DOCUMENT, Reads, sourced
from rolecall.render.rendering import render
from rolecall.render.role import Role
from rolecall.render.settings import RenderSettings
from rolecall.render.tracing import TracedFile, trace
from roles.test_golden import BOTH, CASES

_SAMPLES = 6  # keys of each case that are changed


def assignment_of(case: Path, raw: bytes, reads: Reads | None = None) -> Assignment:
    fleet = parse_fleet(raw)
    identity = Identity.model_validate_json((case / "identity.json").read_bytes())
    assignment = assign(identity, sourced(fleet, reads) if reads else fleet, case.parent.name)
    if not (case / "left-out.json").exists():
        return assignment
    names = json.loads((case / "left-out.json").read_text())
    left_out = tuple(product for product in assignment.products if product.name in names)
    return replace(
        assignment,
        left_out=left_out,
        products=tuple(product for product in assignment.products if product not in left_out),
    )


def role_of(case: Path) -> Role:
    return read_role(ROOT / "templates", case.parent.name)


def generation(case: Path, platform: str, raw: bytes) -> Generation:
    return render(role_of(case), assignment_of(case, raw), RenderSettings(platform))


def traced_files(case: Path, platform: str, generation: Generation) -> dict[str, TracedFile]:
    reads = Reads()
    assignment = assignment_of(case, (case / "fleet.json").read_bytes(), reads)
    files = {
        file.path: trace(role_of(case), assignment, RenderSettings(platform), {}, reads, file.path)
        for file in generation.files
    }
    return {path: file for path, file in files.items() if file}


@pytest.mark.parametrize(("case", "platform"), BOTH)
def test_every_line_of_a_golden_tree_leads_to_a_line_of_its_template(case: Path, platform: str) -> None:
    rendered = generation(case, platform, (case / "fleet.json").read_bytes())
    files = traced_files(case, platform, rendered)
    assert files.keys() == {file.path for file in rendered.files}
    templates = role_of(case).templates
    for file in rendered.files:
        traced = files[file.path]
        assert traced.file == file, "a file that is watched while it is rendered comes out the same"
        assert [line.text for line in traced.lines] == file.text.removesuffix("\n").split("\n")
        template = templates[traced.spec.source].split("\n")
        for line in traced.lines:
            assert line.template_lines, (file.path, line.text)
            written = [template[number - 1] for number in line.template_lines]
            if not any("{" in text for text in written):
                assert line.text == written[0], "text without an expression stands in the template as it is"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.name}")
def test_a_line_changes_with_each_key_that_is_named_for_it(case: Path) -> None:
    raw = (case / "fleet.json").read_bytes()
    before = generation(case, "debian", raw)
    named: dict[str, set[str]] = {}
    for path, file in traced_files(case, "debian", before).items():
        for line in file.lines:
            for origin in line.origins:
                if origin.source == DOCUMENT:
                    named.setdefault(origin.key, set()).add(f"{path}: {line.text}")
    changes = {key: change for key, change in changed_documents(json.loads(raw)).items() if key in named}
    changed = 0
    for key in random.Random(12).sample(sorted(changes), min(_SAMPLES, len(changes))):
        try:
            after = generation(case, "debian", json.dumps(changes[key]()).encode())
        except Fault:  # what the others in the document do not allow
            continue
        times = lines_of(after)
        same = {line for line in named[key] if times[line] >= lines_of(before)[line]}
        assert not same, f"{key} is named for lines that do not change with it"
        changed += 1
    assert changed


def lines_of(generation: Generation) -> Counter[str]:
    """How often each line stands in each file."""
    return Counter(f"{file.path}: {line}" for file in generation.files for line in file.text.split("\n"))


def changed_documents(document: dict[str, Any]) -> dict[str, Callable[[], dict[str, Any]]]:
    """For each text and number of a document: the document with another one in its place."""
    return {dotted(path): lambda path=path: with_other_value(document, path) for path in paths(document)}  # type: ignore[misc]


def paths(value: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    entries: Any = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, entry in entries:
        if isinstance(entry, dict | list):
            yield from paths(entry, (*above, key))
        elif isinstance(entry, str | int) and not isinstance(entry, bool):
            yield (*above, key)


def with_other_value(document: dict[str, Any], path: tuple[str | int, ...]) -> dict[str, Any]:
    """Of several servers in one zone the first is named for the zone's line: so all that say the same are changed."""
    copy = json.loads(json.dumps(document))
    value, other = entry(document, path), other_value(entry(document, path))
    for each in paths(document):
        if each == path or (isinstance(path[-1], str) and each[-1] == path[-1] and entry(document, each) == value):
            entry(copy, each[:-1])[each[-1]] = other
    return dict(copy)


def entry(data: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        data = data[part]
    return data


def other_value(value: Any) -> str | int:
    match value:
        case int():
            return value + 1
        case str() if set(value) <= set("0123456789abcdef") and len(value) == 64:
            return "f" * 64
        case str() if value.count(".") == 3 and value.replace(".", "").isdigit():
            return "10.99.98.97"
    return f"x{value}"
