"""What has to agree across a fleet document: names that must exist, things that only one may have.

It reads the raw data, so that these mistakes are found together with wrong types and unknown keys, and it passes over
whatever has the wrong shape: that is reported by the types.
"""

import ipaddress
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rolecall.fleet.database_agreement import (
    account_mistakes,
    duty_mistakes,
    list_of,
    membership_mistakes,
    port_mistakes,
    unknown_name,
)
from rolecall.forms.mistakes import Mistake, Path, dotted, suggest


def mistakes(data: Any) -> Iterator[Mistake]:
    """Every broken reference and every clash of a document, as mistakes with their paths."""
    products, servers = dict(_members(data, "products")), dict(_members(data, "servers"))
    databases, caches = dict(_members(data, "databases")), dict(_members(data, "caches"))

    if "null" in servers:
        yield Mistake(("servers", "null"), "this name means no host to Nagios", "give the server another name")
    for name, server in servers.items():
        yield from _name_mistakes(("servers", name, "products"), server.get("products"), "product", products)
        if server.get("spare") is True and list_of(server.get("products")):
            yield Mistake(("servers", name, "spare"), "a spare server has no products", "remove one of the two")
    for name, product in products.items():
        yield from _name_mistakes(("products", name, "databases"), product.get("databases"), "database", databases)
        yield from _name_mistakes(("products", name, "caches"), product.get("caches"), "cache", caches)
        yield from _folder_mistakes(("products", name), product)
        yield from _check_mistakes(("products", name, "checks"), product)
        yield from _variable_mistakes(("products", name, "secrets"), product)
        yield from _taken(
            (("products", name, "cron", i, "name"), job.get("name")) for i, job in _entries(product, "cron")
        )
    for name, cache in caches.items():
        yield from _name_mistakes(("caches", name, "servers"), cache.get("servers"), "server", servers)
    for name, database in databases.items():
        yield from duty_mistakes(("databases", name), database, servers)
    yield from membership_mistakes(databases, servers)
    yield from port_mistakes(caches)
    yield from account_mistakes(products)

    yield from _taken(
        (("products", name, "hostnames", i), hostname)
        for name, product in products.items()
        for i, hostname in enumerate(list_of(product.get("hostnames")))
    )
    yield from _hostname_mistakes(products, servers)
    yield from _taken((("products", name, "user"), product.get("user")) for name, product in products.items())
    yield from _group_mistakes(products)
    yield from _taken(
        (("servers", name, "address"), _one_spelling(server.get("address"))) for name, server in servers.items()
    )
    yield from _taken((("servers", name, "instance"), server.get("instance")) for name, server in servers.items())
    yield from _period_mistakes(data)


