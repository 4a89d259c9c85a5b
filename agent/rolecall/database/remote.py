"""What other servers of a database tell of themselves, to the account for replication, which changes nothing there."""

import re

from rolecall.database.client import TRUE, Client, Row, has_products_data, table, upstream_of
from rolecall.database.positions import is_behind
from rolecall.database.replication import SET_ASIDE
from rolecall.database.states import Address, RemoteState
from rolecall.errors import HostFault, UnsettledFault
from rolecall.fleet.topology import Endpoint
from rolecall.forms.quoting import sql
from rolecall.host import programs

# The client's own errors when it cannot connect or loses the connection. Any other error comes from a server. So does
# one that stands in the server's first packet, which the client does not trust, and passes on as a text: 1040, 1130.
_UNREACHABLE = re.compile(r"ERROR (2002|2003|2005|2006|2013)\b(?!.*error packet)")


def remote_state(client: Client, address: Address) -> RemoteState:
    """What another server is. `client`: this node's server, which knows how to ask."""
    state, error = remote_rows(client, address, client.dialect.server_state)
    if not error:
        status, error = remote_rows(client, address, client.dialect.replica_status)
    if error:
        return RemoteState(address, unreachable=bool(_UNREACHABLE.search(error)), error=error)
    status_row = status[0] if status else {}
    positions = (state[0]["position"].replace("NULL", ""), status_row.get(client.dialect.status_columns.received))
    return RemoteState(
        address,
        read_only=state[0]["read_only"] in TRUE,
        positions=tuple(filter(None, positions)),
        has_written=state[0]["has_written"] in TRUE,
        waits_for_acks=state[0]["waits_for_acks"] in TRUE,
        acknowledging_replicas=int(state[0]["acknowledging_replicas"] or 0),
        acknowledges=state[0]["acknowledges"] in TRUE,
        upstream=upstream_of(status_row, client.dialect),
        receiving=status_row.get(client.dialect.status_columns.receiver) in TRUE,
        applying=status_row.get(client.dialect.status_columns.applier) in TRUE,
        replication_error=client.redacted(status_row.get("Last_IO_Error", "") or status_row.get("Last_SQL_Error", "")),
    )


def remote_has_data(client: Client, address: Address) -> bool:
    """Whether another server has data of products; False where it cannot be asked."""
    return has_products_data(remote_rows(client, address, "SHOW DATABASES")[0])


def remote_lags(client: Client, address: Address) -> bool:
    """Whether another server lacks something that this node's has; False where it cannot be asked."""
    dialect = client.dialect
    position, received = client.rows(dialect.server_state)[0]["position"], client.received_position()
    if not dialect.refuses_lagging_upstream:
        statement = dialect.wait_for_position.format(position=sql(position), seconds=1)
        rows, _ = remote_rows(client, address, statement)
        return bool(rows) and rows[0]["waited"] != "0"
    # MariaDB's MASTER_GTID_WAIT knows nothing of what a master has written itself: positions are compared here.
    rows, _ = remote_rows(client, address, dialect.server_state)
    return bool(rows) and any(is_behind(rows[0]["position"], own) for own in (position, received))


def require_superset(client: Client, upstream: Endpoint, master: Endpoint) -> None:
    """Raises UnsettledFault if the upstream lacks something that this node's server has.

    The server would report that it has diverged or, worse, diverge without an error. A master that takes writes follows
    nobody: what it lacks by then, it will never get.
    """
    address, master_address = (upstream.address, upstream.port), (master.address, master.port)
    if not remote_lags(client, address):
        return
    remote = remote_state(client, master_address)
    if not remote.error and not remote.read_only and remote_lags(client, master_address):
        raise UnsettledFault(
            f"this server and {master.server} have diverged: this one has writes that the other lacks; "
            "nothing is overwritten",
            f"compare the two, for this one may have what was acknowledged; then repair it, or {SET_ASIDE}",
            "diverged",
        )
    raise UnsettledFault(
        f"{upstream.server} lacks writes that this server has, so this server cannot follow it yet",
        "the next run checks again",
        "upstream",
    )


def remote_rows(client: Client, address: Address, statement: str) -> tuple[list[Row], str]:
    """What another server answers, and '' or the error. One that is frozen accepts a connection, and no more."""
    argv = (*client.replication.remote, *client.connection(address), "--connect-timeout=3", "--batch")
    try:
        result = programs.run(argv, 10, stdin=f"{statement};\n".encode())
    except HostFault:
        return [], "ERROR 2013: no answer within 10 s"
    return (table(result.output), "") if result.ok else ([], client.redacted(result.tail))
