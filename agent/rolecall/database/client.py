"""A database server by its own client: what it is, and what other servers tell of themselves.

Statements go to the client's standard input, so that no password is in an argument or an environment.
"""

import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from rolecall.database.dialects import DIALECTS, Dialect
from rolecall.database.replication import Address, RemoteState, ServerState, is_behind
from rolecall.errors import FetchFault, HostFault, UnsettledFault
from rolecall.forms.quantities import duration
from rolecall.forms.quoting import sql
from rolecall.host import programs
from rolecall.render.contents import Replication

Row: TypeAlias = dict[str, str]

_SYSTEM_SCHEMAS = ("information_schema", "performance_schema", "mysql", "sys")
_TRUE = ("Yes", "ON", "1")
# The client's own errors when it cannot connect or loses the connection. Any other error comes from a server.
_UNREACHABLE = re.compile(r"ERROR (2002|2003|2005|2006|2013)\b")
_PASSWORD = re.compile(r"""((?:IDENTIFIED|PASSWORD)\b[^'"\n]*['"]).*""", re.IGNORECASE)  # of a statement
_STOPPING = 60.0  # seconds for a server to end; the pages that it has changed have to be written
_WAITING_FOR_ACK = "Waiting for semi-sync ACK"  # a session's state in SHOW PROCESSLIST, of both servers


