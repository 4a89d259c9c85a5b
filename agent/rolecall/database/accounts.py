"""The accounts of a database: for replication, and for the products that use it."""

from collections.abc import Iterable

from rolecall.database.client import Client
from rolecall.fleet.topology import NodeDatabase
from rolecall.forms.quoting import read_back, sql

_UPDATE_TIMEOUT = 120  # seconds for all statements
# In hexadecimal: the client escapes some characters of a value and leaves others.
_DEFINERS = """SELECT DISTINCT HEX(DEFINER) AS definer FROM (
SELECT DEFINER FROM information_schema.TRIGGERS UNION ALL SELECT DEFINER FROM information_schema.VIEWS UNION ALL
SELECT DEFINER FROM information_schema.ROUTINES UNION ALL SELECT DEFINER FROM information_schema.EVENTS) AS objects"""


def account_names(target: NodeDatabase, replication_user: str) -> set[str]:
    """The accounts that the document asks for, as SQL: of those that the agent has created, all others are obsolete."""
    names = set()
    if target.replication_password:
        names |= {f"{sql(replication_user)}@{sql(member.address)}" for member in target.members}
    for account in target.accounts:
        if account.password or account.withheld:
            names |= {f"{sql(account.user)}@{sql(address)}" for address in account.addresses}
    return names


def allow_connections(client: Client, number: int) -> None:
    """Have a server that runs take so many connections at least: the limits of accounts are a part of them.

    Its configuration says so too, but counts from its next start on. Raises HostFault.
    """
    client.run(f"SET GLOBAL max_connections = CAST(GREATEST(@@global.max_connections, {number}) AS UNSIGNED)")


def update_accounts(client: Client, statements: str, obsolete: Iterable[str]) -> set[str]:
    """Create schemas and accounts, and drop those that are no longer needed; returns those that only were locked.

    What an account has defined runs with its rights: without it a trigger fails for everybody who writes (error 1449).
    So one that has defined something stays, with its rights, and nobody can log in as it. Raises HostFault.
    """
    client.run(statements, _UPDATE_TIMEOUT)
    names = sorted(obsolete)
    if not names:
        return set()
    client.run(f"ALTER USER IF EXISTS {', '.join(names)} ACCOUNT LOCK", _UPDATE_TIMEOUT)
    definers = _definers(client)
    defining = {name for name in names if _plain(name) in definers}
    if unused := [name for name in names if name not in defining]:
        client.run(f"DROP USER IF EXISTS {', '.join(unused)}", _UPDATE_TIMEOUT)
    return defining


def _definers(client: Client) -> set[str]:
    """The accounts that have defined a trigger, view, routine or event, as `user@host`."""
    return {bytes.fromhex(row["definer"]).decode() for row in client.rows(_DEFINERS, _UPDATE_TIMEOUT)}


def _plain(name: str) -> str:
    """`user@host`, of an account's name in SQL."""
    user, _, host = name.rpartition("@")
    return f"{read_back('sql', user)}@{read_back('sql', host)}"
