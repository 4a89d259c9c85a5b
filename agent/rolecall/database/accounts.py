"""The accounts of a database: for replication, and for the products that use it."""

from collections.abc import Iterable

from rolecall.database.client import Client
from rolecall.fleet.topology import NodeDatabase
from rolecall.forms.quoting import sql

_UPDATE_TIMEOUT = 120  # seconds for all statements


def account_names(target: NodeDatabase, replication_user: str) -> set[str]:
    """The accounts that the document asks for, as SQL. Of those that the agent has created, all others are dropped."""
    names = set()
    if target.replication_password:
        names |= {f"{sql(replication_user)}@{sql(member.address)}" for member in target.members}
    for account in target.accounts:
        if account.password or account.withheld:
            names |= {f"{sql(account.user)}@{sql(address)}" for address in account.addresses}
    return names


def update_accounts(client: Client, statements: str, obsolete: Iterable[str]) -> None:
    """Create schemas and accounts, and drop those that are no longer needed. Raises HostFault."""
    names = ", ".join(sorted(obsolete))
    client.run(f"{statements};\nDROP USER IF EXISTS {names}" if names else statements, _UPDATE_TIMEOUT)
