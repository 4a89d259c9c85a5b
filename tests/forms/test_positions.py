"""Data files as text: every mistake has its place, and no document can speak for the agent."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolecall.forms.mistakes import Mistake, Mistakes, dotted, locate, suggest
from rolecall.forms.positions import json_members, json_positions, parse_json, parse_toml, toml_positions
from samples import ANY_JSON, ANY_TEXT, fuzz


def every_path(data: Any, path: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], Any]:
    values = {path: data}
    members = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in members:
        values |= every_path(value, (*path, key))
    return values


@fuzz(60)
@given(ANY_JSON)
def test_the_place_of_every_value_is_where_the_json_library_reads_it(data: Any) -> None:
    for indent, ascii_only in ((None, True), (1, False), (4, True)):
        text = json.dumps(data, indent=indent, ensure_ascii=ascii_only)
        lines, decoder = text.split("\n"), json.JSONDecoder()
        paths = every_path(json.loads(text))
        places = json_positions(text)
        assert places.keys() == paths.keys()
        for path, (line, column) in places.items():
            rest = "\n".join([lines[line - 1][column - 1 :], *lines[line:]])
            read, end = decoder.raw_decode(rest)
            if path and isinstance(path[-1], str):
                assert read == path[-1], "a member stands at its key"
                read, _ = decoder.raw_decode(rest[end:].lstrip(" \n").removeprefix(":").lstrip(" \n"))
            assert repr(read) == repr(paths[path])


@fuzz(60)
@given(
    st.dictionaries(ANY_TEXT, ANY_JSON, max_size=5),
    st.lists(st.sampled_from(["", " ", "\n", "\t", "\r\n"]), min_size=4, max_size=4),
    st.booleans(),
)
def test_the_parts_of_each_member_of_an_object_and_of_each_entry_of_a_list_are_found(
    data: dict[str, Any], blanks: list[str], ascii_only: bool
) -> None:
    before, around, after, end = blanks
    keys, values = [json.dumps(key, ensure_ascii=ascii_only) for key in data], [*map(json.dumps, data.values())]
    members = [f"{key}{before}:{around}{value}" for key, value in zip(keys, values, strict=True)]
    text = f"{before}{{{around}{f'{after},{before}'.join(members)}{end}}}{after}"
    assert repr(json.loads(text)) == repr(data), "NaN equals nothing"
    parts = json_members(text, len(before))
    assert [member.key for member in parts] == list(data)
    assert [text[member.start : member.colon] for member in parts] == keys
    assert [text[member.value : member.end] for member in parts] == values
    entries = json_members(f"[{around}{f'{after},{before}'.join(values)}{end}]", 0)
    assert [(member.key, member.end - member.start) for member in entries] == list(enumerate(map(len, values)))


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ('{"serial":42}', {"serial": "42"}),
        ('{"a": {"serial": 1}, "serial": -2.5e3 }', {"a": '{"serial": 1}', "serial": "-2.5e3"}),
        ('{"x": "\\"serial\\": 7", "y": [1, {"z": 2}]\n}', {"x": '"\\"serial\\": 7"', "y": '[1, {"z": 2}]'}),
        ('{"se\\u0072ial" : "\\"}"}', {"serial": '"\\"}"'}),
        ('{"": true, "0": [ ] }', {"": "true", "0": "[ ]"}),
        ("[[1], 2 ]", {0: "[1]", 1: "2"}),
        ("{ }", {}),
        ("[\n]", {}),
        ('"{}"', {}),
        ("1", {}),
    ],
)
def test_the_members_are_those_of_the_object_itself(text: str, members: dict[str | int, str]) -> None:
    assert {member.key: text[member.value : member.end] for member in json_members(text, 0)} == members


def test_places_are_found_in_text_as_deep_as_json_goes() -> None:
    deep = 900
    assert json_positions("[" * deep + "]" * deep)[(0,) * (deep - 1)] == (1, deep)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("", 1, 1, "not JSON"),
        ("{", 1, 2, "not JSON"),
        ('{"a": 1,\n "b": 2,}', 2, 9, "not JSON"),
        ('{"a": 1,\n }', 2, 2, "not JSON"),
        ('{"a": [1,\n 2,\n]}', 3, 1, "not JSON"),
        ("{'a': 1}", 1, 2, "not JSON"),
        ('{"a": 1} x', 1, 10, "not JSON"),
        ('{"a": "x\ny"}', 1, 9, "not JSON"),
        ("\ufeff{}", 1, 1, "BOM"),
        ('{"NaN": "a \\" NaN",\n "b": NaN}', 2, 7, "no NaN"),
        ("[1,\n-Infinity]", 2, 1, "no -Infinity"),
        ('{"a": 1, "b": 2,\n "a": 3}', 2, 2, "a: the key occurs twice"),
        ('{"x": {"a": 1, "a": 2}, "y": [{"a": 1},\n {"a": 1, "a": 2}]}', 1, 16, "x.a: the key occurs twice"),
        ('{"x": {"a": 1, "a": 2}, "y": [{"a": 1},\n {"a": 1, "a": 2}]}', 2, 11, "y[1].a: the key occurs twice"),
        ('{"a": {"b": 1},\n "a": {"b": 1}}', 2, 2, "a: the key occurs twice"),
        ("[" * 100_000, 0, 0, "nested too deeply"),
        ('{"a": ' * 50_000, 0, 0, "nested too deeply"),
        ("[" + "9" * 5000 + "]", 0, 0, "digits"),
    ],
)  # fmt: skip
def test_text_that_is_no_json_is_refused_with_its_place(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(Mistakes) as caught:
        parse_json(text, "doc.json")
    positions = [
        (mistake.line, mistake.column)
        for mistake in caught.value.mistakes
        if message in f"{dotted(mistake.path)}: {mistake.message}"
    ]
    assert positions == [(line, column)], str(caught.value)
    assert "doc.json has" in caught.value.message


def test_a_key_that_is_there_twice_is_told_once_and_not_again_for_all_that_is_below_it() -> None:
    with pytest.raises(Mistakes) as caught:
        parse_json('{"a": {"b": {"c": 1}}, "a": {"b": {"c": 2}}, "a": 1}', "x")
    assert [(mistake.path, mistake.column) for mistake in caught.value.mistakes] == [(("a",), 24), (("a",), 46)]


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("a = ", 1, 5, "not TOML"),
        ('a = 1\n[b\nc = "x"', 2, 3, "not TOML"),
        ('a = "x\ny"', 1, 7, "not TOML"),
        ("a = 1\na = 2\n", 2, 6, "overwrite"),
        ("a = " + "[" * 5000, 0, 0, "nested too deeply"),
        ("a = " + "9" * 5000, 0, 0, "digits"),
        ("a = '\0'", 1, 6, "not TOML"),
    ],
)
def test_text_that_is_no_toml_is_refused_with_its_place(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(Mistakes) as caught:
        parse_toml(text, "agent.toml")
    assert message in caught.value.message
    if line:
        assert [(mistake.line, mistake.column) for mistake in caught.value.mistakes] == [(line, column)]


def test_tables_and_keys_of_toml_have_their_places() -> None:
    text = 'a = 1\n[b]\n  c = 2\n[[d]]\ne = 1\n[[d]]\n"e" = 2\n[d.f]\ng = 1\n'
    places = toml_positions(text)
    assert places[("a",)] == (1, 1)
    assert places[("b",)] == (2, 2)
    assert places[("b", "c")] == (3, 3)
    assert places[("d", 0, "e")] == (5, 1)
    assert places[("d", 1, "e")][0] == 7
    assert places[("d", 1, "f", "g")] == (9, 1), "a table below the last entry of a list"


def test_what_is_missing_is_shown_where_its_parent_stands() -> None:
    places: dict[tuple[str | int, ...], tuple[int, int]] = {(): (1, 1), ("a",): (2, 3)}
    [below, top] = locate([Mistake(("a", "b", "c"), "missing"), Mistake(("z",), "missing")], places)
    assert (below.line, below.column, top.line, top.column) == (2, 3, 1, 1)


def test_a_mistake_is_one_line_place_path_message_remedy() -> None:
    mistake = Mistake(("servers", "web1", "products", 0), "there is no product 'blgo'", "did you mean 'blog'?", 3, 7)
    assert str(mistake) == "3:7: servers.web1.products[0]: there is no product 'blgo' — did you mean 'blog'?"
    assert str(Mistake((), "is empty")) == "(the whole document): is empty"


def test_mistakes_are_told_in_the_order_of_the_document() -> None:
    fault = Mistakes(
        "f", [Mistake(("b",), "3rd", "", 9, 1), Mistake(("a",), "2nd", "", 2, 8), Mistake((), "1st", "", 2)]
    )
    assert [mistake.message for mistake in fault.mistakes] == ["1st", "2nd", "3rd"]
    assert "f has 3 mistakes" in fault.message
    assert Mistakes("f", [Mistake((), "x")]).message.startswith("f has 1 mistake;")


@fuzz(40)
@given(ANY_TEXT)
def test_no_key_of_a_document_can_forge_a_line_of_a_message_or_colour_a_terminal(key: str) -> None:
    words = dotted(("products", key, 0))
    assert words.isprintable()
    assert words.isascii()


def test_a_remedy_names_what_is_near_and_else_says_what_to_do() -> None:
    assert suggest("blgo", ["video", "blog"], "add it") == "did you mean 'blog'?"
    assert suggest("zzz", ["video", "blog"], "add it") == "add it"
