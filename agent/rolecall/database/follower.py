"""How a server comes to follow its upstream, and stays able to say that it has all that was acknowledged."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rolecall.database.client import Client
from rolecall.database.marks import has_mark
from rolecall.database.mastership import may_speak_for_all
from rolecall.database.memory import Memory
from rolecall.database.remote import remote_state, require_superset
from rolecall.database.restore import Helpers, Restore, end_earlier_restore
from rolecall.database.states import RemoteState, ServerState, address_of
from rolecall.errors import FetchFault, UnsettledFault
from rolecall.fleet.topology import Endpoint, NodeDatabase

_APPLY_TIMEOUT = 30  # seconds to apply what was received


@dataclass
class Follower:
    """This node's server as one that follows another."""

    client: Client
    target: NodeDatabase
    login: Mapping[str, str]  # of replication, `user` and `password` quoted for SQL
    login_fingerprint: str  # of that password
    memory: Memory
    helpers: Helpers  # of the run, for a restore
    pending: str = ""  # what the next run has to look at soon, although nothing is wrong

    def follow(self, state: ServerState) -> bool:
        """Point the server at its upstream; returns whether it was."""
        upstream = self._upstream()
        address = address_of(upstream)
        moves = state.upstream != address
        if not moves and state.password_outdated and remote_state(self.client, address).error:
            self.pending = f"{upstream.server} does not know the new replication password yet"  # its next run sets it
            return False
        if not moves and not state.applying:
            self._require_upstream()
        if state.upstream:
            self._stop_receiver(state)
        if not state.fresh and not state.restore_incomplete:
            require_superset(self.client, upstream, self.target.master)
        if not state.applying:
            # What it had received before is lost, and has to come once more before it can speak for all.
            self.memory.remember(acknowledged_since=0)
        self.client.follow(address, self.login)
        self.memory.remember(login=self.login_fingerprint)
        return True

    def _stop_receiver(self, state: ServerState) -> None:
        """Receive no more, and apply what was acknowledged: a change of the upstream discards what is only received."""
        self.client.change_replication(self.client.dialect.stop_receiver)
        if not (state.acknowledges and state.applying):
            return
        if not self._has_applied(self.client.received_position()):
            raise FetchFault(
                "this server has not yet applied all that it has received", "the next run goes on", "upstream"
            )

    def resume(self) -> None:
        """Have the receiver go on."""
        self._require_upstream()
        self.client.change_replication(self.client.dialect.resume)

    def restore(self) -> None:
        """Get all of the upstream's data, in the place of none or of a part of it."""
        upstream = self._upstream()
        if not self._require_upstream().positions:
            raise FetchFault(f"{upstream.server} has no data yet", "the next run checks again", "upstream")
        end_earlier_restore(self.client)
        self.memory.remember(joining=True, opened=0, acknowledged_since=0)  # that was with other data
        Restore(self.client, upstream, self.login, self.helpers).run()
        self.memory.remember(joining=False)

    def _upstream(self) -> Endpoint:
        if self.target.upstream is None or self.target.replication_password is None:
            raise UnsettledFault(
                f"databases.{self.target.name} has no replication_password, so nobody can follow its master",
                "add a reference: ssm:, secretsmanager: or file:",
            )
        return self.target.upstream

    def _require_upstream(self) -> RemoteState:
        """The upstream's state. Raises FetchFault if it does not answer.

        A server that was restarted discards what it had received as soon as its replication is started, so it must be
        able to receive that again.
        """
        upstream = self._upstream()
        remote = remote_state(self.client, address_of(upstream))
        if remote.error:
            raise FetchFault(
                f"{upstream.server} ({remote.name}) does not answer: {remote.error}",
                "the next run asks again; is the server up, and has its own agent run?",
                "upstream",
            )
        return remote

    def note_acknowledgement(self) -> None:
        """Note as the candidate that from now on nothing is acknowledged without this server."""
        succession = self.target.succession
        noted = self.memory.note.acknowledged_since
        if self.target.duty != "candidate" or not succession or noted == succession.since:
            return
        state = replace(self.client.state(), marked=has_mark(self.client, self.target))
        if may_speak_for_all(state, self.target):
            self.memory.remember(acknowledged_since=succession.since)
        else:
            self.pending = f"{self.target.master.server} has not said yet that it waits for this server"

    def _has_applied(self, position: str) -> bool:
        return self.client.has_applied(position, _APPLY_TIMEOUT)
