"""What this server is in its databases, as its notes have it: whether it still is, and how it leaves one."""

from collections.abc import Collection
from dataclasses import replace

from rolecall.database.client import Client
from rolecall.database.closing import close
from rolecall.database.waits import waiting_problem
from rolecall.forms.quantities import duration
from rolecall.node.notes import DatabaseNote, Databases, Notes
from rolecall.render.contents import Replication


def leave_databases(replication: Replication, databases: Collection[str], notes: Notes) -> str:
    """Leave the databases that the document has taken this server out of; returns what was done, for the report.

    `databases`: those that it is a server of now. If there are none, it takes no writes and acknowledges none; its
    data stays.
    """
    members = notes.read(Databases).databases
    former = {name: note for name, note in members.items() if name not in databases and note.duty}
    if former and not databases:
        client = Client(replication)
        tries = max(note.closing for note in former.values()) + 1
        trying = {name: replace(note, closing=tries) for name, note in former.items()}
        notes.write(Databases({**members, **trying}))
        close(client, tries)
        client.run(f"{client.dialect.stop_waiting_for_acks}; {client.dialect.stop_acknowledging}")
        if client.replica_status():
            client.change_replication(client.dialect.stop_receiver)
    if former:
        left = {name: replace(note, duty="", candidate=None, closing=0) for name, note in former.items()}
        notes.write(Databases({**members, **left}))
    return ", ".join(f"no longer a server of {name}" for name in former)


def replication_problem(client: Client, note: DatabaseNote) -> str:
    """Why a server is not what it was told to be last, `note`; '' if it is."""
    state, max_lag = client.state(), client.replication.max_lag
    if note.duty == "master" and state.read_only:
        return "it is the master, but read-only"
    if note.duty != "master" and not state.read_only:
        return f"its duty is {note.duty}, but it is writable"
    if fault := waiting_problem(client, note.candidate):
        return f"{fault.message}; {fault.hint}"
    if note.duty == "master":
        return ""
    lag = client.replica_status().get(client.dialect.status_columns.lag, "NULL")
    if not (state.receiving and state.applying and lag.isdigit()):
        reason = state.error_text or "replication is stopped, or has only just begun"
        return f"it does not follow its upstream: {reason}"
    if int(lag) <= max_lag:
        return ""
    return f"it is {duration(int(lag))} behind, and may be at most {duration(max_lag)}"
