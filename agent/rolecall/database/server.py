"""What the document wants of a database server, done action by action; data is never overwritten."""

from collections.abc import Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Any, TypeAlias

from rolecall.database.accounts import account_names, allow_connections, update_accounts
from rolecall.database.client import Client, UnansweredFault
from rolecall.database.closing import close, end_at_last
from rolecall.database.promotion import Promotion
from rolecall.database.remote import remote_state, require_superset
from rolecall.database.replication import (
    Action,
    RemoteState,
    ServerState,
    actions_for,
    address_of,
    blocking_fault,
)
from rolecall.database.restore import Helpers, Restore, end_earlier_restore
from rolecall.database.waits import oldest_wait, require_answers
from rolecall.errors import FetchFault, UnsettledFault
from rolecall.fleet.topology import Endpoint, NodeDatabase
from rolecall.forms.quoting import sql
from rolecall.node.notes import Databases, Notes

Texts: TypeAlias = Mapping[str, str]

_APPLY_TIMEOUT = 30  # seconds to apply what was received
_STATEMENTS = {  # of the actions that are no more than that
    Action.WAIT_FOR_ACKS: attrgetter("wait_for_acks"),
    Action.STOP_WAITING_FOR_ACKS: attrgetter("stop_waiting_for_acks"),
    Action.ACKNOWLEDGE: attrgetter("acknowledge"),
    Action.STOP_ACKNOWLEDGING: attrgetter("stop_acknowledging"),
}


