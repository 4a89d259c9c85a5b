"""How a server becomes the master without losing a write that was acknowledged, and without a second one beside it.

The order of the statements matters; docs/decisions/0024-promotion-by-hand.md says for each of them what would go wrong.
"""

import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from rolecall.database.client import Client
from rolecall.database.mastership import members_to_hear, must_take_over, reason_to_wait
from rolecall.database.remote import remote_has_data, remote_state
from rolecall.database.states import Address, RemoteState, ServerState
from rolecall.errors import FetchFault, UnsettledFault
from rolecall.fleet.topology import NodeDatabase

FORMER_MASTER_TIMEOUT = 30.0  # seconds for a former master to stop taking writes
CATCH_UP_TIMEOUT = 60  # seconds for what was written elsewhere to be applied here
_CAUSE = "former-master"


@dataclass(frozen=True)
class Promotion:
    """One server on its way to become the master.

    `former_master`: the master that this server has last followed or been, if it has noted one. `login`: of
    replication, `user` and `password` quoted for SQL.
    """

    client: Client
    target: NodeDatabase
    former_master: Address | None
    login: Mapping[str, str]

    @property
    def own_address(self) -> Address:
        """Of this server, which is to be the master."""
        return self.target.master.address, self.target.master.port

    @property
    def other_members(self) -> set[Address]:
        """The other servers of the database, as the document has them."""
        return {(member.address, member.port) for member in self.target.members} - {self.own_address}

    def take_over(self, state: ServerState) -> None:
        """Apply all that any other server has, then leave the upstream. Waits for a former master that still writes.

        Raises FetchFault for what needs time or a person: nothing has been changed then that the next run cannot use.
        """
        servers = self._hear_servers(state)
        if state.upstream:
            self._apply_upstream(state, servers[state.upstream])
        for server in servers.values():
            # A server other than the upstream may have more than this one, as the snapshot server may.
            if not all(self.client.has(position) for position in server.positions):
                self._follow(server.address)
                self._wait_until_applied(server.positions, f"{server.name} has")
        self.client.change_replication(self.client.dialect.reset_replica)

    def _apply_upstream(self, state: ServerState, upstream: RemoteState) -> None:
        """Apply everything that the upstream has, or has sent before it was gone."""
        if upstream.unreachable:
            self._apply_received(state, upstream)
            return
        if not (state.receiving and state.applying):
            if state.applying:
                self._apply_received(state, upstream)
            self._follow(upstream.address)
        self._wait_until_applied(upstream.positions, f"{upstream.name} has")

    def require_sole_master(self, state: ServerState) -> None:
        """Whether it may take writes: only if no other server does, whatever documents those have seen, and not as an
        empty server in the place of one that has data. Raises FetchFault, UnsettledFault.
        """
        if state.fresh:
            self._require_no_data_elsewhere()
        if not must_take_over(state):  # otherwise it has just asked every server
            self._hear_servers(state)

    def _apply_received(self, state: ServerState, upstream: RemoteState) -> None:
        """Apply everything that was received from an upstream that is gone."""
        if not state.applying:
            # A server that was restarted discards what it had received as soon as its replication is started.
            raise FetchFault(
                f"{upstream.name} is gone, and this server was restarted before it had applied all that it received",
                "its relay logs, read with `mariadb-binlog` or `mysqlbinlog`, show what it lacks: apply that, or give "
                f"it up with {self.client.dialect.reset_replica}; then the next run goes on",
                _CAUSE,
            )
        # From here on this server acknowledges nothing to the former master, should that come back.
        self.client.change_replication(self.client.dialect.stop_receiver)
        self._wait_until_applied([self.client.received_position()], "this server has received")

    def _require_no_data_elsewhere(self) -> None:
        """Raises UnsettledFault if this server is fresh while another one has data."""
        servers = [address for address in self.other_members if remote_has_data(self.client, address)]
        if servers:
            raise UnsettledFault(
                f"this server is to be the master of {self.target.name} and has no data, but {servers[0][0]} has some",
                "promote that one, with a higher epoch; this server is then restored from it",
                "diverged",
            )

    def _hear_servers(self, state: ServerState) -> dict[Address, RemoteState]:
        """The state of the other servers, once none of them speaks against this one being the master.

        Only a server that still takes writes is worth waiting for; anything else will not change within seconds.
        """
        deadline = time.monotonic() + FORMER_MASTER_TIMEOUT
        while True:
            servers = self.ask(state)
            reason = self.obstacle(state, servers.values())
            if not reason:
                return servers
            if time.monotonic() >= deadline or all(server.read_only for server in servers.values()):
                raise FetchFault(
                    f"{self.target.name} is not writable yet: {reason}", "the next run checks again", _CAUSE
                )
            time.sleep(0.5)

    def obstacle(self, state: ServerState, servers: Collection[RemoteState]) -> str:
        """Why this server must not become writable yet, by what the others tell; '' if it may."""
        leaders = self._leaders(state)
        # A server that is no member any more was taken out by a person who knows that it is lost.
        relevant = [server for server in servers if not server.unreachable or server.address in self.other_members]
        return reason_to_wait(relevant, self.own_address, leaders, members_to_hear(state, self.target, relevant))

    def ask(self, state: ServerState) -> dict[Address, RemoteState]:
        """What every other server tells that may have a say."""
        return self._states(self.other_members | self._leaders(state))

    def _leaders(self, state: ServerState) -> set[Address]:
        """The former master, and this server's upstream."""
        return {address for address in (state.upstream, self.former_master) if address and address != self.own_address}

    def _states(self, addresses: Collection[Address]) -> dict[Address, RemoteState]:
        """All at once: a server that is gone takes seconds to time out, and writes wait meanwhile."""
        with ThreadPoolExecutor() as pool:
            return {state.address: state for state in pool.map(partial(remote_state, self.client), sorted(addresses))}

    def _wait_until_applied(self, positions: Iterable[str], origin: str) -> None:
        for position in positions:
            if not self.client.has_applied(position, CATCH_UP_TIMEOUT):
                if (state := self.client.state()).diverged:
                    raise UnsettledFault(
                        f"this server has not all that {origin}, and cannot get it, for the two have diverged: "
                        f"{state.error_text} (error {state.error})",
                        "compare the two, and promote the one that has what was acknowledged; then the other one is "
                        "set aside and restored: docs/how-to/databases.md has the steps",
                        "diverged",
                    )
                raise FetchFault(
                    f"not all that {origin} has been applied here: {position}", "the next run goes on", _CAUSE
                )

    def _follow(self, address: Address) -> None:
        self.client.follow(address, self.login)
