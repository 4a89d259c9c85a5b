"""A database server, by its own client: what it is, and the steps that make it what it should be.

Statements go to the client's standard input, so that no password is in an argument or an environment.
"""

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from rolecall.dialects import DIALECTS, Dialect
from rolecall.errors import FetchFault, HostFault
from rolecall.host import command
from rolecall.host.past import Notes
from rolecall.quoting import sql
from rolecall.replication import Standing, Step, decide
from rolecall.topology import NodeDatabase
from rolecall.uses import ReplicationUse

_PATIENCE = 30.0  # seconds for a former master to stop writing, and for what it wrote to arrive
_OWN = ("information_schema", "performance_schema", "mysql", "sys")
_NOTE = "databases"


class Client:
    """The server by its own client: what it is. `secrets` are the values that no message may show."""

    def __init__(self, use: ReplicationUse, secrets: Iterable[str] = ()) -> None:
        self.use, self.secrets = use, tuple(secrets)
        self.dialect: Dialect = DIALECTS[use.dialect]

    def standing(self) -> Standing:
        """What it is now."""
        status, state = self.status(), self.rows(self.dialect.state)[0]
        names = self.dialect.columns
        yes = ("Yes", "ON", "1")
        history = state["position"] not in ("", "NULL")
        return Standing(
            read_only=state["read_only"] in yes,
            fresh=not history and not status and not self._has_data(),
            known=history or bool(status),
            upstream=(status[names.host], int(status[names.port])) if status else None,
            receiving=status.get(names.receiving) in (*yes, "Connecting", "Preparing"),
            applying=status.get(names.applying) in yes,
            error=int(status.get("Last_IO_Errno", 0)) or int(status.get("Last_SQL_Errno", 0)),
            words=status.get("Last_IO_Error", "") or status.get("Last_SQL_Error", ""),
            acked=state["acked"] in yes,
            acks=state["acks"] in yes,
            ackers=int(state["ackers"] or 0),
        )

    def reason(self, duty: str, max_lag: float) -> str:
        """Why it is not what its duty asks; '' if it is."""
        now = self.standing()
        if duty == "master":
            return "it is the master, and read-only" if now.read_only else ""
        if not now.read_only:
            return f"it is {duty}, and writable"
        if not (now.receiving and now.applying):
            return f"it does not follow its upstream: {now.words or 'replication is stopped'}"
        lag = self.status().get(self.dialect.columns.lag, "NULL")
        in_time = lag.isdigit() and int(lag) <= max_lag
        return "" if in_time else f"it is {lag} s behind, at most {max_lag:g} s are allowed"

    def status(self) -> dict[str, str]:
        """Of replication; {} where it follows nobody."""
        rows = self.rows(self.dialect.status)
        return rows[0] if rows else {}

    def _has_data(self) -> bool:
        return any(row["Database"] not in _OWN for row in self.rows("SHOW DATABASES"))

    def rows(self, statement: str, seconds: float = 15) -> list[dict[str, str]]:
        """What one statement answers."""
        return _table(self.run(statement, seconds))

    def run(self, statements: str, seconds: float = 30) -> str:
        """Run statements. Raises HostFault."""
        done = command.run((*self.use.client, "--batch"), seconds, stdin=f"{statements};\n".encode())
        if not done.ok:
            raise HostFault(f"the database server refuses: {self.clean(done.words)}", "its own log tells more")
        return done.output

    def clean(self, words: str) -> str:
        """Without secrets: a server quotes the statement that it does not understand."""
        for value in self.secrets:
            words = words.replace(value, "…")
        return words


