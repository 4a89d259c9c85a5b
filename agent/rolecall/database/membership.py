"""Which databases this server is a member of, as its notes have it, and how it leaves one."""

from collections.abc import Collection
from dataclasses import replace

from rolecall.database.client import Client
from rolecall.node.notes import Databases, Notes
from rolecall.render.contents import Replication


def noted_duty(database: str, notes: Notes) -> str:
    """What the last run made this server in a database; '' if none did."""
    return notes.read(Databases).of(database).duty


def leave_databases(replication: Replication, databases: Collection[str], notes: Notes) -> str:
    """Leave the databases that the document has taken this server out of; returns what was done, for the report.

    `databases`: those that it is a server of now. If there are none, it takes no writes and acknowledges none; its
    data stays.
    """
    members = notes.read(Databases).databases
    former = {name: note for name, note in members.items() if name not in databases and note.duty}
    if former and not databases:
        client = Client(replication)
        state = client.state()
        if not state.read_only:
            client.set_read_only()
        client.run(f"{client.dialect.stop_waiting_for_acks}; {client.dialect.stop_acknowledging}")
        if state.upstream:
            client.run(client.dialect.stop_receiver)
    if former:
        left = {name: replace(note, duty="", candidate=None) for name, note in former.items()}
        notes.write(Databases({**members, **left}))
    return ", ".join(f"no longer a server of {name}" for name in former)
