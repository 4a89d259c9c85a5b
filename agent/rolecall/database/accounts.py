"""The accounts of a database: for replication, and for the products that use it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rolecall.database.client import Client
from rolecall.fleet.secrets import Secret
from rolecall.fleet.topology import NodeDatabase
from rolecall.forms.quoting import read_back, sql

_UPDATE_TIMEOUT = 120  # seconds for all statements
# In hexadecimal: the client escapes some characters of a value and leaves others.
_DEFINERS = """SELECT DISTINCT HEX(DEFINER) AS definer FROM (
SELECT DEFINER FROM information_schema.TRIGGERS UNION ALL SELECT DEFINER FROM information_schema.VIEWS UNION ALL
SELECT DEFINER FROM information_schema.ROUTINES UNION ALL SELECT DEFINER FROM information_schema.EVENTS) AS objects"""


@dataclass(frozen=True)
class Account:
    """An account that the document asks for: a name, and the address from which it logs in."""

    user: str
    address: str
    password: Secret | None  # None: it cannot be had just now, and stays as the server has it

    @property
    def name(self) -> str:
        """As SQL."""
        return f"{sql(self.user)}@{sql(self.address)}"

    @property
    def plain_name(self) -> str:
        """As the server's own tables have it."""
        return f"{self.user}@{self.address}"


@dataclass(frozen=True)
class PasswordState:
    """What the server has of an account's passwords."""

    rotating: bool  # the newest is good, and an older one too
    age: float  # seconds since the newest was set


def accounts_of(target: NodeDatabase, replication_user: str) -> tuple[Account, ...]:
    """The accounts that the document asks for. Of those that the agent has created, all others are obsolete."""
    accounts = []
    if password := target.replication_password:
        accounts += [Account(replication_user, member.address, password) for member in target.members]
    for account in target.accounts:
        if account.password or account.withheld:
            accounts += [Account(account.user, address, account.password) for address in account.addresses]
    return tuple(accounts)


def account_names(target: NodeDatabase, replication_user: str) -> set[str]:
    """Their names, as SQL."""
    return {account.name for account in accounts_of(target, replication_user)}


def allow_connections(client: Client, number: int) -> None:
    """Have a server that runs take so many connections at least: the limits of accounts are a part of them.

    Its configuration says so too, but counts from its next start on. Raises HostFault.
    """
    client.run(f"SET GLOBAL max_connections = CAST(GREATEST(@@global.max_connections, {number}) AS UNSIGNED)")


def password_states(client: Client) -> dict[str, PasswordState]:
    """The accounts that the server has, by their plain names."""
    return {
        bytes.fromhex(row["account"]).decode(): PasswordState(
            row["rotating"] == "1", float(row["age"].replace("NULL", "0"))
        )
        for row in client.rows(client.dialect.accounts)
    }


def changed_passwords(
    accounts: Iterable[Account], values: Mapping[str, str], fingerprints: Mapping[str, str], earlier: Mapping[str, str]
) -> dict[Account, str]:
    """The accounts whose password is another than the one that this server has set last, and that password.

    `values`, `fingerprints`: of the passwords as they are now, by key; `earlier`: the fingerprints of then.
    """
    by_name = {account.name: account for account in accounts}  # products may share one
    return {
        account: values[secret.key]
        for account in by_name.values()
        if (secret := account.password) and earlier.get(secret.key) != fingerprints[secret.key]
    }


def update_accounts(
    client: Client, statements: str, changed: Mapping[Account, str], obsolete: Iterable[str]
) -> set[str]:
    """Create schemas and accounts, change passwords, and drop the accounts that are no longer needed.

    `changed`: accounts that are to have another password, and which. Returns the obsolete accounts that only were
    locked. Raises HostFault.
    """
    states = password_states(client)  # a new account has its password from the statements
    client.run(statements, _UPDATE_TIMEOUT)
    changes = [
        _password_statement(client, account, password, states[account.plain_name])
        for account, password in changed.items()
        if account.plain_name in states
    ]
    if changes:
        client.run(";\n".join(changes), _UPDATE_TIMEOUT)
    return _drop_accounts(client, sorted(obsolete))


def _password_statement(client: Client, account: Account, password: str, state: PasswordState) -> str:
    """Its password before stays good as well: who logs in with it has not heard of the new one yet."""
    statement = client.dialect.rotate_again if state.rotating else client.dialect.rotate
    return statement.format(user=sql(account.user), host=sql(account.address), password=sql(password))


def end_rotation(client: Client, accounts: Iterable[Account]) -> None:
    """Have the newest password of each account be the only one that is good. Raises HostFault."""
    statement = client.dialect.end_rotation
    statements = [statement.format(user=sql(account.user), host=sql(account.address)) for account in accounts]
    client.run(";\n".join(statements), _UPDATE_TIMEOUT)


def _drop_accounts(client: Client, names: list[str]) -> set[str]:
    """Drop accounts, or lock them; returns those that were locked.

    What an account has defined runs with its rights: without it a trigger fails for everybody who writes (error 1449).
    So one that has defined something stays, with its rights, and nobody can log in as it.
    """
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
