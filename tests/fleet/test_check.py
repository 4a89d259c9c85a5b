"""Self-tests as they are written: each has exactly one kind."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from box import ROOT
from rolecall.checks.probes import PROBES
from rolecall.fleet.check import KINDS, ProductCheck, RoleCheck
from rolecall.forms.mistakes import Mistake, Mistakes, dotted, mistakes_of
from rolecall.render.rendering import render
from samples import assigned, render_settings, small_role, web


@pytest.mark.parametrize(
    ("keys", "kinds"), [({}, "none"), ({"http": "/", "tcp": "a:1"}, "http, tcp"), ({"status": 200}, "none")]
)
def test_a_products_check_is_over_http_or_over_tcp(keys: dict[str, Any], kinds: str) -> None:
    with pytest.raises(ValidationError, match=f"must have exactly one of http, tcp; it has {kinds}"):
        ProductCheck(**keys)


@pytest.mark.parametrize("timeout", [0, -1, 601, float("inf"), float("nan"), "0s", "11m", "x", True])
def test_a_check_does_not_wait_for_nothing_nor_for_ever(timeout: Any) -> None:
    with pytest.raises(ValidationError):
        ProductCheck(http="/", timeout=timeout)


# One value of each key of a check: of the kinds, and of all limits.
VALUES: dict[str, Any] = {
    "http": "/",
    "tcp": "a:1",
    "process": "p",
    "unit": "u",
    "file": "/f",
    "disk": "/",
    "memory": 64,
    "attachments": True,
    "products": True,
    "replication": "r",
    "memcached": "a:1",
    "cron": "c",
    "host": "h",
    "port": "a:1",
    "status": 204,
    "contains": "x",
    "headers": {"A": "b"},
    "max_age": "5m",
    "free_mb": 1,
    "memory_mb": "1",
}
COMMON = {"each", "when", "name", "timeout", "required", "blameless"}
LIMITS = sorted({limit for kind in KINDS.values() for limit in kind.limits})


def mistakes(model: type[ProductCheck | RoleCheck], **keys: Any) -> list[Mistake]:
    """What is wrong with a check of these keys."""
    try:
        model.model_validate_json(json.dumps(keys))
    except ValidationError as error:
        return mistakes_of(error, model)
    return []


def needed(kind: str) -> dict[str, Any]:
    """The least that a role's check of this kind has to have."""
    keys = {"name": "c", **{key: VALUES[key] for key in (kind, *KINDS[kind].required)}}
    return keys | {"required": False} if KINDS[kind].serving else keys


def test_a_check_that_says_whether_a_node_serves_is_not_required_for_a_ready_one() -> None:
    (mistake,) = mistakes(RoleCheck, name="c", products=True)
    assert (mistake.path, mistake.hint) == (("products",), "add required = false")


def test_every_key_of_a_check_is_a_kind_or_a_limit_of_one_or_what_all_checks_have() -> None:
    assert set(RoleCheck.model_fields) == KINDS.keys() | set(LIMITS) | COMMON
    assert set(VALUES) == KINDS.keys() | set(LIMITS)
    assert set(PROBES) == KINDS.keys()
    assert all(set(kind.required) <= set(kind.limits) for kind in KINDS.values())


def test_a_roles_check_has_one_of_the_kinds() -> None:
    for kind in KINDS:
        assert RoleCheck.model_validate_json(json.dumps(needed(kind))).kind == kind
    with pytest.raises(ValidationError, match="it has none"):
        RoleCheck(name="c")
    with pytest.raises(ValidationError, match="it has http, tcp"):
        RoleCheck(name="c", http="/", tcp="a:1")
    with pytest.raises(ValidationError, match="'product'"):
        RoleCheck.model_validate({"name": "c", "http": "/", "each": "productx"})


@pytest.mark.parametrize("kind", KINDS)
def test_a_check_takes_the_limits_of_its_kind_and_no_others(kind: str) -> None:
    for limit in LIMITS:
        wrong = mistakes(RoleCheck, **{**needed(kind), limit: VALUES[limit]})
        if limit in KINDS[kind].limits:
            assert wrong == []
        else:
            (mistake,) = wrong
            assert (mistake.path, mistake.message) == (
                (limit,),
                f"a check of the kind {kind!r} does not look at it",
            )
            assert mistake.hint.startswith("it is for: ")


@pytest.mark.parametrize(("kind", "limit"), [(name, limit) for name, kind in KINDS.items() for limit in kind.required])
def test_a_check_that_could_not_fail_without_a_limit_has_to_have_it(kind: str, limit: str) -> None:
    keys = needed(kind)
    del keys[limit]
    (mistake,) = mistakes(RoleCheck, **keys)
    assert (mistake.path, mistake.hint) == ((limit,), f"add {limit!r}")
    assert f"without it a check of the kind {kind!r} would test nothing" in mistake.message


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ({"attachments": False}, "attachments"),
        ({"memory": 0}, "memory"),
        ({"disk": "/", "free_mb": 0}, "free_mb"),
        ({"file": "/f", "contains": ""}, "contains"),
        ({"file": "/f", "max_age": "0s"}, "max_age"),
        ({"http": "/", "host": "h", "port": "p", "status": 0}, "status"),
        ({"process": "p", "required": False, "blameless": True}, "blameless"),
    ],
)
def test_a_limit_that_everything_or_nothing_passes_is_refused(keys: dict[str, Any], path: str) -> None:
    assert [mistake.path for mistake in mistakes(RoleCheck, name="c", **keys)] == [(path,)]


