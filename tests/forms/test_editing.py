"""A document's text is changed at a path, and every other byte stays as its author wrote it."""

import copy
import json
from typing import Any, Literal

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from rolecall.forms.editing import Edit, edited
from rolecall.forms.mistakes import Mistakes, dotted
from samples import DATA, fuzz

PRETTY = """{
  "serial": 42,
  "products": {
    "blog": {
      "hostnames": ["blog.example.com", "www.blog.example.com"],
      "release": {
        "version": "1",
        "size": 20480
      },
      "environment": {"A": "b"},
      "secrets": {}
    }
  },
  "servers": {
    "web1": {"role": "web", "products": ["blog"]},
    "web2": {"role": "web", "products": []}
  },
  "caches": {}
}
"""


def change(text: str, operation: Literal["add", "replace", "remove"], path: str, value: Any = None) -> str:
    """One edit, and the proof that it did to the data what it should."""
    parts = tuple(int(part) if part.isdigit() else part for part in path.split("/")) if path else ()
    after = edited(text, [Edit(operation, parts, value)], "the change")
    assert json.loads(after) == applied(json.loads(text), Edit(operation, parts, value))
    return after


def applied(data: Any, edit: Edit) -> Any:
    """What an edit does, by the words of RFC 6902."""
    if not edit.path:
        return edit.value
    data = copy.deepcopy(data)
    target = data
    for part in edit.path[:-1]:
        target = target[part]
    key = edit.path[-1]
    if edit.operation == "remove":
        del target[key]
    elif edit.operation == "add" and isinstance(target, list):
        target.insert(key if isinstance(key, int) else len(target), edit.value)
    else:
        target[key] = edit.value
    return data


@pytest.mark.parametrize(
    ("operation", "path", "value", "before", "after"),
    [
        ("replace", "serial", 43, '"serial": 42,', '"serial": 43,'),
        ("replace", "products/blog/release/version", "Zürich ☃", '"version": "1"', '"version": "Zürich ☃"'),
        ("replace", "products/blog/hostnames/1", "b.example.com", '"www.blog.example.com"]', '"b.example.com"]'),
        ("add", "products/blog/hostnames/-", "c", '"www.blog.example.com"]', '"www.blog.example.com", "c"]'),
        ("add", "products/blog/hostnames/0", "a", '["blog.', '["a", "blog.'),
        ("add", "products/blog/hostnames/1", "b", ', "www', ', "b", "www'),
        ("remove", "products/blog/hostnames/0", None, '"blog.example.com", ', ""),
        ("remove", "products/blog/hostnames/1", None, ', "www.blog.example.com"', ""),
        ("remove", "servers/web1/products/0", None, '["blog"]', "[]"),
        ("remove", "servers/web1", None, '\n    "web1": {"role": "web", "products": ["blog"]},', ""),
        ("remove", "servers/web2", None, ',\n    "web2": {"role": "web", "products": []}', ""),
        ("remove", "serial", None, '\n  "serial": 42,', ""),
        ("remove", "caches", None, ',\n  "caches": {}', ""),
        (
            "remove",
            "products/blog",
            None,
            PRETTY[PRETTY.index('\n    "blog"') : PRETTY.index('},\n  "servers"')],
            "",
        ),
    ],
)
def test_a_value_is_changed_and_not_a_byte_more(
    operation: Literal["add", "replace", "remove"], path: str, value: Any, before: str, after: str
) -> None:
    assert PRETTY.count(before) == 1
    assert change(PRETTY, operation, path, value) == PRETTY.replace(before, after)


SERVER = {"role": "web", "products": ["blog", "video"]}