class Database(Client):
    """One server of one database. `secrets`: values by key, of which no message shows any. `note`: what it remembers
    of earlier runs, under the database's name: the highest epoch, a restore that was begun, the accounts it has made.
    """

    def __init__(self, use: ReplicationUse, wanted: NodeDatabase, secrets: Mapping[str, str], notes: Notes) -> None:
        super().__init__(use, secrets.values())
        self.wanted, self.values, self.notes = wanted, secrets, notes
        self.note = dict(notes.read(_NOTE).get(wanted.name, {}))

    def settle(self, accounts: str) -> str:
        """Become what the document says; returns what was done. `accounts`: SQL that makes schemas and accounts.

        Raises ConfigFault for an older epoch, HostFault for data that must not be overwritten, FetchFault for what
        only needs time: the next run goes on.
        """
        now = self.standing()
        if self.note.get("joining"):
            now = replace(now, fresh=True)  # cut off in the middle: what is there is a part of the upstream's
        steps = decide(now, self.wanted, int(self.note.get("epoch", 0)))
        self._remember(epoch=self.wanted.epoch, duty=self.wanted.duty)
        done = []
        for step in steps:
            done += [step.value] * self._do(step, accounts)
        return f"{self.wanted.duty} of {self.wanted.name}" + (f": {', '.join(done)}" if done else "")

    def _remember(self, **more: object) -> None:
        self.note |= more
        self.notes.write(_NOTE, {**self.notes.read(_NOTE), self.wanted.name: self.note})

    # Steps

    def _do(self, step: Step, accounts: str) -> bool:
        """Take one step; returns whether there was anything to tell of."""
        match step:
            case Step.FOLLOW:
                self.run(self.dialect.follow.format(**self._upstream()))
            case Step.JOIN:
                self._join()
            case Step.TAKE_OVER:
                self._take_over()
            case Step.ACCOUNTS:
                return self._accounts(accounts)
            case _:
                self.run({
                    Step.CLOSE: self.dialect.close, Step.OPEN: self.dialect.open, Step.START: self.dialect.start,
                    Step.ACKED: self.dialect.acked, Step.UNACKED: self.dialect.unacked,
                    Step.ACK: self.dialect.ack, Step.NO_ACK: self.dialect.no_ack,
                }[step])  # fmt: skip
        return True

    def _upstream(self) -> dict[str, str]:
        upstream, password = self.wanted.upstream, self.wanted.replication_password
        if upstream is None or password is None:
            raise HostFault(
                f"databases.{self.wanted.name} has no replication_password, so nobody can follow its master",
                "add a reference: ssm:, secretsmanager: or file:",
            )
        return {"host": sql(upstream.address), "port": str(upstream.port), "user": sql(self.use.user),
                "password": sql(self.values[password.key])}  # fmt: skip

    def _join(self) -> None:
        """All of the upstream's data, with the position that it is of. Nothing of it goes into this server's log."""
        upstream = self.wanted.upstream
        assert upstream
        dump = (*self.use.dump, f"--host={upstream.address}", f"--port={upstream.port}")
        self._upstream()
        self._remember(joining=True)
        done = command.pipe(dump, self.use.client, b"SET SESSION sql_log_bin = 0;\n", 6 * 3600)
        if not done.ok:
            words = self.clean(done.words)
            self._remember(joining=not self.standing().fresh)
            raise FetchFault(f"cannot restore from {upstream.server}: {words}", "the next run begins again", "upstream")
        self.run("FLUSH LOCAL PRIVILEGES")  # LOCAL: not into its own log, which would make it diverge
        self._remember(joining=False)

    def _take_over(self) -> None:
        """Have all that the former master had, then leave it. While it writes, or cannot be asked, we wait for it."""
        before = self.standing().upstream
        assert before
        until = time.monotonic() + _PATIENCE
        while (position := self._left_behind(*before)) is None:
            if time.monotonic() >= until:
                raise FetchFault(
                    f"the former master {before[0]}:{before[1]} still writes",
                    "its next run makes it read-only; if it is lost for good, stop it: then this server takes over",
                    "former-master",
                )
            time.sleep(0.5)
        if not position:  # it is gone: what was acknowledged has been received; it must be applied too
            self.run(self.dialect.stop_receiving)
            position = self.status().get(self.dialect.received, "")
        if position and self.rows(self.dialect.wait.format(position=sql(position), seconds=60), 70)[0]["waited"] != "0":
            raise FetchFault(
                "what the former master wrote has not arrived yet", "the next run goes on", "former-master"
            )
        self.run(self.dialect.forget)

    def _left_behind(self, host: str, port: int) -> str | None:
        """The last position of a former master that is read-only by now; '' if it is gone, None if it still writes."""
        argv = (*self.use.remote, f"--host={host}", f"--port={port}", "--connect-timeout=3", "--batch")
        done = command.run(argv, 10, stdin=self.dialect.state.encode())
        if not done.ok:
            return ""
        (row,) = _table(done.output)
        return row["position"] if row["read_only"] in ("1", "ON") else None

    def _accounts(self, wanted: str) -> bool:
        """Schemas and accounts, when they have changed. The note holds a digest, for there are passwords among them."""
        digest = hashlib.sha256(wanted.encode()).hexdigest()
        if self.note.get("accounts") == digest:
            return False
        self.run(wanted, 120)
        self._remember(accounts=digest)
        return True


def duty_of(database: str, notes: Notes) -> str:
    """What the last run made this server in a database; '' if none did."""
    return str(notes.read(_NOTE).get(database, {}).get("duty", ""))


def _table(output: str) -> list[dict[str, str]]:
    """The rows of the client's --batch: fields with tabs between them, names first."""
    lines = output.splitlines()
    names = lines[0].split("\t") if lines else []
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines[1:]]
