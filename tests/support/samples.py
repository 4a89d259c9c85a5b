"""The two example files, which are the contract for names and shape, and short ways to what tests make of them."""

import copy
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from rolecall.fleet.assignment import Assignment, assign
from rolecall.fleet.identity import Identity
from rolecall.fleet.schema import Fleet, parse_fleet
from rolecall.forms.mistakes import Mistakes
from rolecall.host.roles import read_role, roles_folder
from rolecall.render.generation import Generation
from rolecall.render.rendering import render
from rolecall.render.role import Role, parse_role
from rolecall.render.settings import RenderPaths, RenderSettings

DATA = Path(__file__).parent / "data"
FLEET = (DATA / "fleet.json").read_bytes()
AGENT = (DATA / "agent.toml").read_text("utf-8")
WEB, DATABASE, MEMCACHED, MONITOR = (
    read_role(roles_folder(None), one) for one in ("web", "database", "memcached", "monitor")
)

GONE = object()  # as a new value: remove what is there


# `make fuzz` sets it: how many times as many examples as a commit gets.
TIMES = int(os.environ.get("ROLECALL_FUZZ", "1"))
# None of these says anything about the project: a busy machine is slow, and hostile texts are filtered on purpose.
NO_FAULTS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def fuzz(examples: int, *, batches: bool = False) -> settings:
    """So many examples on each commit, other ones each time; what must never be left out stands in `@example`.

    The seed is printed at the top of a test run and beside each failure. Batches for slow readers are not shrunk.
    """
    phases = [Phase.explicit, Phase.generate] if batches else [phase for phase in Phase if phase is not Phase.explain]
    return settings(
        max_examples=examples * TIMES, deadline=None, database=None, phases=phases, suppress_health_check=NO_FAULTS
    )


def path_of(text: str) -> tuple[str | int, ...]:
    """'products/blog/cron/0' → ('products', 'blog', 'cron', 0)."""
    return tuple(int(part) if part.isdigit() else part for part in text.split("/")) if text else ()


def edited(*edits: Mapping[str, Any]) -> dict[str, Any]:
    """The example document with other values at some paths; GONE removes, a list's next index appends."""
    if edits and "servers" in edits[0]:
        return copy.deepcopy(dict(edits[0]))  # a whole document
    data: dict[str, Any] = json.loads(FLEET)
    for path, value in ((path, value) for edit in edits for path, value in edit.items()):
        *parents, last = path_of(path)
        at: Any = data
        for part in parents:
            at = at[part]
        if value is GONE:
            del at[last]
        elif isinstance(at, list) and last == len(at):
            at.append(value)
        else:
            at[last] = copy.deepcopy(value)
    return data


def fleet(*edits: Mapping[str, Any]) -> Fleet:
    return parse_fleet(json.dumps(edited(*edits)).encode())


def refused(raw: bytes | str | Mapping[str, Any]) -> Mistakes:
    """The mistakes of a document that has some."""
    data = raw if isinstance(raw, bytes) else raw.encode() if isinstance(raw, str) else json.dumps(raw).encode()
    with pytest.raises(Mistakes) as caught:
        parse_fleet(data)
    return caught.value


def accepts(data: Mapping[str, Any]) -> bool:
    """Whether a document passes the door; anything but Mistakes and a Fleet is an error."""
    try:
        parse_fleet(json.dumps(data).encode())
    except Mistakes:
        return False
    return True


def assigned(*edits: Mapping[str, Any], server: str = "web1") -> Assignment:
    document = fleet(*edits)
    entry = document.servers[server]
    return assign(Identity(server=server, instance=entry.instance, address=entry.address), document, entry.role)


def render_settings(
    platform: str = "debian", *, state: str = RenderPaths.state, root: str = "", **more: Any
) -> RenderSettings:
    return RenderSettings(platform, RenderPaths(state=state, root=root), **more)


def web(*edits: Mapping[str, Any], server: str = "web1", platform: str = "debian", **place: Any) -> Generation:
    """What the real role makes of the example document."""
    return render(WEB, assigned(*edits, server=server), render_settings(platform, **place))


def text_of(made: Generation, path: str, secrets: Mapping[str, str]) -> str:
    """A file as it will be on the disk."""
    file = made.file(path)
    assert file is not None
    return made.text_of(file, secrets)


HEAD = """
description = "a role of a test"
[packages]
[platform.debian]
port = 80
"""


def small_role(templates: Mapping[str, str], more: str = "", **each: str) -> Role:
    """A role whose files have the names of its templates, without `.j2`; `each` adds lines to one file's table."""
    text = HEAD
    for name in templates:
        stem = name.removesuffix(".j2")
        text += f'[[file]]\nsource = "{name}"\npath = "{stem}"\n{each.get(stem, "")}\n'
    return Role("small", parse_role(text + more, "small/role.toml", templates), templates)


# Everything that a string can be, with a liking for what means something somewhere.
SIGNS = "\"'`\\%$#;!~*?[](){}<>|&=@:/.,+-_ \t\n\r\v\f\x00\x01\x02\x1b\x7f\x85\xa0\u2028\u2029\u200b\u202e\ufeff"
ANY_TEXT = st.text(
    st.characters()
    | st.sampled_from(SIGNS)
    | st.characters(min_codepoint=32, max_codepoint=126)
    | st.characters(categories=["Cc", "Cf", "Zs"]),
    max_size=30,
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)