@pytest.mark.parametrize(
    ("path", "value", "before", "after"),
    [
        # One line, as its neighbours have.
        (
            "servers/web3",
            SERVER,
            '"products": []}\n',
            '"products": []},\n    "web3": {"role": "web", "products": ["blog", "video"]}\n',
        ),
        # A list that is empty, beside others that are not.
        ("servers/web2/products/-", "blog", '"products": []', '"products": ["blog"]'),
        # Beside nothing that is like it: a step deeper than what it is in.
        (
            "caches/sessions",
            {"servers": ["mc1"]},
            '"caches": {}',
            '"caches": {\n    "sessions": {"servers": ["mc1"]}\n  }',
        ),
        ("products/blog/secrets/K", "ssm:/k", '"secrets": {}', '"secrets": {"K": "ssm:/k"}'),
        ("products/blog/cron", [], '"secrets": {}\n', '"secrets": {},\n      "cron": []\n'),
        # The same parts as the neighbour's, each laid out as the neighbour's is.
        (
            "products/video",
            {"hostnames": ["v"], "release": {"version": "7", "size": 1}, "environment": {"A": "c"}, "secrets": {}},
            "\n    }\n  },",
            """
    },
    "video": {
      "hostnames": ["v"],
      "release": {
        "version": "7",
        "size": 1
      },
      "environment": {"A": "c"},
      "secrets": {}
    }
  },""",
        ),
        # A member that is there already: its value is laid out as it was.
        (
            "products/blog/release",
            {"version": "2", "artifact": "a.tar", "size": 5},
            '"version": "1",\n        "size": 20480',
            '"version": "2",\n        "artifact": "a.tar",\n        "size": 5',
        ),
    ],
)  # fmt: skip
def test_what_is_added_is_laid_out_as_its_neighbours_are(path: str, value: Any, before: str, after: str) -> None:
    assert PRETTY.count(before) == 1
    assert change(PRETTY, "add", path, value) == PRETTY.replace(before, after)


@pytest.mark.parametrize(
    ("text", "operation", "path", "value", "after"),
    [
        ("{}", "add", "a", 1, '{"a": 1}'),
        ("[]", "add", "-", 1, "[1]"),
        ("[]", "add", "0", [{}], "[[{}]]"),
        ('{"a":1}', "add", "b", [1, 2], '{"a":1,"b":[1,2]}'),
        ('{"a":[1]}', "add", "a/-", 2, '{"a":[1,2]}'),
        ("[[1,2],[3]]", "add", "1/-", 4, "[[1,2],[3,4]]"),
        ('{ "a" : 1 }', "add", "b", {"c": 2}, '{ "a" : 1, "b" : { "c" : 2 } }'),
        ('{ "a" : 1 }', "remove", "a", None, "{}"),
        ('{"a": {\n}}', "add", "a/b", 1, '{"a": {"b": 1}}'),
        ('{\r\n\t"a": 1\r\n}\r\n', "add", "b", {"c": []}, '{\r\n\t"a": 1,\r\n\t"b": {\r\n\t\t"c": []\r\n\t}\r\n}\r\n'),
        ('{\n"a": 1\n}', "add", "b", [1, 2], '{\n"a": 1,\n"b": [\n1,\n2\n]\n}'),
        ('{\n  "a": 1}', "add", "b", 2, '{\n  "a": 1,\n  "b": 2}'),
        ('{\n  "a": 1\n, "b": 2\n}', "add", "c", 3, '{\n  "a": 1\n, "b": 2\n, "c": 3\n}'),
        ("[1,\n 2,\n 3]", "add", "1", 9, "[1,\n 9,\n 2,\n 3]"),
        ('{"s\\u0065rial": 1}', "replace", "serial", 2, '{"s\\u0065rial": 2}'),
        ('{"": {"": 0}}', "replace", "/", 5, '{"": {"": 5}}'),
        ('{"a": "\\"}, {\\"", "b": 1}', "replace", "b", "\ud800\n", '{"a": "\\"}, {\\"", "b": "\\ud800\\n"}'),
        (' {"a": 1}\n', "replace", "", {"b": 2, "c": 3}, ' {"b": 2, "c": 3}\n'),
        ("5\n", "add", "", [1], "[1]\n"),
        ('{"a": 1e2, "b": 1.50}', "replace", "a", 7, '{"a": 7, "b": 1.50}'),
    ],
)
def test_every_layout_is_kept(
    text: str, operation: Literal["add", "replace", "remove"], path: str, value: Any, after: str
) -> None:
    assert change(text, operation, path, value) == after