class DatabaseServer:
    """One server of one database. `secrets`: values by key, of which no message shows any; `fingerprints`: theirs.

    `note`: what it remembers of earlier runs; `helpers`: of the run, for a restore.
    """

    def __init__(
        self,
        client: Client,
        target: NodeDatabase,
        secrets: Texts,
        fingerprints: Texts,
        notes: Notes,
        *,
        helpers: Helpers,
    ) -> None:
        self.client, self.dialect, self.replication = client, client.dialect, client.replication
        self.target, self.secrets, self.notes, self.helpers = target, secrets, notes, helpers
        self.note = notes.read(Databases).of(target.name)
        password = target.replication_password
        self.login_fingerprint = fingerprints.get(password.key, "") if password else ""
        self.pending = ""  # what the next run has to look at soon, although nothing is wrong
        self.oldest_wait: float | None = None  # seconds of a write of this master, as converge() has seen it

    def converge(self, accounts: str, fingerprint: str) -> str:
        """Become what the document says; returns what was done, for the report.

        `accounts`: SQL that creates schemas and accounts; `fingerprint`: of that SQL. Raises UnsettledFault for what
        a person has to look at, FetchFault for what only needs time: the next run goes on.
        """
        state = self._state_or_end()
        allow_connections(self.client, self.target.max_connections)
        actions = actions_for(state, self.target)
        self._remember(duty=self.target.duty, candidate=self.target.candidate if state.acks_required else None)
        if state.read_only:
            self._remember(closing=0)
        changes = [action.value for action in actions if self._perform(action, state, accounts, fingerprint)]
        if fault := blocking_fault(state, self.target):
            raise fault
        if self.target.upstream is None:
            candidate = self.target.candidate
            if candidate and not state.acks_required:
                self.pending = f"{candidate} does not acknowledge yet: what is written is on this server alone"
            self.oldest_wait = oldest_wait(self.client)
        else:
            # Accounts that its master creates meanwhile reach it by replication. It has to know them if it becomes
            # the master, or it would never drop those that are no longer needed.
            names = account_names(self.target, self.replication.user) | set(self.note.created_accounts)
            self._remember(accounts="", created_accounts=tuple(sorted(names)))
        self._remember(master=address_of(self.target.master))
        require_answers(self.client, self.target.candidate)
        return f"{self.target.duty} of {self.target.name}: {', '.join(changes)}" if changes else ""

    def _state_or_end(self) -> ServerState:
        """What the server is. A former master that does not tell is ended after some tries: it may be taking writes."""
        try:
            return self._state()
        except UnansweredFault as fault:
            if self.target.upstream is not None and (self.note.duty == "master" or self.note.closing):
                self._remember(closing=self.note.closing + 1)
                end_at_last(self.client, self.note.closing, fault)
            raise

    def _state(self) -> ServerState:
        """What the server is, and what only the notes and the candidate know of it."""
        state = self.client.state()
        if state.diverged and state.applying and not state.receiving and self.target.upstream:
            state = self.client.state_after_retry()  # the upstream may only have lagged when it was last asked
        return replace(
            state,
            restore_incomplete=self.note.joining and state.upstream is None,
            acks_required=self.target.upstream is None and self._acks_required(state),
            password_outdated=state.upstream is not None and self.note.login != self.login_fingerprint,
            channel_outdated=state.upstream is not None and state.channel != self.client.channel(state.upstream).status,
        )

    def _acks_required(self, state: ServerState) -> bool:
        """Whether the candidate acknowledges what this master writes, or has done so before."""
        members = self.target.members
        candidate = next((member for member in members if member.server == self.target.candidate), None)
        if candidate is None:
            return False
        if self.note.candidate == self.target.candidate:
            return True
        remote = remote_state(self.client, address_of(candidate))
        follows = remote.upstream == address_of(self.target.master)
        return state.acknowledging_replicas > 0 and remote.acknowledges and follows

    def _remember(self, **changes: Any) -> None:
        self.note = replace(self.note, **changes)
        self.notes.write(Databases({**self.notes.read(Databases).databases, self.target.name: self.note}))

    # Actions

    def _close(self) -> None:
        """Take writes no longer. How often that was tried is noted before it is: a run may be killed meanwhile."""
        self._remember(closing=self.note.closing + 1)
        close(self.client, self.note.closing)

    def _perform(self, action: Action, state: ServerState, accounts: str, fingerprint: str) -> bool:
        """Perform one action; returns whether it changed anything."""
        match action:
            case Action.SET_READ_ONLY:
                self._close()
            case Action.RESTORE:
                self._restore()
            case Action.FOLLOW:
                return self._follow(state)
            case Action.TAKE_OVER:
                self._promotion().take_over(state)
            case Action.SET_WRITABLE:
                self._promotion().make_writable(state)
            case Action.UPDATE_ACCOUNTS:
                return self._update_accounts(accounts, fingerprint, state)
            case Action.RESUME:
                self._require_upstream()
                self.client.change_replication(self.dialect.resume)
            case _:
                self.client.run(_STATEMENTS[action](self.dialect))
        return True

    def _promotion(self) -> Promotion:
        return Promotion(self.client, self.target, self.note.master, self._login())

    def _login(self) -> dict[str, str]:
        """Of replication, quoted for SQL."""
        password = self.target.replication_password
        return {"user": sql(self.replication.user), "password": sql(self.secrets[password.key] if password else "")}

    def _follow(self, state: ServerState) -> bool:
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
        self.client.follow(address, self._login())
        self._remember(login=self.login_fingerprint)
        return True

    def _stop_receiver(self, state: ServerState) -> None:
        """Receive no more, and apply what was acknowledged: a change of the upstream discards what is only received."""
        self.client.change_replication(self.dialect.stop_receiver)
        if not (state.acknowledges and state.applying):
            return
        if not self.client.has_applied(self.client.received_position(), _APPLY_TIMEOUT):
            raise FetchFault(
                "this server has not yet applied all that it has received", "the next run goes on", "upstream"
            )

    def _restore(self) -> None:
        upstream = self._upstream()
        if not self._require_upstream().positions:
            raise FetchFault(f"{upstream.server} has no data yet", "the next run checks again", "upstream")
        end_earlier_restore(self.client)
        self._remember(joining=True)
        Restore(self.client, upstream, self._login(), self.helpers).run()
        self._remember(joining=False)

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

    def _update_accounts(self, accounts: str, fingerprint: str, state: ServerState) -> bool:
        """Create and drop accounts; returns whether their SQL had changed.

        It has passwords in it, so the note keeps its fingerprint.
        """
        if self.note.accounts == fingerprint and not state.fresh:
            return False
        require_answers(self.client, self.target.candidate)
        needed, noted = account_names(self.target, self.replication.user), set(self.note.created_accounts)
        self._remember(created_accounts=tuple(sorted(needed | noted)))
        locked = update_accounts(self.client, accounts, noted - needed)
        self._remember(accounts=fingerprint, created_accounts=tuple(sorted(needed | locked)))
        return True
