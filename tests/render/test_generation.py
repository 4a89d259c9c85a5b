"""A generation as data: equal content, equal id; it is read back from its JSON; no secret's value is ever in it."""

import contextlib
import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.errors import ConfigFault
from rolecall.render.generation import Generation, from_json, sealed, shown
from rolecall.render.plan import make_plan
from samples import ANY_JSON, edited, fuzz, web

VALUE = "the-value-of-the-secret"


def secret_of(generation: Generation, fingerprint: str) -> Generation:
    return sealed(replace(generation, secrets={"blog.DB_PASSWORD": fingerprint}))


def test_equal_content_has_an_equal_id_and_other_content_another() -> None:
    generation = web()
    assert generation.id == web().id
    assert len(generation.id) == 32
    edits: list[dict[str, Any]] = [
        {"products/blog/environment/APP_ENV": "staging"},
        {"products/blog/release/version": "2"},
        {"products/blog/checks/0/timeout": 9},
        {"databases/blog/master": "db4", "databases/blog/snapshot": None},
        {"products/video/user": "other"},
    ]
    assert len({generation.id, web(platform="centos").id, *(web(edit).id for edit in edits)}) == 2 + len(edits)


def test_what_a_document_says_of_others_is_no_reason_to_change() -> None:
    other = edited()["products"]["video"] | {"hostnames": ["other.org"], "user": "other"}
    edits: list[dict[str, Any]] = [
        {"serial": 43}, {"servers/web2/products": []}, {"products/other": other}, {"databases/blog/epoch": 8},
    ]  # fmt: skip
    assert {web(edit).id for edit in edits} == {web().id}


@fuzz(5)
@given(st.randoms(use_true_random=False))
def test_an_equal_document_in_another_key_order_gives_the_same_generation(choice: random.Random) -> None:
    def shuffled(data: Any) -> Any:
        if isinstance(data, dict):
            return {key: shuffled(data[key]) for key in choice.sample(list(data), len(data))}
        return [shuffled(entry) for entry in data] if isinstance(data, list) else data

    assert web(shuffled(edited())) == web()


def test_it_is_read_back_from_its_json_as_it_was() -> None:
    for generation in (web(), web(server="web2", platform="centos"), sealed(Generation("", "", ""))):
        assert from_json(generation.to_json()) == generation
        assert sealed(from_json(generation.to_json())).id == generation.id


@pytest.mark.parametrize(
    "text", ["", "{}", "null", "[]", "1", '"x"', '{"format": 2}', "{", '{"format": 1}', "[" * 9000], ids=range(10)
)
def test_what_is_no_generation_is_a_value_or_a_key_error(text: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        from_json(text)


@fuzz(40)
@given(st.randoms(use_true_random=False), ANY_JSON)
def test_a_damaged_manifest_is_a_value_or_a_key_error_or_a_generation(choice: random.Random, value: Any) -> None:
    data = json.loads(WEB_JSON)
    at = data
    while isinstance(at, dict | list) and at:
        key = choice.choice(list(at) if isinstance(at, dict) else range(len(at)))
        parent, at = at, at[key]
        if choice.random() < 0.4:
            break
    parent[key] = value
    with contextlib.suppress(ValueError, KeyError):
        assert isinstance(from_json(json.dumps(data)), Generation)


WEB_JSON = web().to_json()


def test_no_value_of_a_secret_is_in_a_generation_its_plan_or_what_people_are_shown() -> None:
    generation = secret_of(web(), "fingerprint")
    file = generation.file("apache/50-blog.conf")
    assert file is not None
    assert file.secrets == {"blog.DB_PASSWORD"}
    final = generation.text_of(file, {"blog.DB_PASSWORD": VALUE})
    assert f'SetEnv DB_PASSWORD "{VALUE}"' in final
    plan = make_plan(Generation("", "", ""), generation)
    texts = [shown(one.text) for one in generation.files]
    for text in (generation.to_json(), repr(generation), repr(plan), "\n".join(plan.diff()), *texts):
        assert VALUE not in text
    assert "  SetEnv DB_PASSWORD <secret blog.DB_PASSWORD>" in shown(file.text).splitlines()


def test_a_new_value_of_a_secret_is_a_new_generation_and_tells_the_units_that_read_it() -> None:
    old, new = secret_of(web(), "1"), secret_of(web(), "2")
    assert old.id != new.id
    changed = {unit.name for unit, other in zip(old.units, new.units, strict=True) if unit.digest != other.digest}
    assert changed == {"apache"}


def tags(*edits: dict[str, Any]) -> dict[str, str]:
    return {unit.name: unit.tag for unit in web(*edits).units}


@pytest.mark.parametrize(
    ("edit", "units"),
    [
        ({"products/blog/environment/APP_ENV": "x"}, {"apache"}),
        ({"products/blog/release/version": "2"}, {"apache"}),
        ({"products/blog/workers": 9}, {"php-fpm"}),
        ({"products/blog/cron/0/schedule": "@daily"}, {"cron"}),
        ({"products/blog/cron/0/command": ["true"]}, set()),
        ({"products/blog/groups/0": "other"}, set()),
        ({"servers/mon1/address": "10.0.0.99"}, {"munin-node"}),
    ],
)
def test_a_units_tag_changes_with_what_it_reads_and_with_nothing_else(edit: dict[str, Any], units: set[str]) -> None:
    usual = tags()
    assert {name for name, tag in tags(edit).items() if tag != usual[name]} == units


def test_the_virtual_host_tells_the_tag_of_the_configuration_that_it_is_a_part_of() -> None:
    generation = web()
    file = generation.file("apache/50-blog.conf")
    assert file is not None
    assert f"Header always set X-Rolecall-Config {tags()['apache']}\n" in generation.text_of(
        file, {"blog.DB_PASSWORD": ""}
    )


def test_a_secret_that_a_file_cannot_hold_is_told_by_its_name_the_file_and_a_remedy() -> None:
    generation = web()
    file = generation.file("mysql/blog.cnf")
    assert file is not None
    with pytest.raises(
        ConfigFault, match=r"the secret blog\.DB_PASSWORD cannot be written to mysql/blog\.cnf"
    ) as caught:
        generation.text_of(file, {"blog.DB_PASSWORD": f"{VALUE}\nuser = root"})
    assert VALUE not in caught.value.message + caught.value.hint
    assert caught.value.hint
    assert caught.value.exit_code == 78


def test_tags_are_filled_in_wherever_a_check_expects_them() -> None:
    generation = web()
    tag = next(unit.tag for unit in generation.units if unit.name == "apache")
    expected = [
        check.expect["headers"]
        for check in generation.final_checks()
        if check.kind == "http" and check.expect["headers"]
    ]
    assert expected
    assert all(headers == {"X-Rolecall-Config": tag} for headers in expected)
    assert "\x02" not in json.dumps([check.name + check.target for check in generation.final_checks()])
