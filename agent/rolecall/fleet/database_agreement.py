"""What has to agree in a document about databases and caches: duties, ports, accounts. Raw data, as in agreement.py."""

from collections.abc import Iterator
from typing import Any

from rolecall.forms import quoting
from rolecall.forms.mistakes import Mistake, Path, suggest

_DUTIES = ("master", "candidate", "replicas", "snapshot")
_SCHEMAS = ("information_schema", "mysql", "performance_schema", "rolecall", "sys")


def list_of(value: Any) -> list[Any]:
    """A list, or an empty one in place of anything else."""
    return value if isinstance(value, list) else []


def unknown_name(path: Path, kind: str, name: str, members: dict[str, Any]) -> Mistake:
    """A name that the document does not have."""
    plural = "caches" if kind == "cache" else f"{kind}s"
    return Mistake(
        path, f"there is no {kind} {name!r}", suggest(name, members, f"add it to '{plural}' or remove it here")
    )


def duty_mistakes(path: Path, database: dict[str, Any], servers: dict[str, Any]) -> Iterator[Mistake]:
    """Each server of a database exists and has one duty in it."""
    duty_of: dict[str, str] = {}
    for duty, member, name in _members(path, database):
        if name not in servers:
            yield unknown_name(member, "server", name, servers)
        elif name in duty_of:
            yield Mistake(
                member,
                f"server {name!r} is {duty_of[name]} of this database already",
                "give each server one duty in a database",
            )
        duty_of.setdefault(name, duty)


def _members(path: Path, database: dict[str, Any]) -> Iterator[tuple[str, Path, str]]:
    """Each server that a database names: its duty, where, and its name."""
    for duty in _DUTIES:
        value = database.get(duty)
        if isinstance(value, str):
            yield duty, (*path, duty), value
        for i, name in enumerate(list_of(value)):
            if isinstance(name, str):
                yield duty, (*path, duty, i), name


def membership_mistakes(databases: dict[str, Any], servers: dict[str, Any]) -> Iterator[Mistake]:
    """A machine runs one database server, so it is a member of one database."""
    member_of: dict[str, str] = {}
    for name, database in databases.items():
        for _, member, server in _members(("databases", name), database):
            first = member_of.setdefault(server, name)
            if first != name and server in servers:
                yield Mistake(
                    member,
                    f"server {server!r} is already a member of the database {first!r}",
                    "a machine runs one database server: name another one here",
                )


def port_mistakes(caches: dict[str, Any]) -> Iterator[Mistake]:
    """Caches of one server are instances beside each other: each has a port of its own there."""
    taken: dict[tuple[str, int], str] = {}
    for name, cache in caches.items():
        port = cache.get("port", 11211)
        for i, server in enumerate(list_of(cache.get("servers"))):
            if not isinstance(server, str) or type(port) is not int:
                continue
            first = taken.setdefault((server, port), name)
            if first != name:
                yield Mistake(
                    ("caches", name, "servers", i),
                    f"port {port} of server {server!r} is taken by the cache {first!r}",
                    "give one of the two another port",
                )


def account_mistakes(products: dict[str, Any]) -> Iterator[Mistake]:
    """A product has a schema of its own in its databases, and an account there has one password."""
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for name, product in products.items():
        databases = [database for database in list_of(product.get("databases")) if isinstance(database, str)]
        if databases and name.replace("-", "_") in _SCHEMAS:
            message = f"{name!r} is the name of a schema that belongs to the database server or to the agent"
            yield Mistake(("products", name), message, "give the product another name")
        environment, secrets = (
            table if isinstance(table := product.get(key), dict) else {} for key in ("environment", "secrets")
        )
        user, password = environment.get("DB_USER", product.get("user")), secrets.get("DB_PASSWORD")
        if databases and isinstance(own := environment.get("DB_USER"), str) and (why := _no_account(own)):
            yield Mistake(("products", name, "environment", "DB_USER"), why, "choose another")
        for database in databases if isinstance(user, str) and isinstance(password, str) else ():
            other, theirs = first.setdefault((database, str(user)), (name, str(password)))
            if theirs != password:
                yield Mistake(
                    ("products", name, "secrets", "DB_PASSWORD"),
                    f"the account {user!r} of the database {database!r} already has the password of {other!r}",
                    "give one of the two another 'DB_USER' in its 'environment', or both the same password",
                )


def _no_account(name: str) -> str:
    """Why a product cannot have an account of this name; '' if it can."""
    if name.startswith("rolecall"):
        return "accounts whose names begin with 'rolecall' are the agent's own"
    try:
        quoting.sql_user(name)
    except ValueError as error:
        return str(error)
    return ""
