"""What this server is in its databases, as its notes have it: whether it still is, and how it leaves one."""

from collections.abc import Collection
from dataclasses import replace

from rolecall.database.client import Client
from rolecall.database.closing import set_read_only
from rolecall.forms.quantities import duration
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
            set_read_only(client)
        client.run(f"{client.dialect.stop_waiting_for_acks}; {client.dialect.stop_acknowledging}")
        if state.upstream:
            client.run(client.dialect.stop_receiver)
    if former:
        left = {name: replace(note, duty="", candidate=None) for name, note in former.items()}
        notes.write(Databases({**members, **left}))
    return ", ".join(f"no longer a server of {name}" for name in former)


def replication_problem(client: Client, duty: str, max_lag: float) -> str:
    """Why a server is not what its duty asks; '' if it is. `max_lag`: seconds."""
    state = client.state()
    if duty == "master":
        if state.read_only:
            return "it is the master, but read-only"
        unanswered = state.waits_for_acks and not state.acknowledging_replicas
        return "its candidate does not acknowledge, so every write waits" if unanswered else ""
    if not state.read_only:
        return f"its duty is {duty}, but it is writable"
    lag = client.replica_status().get(client.dialect.status_columns.lag, "NULL")
    if not (state.receiving and state.applying and lag.isdigit()):
        reason = state.error_text or "replication is stopped, or has only just begun"
        return f"it does not follow its upstream: {reason}"
    if int(lag) <= max_lag:
        return ""
    return f"it is {duration(int(lag))} behind, and may be at most {duration(max_lag)}"