@pytest.mark.parametrize(
    ("operation", "path", "message", "hint", "position"),
    [
        ("replace", ("seriel",), "there is no 'seriel' here", "did you mean 'serial'?", (1, 1)),
        ("remove", ("products", "blgo", "user"), "there is no 'blgo' here", "did you mean 'blog'?", (3, 15)),
        ("add", ("products", "video", "user"), "there is no 'video' here", "", (3, 15)),
        ("replace", ("products", "blog", "hostnames", 2), "no entry 2: the list has 2, counted from 0", "", (5, 20)),
        ("add", ("products", "blog", "hostnames", 3), "no entry 3: the list has 2, counted from 0", "", (5, 20)),
        ("add", ("products", "blog", "hostnames", -1), "no entry -1: the list has 2, counted from 0", "", (5, 20)),
        ("replace", ("products", "blog", "hostnames", "-"), "no entry '-': the list has 2", "", (5, 20)),
        ("add", ("products", "blog", "hostnames", "0"), "no entry '0': the list has 2", "", (5, 20)),
        ("add", ("serial", "x"), "there is no 'x' here: this is neither an object nor a list", "", (2, 13)),
        ("add", ("servers", 0), "there is no 0 here", "", (14, 14)),
        ("remove", (), "the whole document cannot be removed", "", (1, 1)),
    ],
)
def test_a_path_that_is_not_there_is_refused_with_its_position_and_a_remedy(
    operation: Literal["add", "replace", "remove"],
    path: tuple[str | int, ...],
    message: str,
    hint: str,
    position: tuple[int, int],
) -> None:
    with pytest.raises(Mistakes) as caught:
        edited(PRETTY, [Edit(operation, path, 1)], "the change")
    (mistake,) = caught.value.mistakes
    assert message in mistake.message
    assert (mistake.path, mistake.hint, (mistake.line, mistake.column)) == (path, hint, position)
    assert caught.value.message.startswith("the change has 1 mistake; nothing was changed:")


def test_all_edits_that_cannot_be_made_are_told_at_once() -> None:
    edits = [Edit("remove", ("a",)), Edit("replace", ("serial",), 1), Edit("remove", ("b", "c"))]
    with pytest.raises(Mistakes) as caught:
        edited(PRETTY, edits, "the change")
    assert [dotted(mistake.path) for mistake in caught.value.mistakes] == ["a", "b.c"]


def test_each_edit_is_made_in_what_the_one_before_it_left() -> None:
    edits = [
        Edit("add", ("caches", "sessions"), {"servers": []}),
        Edit("add", ("caches", "sessions", "servers", "-"), "mc1"),
        Edit("remove", ("products",)),
        Edit("remove", ("servers",)),
    ]
    after = edited(PRETTY, edits, "the change")
    assert json.loads(after) == {"serial": 42, "caches": {"sessions": {"servers": ["mc1"]}}}


def test_adding_and_removing_the_same_member_gives_back_the_example_document_to_the_byte() -> None:
    text = (DATA / "fleet.json").read_text("utf-8")
    for path in (("servers", "web9"), ("products", "shop"), ("caches", "pages"), ("databases", "shop")):
        longer = edited(text, [Edit("add", path, {"a": {"b": [1, {"c": 2}]}})], "the change")
        assert longer != text
        assert edited(longer, [Edit("remove", path)], "the change") == text


# Any document, any edit. Its author may have written it in any way: the text is made here, value by value.

