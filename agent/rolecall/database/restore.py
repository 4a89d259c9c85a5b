"""How a server gets all of its upstream's data: a dump over the port that it replicates through, straight into it."""

import time

from rolecall.database.client import Client
from rolecall.errors import FetchFault
from rolecall.fleet.topology import Endpoint
from rolecall.host import programs

_LOCK = "rolecall"  # of the session that restores, by which a later run can find it: GET_LOCK
_END_TIMEOUT = 30  # seconds for the session of an earlier restore to end
_DUMP_TIMEOUT = 6 * 3600  # seconds


def restore(client: Client, upstream: Endpoint) -> None:
    """Load all of the upstream's data, with the GTID position that it is of.

    None of it goes into this server's own binary log. Raises FetchFault.
    """
    replication = client.replication
    dump = (*replication.dump, *client.connection((upstream.address, upstream.port)))
    preamble = f"SELECT GET_LOCK('{_LOCK}', 0);\n{client.dialect.before_restore};\n".encode()
    try:
        result = programs.pipe(dump, replication.client, preamble, _DUMP_TIMEOUT)
    except programs.OverdueFault as fault:
        reason = f"cannot restore from {upstream.server}: {fault.message}"
        raise FetchFault(reason, "the next run begins again", "upstream") from fault
    if not result.ok:
        reason = client.redacted(result.tail)
        raise FetchFault(f"cannot restore from {upstream.server}: {reason}", "the next run begins again", "upstream")
    client.run(client.dialect.after_restore)


def end_earlier_restore(client: Client) -> None:
    """End the session of a restore whose run was killed: it goes on without it, and two at once would mix.

    Raises FetchFault.
    """
    deadline = time.monotonic() + _END_TIMEOUT
    while (session := client.rows(f"SELECT IS_USED_LOCK('{_LOCK}') AS id")[0]["id"]) != "NULL":
        if time.monotonic() >= deadline:
            raise FetchFault("an earlier restore still runs and does not end", "the next run checks again", "upstream")
        client.run(f"KILL {int(session)}")
        time.sleep(0.2)