class Client:
    """A server by its own client. `secrets`: values that no message may show."""

    def __init__(self, replication: Replication, secrets: Iterable[str] = ()) -> None:
        self.replication, self.secrets = replication, tuple(secrets)
        self.dialect: Dialect = DIALECTS[replication.dialect]

    # This node's server

    def run(self, statements: str, seconds: float = 30) -> str:
        """Run statements, in the SQL mode that they are quoted for; returns the output. Raises HostFault."""
        script = f"SET SESSION sql_mode = '';\n{statements};\n"
        result = programs.run((*self.replication.client, "--batch"), seconds, stdin=script.encode())
        if not result.ok:
            raise HostFault(
                f"the database server refused a statement: {self.redacted(result.tail)}", "its own log tells more"
            )
        return result.output

    def rows(self, statement: str, seconds: float = 15) -> list[Row]:
        """The rows that one statement returns."""
        return _table(self.run(statement, seconds))

    def state(self) -> ServerState:
        """What it is now, as far as the server itself knows."""
        status, state = self.replica_status(), self.rows(self.dialect.server_state)[0]
        columns = self.dialect.status_columns
        has_position = state["position"] not in ("", "NULL")
        error = int(status.get("Last_IO_Errno", 0)) or int(status.get("Last_SQL_Errno", 0))
        return ServerState(
            read_only=state["read_only"] in _TRUE,
            fresh=not status and not _has_products_data(self.rows("SHOW DATABASES")),
            has_history=has_position or bool(status),
            upstream=self._upstream(status),
            receiving=status.get(columns.receiver) in (*_TRUE, "Connecting", "Preparing"),
            applying=status.get(columns.applier) in _TRUE,
            error=error,
            error_text=self.redacted(status.get("Last_IO_Error", "") or status.get("Last_SQL_Error", "")),
            diverged=error in self.dialect.divergence_errors,
            waits_for_acks=state["waits_for_acks"] in _TRUE,
            acknowledges=state["acknowledges"] in _TRUE,
            acknowledging_replicas=int(state["acknowledging_replicas"] or 0),
        )

    def state_after_retry(self) -> ServerState:
        """What it is once its receiver has tried again to connect to the upstream; at most about two seconds."""
        self.run(self.dialect.resume)
        for _ in range(20):
            time.sleep(0.1)
            state = self.state()
            if state.error or self.replica_status().get(self.dialect.status_columns.receiver) in _TRUE:
                break
        return state

    def replica_status(self) -> Row:
        """The status of replication; {} where it follows nobody."""
        rows = self.rows(self.dialect.replica_status)
        return rows[0] if rows else {}

    def received_position(self) -> str:
        """The GTID position up to which it has received; not all of it need be applied yet."""
        return self.replica_status().get(self.dialect.status_columns.received, "")

    def has_applied(self, position: str, seconds: int) -> bool:
        """Whether it has applied everything up to a GTID position within so many seconds."""
        statement = self.dialect.wait_for_position.format(position=sql(position), seconds=seconds)
        return not position or self.rows(statement, seconds + 10)[0]["waited"] == "0"

    def has_waiting_write(self) -> bool:
        """Whether a write waits for an acknowledgement."""
        return any((row["State"] or "").startswith(_WAITING_FOR_ACK) for row in self.rows("SHOW PROCESSLIST"))

    def set_read_only(self) -> None:
        """Take writes no longer. Raises UnsettledFault, or FetchFault if the server had to be stopped.

        A write that waits for an acknowledgement would hold this up for ever. To let it go would tell its client that
        the write is safe, which it is not. So the server is stopped then; it starts read-only.
        """
        try:
            self.run(f"SET SESSION lock_wait_timeout = 5; {self.dialect.set_read_only}")
        except HostFault as fault:
            if not self.has_waiting_write():
                raise UnsettledFault(
                    f"it cannot be made read-only yet: {fault.message}",
                    "does a long statement run? The next run tries again",
                    "former-master",
                ) from fault
            self._stop()
            raise FetchFault(
                "writes waited for an acknowledgement that they will not get, so the server was stopped",
                "the next run starts it, read-only; what was not acknowledged may make it diverge",
                "former-master",
            ) from fault

    def _stop(self) -> None:
        """Have the server end, and wait until it has: while it is at it, it neither answers nor can be started."""
        pid_file = Path(self.rows("SELECT @@pid_file AS path")[0]["path"])
        self.run("SHUTDOWN")
        until = time.monotonic() + _STOPPING
        while pid_file.exists() and time.monotonic() < until:
            time.sleep(0.1)

    def replication_problem(self, duty: str, max_lag: float) -> str:
        """Why it is not what its duty asks; '' if it is. `max_lag`: seconds."""
        state = self.state()
        if duty == "master":
            if state.read_only:
                return "it is the master, but read-only"
            unanswered = state.waits_for_acks and not state.acknowledging_replicas
            return "its candidate does not acknowledge, so every write waits" if unanswered else ""
        if not state.read_only:
            return f"its duty is {duty}, but it is writable"
        lag = self.replica_status().get(self.dialect.status_columns.lag, "NULL")
        if not (state.receiving and state.applying and lag.isdigit()):
            reason = state.error_text or "replication is stopped, or has only just begun"
            return f"it does not follow its upstream: {reason}"
        if int(lag) <= max_lag:
            return ""
        return f"it is {duration(int(lag))} behind, and may be at most {duration(max_lag)}"

    def redacted(self, message: str) -> str:
        """A message without secrets: a server quotes any part of a statement, and cuts it anywhere.

        Whoever only looks, such as `status`, does not know the passwords: what stands in a password's place goes too.
        """
        for secret in filter(None, self.secrets):
            for text in (secret, secret.replace("\\", "\\\\").replace("'", "''")):
                message = re.sub(f"{re.escape(text[:8])}.*", "…", message)
        return _PASSWORD.sub(r"\1…", message)

    # Other servers

    def remote_state(self, address: Address) -> RemoteState:
        """What another server is, asked with the account for replication, which may look and change nothing."""
        state, error = self._remote_rows(address, self.dialect.server_state)
        if not error:
            status, error = self._remote_rows(address, self.dialect.replica_status)
        if error:
            return RemoteState(address, unreachable=bool(_UNREACHABLE.search(error)), error=error)
        status_row = status[0] if status else {}
        positions = (state[0]["position"].replace("NULL", ""), status_row.get(self.dialect.status_columns.received))
        return RemoteState(
            address,
            read_only=state[0]["read_only"] in _TRUE,
            positions=tuple(filter(None, positions)),
            acknowledges=state[0]["acknowledges"] in _TRUE,
            upstream=self._upstream(status_row),
        )

    def remote_has_data(self, address: Address) -> bool:
        """Whether another server has data of products; False where it cannot be asked."""
        return _has_products_data(self._remote_rows(address, "SHOW DATABASES")[0])

    def remote_lags(self, address: Address) -> bool:
        """Whether another server lacks something that this one has; False where it cannot be asked."""
        position, received = self.rows(self.dialect.server_state)[0]["position"], self.received_position()
        if not self.dialect.refuses_lagging_upstream:
            statement = self.dialect.wait_for_position.format(position=sql(position), seconds=1)
            rows, _ = self._remote_rows(address, statement)
            return bool(rows) and rows[0]["waited"] != "0"
        # MariaDB's MASTER_GTID_WAIT knows nothing of what a master has written itself: positions are compared here.
        rows, _ = self._remote_rows(address, self.dialect.server_state)
        return bool(rows) and any(is_behind(rows[0]["position"], own) for own in (position, received))

    def _remote_rows(self, address: Address, statement: str) -> tuple[list[Row], str]:
        """What another server answers, and '' or the error. One that is frozen accepts a connection, and no more."""
        host, port = address
        argv = (*self.replication.remote, f"--host={host}", f"--port={port}", "--connect-timeout=3", "--batch")
        try:
            result = programs.run(argv, 10, stdin=f"{statement};\n".encode())
        except HostFault:
            return [], "ERROR 2013: no answer within 10 s"
        return (_table(result.output), "") if result.ok else ([], self.redacted(result.tail))

    def _upstream(self, status: Mapping[str, str]) -> Address | None:
        columns = self.dialect.status_columns
        return (status[columns.host], int(status[columns.port])) if status else None


def _has_products_data(databases: Iterable[Mapping[str, str]]) -> bool:
    return any(row["Database"] not in _SYSTEM_SCHEMAS for row in databases)


def _table(output: str) -> list[Row]:
    """The rows of the client's --batch: fields with tabs between them, names first."""
    lines = output.splitlines()
    names = lines[0].split("\t") if lines else []
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines[1:]]
