"""How a server becomes the master without losing a write that was acknowledged, and without a second one beside it.

The order matters, and each line has a trap behind it: docs/decisions/0024-promotion-by-hand.md.
"""

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rolecall.database.client import Client
from rolecall.database.replication import Location, Neighbour, Standing, held_up
from rolecall.errors import FetchFault, UnsettledFault
from rolecall.fleet.topology import NodeDatabase
from rolecall.forms.quoting import sql

PATIENCE = 30.0  # seconds for a former master to stop writing
_CATCH_UP = 60  # seconds for what was written to arrive
_CAUSE = "former-master"


@dataclass(frozen=True)
class Promotion:
    """One server on its way to be the master. `former`: who was it, as far as this server has noted."""

    client: Client
    wanted: NodeDatabase
    former: Location | None
    login: Mapping[str, str]  # of replication, quoted: user and password

    @property
    def me(self) -> Location:
        """This server, which is to be the master."""
        return self.wanted.master.address, self.wanted.master.port

    @property
    def members(self) -> set[Location]:
        """The other servers of the database, as the document has them."""
        return {(one.address, one.port) for one in self.wanted.members} - {self.me}

    def take_over(self, now: Standing) -> None:
        """Have all that any other server has, then leave the upstream. It waits for a former master that still writes.

        Raises FetchFault for what needs time or a person: nothing has been changed then that the next run cannot use.
        """
        assert now.upstream
        there = self._wait_for_others(now.upstream, complete=now.acks and now.applying)
        if there[now.upstream].silent:
            if not now.applying:  # a server that was restarted throws away what it had received, when it starts again
                raise FetchFault(
                    f"{there[now.upstream].name} is gone, and this server was restarted before it had applied all",
                    "its relay logs, read by `mariadb-binlog` or `mysqlbinlog`, show what it has more; apply that, or "
                    f"give it up: {self.client.dialect.forget}; then the next run goes on",
                    _CAUSE,
                )
            self.client.run(self.client.dialect.stop_receiving)  # from now on nobody acknowledges for the former master
            self._have([self.client.received()], "this server has received")
        else:
            if not (now.receiving and now.applying):
                self._follow(now.upstream)
            self._have(there[now.upstream].positions, f"{there[now.upstream].name} has")
        for one in there.values():
            if not all(self.client.has(position, 0) for position in one.positions):
                self._follow(one.place)  # somebody has more than this server, as the snapshot server may
                self._have(one.positions, f"{one.name} has")
        self.client.run(self.client.dialect.forget)

    def open(self, now: Standing) -> None:
        """Take writes: only if no other server does, whatever the documents say that it has seen, and not with an empty
        server in the place of one that has data. Raises FetchFault, UnsettledFault.
        """
        if now.fresh and (full := [place for place in self.members if self.client.has_data(place)]):
            raise UnsettledFault(
                f"this server is to be the master of {self.wanted.name} and has no data, but {full[0][0]} has some",
                "promote that one with a higher epoch: this server is restored from it then",
                "diverged",
            )
        if now.upstream is None:  # else it has just taken over, and asked everybody
            self._wait_for_others(None, complete=True)
        self.client.run(self.client.dialect.open)

    def _wait_for_others(self, upstream: Location | None, *, complete: bool) -> dict[Location, Neighbour]:
        """What the others tell, once nothing speaks against it. Only one that still writes is worth waiting for."""
        leaders = {place for place in (upstream, self.former) if place and place != self.me}
        until = time.monotonic() + PATIENCE
        while True:
            with ThreadPoolExecutor() as pool:  # who is gone takes seconds to be silent, and writes wait for us
                asked = pool.map(self.client.ask, sorted(self.members | leaders))
            there = {one.place: one for one in asked}
            # Who is no member any more was taken out by somebody who knows that it is lost.
            heard = [one for one in there.values() if not one.silent or one.place in self.members]
            if not (words := held_up(heard, self.me, leaders, complete=complete)):
                return there
            if time.monotonic() >= until or all(one.read_only for one in heard):
                raise FetchFault(f"{self.wanted.name} is not opened: {words}", "the next run looks again", _CAUSE)
            time.sleep(0.5)

    def _have(self, positions: Iterable[str], who: str) -> None:
        for one in positions:
            if not self.client.has(one, _CATCH_UP):
                raise FetchFault(f"not all that {who} has been applied: {one}", "the next run goes on", _CAUSE)

    def _follow(self, place: Location) -> None:
        where = {"host": sql(place[0]), "port": str(place[1])}
        self.client.run(self.client.dialect.follow.format(**where, **self.login))