def test_all_limits_that_do_not_fit_a_check_are_told_at_once() -> None:
    wrong = mistakes(RoleCheck, name="c", disk="/", contains="x", max_age="5m", status=200)
    assert [dotted(mistake.path) for mistake in wrong] == ["status", "contains", "max_age", "free_mb"]
    wrong = mistakes(ProductCheck, tcp="a:1", contains="x", status=200)
    assert [(dotted(mistake.path), mistake.hint) for mistake in wrong] == [
        ("status", "it is for: http"),
        ("contains", "it is for: http"),
    ]


def test_a_limit_that_is_empty_on_a_node_is_a_mistake_and_no_check_that_always_passes() -> None:
    role = small_role({}, '[[check]]\nname = "c"\nfile = "/f"\ncontains = "{{ machine.nothing | default(\'\') }}"\n')
    with pytest.raises(Mistakes, match="the check 'c' would test nothing: 'contains' is empty on this node"):
        render(role, assigned(), render_settings())


def test_the_checks_of_a_product_are_asked_as_the_role_asks_over_http_and_at_every_endpoint() -> None:
    generation = web({
        "servers/mc0": {"role": "memcached", "address": "fd00::30", "zone": "b"},
        "caches/sessions/servers": ["mc1", "mc0"],
        "products/blog/checks/2": {"tcp": "cache:sessions", "timeout": "2s", "required": False},
        "products/blog/checks/3": {"tcp": "smtp.example.com:25", "name": "mail"},
    })  # fmt: skip
    checks = {check.name: check for check in generation.final_checks()}
    health = checks["blog: GET /health"]
    assert (health.kind, health.target, health.expect["host"]) == ("http", "/health", "blog.example.com")
    assert (health.expect["status"], health.expect["contains"]) == (200, "ok")
    assert health.expect["headers"] == {
        "X-Rolecall-Config": next(unit.tag for unit in generation.units if unit.name == "apache")
    }
    assert checks["blog: connect to the master of blog"].target == "10.0.0.21:3306"
    assert checks["blog: connect to mc1 of sessions"].target == "10.0.0.31:11211"
    assert checks["blog: connect to mc0 of sessions"].target == "[fd00::30]:11211"
    assert (
        checks["blog: connect to mc0 of sessions"].timeout,
        checks["blog: connect to mc0 of sessions"].required,
    ) == (
        2,
        False,
    )
    assert checks["mail"].target == "smtp.example.com:25"


# A kind of check as CONTRIBUTING says that one is added, in a copy of the agent.
ADDITIONS = {
    "fleet/check.py": {
        "KINDS = {": '    "links": Kind("a full folder", limits=("at_most",), required=("at_most",)),',
        "    cron: str | None = None": "    links: str | None = None\n    at_most: int | None = Field(None, ge=0)",
    },
    "checks/probes.py": {
        "import time": """

def _links(_: object, check: "Check") -> str:
    return "" if len(os.listdir(check.target)) <= check.expect["at_most"] else "too many entries"

""",
        "PROBES: dict[str, Callable[[Subject, Check], str]] = {": '    "links": _links,',
    },
}
SCRIPT = """
import json, sys
from pathlib import Path
from rolecall.checks.probes import Subject, run_checks
from rolecall.host.direct_units import DirectManager
from rolecall.render.rendering import render
from samples import assigned, render_settings, small_role

generation = render(small_role({}, sys.argv[1]), assigned({"products/blog/checks": []}), render_settings())
(result,) = run_checks(Subject(generation, Path("/"), "", DirectManager(Path("/"))), 0)
print(json.dumps([generation.checks[0].expect, result.ok, result.reason]))
"""


def test_a_kind_of_check_that_is_added_as_contributing_says_has_its_limits_looked_at(tmp_path: Path) -> None:
    package, folder = tmp_path / "agent/rolecall", tmp_path / "folder"
    shutil.copytree(ROOT / "agent/rolecall", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "templates", tmp_path / "templates")
    folder.mkdir()
    (folder / "entry").touch()
    for module, texts in ADDITIONS.items():
        path = package / module
        text = path.read_text()
        for line, addition in texts.items():
            assert text.count(f"{line}\n") == 1
            text = text.replace(f"{line}\n", f"{line}\n{addition}\n")
        path.write_text(text)

    def ask(lines: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": f"{package.parent}:{ROOT}/tests/support"}
        argv = [sys.executable, "-c", SCRIPT, f'[[check]]\nname = "c"\nlinks = "{folder}"\n{lines}']
        result = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert "Traceback" not in result.stderr or "Mistakes" in result.stderr, result.stderr
        return result

    assert json.loads(ask("at_most = 1").stdout) == [{"at_most": 1}, True, ""]
    assert json.loads(ask("at_most = 0").stdout) == [{"at_most": 0}, False, "too many entries"]
    assert "check[0].at_most: missing: without it a check of the kind 'links' would test nothing" in ask("").stderr
    assert "check[0].contains: a check of the kind 'links' does not look at it" in ask('contains = "x"').stderr
