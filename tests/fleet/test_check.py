"""Self-tests as they are written: each has exactly one kind."""

from typing import Any

import pytest
from pydantic import ValidationError

from rolecall.fleet.check import KINDS, ProductCheck, RoleCheck
from samples import web


@pytest.mark.parametrize("given", [{}, {"http": "/", "tcp": "a:1"}, {"status": 200}])
def test_a_products_check_is_over_http_or_over_tcp(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="exactly one of 'http' and 'tcp'"):
        ProductCheck(**given)


@pytest.mark.parametrize("timeout", [0, -1, 601, float("inf"), float("nan"), "0s", "11m", "x", True])
def test_a_check_does_not_wait_for_nothing_nor_for_ever(timeout: Any) -> None:
    with pytest.raises(ValidationError):
        ProductCheck(http="/", timeout=timeout)


def test_a_roles_check_has_one_of_the_kinds() -> None:
    sample: dict[str, Any] = dict.fromkeys(KINDS, "x") | {"memory": 64, "attachments": True}
    for kind in KINDS:
        assert RoleCheck(name="c", **{kind: sample[kind]}).kind == kind
    with pytest.raises(ValidationError, match="it has none"):
        RoleCheck(name="c")
    with pytest.raises(ValidationError, match="it has http, tcp"):
        RoleCheck(name="c", http="/", tcp="a:1")
    with pytest.raises(ValidationError, match="'product'"):
        RoleCheck.model_validate({"name": "c", "http": "/", "each": "productx"})


def test_the_checks_of_a_product_are_asked_as_the_role_asks_over_http_and_at_every_endpoint() -> None:
    made = web({
        "servers/mc0": {"role": "memcached", "address": "fd00::30", "zone": "b"},
        "caches/sessions/servers": ["mc1", "mc0"],
        "products/blog/checks/2": {"tcp": "cache:sessions", "timeout": "2s", "required": False},
        "products/blog/checks/3": {"tcp": "smtp.example.com:25", "name": "mail"},
    })  # fmt: skip
    found = {one.name: one for one in made.final_checks()}
    health = found["blog: GET /health"]
    assert (health.kind, health.target, health.expect["host"]) == ("http", "/health", "blog.example.com")
    assert (health.expect["status"], health.expect["contains"]) == (200, "ok")
    assert health.expect["headers"] == {
        "X-Rolecall-Config": next(one.tag for one in made.units if one.name == "apache")
    }
    assert found["blog: connect to the master of blog"].target == "10.0.0.21:3306"
    assert found["blog: connect to mc1 of sessions"].target == "10.0.0.31:11211"
    assert found["blog: connect to mc0 of sessions"].target == "[fd00::30]:11211"
    assert (found["blog: connect to mc0 of sessions"].timeout, found["blog: connect to mc0 of sessions"].required) == (
        2,
        False,
    )
    assert found["mail"].target == "smtp.example.com:25"