BLANK = st.sampled_from(["", "", " ", "\n", "\n  ", "\r\n\t", "  "])
NAMES = st.sampled_from(["a", "b", "ü", "", 'q"\\', "0", "\u2028", "serial"]) | st.text(max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
Paths = tuple[str | int, ...]
Span = tuple[int, int, int]  # where a member begins (in a list, its value), and where its value begins and ends


@st.composite
def texts_of(draw: st.DrawFn, value: Any) -> tuple[str, dict[Paths, Span]]:
    """The text of a value, with white space wherever it may be, and where each value in it stands."""
    spans: dict[Paths, Span] = {}

    def scalar(data: Any) -> str:
        return json.dumps(data, ensure_ascii=draw(st.booleans()))

    if not isinstance(value, dict | list):
        text = scalar(value)
    else:
        text = "{" if isinstance(value, dict) else "["
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            text += ("," if spans else "") + draw(BLANK)
            member = len(text)
            text += f"{scalar(key)}{draw(BLANK)}:{draw(BLANK)}" if isinstance(value, dict) else ""
            written, inner = draw(texts_of(entry))
            for path, span in inner.items():
                first, start, end = (offset + len(text) for offset in span)
                spans[(key, *path)] = (first if path else member, start, end)
            text += written + draw(BLANK)
        text += (draw(BLANK) if not value else "") + ("}" if isinstance(value, dict) else "]")
    return text, {(): (0, 0, len(text)), **spans}


def paths_in(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any]]:
    """Every value of a document with its path."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(path, value), *(pair for key, entry in members for pair in paths_in(entry, (*path, key)))]


@st.composite
def edits_of(draw: st.DrawFn, data: Any) -> Edit:
    """An edit that can be made in this document."""
    path, value = draw(st.sampled_from(paths_in(data)))
    new = draw(VALUES)
    operations: list[Edit] = [Edit("replace", path, new)]
    if path:
        operations.append(Edit("remove", path))
    if isinstance(value, dict):
        operations.append(Edit("add", (*path, draw(NAMES)), new))
    if isinstance(value, list):
        operations.append(Edit("add", (*path, draw(st.integers(0, len(value)) | st.just("-"))), new))
    return draw(st.sampled_from(operations))


@fuzz(100)
@given(st.data())
def test_any_edit_of_any_document_changes_what_it_says_and_keeps_every_other_byte(data: st.DataObject) -> None:
    document = data.draw(VALUES)
    before, spans = data.draw(texts_of(document))
    edit = data.draw(edits_of(document))
    ends = data.draw(st.tuples(BLANK, BLANK))
    after = edited(f"{ends[0]}{before}{ends[1]}", [edit], "the change")
    note(f"{before!r}\n{edit}\n{after!r}")
    assert json.dumps(json.loads(after)) == json.dumps(applied(document, edit)), "the order of members stays too"
    start, end = touched(document, spans, edit)
    left, right = ends[0] + before[:start], before[end:] + ends[1]
    assert after.startswith(left)
    assert after.endswith(right)
    assert len(after) >= len(left) + len(right)
    assert edited(after, [], "nothing") == after


def touched(document: Any, spans: dict[Paths, Span], edit: Edit) -> tuple[int, int]:
    """What an edit may change: a value, or a member and the comma beside it, or what is between two brackets."""
    if not edit.path or edit.operation == "replace":
        return spans[edit.path][1:]
    parent, key = edit.path[:-1], edit.path[-1]
    container = document
    for part in parent:
        container = container[part]
    keys = list(container) if isinstance(container, dict) else list(range(len(container)))
    inside = (spans[parent][1] + 1, spans[parent][2] - 1)
    if edit.operation == "remove":
        index = keys.index(key)
        if len(keys) == 1:
            return inside
        before, member = spans[(*parent, keys[index - 1])], spans[edit.path]
        return (before[2], member[2]) if index else (member[0], spans[(*parent, keys[1])][0])
    if isinstance(container, dict) and key in keys:
        return spans[edit.path][1:]
    index = key if isinstance(container, list) and isinstance(key, int) else len(keys)
    if not keys:
        return inside
    if index == 0:
        first = spans[(*parent, keys[0])][0]
        return first, first
    end = spans[(*parent, keys[index - 1])][2]
    return end, end