def _members(data: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    members = data.get(key) if isinstance(data, dict) else None
    if isinstance(members, dict):
        yield from ((name, member) for name, member in members.items() if isinstance(member, dict))


def _entries(data: dict[str, Any], key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    yield from ((i, entry) for i, entry in enumerate(list_of(data.get(key))) if isinstance(entry, dict))


def _name_mistakes(path: Path, names: Any, kind: str, members: dict[str, Any]) -> Iterator[Mistake]:
    """Each name of a list is there, and only once."""
    for i, name in enumerate(list_of(names)):
        if not isinstance(name, str):
            continue
        if name not in members:
            yield unknown_name((*path, i), kind, name, members)
        elif name in names[:i]:
            yield Mistake((*path, i), f"{kind} {name!r} is listed twice", "remove one of them")


def _taken(values: Iterator[tuple[Path, Any]]) -> Iterator[Mistake]:
    """What only one may have: the second one is the mistake."""
    first: dict[str, Path] = {}
    for path, value in values:
        if not isinstance(value, str):
            continue
        if value in first:
            yield Mistake(path, f"{value!r} is already used by {dotted(first[value])}", "choose another")
        first.setdefault(value, path)


def _one_spelling(address: Any) -> Any:
    """An IPv6 address can be written in many ways."""
    try:
        return str(ipaddress.ip_address(address)) if isinstance(address, str) else address
    except ValueError:
        return address


def _moment(value: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None


def _hostname_mistakes(products: dict[str, Any], servers: dict[str, Any]) -> Iterator[Mistake]:
    """A server's own name is answered by the server itself: it tells how the node is, and shows no product."""
    for name, product in products.items():
        for i, hostname in enumerate(list_of(product.get("hostnames"))):
            if isinstance(hostname, str) and (server := hostname.lower().rstrip(".")) in servers:
                message = f"{hostname!r} is the name of the server {server!r}, which answers to it itself"
                hint = "give the product a hostname of its own, or the server another name"
                yield Mistake(("products", name, "hostnames", i), message, hint)


def _folder_mistakes(path: Path, product: dict[str, Any]) -> Iterator[Mistake]:
    """Writable folders do not contain one another, and the code itself is in none of them."""
    writable = [(i, folder) for i, folder in enumerate(list_of(product.get("writable"))) if isinstance(folder, str)]
    for i, folder in writable:
        for j, other in writable:
            if i != j and _inside(folder, other) and (folder != other or i > j):
                yield Mistake((*path, "writable", i), f"{folder!r} is inside {other!r}", "list only the outer one")
        root = product.get("document_root", "public")
        if isinstance(root, str) and _inside(root, folder):
            yield Mistake(
                (*path, "writable", i),
                f"the document root {root!r} would be writable by the product",
                "make only a folder below it writable",
            )


def _inside(inner: str, outer: str) -> bool:
    return f"{inner}/".startswith(f"{outer}/")


def _check_mistakes(path: Path, product: dict[str, Any]) -> Iterator[Mistake]:
    """A TCP check names host:port, or a database or cache that the product itself uses."""
    for i, check in _entries(product, "checks"):
        target = check.get("tcp")
        if not isinstance(target, str):
            continue
        kind, _, name = target.rpartition(":")
        if kind in ("database", "cache"):
            names = [name for name in list_of(product.get(f"{kind}s")) if isinstance(name, str)]
            if name not in names:
                hint = suggest(name, names, f"add it to the product's '{kind}s'")
                yield Mistake((*path, i, "tcp"), f"the product uses no {kind} {name!r}", hint)
        elif (
            not re.fullmatch(r"[a-z0-9.-]+|\[[0-9a-f:]+\]", kind)
            or not re.fullmatch(r"[1-9][0-9]{0,4}", name)
            or int(name) > 65535
        ):
            yield Mistake((*path, i, "tcp"), f"{target!r} is neither host:port, database:NAME nor cache:NAME")


def _variable_mistakes(path: Path, product: dict[str, Any]) -> Iterator[Mistake]:
    """One variable, one meaning: a name stands in the environment or in the secrets of a product."""
    environment, secrets = product.get("environment"), product.get("secrets")
    if isinstance(environment, dict) and isinstance(secrets, dict):
        for key in sorted(environment.keys() & secrets.keys()):
            yield Mistake((*path, key), f"{key!r} is in environment too", "keep one")


def _group_mistakes(products: dict[str, Any]) -> Iterator[Mistake]:
    """A group is nobody's own: a member of the group that an account has for itself reads what is that account's."""
    owners = {user: name for name, product in products.items() if isinstance(user := product.get("user"), str)}
    for name, product in products.items():
        for i, group in enumerate(list_of(product.get("groups"))):
            if isinstance(group, str) and group in owners:
                message = f"{group!r} is the account of the product {owners[group]!r}, whose own group is called so too"
                hint = "remove it" if owners[group] == name else "have a group of another name for what the two share"
                yield Mistake(("products", name, "groups", i), message, hint)


def _period_mistakes(data: Any) -> Iterator[Mistake]:
    """A document does not expire before it was issued."""
    times = data if isinstance(data, dict) else {}
    issued, until = _moment(times.get("issued")), _moment(times.get("not_after"))
    if issued and until and until <= issued:
        yield Mistake(("not_after",), "the document expires before it is issued", "raise not_after")
