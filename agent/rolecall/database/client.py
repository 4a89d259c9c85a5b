"""A database server by its own client: what it is. What others tell of themselves: remote.py.

Statements go to the client's standard input, so that no password is in an argument or an environment.
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from rolecall.database.dialect import Channel, Dialect
from rolecall.database.dialects import DIALECTS
from rolecall.database.positions import is_behind
from rolecall.database.sessions import Session, Wait, waiting_sessions
from rolecall.database.states import Address, ServerState
from rolecall.errors import UnsettledFault
from rolecall.forms.quantities import duration
from rolecall.forms.quoting import sql
from rolecall.host import programs
from rolecall.render.contents import Replication

Row: TypeAlias = dict[str, str]

_SYSTEM_SCHEMAS = ("information_schema", "performance_schema", "mysql", "rolecall", "sys")
TRUE = ("Yes", "ON", "1")
FULL_HINT = "free space on the disks of its data and of its logs: it goes on by itself within a minute"
ANSWER_TIMEOUT = 10.0  # seconds for a server to tell something
STOPPING_TIMEOUT = 30.0  # seconds for replication to stop
GLANCE_TIMEOUT = 5.0  # seconds for a server that has just left a statement undone to tell why
_PASSWORD = re.compile(r"""((?:IDENTIFIED|PASSWORD)\b[^'"\n]*['"]).*""", re.IGNORECASE)  # of a statement


class UnansweredFault(UnsettledFault):
    """The server has not done in its time what it was told; it may do so yet."""


class Client:
    """A server by its own client. `secrets`: values that no message may show.

    `channel`: how other servers are connected to.
    """

    def __init__(
        self,
        replication: Replication,
        secrets: Iterable[str] = (),
        channel: Callable[[Address], Channel] | None = None,
    ) -> None:
        self.replication, self.secrets = replication, tuple(secrets)
        self.dialect: Dialect = DIALECTS[replication.dialect]
        self.channel = channel or (lambda _: self.dialect.encrypted)

    def run(self, statements: str, seconds: float = 30.0) -> str:
        """Run statements, in the SQL mode that they are quoted for; returns the output.

        Raises UnsettledFault, for no other generation would be answered otherwise: an UnansweredFault if they are not
        done within `seconds`. The server may yet do what it was told then.
        """
        try:
            result = self._result(statements, seconds)
        except programs.OverdueFault as fault:
            raise self._unanswered(seconds) from fault
        if not result.ok:
            raise UnsettledFault(
                f"the database server refused a statement: {self.redacted(result.tail)}", "its own log tells more"
            )
        return result.output

    def _result(self, statements: str, seconds: float) -> programs.Result:
        script = f"SET SESSION sql_mode = '';\n{statements};\n"
        return programs.run((*self.replication.client, "--batch"), seconds, stdin=script.encode())

    def _unanswered(self, seconds: float) -> UnansweredFault:
        """That a statement was not done in its time, and why not, as far as the server still tells that."""
        words = f"the database server has not carried out a statement within {duration(seconds)}"
        try:
            sessions = waiting_sessions(table(self._result("SHOW PROCESSLIST", GLANCE_TIMEOUT).output))
        except programs.OverdueFault:
            hint = "is it stopped (SIGSTOP), or does its disk hang? Look at the kernel log and at what its processes do"
            return UnansweredFault(f"{words}, and answers nothing else either", hint, "server-hangs")
        if any(session.wait is Wait.ROOM for session in sessions):
            return UnansweredFault(f"{words}: it waits for room on a disk that is full", FULL_HINT, "disk-full")
        hint = "SHOW PROCESSLIST on this server tells what it is at; the next run goes on"
        return UnansweredFault(f"{words}: it is at something that takes longer", hint, "long-statement")

    def change_replication(self, statements: str) -> None:
        """Run statements that stop or start replication: whoever stops it waits for what it is at.

        Raises UnsettledFault.
        """
        try:
            self.run(statements, STOPPING_TIMEOUT)
        except UnansweredFault as fault:
            if fault.cause != "long-statement":
                raise
            raise UnansweredFault(
                "replication on this server does not stop yet: its applier is in the midst of a long statement, or its "
                "receiver in that of a large transaction",
                "it stops as soon as that is done, and the next run goes on; SHOW PROCESSLIST tells which one it is",
                fault.cause,
            ) from fault

    def sessions(self) -> list[Session]:
        """Those that wait for what no other session of this server gives them."""
        return waiting_sessions(self.rows("SHOW PROCESSLIST", GLANCE_TIMEOUT))

    def answers(self) -> bool:
        """Whether the server can be asked now."""
        return programs.run((*self.replication.client, "--batch"), 15, stdin=b"SELECT 1;\n").ok

    def rows(self, statement: str, seconds: float | None = None) -> list[Row]:
        """The rows that one statement returns."""
        return table(self.run(statement, ANSWER_TIMEOUT if seconds is None else seconds))

    def state(self) -> ServerState:
        """What it is now, as far as the server itself knows."""
        status, state = self.replica_status(), self.rows(self.dialect.server_state)[0]
        columns = self.dialect.status_columns
        has_position = state["position"] not in ("", "NULL")
        error = int(status.get("Last_IO_Errno", 0)) or int(status.get("Last_SQL_Errno", 0))
        return ServerState(
            read_only=state["read_only"] in TRUE,
            fresh=not status and not has_products_data(self.rows("SHOW DATABASES")),
            has_history=has_position or bool(status),
            upstream=upstream_of(status, self.dialect),
            receiving=status.get(columns.receiver) in (*TRUE, "Connecting", "Preparing"),
            applying=status.get(columns.applier) in TRUE,
            error=error,
            error_text=self.redacted(status.get("Last_IO_Error", "") or status.get("Last_SQL_Error", "")),
            diverged=error in self.dialect.divergence_errors,
            waits_for_acks=state["waits_for_acks"] in TRUE,
            acknowledges=state["acknowledges"] in TRUE,
            acknowledging_replicas=int(state["acknowledging_replicas"] or 0),
            channel=(
                status.get(columns.encrypted, ""),
                status.get(columns.authority, ""),
                status.get(columns.verified, ""),
            ),
        )

    def state_after_retry(self) -> ServerState:
        """What it is once its receiver has tried again to connect to the upstream; at most about two seconds."""
        self.change_replication(self.dialect.resume)
        for _ in range(20):
            time.sleep(0.1)
            state = self.state()
            if state.error or self.replica_status().get(self.dialect.status_columns.receiver) in TRUE:
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

    def has(self, position: str) -> bool:
        """Whether it has everything up to a GTID position, whether by replication or written by itself."""
        if not self.dialect.refuses_lagging_upstream:
            return self.has_applied(position, 0)
        # MariaDB's MASTER_GTID_WAIT knows nothing of what a master has written itself: positions are compared here.
        return not is_behind(self.rows(self.dialect.server_state)[0]["position"], position)

    def redacted(self, message: str) -> str:
        """A message without secrets: a server quotes any part of a statement, and cuts it anywhere.

        Whoever only looks, such as `status`, does not know the passwords: what stands in a password's place goes too.
        """
        for secret in filter(None, self.secrets):
            for text in (secret, secret.replace("\\", "\\\\").replace("'", "''")):
                message = re.sub(f"{re.escape(text[:8])}.*", "…", message)
        return _PASSWORD.sub(r"\1…", message)

    def connection(self, address: Address) -> tuple[str, ...]:
        """The client's options to reach another server."""
        host, port = address
        return (f"--host={host}", f"--port={port}", *self.channel(address).options)

    def follow(self, address: Address, login: Mapping[str, str]) -> None:
        """Have another server as the upstream. `login`: of replication, `user` and `password` quoted for SQL."""
        host, port = sql(address[0]), str(address[1])
        clause = self.channel(address).clause
        self.change_replication(self.dialect.follow.format(host=host, port=port, channel=clause, **login))


def upstream_of(status: Mapping[str, str], dialect: Dialect) -> Address | None:
    """Whom a server follows, by its status of replication; None if nobody."""
    columns = dialect.status_columns
    return (status[columns.host], int(status[columns.port])) if status else None


def has_products_data(databases: Iterable[Mapping[str, str]]) -> bool:
    """Whether any of the schemas that SHOW DATABASES lists is a product's."""
    return any(row["Database"] not in _SYSTEM_SCHEMAS for row in databases)


def table(output: str) -> list[Row]:
    """The rows of the client's --batch: fields with tabs between them, names first."""
    lines = output.splitlines()
    names = lines[0].split("\t") if lines else []
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines[1:]]
