"""The rotation of a password of databases, from the master's side: its end, and what reports tell of it.

While an account rotates, its newest password is good and the one before it. The master ends that as soon as every
server that logs in has reported the newest.
"""

from collections.abc import Collection, Iterator

from rolecall.database.accounts import Account, accounts_of, end_rotation, password_states
from rolecall.database.server import DatabaseServer
from rolecall.fleet.secrets import Secret
from rolecall.fleet.topology import NodeDatabase
from rolecall.forms.quantities import duration
from rolecall.node.node import Node
from rolecall.node.notes import Databases
from rolecall.report import Report
from rolecall.steps.logins import login_mark, login_of, reported_mark
from rolecall.steps.planning import Prospect

LONGEST = 24 * 3600.0  # seconds, also where a server has reported nothing


def leave_secrets(node: Node, prospect: Prospect, report: Report) -> None:
    """What a run leaves of the secrets that it went by: marks of logins in its report, and values to keep, on the disk.

    Nothing where an older generation is current: that has older ones.
    """
    if prospect.plan.new.id != node.generations.current():
        return
    fleet = prospect.assignment.fleet
    report.logins = {key: login_mark(fleet, key, prospect.secrets[key]) for key in _login_keys(node, prospect)}
    if report.exit_code == 0:
        node.secrets.keep_values(prospect.secrets.values())


def _login_keys(node: Node, prospect: Prospect) -> Iterator[str]:
    """The passwords that this server logs in with; and at a master, those that are good there."""
    yield from (password.key for product in prospect.assignment.products if (password := login_of(product)))
    current = prospect.plan.new.secrets
    for database in prospect.assignment.databases:
        note, password = node.notes.read(Databases).of(database.name), database.replication_password
        yield from (key for key, fingerprint in note.passwords.items() if current.get(key) == fingerprint)
        if password and database.upstream and note.login == current[password.key]:
            yield password.key


def end_rotations(node: Node, server: DatabaseServer, prospect: Prospect, report: Report) -> str:
    """At a master: end the rotation of passwords that all have by now; returns a note of it.

    Raises HostFault. A server that does not report is waited for a day at most.
    """
    if server.target.upstream is not None:
        return ""
    states = password_states(server.client)
    ages: dict[Account, float] = {
        account: states[account.plain_name].age
        for account in accounts_of(server.target, server.replication.user)
        if account.plain_name in states and states[account.plain_name].rotating
    }
    waiting = set()
    for password in {account.password for account in ages if account.password}:
        accounts = [account for account in ages if account.password == password]
        if behind := _behind(node, password, server.target, prospect):
            left = LONGEST - min(ages[account] for account in accounts)
            report.warn(_remark(password.key, behind, left))
            waiting |= {account.name for account in accounts if left > 0}  # which products may share
    return _end(server, [account for account in ages if account.password and account.name not in waiting])


def _end(server: DatabaseServer, accounts: Collection[Account]) -> str:
    if not accounts:
        return ""
    end_rotation(server.client, accounts)
    keys = sorted({account.password.key for account in accounts if account.password})
    return f"only the new {', '.join(keys)} is good now"


def _remark(key: str, behind: Collection[str], left: float) -> str:
    """What people should know of servers that have not reported a new password. `left`: seconds."""
    names = ", ".join(behind)
    if left <= 0:
        return f"{key}: a day is over, and {names} did not report the new password: the one before is refused now"
    return f"{key}: the password before is good too until {names} reports the new one, for {duration(left)} at most"


def _behind(node: Node, password: Secret, database: NodeDatabase, prospect: Prospect) -> list[str]:
    """The servers that log in with a password, but have not reported it as it is now."""
    key = password.key
    servers = [member.server for member in database.members]
    if password != database.replication_password:
        assert prospect.assignment.everything
        members = sorted(prospect.assignment.everything.servers.items())
        servers = [name for name, server in members if password.product in server.products]
    mark = login_mark(prospect.assignment.fleet, key, prospect.secrets[key])
    return [name for name in servers if name != database.server and reported_mark(node, name, key) != mark]
