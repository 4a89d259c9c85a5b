"""The mark that a master leaves in its data: for whose acknowledgement it waits, and since which document.

It reaches the candidate in the order of the writes. So whoever has applied it has everything from before, and knows
that its master has read that document, and confirms nothing without it any more.
Why: docs/decisions/0049-who-has-every-write.md.
"""

from rolecall.database.client import Client
from rolecall.fleet.topology import NodeDatabase
from rolecall.forms.quoting import sql

_EXISTS = (
    "SELECT COUNT(*) AS tables FROM information_schema.TABLES "
    "WHERE TABLE_SCHEMA = 'rolecall' AND TABLE_NAME = 'acknowledgement'"
)
_MARK = (
    "CREATE DATABASE IF NOT EXISTS rolecall; "
    "CREATE TABLE IF NOT EXISTS rolecall.acknowledgement "
    "(id INT PRIMARY KEY, since BIGINT NOT NULL, server VARCHAR(255) NOT NULL) ENGINE = InnoDB; "
    "REPLACE INTO rolecall.acknowledgement VALUES (1, {since}, {server})"
)


def has_mark(client: Client, target: NodeDatabase) -> bool:
    """Whether this server's data has the mark that the master of this document waits for its candidate."""
    if not target.succession or not target.candidate or client.rows(_EXISTS)[0]["tables"] == "0":
        return False
    marks = client.rows("SELECT since, server FROM rolecall.acknowledgement")
    return {"since": str(target.succession.since), "server": target.candidate} in marks


def set_mark(client: Client, target: NodeDatabase) -> None:
    """Leave it, as the master who waits. Raises UnsettledFault."""
    if target.succession and target.candidate:
        client.run(_MARK.format(since=target.succession.since, server=sql(target.candidate)))
