"""The self-tests of a generation: the role's, and those that products ask for in the document."""

from collections.abc import Callable, Iterable
from typing import Any

from rolecall.fleet.assignment import AssignedProduct
from rolecall.fleet.check import Check, ProductCheck, RoleCheck
from rolecall.render.expressions import Expressions, Scope

Scopes = Callable[[str | None], Iterable[Scope]]


def checks(role: Expressions, scopes: Scopes) -> tuple[Check, ...]:
    """All of them, filled in. `scopes` tells what there is of each kind."""
    table = role.role.table.check
    made = [_of_role(role, spec, scope) for spec in table for scope in scopes(spec.each) if role.true(spec.when, scope)]
    model = next((one for one in table if one.http is not None and one.each == "product"), None)
    for scope in scopes("product"):
        product: AssignedProduct = scope["product"]
        expect = _http(role, model, scope) if model and product.checks else None
        for check in product.checks:
            made.extend(_of_product(product, check, expect))
    return tuple(made)


def _of_role(role: Expressions, spec: RoleCheck, scope: Scope) -> Check:
    target = getattr(spec, spec.kind)
    limits = {
        "max_age": spec.max_age,
        "free_mb": spec.free_mb,
        "contains": spec.contains,
        "memory_mb": spec.memory_mb,
    }
    expect = _http(role, spec, scope) if spec.kind == "http" else {
        key: role.text(value, scope) if isinstance(value, str) else value for key, value in limits.items() if value
    }  # fmt: skip
    return Check(
        role.text(spec.name, scope),
        spec.kind,
        role.text(str(target), scope),
        expect,
        spec.timeout,
        spec.required,
        spec.blameless,
        scope["product"].name if spec.each == "product" else "",
    )


def _http(role: Expressions, spec: RoleCheck, scope: Scope) -> dict[str, Any]:
    headers = {name: role.text(value, scope) for name, value in spec.headers.items()}
    contains = None if spec.contains is None else role.text(spec.contains, scope)
    return {"host": role.text(spec.host, scope), "port": role.text(spec.port, scope), "status": spec.status,
            "contains": contains, "headers": headers}  # fmt: skip


def _of_product(product: AssignedProduct, check: ProductCheck, expect: dict[str, Any] | None) -> list[Check]:
    """Those over HTTP are asked as the role's first HTTP check for products is; a role without one asks none."""
    if check.tcp is not None:
        return [
            Check(
                check.name or f"{product.name}: connect to {name}",
                "tcp",
                target,
                timeout=check.timeout,
                required=check.required,
                product=product.name,
            )
            for name, target in _endpoints(product, check.tcp)
        ]
    if expect is None:
        return []
    name = check.name or f"{product.name}: GET {check.http}"
    asked = expect | {"status": check.status, "contains": check.contains}
    return [
        Check(
            name,
            "http",
            str(check.http),
            asked,
            timeout=check.timeout,
            required=check.required,
            product=product.name,
        )
    ]


def _endpoints(product: AssignedProduct, target: str) -> list[tuple[str, str]]:
    """(what people call it, host:port) for each endpoint that a tcp check means."""
    kind, _, name = target.rpartition(":")
    if kind == "database":
        return [(f"the master of {name}", str(one.master)) for one in product.databases if one.name == name]
    if kind == "cache":
        return [(f"{end.server} of {name}", str(end)) for one in product.caches if one.name == name
                for end in one.servers]  # fmt: skip
    return [(target, target)]
