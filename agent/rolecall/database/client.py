"""A database server by its own client: what it is, and what others tell of themselves.

Statements go to the client's standard input, so that no password is in an argument or an environment.
"""

import re
import time
from collections.abc import Iterable, Mapping

from rolecall.database.dialects import DIALECTS, Dialect
from rolecall.database.replication import Location, Neighbour, Standing, older
from rolecall.errors import FetchFault, HostFault, UnsettledFault
from rolecall.forms.quoting import sql
from rolecall.host import programs
from rolecall.render.contents import Replication

_OWN = ("information_schema", "performance_schema", "mysql", "sys")
_YES = ("Yes", "ON", "1")
# Nobody is there, or nobody answers; any other error is one that a server has told us.
_SILENCE = re.compile(r"ERROR (2002|2003|2005|2006|2013)\b")
_WAITING = "Waiting for semi-sync ACK"  # of a session, in both servers


class Client:
    """A server by its own client. `secrets` are the values that no message may show."""

    def __init__(self, use: Replication, secrets: Iterable[str] = ()) -> None:
        self.use, self.secrets = use, tuple(secrets)
        self.dialect: Dialect = DIALECTS[use.dialect]

    def standing(self) -> Standing:
        """What it is now."""
        status, state = self.status(), self.rows(self.dialect.state)[0]
        names = self.dialect.columns
        history = state["position"] not in ("", "NULL")
        error = int(status.get("Last_IO_Errno", 0)) or int(status.get("Last_SQL_Errno", 0))
        return Standing(
            read_only=state["read_only"] in _YES,
            fresh=not status and not _data(self.rows("SHOW DATABASES")),
            known=history or bool(status),
            upstream=self._upstream(status),
            receiving=status.get(names.receiving) in (*_YES, "Connecting", "Preparing"),
            applying=status.get(names.applying) in _YES,
            error=error,
            diverged=error in self.dialect.diverged,
            words=status.get("Last_IO_Error", "") or status.get("Last_SQL_Error", ""),
            acked=state["acked"] in _YES,
            acks=state["acks"] in _YES,
            ackers=int(state["ackers"] or 0),
        )

    def retried(self) -> Standing:
        """What it is once it has tried anew to receive from its upstream."""
        self.run(self.dialect.start)
        for _ in range(20):
            time.sleep(0.1)
            now = self.standing()
            if now.error or self.status().get(self.dialect.columns.receiving) in _YES:
                break
        return now

    def reason(self, duty: str, max_lag: float) -> str:
        """Why it is not what its duty asks; '' if it is."""
        now = self.standing()
        if duty == "master":
            if now.read_only:
                return "it is the master, and read-only"
            lonely = now.acked and not now.ackers
            return "its candidate does not acknowledge, so every write waits" if lonely else ""
        if not now.read_only:
            return f"it is {duty}, and writable"
        lag = self.status().get(self.dialect.columns.lag, "NULL")
        if not (now.receiving and now.applying and lag.isdigit()):
            return f"it does not follow its upstream: {now.words or 'replication is stopped, or has only begun'}"
        return "" if int(lag) <= max_lag else f"it is {lag} s behind, at most {max_lag:g} s are allowed"

    def status(self) -> dict[str, str]:
        """Of replication; {} where it follows nobody."""
        rows = self.rows(self.dialect.status)
        return rows[0] if rows else {}

    def received(self) -> str:
        """The position up to which it has received; all of it may not be applied yet."""
        return self.status().get(self.dialect.received, "")

    def has(self, position: str, seconds: int) -> bool:
        """Whether it has all up to a position, within so many seconds."""
        wait = self.dialect.wait.format(position=sql(position), seconds=seconds)
        return not position or self.rows(wait, seconds + 10)[0]["waited"] == "0"

    def waiting(self) -> bool:
        """Whether a write waits for an acknowledgement."""
        return any((row["State"] or "").startswith(_WAITING) for row in self.rows("SHOW PROCESSLIST"))

    def close(self) -> None:
        """No writes any more. One that waits for an acknowledgement would hold this up for ever, and to let it go would
        tell its client that it is safe: then the server is stopped. It starts read-only.
        """
        try:
            self.run(f"SET SESSION lock_wait_timeout = 5; {self.dialect.close}")
        except HostFault as fault:
            if not self.waiting():
                words = f"it cannot be made read-only yet: {fault.message}"
                raise UnsettledFault(words, "a long statement? The next run tries again", "former-master") from fault
            self.run("SHUTDOWN")
            raise FetchFault(
                "writes waited for an acknowledgement that they will not get, so the server was stopped",
                "the next run starts it, read-only; what was not acknowledged may make it diverge",
                "former-master",
            ) from fault

    def rows(self, statement: str, seconds: float = 15) -> list[dict[str, str]]:
        """What one statement answers."""
        return _table(self.run(statement, seconds))

    def run(self, statements: str, seconds: float = 30) -> str:
        """Run statements, in the mode that they are quoted for. Raises HostFault."""
        script = f"SET SESSION sql_mode = '';\n{statements};\n"
        done = programs.run((*self.use.client, "--batch"), seconds, stdin=script.encode())
        if not done.ok:
            raise HostFault(f"the database server refuses: {self.clean(done.tail)}", "its own log tells more")
        return done.output

    def clean(self, words: str) -> str:
        """Without secrets: a server quotes of a statement what it likes, and cuts it where it likes."""
        for value in filter(None, self.secrets):
            for form in (value, value.replace("\\", "\\\\").replace("'", "''")):
                words = re.sub(f"{re.escape(form[:8])}.*", "…", words)
        return words

    # Others

    def ask(self, place: Location) -> Neighbour:
        """What another server is, as the account for replication, which may look and change nothing."""
        state, words = self._remote(place, self.dialect.state)
        if words:
            return Neighbour(place, silent=bool(_SILENCE.search(words)), refusal=words)
        status, words = self._remote(place, self.dialect.status)
        if words:
            return Neighbour(place, silent=bool(_SILENCE.search(words)), refusal=words)
        [now] = state
        follows = status[0] if status else {}
        return Neighbour(
            place,
            read_only=now["read_only"] in _YES,
            # What it has, and what it has received and will have applied before long.
            positions=tuple(filter(None, (now["position"].replace("NULL", ""), follows.get(self.dialect.received)))),
            acks=now["acks"] in _YES,
            upstream=self._upstream(follows),
        )

    def has_data(self, place: Location) -> bool:
        """Whether another server has data of products; False where it cannot be asked."""
        return _data(self._remote(place, "SHOW DATABASES")[0])

    def behind(self, place: Location) -> bool:
        """Whether another server lacks what this one has; False if it cannot be asked."""
        position, received = self.rows(self.dialect.state)[0]["position"], self.received()
        if self.dialect.blind:
            rows, _ = self._remote(place, self.dialect.wait.format(position=sql(position), seconds=1))
            return bool(rows) and rows[0]["waited"] != "0"
        rows, _ = self._remote(place, self.dialect.state)  # `wait` knows nothing of what a master has written itself
        return bool(rows) and any(older(rows[0]["position"], mine) for mine in (position, received))

    def _remote(self, place: Location, statement: str) -> tuple[list[dict[str, str]], str]:
        """What another server answers, or why it does not. One that is frozen accepts a connection, and no more."""
        argv = (*self.use.remote, f"--host={place[0]}", f"--port={place[1]}", "--connect-timeout=3", "--batch")
        try:
            done = programs.run(argv, 10, stdin=f"{statement};\n".encode())
        except HostFault:
            return [], "ERROR 2013: no answer within 10 s"
        return (_table(done.output), "") if done.ok else ([], self.clean(done.tail))

    def _upstream(self, status: Mapping[str, str]) -> Location | None:
        names = self.dialect.columns
        return (status[names.host], int(status[names.port])) if status else None


def _data(databases: Iterable[Mapping[str, str]]) -> bool:
    return any(row["Database"] not in _OWN for row in databases)


def _table(output: str) -> list[dict[str, str]]:
    """The rows of the client's --batch: fields with tabs between them, names first."""
    lines = output.splitlines()
    names = lines[0].split("\t") if lines else []
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines[1:]]
