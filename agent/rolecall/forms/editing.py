"""A JSON document's text is changed at a path; the rest of it stays as its author wrote it, to the byte.

New members are laid out as their neighbours are: white space is copied from the object or list that they go into, and
a new object or list is written as the one beside it, or the one that it replaces.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from rolecall.forms.mistakes import Mistake, Mistakes, Path, suggest
from rolecall.forms.positions import Member, json_members, line_and_column, skip_blank

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Edit:
    """One operation of JSON Patch (RFC 6902, section 4): what is done, at which path, with which value.

    `add` inserts into a list before an index, where "-" or the list's length appends; in an object it sets a member,
    whether it is there or not. `replace` and `remove` need something that is there. Values are what json.dumps takes.
    """

    operation: Literal["add", "replace", "remove"]
    path: Path
    value: Any = None


def edited(text: str, edits: Iterable[Edit], source: str) -> str:
    """The text with all edits, each made in what the one before it left.

    `text` is valid JSON in which no key is there twice (`parse_json` tells). Raises Mistakes, with their positions in
    the text, for every path that is not there; `source` names the text in its message.
    """
    mistakes = []
    for edit in edits:
        try:
            text = _edited(text, edit)
        except _Refusal as refusal:
            position = line_and_column(text)(refusal.offset)
            mistakes.append(Mistake(edit.path, refusal.message, refusal.hint, *position))
    if mistakes:
        raise Mistakes(source, mistakes)
    return text


def _edited(text: str, edit: Edit) -> str:
    start = skip_blank(text, 0)
    if not edit.path:
        if edit.operation == "remove":
            raise _Refusal("the whole document cannot be removed", "", start)
        return text[:start] + _written(text, edit.value, start, Layout()) + text[len(text.rstrip()) :]
    container = _Container(text, start, Layout())
    for part in edit.path[:-1]:
        container = container.inner(part)
    match edit.operation:
        case "add":
            return container.add(edit.path[-1], edit.value)
        case "replace":
            return container.replace(edit.path[-1], edit.value)
        case "remove":
            return container.remove(edit.path[-1])


class _Refusal(Exception):
    """An edit that cannot be made: why, the remedy, and the offset of what stands in its way."""

    def __init__(self, message: str, hint: str, offset: int) -> None:
        super().__init__(message)
        self.message, self.hint, self.offset = message, hint, offset


@dataclass(frozen=True)
class Layout:
    """How an object or list is written: what stands behind its first bracket, between two members, before its last
    bracket, and between a key and its value. By default on one line, as json.dumps does."""

    opening: str = ""
    comma: str = ", "
    closing: str = ""
    colon: str = ": "

    @property
    def on_one_line(self) -> bool:
        """Whether the first member stands on the line of the bracket."""
        return "\n" not in self.opening

    def inner(self) -> "Layout":
        """The layout of an object or list in this one that gives no example: on one line too, or one step deeper."""
        if self.on_one_line:
            return self
        indent, outer = (blank.rpartition("\n")[2] for blank in (self.opening, self.closing))
        opening = self.opening + indent.removeprefix(outer)
        return Layout(opening, f",{opening}", self.opening, self.colon)


class _Container:
    """An object or list in the text, with the layout and the examples for new members: its own members' or, where it
    is empty, those of the `neighbour` that begins at this offset."""

    def __init__(self, text: str, start: int, layout: Layout, neighbour: int | None = None) -> None:
        self.text, self.start = text, start
        self.members = self.examples = json_members(text, start)
        if neighbour is not None and not self.members:
            start, self.examples = neighbour, json_members(text, neighbour)
        self.layout = _layout(text, start, self.examples, layout)

    def inner(self, key: str | int) -> "_Container":
        """The object or list that is one of its members. Raises _Refusal."""
        index = self.find(key)
        start = self.members[index].value
        neighbour = _example(self.text, self.members, index, self.text[start])
        return _Container(self.text, start, self.layout.inner(), neighbour)

    def find(self, key: str | int) -> int:
        """The index of a member. Raises _Refusal."""
        keys = [member.key for member in self.members]
        if key in keys:
            return keys.index(key)
        match self.text[self.start]:
            case "{":
                message, hint = f"there is no {key!a} here", suggest(str(key), map(str, keys))
            case "[":
                message, hint = f"there is no entry {key!a}: the list has {len(keys)}, counted from 0", ""
            case _:
                message, hint = f"there is no {key!a} here: this is neither an object nor a list", ""
        raise _Refusal(message, hint, self.start)

    def add(self, key: str | int, value: Any) -> str:
        """The text with a new member. Raises _Refusal."""
        match self.text[self.start]:
            case "[":
                at_end = key in ("-", len(self.members))
                return self._insert(len(self.members) if at_end else self.find(key), "", value)
            case "{" if isinstance(key, str) and all(member.key != key for member in self.members):
                return self._insert(len(self.members), f"{_json(key)}{self.layout.colon}", value)
            case _:
                return self.replace(key, value)

    def replace(self, key: str | int, value: Any) -> str:
        """The text with another value of a member. Raises _Refusal."""
        index = self.find(key)
        member = self.members[index]
        new = self._write(value, index + 1)  # like the one that it replaces, if that is of the same kind
        return self.text[: member.value] + new + self.text[member.end :]

    def remove(self, key: str | int) -> str:
        """The text without a member, and without the comma between it and its neighbour. Raises _Refusal."""
        index = self.find(key)
        start, end = self.members[index].start, self.members[index].end
        if len(self.members) == 1:
            start, end = self.start + 1, skip_blank(self.text, end)
        elif index == 0:
            end = self.members[1].start
        else:
            start = self.members[index - 1].end
        return self.text[:start] + self.text[end:]

    def _insert(self, index: int, key: str, value: Any) -> str:
        """The text with one member more, before the one of this index."""
        text, members = self.text, self.members
        member = key + self._write(value, index if self.members else len(self.examples))
        if not members:  # white space that it may have is no layout of members
            start, end = self.start + 1, skip_blank(text, self.start + 1)
            return f"{text[:start]}{self.layout.opening}{member}{self.layout.closing}{text[end:]}"
        # Between two members goes what is between these two; behind the last one, what is before it.
        pair = members[max(index - 1, 0) : max(index - 1, 0) + 2]
        comma = text[pair[0].end : pair[1].start] if len(pair) == 2 else self.layout.comma
        if index == 0:
            start = members[0].start
            return f"{text[:start]}{member}{comma}{text[start:]}"
        end = members[index - 1].end
        return f"{text[:end]}{comma}{member}{text[end:]}"

    def _write(self, value: Any, index: int) -> str:
        """The JSON of a value that comes before the member of this index."""
        example = _example(self.text, self.examples, index, _bracket(value))
        return _written(self.text, value, example, self.layout.inner())


def _example(text: str, members: list[Member], index: int, bracket: str) -> int | None:
    """Where the nearest object (or list, by its bracket) begins that is not empty, before a member or else behind."""
    for member in [*reversed(members[:index]), *members[index:]]:
        if text[member.value] == bracket and text[skip_blank(text, member.value + 1)] not in "}]":
            return member.value
    return None


def _layout(text: str, start: int, members: list[Member], layout: Layout) -> Layout:
    """That of the object or list that begins here; `layout`, as far as it gives no example of its own."""
    if not members:
        return layout
    first, last = members[0], members[-1]
    opening, closing = text[start + 1 : first.start], text[last.end : skip_blank(text, last.end)]
    colon = text[last.colon : last.value] or layout.colon
    if len(members) > 1:
        comma = text[members[-2].end : last.start]
    elif "\n" in opening:
        comma = f",{opening}"
    elif text[start] == "[" and layout.on_one_line:
        comma = layout.comma
    else:
        comma = ", " if colon[-1:].isspace() else ","
    return Layout(opening, comma, closing, colon)


def _written(text: str, value: Any, example: int | None, layout: Layout) -> str:
    """The JSON of a value, laid out as the object or list that begins at `example` is, else as `layout` says."""
    if not isinstance(value, dict | list | tuple) or not value:
        return _json(value)
    members = [] if example is None else json_members(text, example)
    layout = layout if example is None else _layout(text, example, members, layout)
    same = {member.key: member for member in members}
    written = []
    for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
        # A member is laid out like the example's member of the same name, or else like one of the same kind.
        models = [same[key], *members] if key in same else members
        text_of_entry = _written(text, entry, _example(text, models, 0, _bracket(entry)), layout.inner())
        written.append(f"{_json(key)}{layout.colon}{text_of_entry}" if isinstance(value, dict) else text_of_entry)
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return f"{opening}{layout.opening}{layout.comma.join(written)}{layout.closing}{closing}"


def _bracket(value: Any) -> str:
    """What the JSON of an object or list begins with; "" for other values."""
    return "{" if isinstance(value, dict) else "[" if isinstance(value, list | tuple) else ""


def _json(value: Any) -> str:
    """Letters of all alphabets stand for themselves, but for lone surrogates, which UTF-8 cannot express."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
