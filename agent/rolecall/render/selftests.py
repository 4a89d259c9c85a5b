"""The self-tests of a generation: the role's, and those that products ask for in the document."""

from collections.abc import Callable, Iterable
from typing import Any

from rolecall.fleet.assignment import AssignedProduct
from rolecall.fleet.check import Check, ProductCheck, RoleCheck
from rolecall.forms.mistakes import Mistake
from rolecall.render.evaluation import Evaluator, Scope

Scopes = Callable[[str | None], Iterable[Scope]]


def checks(evaluator: Evaluator, scopes: Scopes) -> tuple[Check, ...]:
    """All of them, filled in. `scopes` gives the scopes of each product, cache or database, or the role's own."""
    specs = evaluator.role.table.check
    checks = [
        _role_check(evaluator, spec, scope)
        for spec in specs
        for scope in scopes(spec.each)
        if evaluator.condition(spec.when, scope)
    ]
    model = next((spec for spec in specs if spec.http is not None and spec.each == "product"), None)
    for scope in scopes("product"):
        product: AssignedProduct = scope["product"]
        expect = _limits(evaluator, model, scope) if model and product.checks else None
        for check in product.checks:
            checks.extend(_product_checks(product, check, expect))
    return tuple(checks)


def _role_check(evaluator: Evaluator, spec: RoleCheck, scope: Scope) -> Check:
    return Check(
        name=evaluator.text(spec.name, scope),
        kind=spec.kind,
        target=evaluator.text(str(getattr(spec, spec.kind)), scope),
        expect=_limits(evaluator, spec, scope),
        timeout=spec.timeout,
        required=spec.required,
        blameless=spec.blameless,
        product=scope["product"].name if spec.each == "product" else "",
    )


def _limits(evaluator: Evaluator, spec: RoleCheck, scope: Scope) -> dict[str, Any]:
    """The limits of its kind, filled in. One that is empty then would make a check that cannot fail."""
    limits: dict[str, Any] = {}
    for name, value in spec.limits.items():
        if isinstance(value, dict):
            limits[name] = {key: evaluator.text(text, scope) for key, text in value.items()}
        elif isinstance(value, str):
            limits[name] = evaluator.text(value, scope)
            if not limits[name] and not evaluator.mistakes:
                message = f"the check {spec.name!r} would test nothing: {name!r} is empty on this node, from {value!r}"
                evaluator.mistakes.append(Mistake((f"{evaluator.role.name}/role.toml",), message))
        else:
            limits[name] = value
    return limits


def _product_checks(product: AssignedProduct, check: ProductCheck, expect: dict[str, Any] | None) -> list[Check]:
    """Those over HTTP are asked as the role's first HTTP check for products is; a role without one asks none."""
    common: dict[str, Any] = {"timeout": check.timeout, "required": check.required, "product": product.name}
    if check.tcp is not None:
        return [
            Check(check.name or f"{product.name}: connect to {name}", "tcp", target, **common)
            for name, target in _endpoints(product, check.tcp)
        ]
    if expect is None:
        return []
    name = check.name or f"{product.name}: GET {check.http}"
    expect = expect | {"status": check.status, "contains": check.contains}
    return [Check(name, "http", str(check.http), expect, **common)]


def _endpoints(product: AssignedProduct, target: str) -> list[tuple[str, str]]:
    """(what people call it, host:port) for each endpoint that a tcp check means."""
    kind, _, name = target.rpartition(":")
    if kind == "database":
        masters = [database.master for database in product.databases if database.name == name]
        return [(f"the master of {name}", str(master)) for master in masters]
    if kind == "cache":
        endpoints = [endpoint for cache in product.caches if cache.name == name for endpoint in cache.servers]
        return [(f"{endpoint.server} of {name}", str(endpoint)) for endpoint in endpoints]
    return [(target, target)]
