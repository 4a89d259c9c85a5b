"""Parameters: what the document tells a role is checked like the rest of the document, and reaches that role alone."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.fleet.schema import parse_fleet
from rolecall.forms.mistakes import Mistakes, dotted
from rolecall.host.roles import read_role
from rolecall.render.generation import Generation
from rolecall.render.parameters import parameter_mistakes, parameter_values, unknown_parameters, values_model
from rolecall.render.rendering import render
from rolecall.render.role import Role, parse_role
from samples import ANY_JSON, ANY_TEXT, FLEET, HEAD, accepts, assigned, fuzz, refused, render_settings, small_role

DECLARED = """
[parameter.contact]
type = "word"
default = "root@localhost"
help = "Who is told."
[parameter.title]
type = "text"
default = ""
help = "What people read."
[parameter.connections]
type = "integer"
default = 4096
min = 1
max = 65536
help = "At most so many."
[parameter.lag]
type = "duration"
default = "30s"
min = 1
help = "How far behind."
[parameter.verbose]
type = "boolean"
default = false
help = "Whether more is told."
[parameter.mode]
type = "choice"
choices = ["fast", "safe"]
default = "safe"
help = "How it works."
[parameter.lines]
type = "texts"
default = []
help = "Further lines."
[parameter.outside]
type = "servers"
default = []
help = "Servers that are elsewhere."
"""
SMALL = small_role({}, DECLARED)
EXAMPLE = FLEET.decode()


def values(role: Role = SMALL, **settings: Any) -> dict[str, Any]:
    return parameter_values(role, {role.name: settings}).model_dump()


def test_a_role_has_the_defaults_where_the_document_says_nothing() -> None:
    assert parameter_values(SMALL, {}).model_dump() == {
        "contact": "root@localhost",
        "title": "",
        "connections": 4096,
        "lag": 30,
        "verbose": False,
        "mode": "safe",
        "lines": (),
        "outside": (),
    }


def test_the_document_replaces_single_defaults() -> None:
    settings: dict[str, Any] = {
        "contact": "ops@x.org",
        "lag": "5m",
        "verbose": True,
        "mode": "fast",
        "lines": ("a b", "c"),
    }
    assert values(**settings) == values() | settings | {"lag": 300}


WRONG = [
    ("contact", "ops x", "is not a word"),
    ("contact", 1, "must be text in quotes, not 1"),
    ("title", "a\nb", "contains the character U+000A"),
    ("title", "x" * 9000, "is longer than 8192 bytes"),
    ("connections", "4096", "must be a whole number"),
    ("connections", True, "must be a whole number"),
    ("connections", 1.5, "must be a whole number"),
    ("connections", 0, "greater than or equal to 1, but is 0"),
    ("connections", 65537, "less than or equal to 65536"),
    ("lag", "30", "is not a duration"),
    ("lag", "0s", "greater than or equal to 1"),
    ("lag", "1500ms", "is not a whole number of seconds"),
    ("lag", True, "must be a number"),
    ("verbose", "yes", "must be true or false"),
    ("verbose", 1, "must be true or false"),
    ("mode", "slow", 'is "slow"'),
    ("lines", "a", "must be a list"),
    ("lines", [1], "must be text in quotes"),
    ("outside", ["Bad Name"], "is not a name"),
    ("outside", ["web9"], "there is no server 'web9'"),
    ("contakt", "x", "unknown key"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_a_value_that_does_not_fit_is_a_mistake_with_its_path(name: str, value: Any, message: str) -> None:
    [mistake] = parameter_mistakes(SMALL, {name: value}, {"web1"})
    assert dotted(mistake.path).startswith(f"roles.small.{name}")
    assert message in mistake.message


def test_all_mistakes_are_told_at_once_and_a_near_name_is_suggested() -> None:
    mistakes = list(parameter_mistakes(SMALL, {"contakt": "x", "lag": "1", "outside": ["web2"]}, {"web1"}))
    assert {mistake.path[2]: mistake.hint for mistake in mistakes} == {
        "contakt": "did you mean 'contact'?",
        "lag": "",
        "outside": "did you mean 'web1'?",
    }


@fuzz(100)
@given(st.dictionaries(ANY_TEXT | st.sampled_from(list(SMALL.table.parameter)), ANY_JSON, max_size=4))
def test_whatever_a_document_says_to_a_role_is_taken_or_refused_in_words(settings: dict[str, Any]) -> None:
    text = json.dumps({**json.loads(EXAMPLE), "roles": {"small": settings}})
    mistakes = list(parameter_mistakes(SMALL, settings, {"web1"}))
    assert all(mistake.message and mistake.path[:2] == ("roles", "small") for mistake in mistakes)
    if not mistakes and accepts(json.loads(text)):
        assert parameter_values(SMALL, parse_fleet(text.encode()).roles)


def test_what_fits_is_no_mistake() -> None:
    settings = {"contact": "a@b", "connections": 1, "lag": 2, "mode": "fast", "outside": ["web1"], "lines": ["x"]}
    assert list(parameter_mistakes(SMALL, settings, {"web1"})) == []


@pytest.mark.parametrize(
    "value", [1.5, None, {"a": 1}, [["a"]], [1], 2**63, -(2**63), "a\nb", "\u202e", "x" * 9000, ["a\0"]]
)
def test_what_no_role_could_take_does_not_pass_the_documents_own_door(value: Any) -> None:
    document = json.dumps({**json.loads(EXAMPLE), "roles": {"web": {"x": value}}})
    assert [dotted(mistake.path) for mistake in refused(document).mistakes] == ["roles.web.x"]


@pytest.mark.parametrize("name", ["", "A", "a-b", "1a", "a" * 41, "a b", "é"])
def test_the_name_of_a_parameter_is_a_word_of_small_letters(name: str) -> None:
    document = json.dumps({**json.loads(EXAMPLE), "roles": {"web": {name: 1}}})
    assert "is not a parameter's name" in str(refused(document))


# --- on a node -----------------------------------------------------------------------------------------------------
TEMPLATE = "{{ parameters.connections }} {{ parameters.mode | word }}"


def generation(roles: dict[str, Any], template: str = TEMPLATE) -> Generation:
    role = small_role({"a.j2": template}, DECLARED)
    return render(role, assigned({"roles": roles}), render_settings())


def test_a_template_sees_the_parameters_of_its_role() -> None:
    assert generation({}).files[0].text == "4096 safe"
    assert generation({"small": {"connections": 7, "mode": "fast"}}).files[0].text == "7 fast"


def test_parameters_of_another_role_change_nothing() -> None:
    assert generation({"other": {"connections": 7}}).id == generation({}).id


def test_a_parameter_that_an_older_image_does_not_know_is_ignored_and_told() -> None:
    """Its node goes on following the document: a promotion must reach it."""
    assert generation({"small": {"new": 1}}).id == generation({}).id
    assert unknown_parameters(SMALL, {"small": {"new": 1, "lag": 1}, "other": {"x": 1}}) == [
        "roles.small.new of the document is ignored: the role 'small' of this image has no such parameter"
    ]


def test_a_value_that_the_image_cannot_take_is_refused_since_the_default_is_what_nobody_asked_for() -> None:
    with pytest.raises(Mistakes, match=r"roles\.small\.connections: input should be less than") as caught:
        generation({"small": {"connections": 70000}})
    assert caught.value.exit_code == 78


def test_a_parameter_must_be_quoted_like_any_other_value() -> None:
    with pytest.raises(Mistakes, match="without quoting"):
        generation({}, "{{ parameters.contact }}")
    with pytest.raises(Mistakes, match="nope"):
        generation({}, "{{ parameters.nope | word }}")


def test_an_attachment_has_no_parameters_as_it_is_laid_before_there_is_a_document() -> None:
    attachment = '[[attachment]]\npath = "/etc/x"\ncontent = "{{ parameters.mode | word }}"\n'
    with pytest.raises(Mistakes, match="'parameters' is undefined"):
        render(small_role({}, DECLARED + attachment), assigned(), render_settings())


# --- roles that include others -------------------------------------------------------------------------------------
@pytest.fixture
def roles(tmp_path: Path) -> Path:
    """`site` includes `base`, which includes `core`; each declares a parameter of its own."""
    for name, include in (("core", ""), ("base", '"core"'), ("site", '"base"')):
        (tmp_path / name).mkdir()
        text = f'description = "x"\ninclude = [{include}]\n[platform.debian]\n'
        for parameter in (name, "shared"):
            text += f'[parameter.{parameter}]\ntype = "word"\ndefault = "{name}"\nhelp = "x"\n'
        (tmp_path / name / "role.toml").write_text(text)
    return tmp_path


def test_a_role_has_the_parameters_of_those_it_includes_and_its_own_default_counts(roles: Path) -> None:
    assert values(read_role(roles, "site")) == {"core": "core", "base": "base", "site": "site", "shared": "site"}


def test_what_the_document_tells_an_included_role_is_for_all_that_include_it(roles: Path) -> None:
    site, document = read_role(roles, "site"), {"core": {"core": "1", "shared": "1"}, "base": {"base": "2"}}
    expected = parameter_values(site, document).model_dump()
    assert expected == {"core": "1", "base": "2", "site": "site", "shared": "1"}
    document["site"] = {"core": "3"}
    assert parameter_values(site, document).model_dump() == {**expected, "core": "3"}


def test_a_wrong_value_is_told_where_it_stands(roles: Path) -> None:
    with pytest.raises(Mistakes, match=r"roles\.core\.core: must be text"):
        parameter_values(read_role(roles, "site"), {"core": {"core": 1}})


def test_roles_that_include_each_other_are_refused_in_words(roles: Path) -> None:
    text = (roles / "core/role.toml").read_text()
    (roles / "core/role.toml").write_text(text.replace("include = []", 'include = ["site"]'))
    with pytest.raises(Exception, match="includes itself: site → base → core → site"):
        read_role(roles, "site")


# --- declarations --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('type = "txt"\ndefault = ""', "did you mean 'text'?"),
        ('type = "text"\ndefault = 1', "its default must be text in quotes, not 1"),
        ('type = "integer"\ndefault = 0\nmin = 1', "its default input should be greater than"),
        ('type = "text"\ndefault = ""\nmin = 1', "'min' and 'max' do not fit type = 'text'"),
        ('type = "text"\ndefault = ""\nchoices = ["a"]', "'choices' belongs to"),
        ('type = "choice"\ndefault = "a"', "'choices' belongs to"),
        ('type = "choice"\ndefault = "b"\nchoices = ["a"]', 'its default is "b"'),
        ('type = "duration"\ndefault = "5"', "its default '5' is not a duration"),
        ('type = "text"', "default: missing"),
        ('type = "text"\ndefault = ""\nhlep = "x"', "did you mean 'help'?"),
    ],
)
def test_a_declaration_that_does_not_hold_is_a_mistake_of_the_role(lines: str, message: str) -> None:
    with pytest.raises(Mistakes) as caught:
        parse_role(f'{HEAD}[parameter.x]\nhelp = "x"\n{lines}\n', "small/role.toml", {})
    assert message in str(caught.value)
    assert all(mistake.line for mistake in caught.value.mistakes)


@pytest.mark.parametrize("name", ["copy", "json", "schema", "model_fields", "model_x"])
def test_a_name_that_templates_could_not_read_is_refused(name: str) -> None:
    with pytest.raises(Mistakes, match="cannot be called"):
        parse_role(f'{HEAD}[parameter.{name}]\ntype = "text"\ndefault = ""\nhelp = "x"\n', "small/role.toml", {})


def test_the_schema_of_a_role_has_type_default_and_help_of_each_parameter() -> None:
    properties = values_model(SMALL.table.parameter).model_json_schema()["properties"]
    assert properties["connections"] == {
        "title": "Connections",
        "type": "integer",
        "minimum": 1,
        "maximum": 65536,
        "default": 4096,
        "description": "At most so many.",
    }
    assert (properties["mode"]["enum"], properties["lag"]["default"]) == (["fast", "safe"], "30s")
    assert all(entry["description"] for entry in properties.values())
