"""How a server gets all of its upstream's data, through the port that it replicates from.

MySQL clones it; MariaDB, and a MySQL of another series than its upstream's, has it dumped straight into itself. Why:
docs/decisions/0053-how-a-mysql-server-joins.md.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rolecall.database.client import Client
from rolecall.database.dialect import Clone
from rolecall.database.remote import remote_rows
from rolecall.database.transfer import Transfer
from rolecall.errors import FetchFault, UnsettledFault
from rolecall.fleet.topology import Endpoint
from rolecall.forms.quoting import sql
from rolecall.host import programs

_LOCK = "rolecall"  # of the session that restores, by which a later run can find it: GET_LOCK
_END_TIMEOUT = 30  # seconds for the session of an earlier restore to end
_PATIENCE = 1800.0  # seconds without a byte after which a restore is given up
_RESTART_TIMEOUT = 600.0  # seconds for a server that has cloned another's data to recover it
_NAMED = 10  # tables that a message names
_FOREIGN_TABLES = (
    "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME, ' (', ENGINE, ')') AS name FROM information_schema.TABLES "
    "WHERE ENGINE <> 'InnoDB' AND TABLE_SCHEMA NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema') "
    "ORDER BY 1"
)
_SIZE = "SELECT COALESCE(SUM(DATA_LENGTH), 0) AS bytes FROM information_schema.TABLES"
_SERIES = "SELECT SUBSTRING_INDEX(@@version, '.', 2) AS series"


@dataclass(frozen=True)
class Helpers:
    """What a run does for a restore. `start`: starts this server if it has ended; `watch`: is told how far it is."""

    start: Callable[[], object]
    watch: Callable[[str], None]


@dataclass(frozen=True)
class Restore:
    """A fresh server and the upstream whose data it gets. `login`: of replication, user and password quoted for SQL."""

    client: Client
    upstream: Endpoint
    login: Mapping[str, str]
    helpers: Helpers

    def run(self) -> None:
        """Load all of the upstream's data, with the GTID position that it is of.

        None of it goes into this server's own binary log. Raises FetchFault, UnsettledFault.
        """
        self._require_transactional_tables()
        clone = self.client.dialect.clone
        try:
            if clone and self._remote(_SERIES) == self.client.rows(_SERIES):
                self._clone(clone)
            else:
                self._dump()
        except programs.OverdueFault as fault:
            raise self._fault(fault.message) from fault

    def _require_transactional_tables(self) -> None:
        """Raises UnsettledFault for tables that no copy has as they were at one moment; a clone would have none."""
        names = [row["name"] for row in self._remote(_FOREIGN_TABLES)]
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            raise UnsettledFault(
                f"{self.upstream.server} has tables that cannot be copied while they are written to: "
                f"{', '.join(names[:_NAMED])}{more}",
                "convert each on the master: ALTER TABLE … ENGINE = InnoDB; the next run goes on",
                "upstream",
            )

    def _dump(self) -> None:
        upstream, replication = self.upstream, self.client.replication
        source = (*replication.dump, *self.client.connection((upstream.address, upstream.port)))
        transfer = Transfer(int(self._remote(_SIZE)[0]["bytes"]), self.helpers.watch)
        result = programs.pipe(source, replication.client, self._preamble().encode(), _PATIENCE, transfer.moved)
        if not result.ok:
            raise self._fault(self.client.redacted(result.tail))
        self.client.run(self.client.dialect.after_restore)

    def _clone(self, clone: Clone) -> None:
        """The server takes its upstream's files for its own, and ends, to be started with them by whoever starts it."""
        client, transfer = self.client, Transfer(0, self.helpers.watch)
        encrypted, authority, _ = client.channel((self.upstream.address, self.upstream.port)).status
        statement = clone.statement.format(
            host=sql(self.upstream.address),
            port=self.upstream.port,
            authority=sql(authority),
            negation="" if encrypted == "Yes" else "NO",
            **self.login,
        )
        script = f"{self._preamble()}SET SESSION sql_mode = '';\n{statement};\n"

        def look() -> int:
            if not client.answers():
                return -1  # it has ended
            [row] = client.rows(clone.progress)
            transfer.total = int(row["total"])
            transfer.moved(int(row["moved"]))
            return int(row["moved"])

        result = programs.attended(client.replication.client, script.encode(), _PATIENCE, look)
        if not result.ok and not any(f"ERROR {number} " in result.tail for number in clone.ends_with):
            raise self._fault(client.redacted(result.tail))
        self._wait_for_restart()
        [outcome] = client.rows(clone.outcome)
        if outcome["state"] != "Completed":
            raise self._fault(client.redacted(outcome["error"]))

    def _preamble(self) -> str:
        return f"SELECT GET_LOCK('{_LOCK}', 0);\n{self.client.dialect.before_restore};\n"

    def _wait_for_restart(self) -> None:
        deadline = time.monotonic() + _RESTART_TIMEOUT
        while not self.client.answers():
            if time.monotonic() >= deadline:
                raise self._fault("the server does not answer since it has the data")
            self.helpers.start()
            time.sleep(0.5)

    def _remote(self, statement: str) -> list[dict[str, str]]:
        rows, error = remote_rows(self.client, (self.upstream.address, self.upstream.port), statement)
        if error:
            raise self._fault(error)
        return rows

    def _fault(self, reason: str) -> FetchFault:
        message = f"cannot restore from {self.upstream.server}: {reason}"
        return FetchFault(message, "the next run begins again", "upstream")


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
