"""What the document wants of a database server, done step by step; data is never overwritten."""

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

from rolecall.database.client import Client
from rolecall.database.promotion import Promotion
from rolecall.database.replication import EMPTY, Action, Location, Neighbour, Standing, actions_for, stuck
from rolecall.errors import FetchFault, UnsettledFault
from rolecall.fleet.topology import Endpoint, NodeDatabase
from rolecall.forms.quoting import sql
from rolecall.host import programs
from rolecall.node.records import Notes
from rolecall.render.contents import Replication

__all__ = ["Client", "DatabaseServer", "duty_of", "leave"]

Texts: TypeAlias = Mapping[str, str]

_NOTE = "databases"
_LOCK = "rolecall"  # of the session that restores: whoever outlived an earlier run can be found by it
_PATIENCE = 30  # seconds


class DatabaseServer:
    """One server of one database. `secrets`: values by key, of which no message shows any; `marks`: their
    fingerprints. `note`: what it remembers of earlier runs, under the database's name:

    duty, master          what it was told last; `master` only once it had done all of it
    joining               a restore was begun
    candidate             whose acknowledgement this master has waited for
    login, accounts       fingerprints of what it follows with, and of the SQL that has made the accounts
    made                  the accounts
    """

    def __init__(self, use: Replication, wanted: NodeDatabase, secrets: Texts, marks: Texts, notes: Notes) -> None:
        self.client = Client(use, secrets.values())
        self.dialect, self.use = self.client.dialect, use
        self.wanted, self.values, self.notes = wanted, secrets, notes
        self.note = dict(notes.read(_NOTE).get(wanted.name, {}))
        password = wanted.replication_password
        self.login = marks.get(password.key, "") if password else ""
        self.owed = ""  # what the next run has to look at soon, although all is well

    def settle(self, accounts: str, mark: str) -> str:
        """Become what the document says; returns what was done. `accounts`: SQL that makes schemas and accounts;
        `mark` tells it apart.

        Raises UnsettledFault for what a person has to look at, FetchFault for what
        only needs time: the next run goes on.
        """
        now = self._standing()
        steps = actions_for(now, self.wanted)
        self._remember(duty=self.wanted.duty, candidate=self.wanted.candidate if now.promised else None)
        done = [step.value for step in steps if self._do(step, now, accounts, mark)]
        if fault := stuck(now, self.wanted):
            raise fault
        if self.wanted.upstream is None:
            if self.wanted.candidate and not now.promised:
                self.owed = f"{self.wanted.candidate} does not acknowledge yet: what is written is on this server alone"
        else:  # what its master makes meanwhile, it will have to know if it becomes the master
            self._remember(accounts="", made=sorted({*self.note.get("made", ()), *self._names()}))
        self._remember(master=[self.wanted.master.address, self.wanted.master.port])
        return f"{self.wanted.duty} of {self.wanted.name}: {', '.join(done)}" if done else ""

    def _standing(self) -> Standing:
        """What it is, with what only notes and the candidate tell."""
        now = self.client.standing()
        if now.diverged and now.applying and not now.receiving and self.wanted.upstream:
            now = self.client.retried()  # its upstream may only have been behind
        return replace(
            now,
            torn=bool(self.note.get("joining")) and not now.fresh and now.upstream is None,
            promised=self.wanted.upstream is None and self._promised(now),
            outdated=now.upstream is not None and self.note.get("login") != self.login,
        )

    def _promised(self, now: Standing) -> bool:
        """Whether the candidate acknowledges what this master writes, or has done so before."""
        places = [(one.address, one.port) for one in self.wanted.members if one.server == self.wanted.candidate]
        if not places or self.note.get("candidate") == self.wanted.candidate:
            return bool(places)
        there, me = self.client.ask(places[0]), (self.wanted.master.address, self.wanted.master.port)
        return now.ackers > 0 and there.acks and there.upstream == me

    def _remember(self, **more: object) -> None:
        self.note |= more
        self.notes.write(_NOTE, {**self.notes.read(_NOTE), self.wanted.name: self.note})

    # Steps

    def _do(self, step: Action, now: Standing, accounts: str, mark: str) -> bool:
        """Take one step; returns whether there was anything to tell of."""
        match step:
            case Action.CLOSE:
                self.client.close()
            case Action.JOIN:
                self._join()
            case Action.FOLLOW:
                return self._follow(now)
            case Action.TAKE_OVER:
                self._promotion().take_over(now)
            case Action.OPEN:
                self._promotion().open(now)
            case Action.ACCOUNTS:
                return self._accounts(accounts, mark, now)
            case Action.START:
                self._answers()
                self.client.run(self.dialect.start)
            case _:
                self.client.run({
                    Action.ACKED: self.dialect.acked, Action.UNACKED: self.dialect.unacked,
                    Action.ACK: self.dialect.ack, Action.NO_ACK: self.dialect.no_ack,
                }[step])  # fmt: skip
        return True

    def _promotion(self) -> Promotion:
        former = self.note.get("master")
        return Promotion(self.client, self.wanted, (former[0], former[1]) if former else None, self._account())

    def _account(self) -> dict[str, str]:
        """Of replication, as SQL."""
        password = self.wanted.replication_password
        return {"user": sql(self.use.user), "password": sql(self.values[password.key] if password else "")}

    def _follow(self, now: Standing) -> bool:
        """Point it at its upstream. What it has acknowledged it applies first: a change throws the rest away."""
        upstream = self._upstream()
        moved = now.upstream != _place(upstream)
        if not moved and now.outdated and self.client.ask(_place(upstream)).refusal:
            self.owed = f"{upstream.server} does not know the new password for replication yet"  # its next run tells it
            return False
        if not moved and not now.applying:
            self._answers()
        if now.upstream:
            self.client.run(self.dialect.stop_receiving)
            if now.acks and now.applying and not self.client.has(self.client.received(), _PATIENCE):
                raise FetchFault("not all that was received has been applied", "the next run goes on", "upstream")
        if not now.fresh and not now.torn and self.client.behind(_place(upstream)):
            raise UnsettledFault(  # it would be told that it has diverged, or, worse, not be told
                f"{upstream.server} does not have yet all that this server has, so it cannot follow it",
                f"the next run looks again; if it stays so, this server has more than was acknowledged: {EMPTY}",
                "upstream",
            )
        where = {"host": sql(upstream.address), "port": str(upstream.port)}
        self.client.run(self.dialect.follow.format(**where, **self._account()))
        self._remember(login=self.login)
        return True

    def _join(self) -> None:
        """All of the upstream's data, with the position that it is of. Nothing of it goes into this server's log."""
        upstream = self._upstream()
        if not self._answers().positions:
            raise FetchFault(f"{upstream.server} has no data yet", "the next run looks again", "upstream")
        self._end_earlier()
        self._remember(joining=True)
        dump = (*self.use.dump, f"--host={upstream.address}", f"--port={upstream.port}")
        first = f"SELECT GET_LOCK('{_LOCK}', 0);\n{self.dialect.restore};\n".encode()
        done = programs.pipe(dump, self.use.client, first, 6 * 3600)
        if not done.ok:
            words = self.client.clean(done.tail)
            raise FetchFault(f"cannot restore from {upstream.server}: {words}", "the next run begins again", "upstream")
        self.client.run(self.dialect.restored)
        self._remember(joining=False)

    def _end_earlier(self) -> None:
        """The restore of a run that was killed goes on without it: two at once would mix."""
        until = time.monotonic() + _PATIENCE
        while (session := self.client.rows(f"SELECT IS_USED_LOCK('{_LOCK}') AS id")[0]["id"]) != "NULL":
            if time.monotonic() >= until:
                raise FetchFault("an earlier restore does not end", "the next run looks again", "upstream")
            self.client.run(f"KILL {int(session)}")
            time.sleep(0.2)

    def _upstream(self) -> Endpoint:
        if self.wanted.upstream is None or self.wanted.replication_password is None:
            raise UnsettledFault(
                f"databases.{self.wanted.name} has no replication_password, so nobody can follow its master",
                "add a reference: ssm:, secretsmanager: or file:",
            )
        return self.wanted.upstream

    def _answers(self) -> Neighbour:
        """The upstream. Raises FetchFault if it does not answer: a server that was restarted throws away what it had
        received when it starts to follow, so it has to be able to get it again.
        """
        there = self.client.ask(_place(self._upstream()))
        if there.refusal:
            words = f"{self._upstream().server} ({there.name}) does not answer: {there.refusal}"
            raise FetchFault(words, "the next run asks again; is it up, and has its own run been?", "upstream")
        return there

    def _accounts(self, text: str, mark: str, now: Standing) -> bool:
        """Schemas and accounts, when they have changed; there are passwords among them, so the note has their mark."""
        names = set(self._names())
        if self.note.get("accounts") == mark and not now.fresh:
            return False
        until = time.monotonic() + _PATIENCE
        while (now := self.client.standing()).acked and not now.ackers:
            if time.monotonic() >= until:
                raise FetchFault(
                    f"{self.wanted.candidate} does not acknowledge, so every write waits; accounts are as they were",
                    "look at the candidate; if it is lost, name another in the document, or none",
                    "upstream",
                )
            time.sleep(0.5)
        self._remember(made=sorted({*self.note.get("made", ()), *names}))
        gone = sorted({*self.note["made"]} - names)
        self.client.run(f"{text};\nDROP USER IF EXISTS {', '.join(gone)}" if gone else text, 120)
        self._remember(accounts=mark, made=sorted(names))
        return True

    def _names(self) -> Iterator[str]:
        """The accounts that the document wants, as SQL: what it wants no more, it made, and may take away."""
        if self.wanted.replication_password:
            yield from (f"{sql(self.use.user)}@{sql(one.address)}" for one in self.wanted.members)
        for account in self.wanted.accounts:
            if account.password:
                yield from (f"{sql(account.user)}@{sql(address)}" for address in account.addresses)


def leave(use: Replication, databases: Collection[str], notes: Notes) -> str:
    """A server that the document has taken out of its database takes no writes, and acknowledges none; data stays.

    `databases`: those that it is a server of now. Returns what was done.
    """
    noted = notes.read(_NOTE)
    gone = [name for name, note in noted.items() if name not in databases and note.get("duty")]
    if gone and not databases:
        client = Client(use)
        now = client.standing()
        if not now.read_only:
            client.close()
        client.run(f"{client.dialect.unacked}; {client.dialect.no_ack}")
        if now.upstream:
            client.run(client.dialect.stop_receiving)
    if gone:
        notes.write(_NOTE, noted | {name: noted[name] | {"duty": "", "candidate": None} for name in gone})
    return ", ".join(f"no server of {name} any more" for name in gone)


def duty_of(database: str, notes: Notes) -> str:
    """What the last run made this server in a database; '' if none did."""
    return str(notes.read(_NOTE).get(database, {}).get("duty", ""))


def _place(one: Endpoint) -> Location:
    return one.address, one.port
