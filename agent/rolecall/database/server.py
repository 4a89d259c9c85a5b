"""What the document wants of a database server, done action by action; data is never overwritten."""

from collections.abc import Mapping
from dataclasses import replace
from operator import attrgetter
from typing import TypeAlias

from rolecall.database.accounts import account_names, accounts_of, allow_connections, changed_passwords, update_accounts
from rolecall.database.client import Client, UnansweredFault
from rolecall.database.closing import close, end_at_last
from rolecall.database.follower import Follower
from rolecall.database.marks import has_mark, set_mark
from rolecall.database.mastership import (
    acknowledges_now,
    has_been_acknowledged,
    has_every_write,
    opened_before,
    successor_problem,
    waits_for_nobody_else,
    was_opened,
)
from rolecall.database.memory import Memory
from rolecall.database.promotion import Promotion
from rolecall.database.remote import remote_state
from rolecall.database.replication import Action, actions_for, blocking_fault
from rolecall.database.restore import Helpers
from rolecall.database.states import ServerState, address_of
from rolecall.database.waits import oldest_wait, require_answers
from rolecall.errors import FetchFault
from rolecall.fleet.topology import NodeDatabase
from rolecall.forms.quoting import sql
from rolecall.node.notes import Notes
from rolecall.report import DatabaseStatus

Texts: TypeAlias = Mapping[str, str]

_STATEMENTS = {  # of the actions that are no more than that
    Action.WAIT_FOR_ACKS: attrgetter("wait_for_acks"),
    Action.STOP_WAITING_FOR_ACKS: attrgetter("stop_waiting_for_acks"),
    Action.ACKNOWLEDGE: attrgetter("acknowledge"),
    Action.STOP_ACKNOWLEDGING: attrgetter("stop_acknowledging"),
}


class DatabaseServer:
    """One server of one database. `secrets`: values by key, of which no message shows any; `fingerprints`: theirs.

    `notes`: what it remembers of earlier runs; `helpers`: of the run, for a restore.
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
        self.target, self.memory = target, Memory(notes, target.name)
        self.secrets, self.fingerprints = secrets, fingerprints
        password = target.replication_password
        self.login = {"user": sql(self.replication.user), "password": sql(secrets[password.key] if password else "")}
        self.login_fingerprint = fingerprints.get(password.key, "") if password else ""
        self.follower = Follower(client, target, self.login, self.login_fingerprint, self.memory, helpers)
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
        self.memory.remember(duty=self.target.duty, candidate=self.target.candidate if state.acks_required else None)
        if state.read_only:
            self.memory.remember(closing=0)
        changes = [action.value for action in actions if self._perform(action, state, accounts, fingerprint)]
        if fault := blocking_fault(state, self.target):
            raise fault
        if self.target.upstream is None:
            self._end_as_master(state)
        else:
            self._end_as_follower()
        self.memory.remember(master=address_of(self.target.master))
        require_answers(self.client, self.target.candidate)
        return f"{self.target.duty} of {self.target.name}: {', '.join(changes)}" if changes else ""

    def _end_as_master(self, state: ServerState) -> None:
        self.memory.remember(opened=self.target.mastership)  # a note of an earlier version does not have it
        self.oldest_wait = oldest_wait(self.client)  # first, for the mark is not left while writes wait
        candidate = self.target.candidate
        if candidate and not state.acks_required:
            self.pending = f"{candidate} does not acknowledge yet: what is written is on this server alone"
        elif candidate and not state.marked:
            self._set_mark(candidate, state)

    def _set_mark(self, candidate: str, state: ServerState) -> None:
        """Say in the data that this master waits for its candidate, as soon as it waits for nobody else."""
        require_answers(self.client, candidate)
        replicas = self.client.state().acknowledging_replicas
        if waits_for_nobody_else(replace(state, acknowledging_replicas=replicas)):
            set_mark(self.client, self.target)
        else:
            self.pending = f"others than {candidate} acknowledge still: their next runs end that"

    def _end_as_follower(self) -> None:
        # Accounts that its master creates meanwhile reach it by replication. It has to know them if it becomes
        # the master, or it would never drop those that are no longer needed.
        names = account_names(self.target, self.replication.user) | set(self.memory.note.created_accounts)
        self.memory.remember(accounts="", created_accounts=tuple(sorted(names)), passwords={})
        self.follower.note_acknowledgement()
        self.pending = self.follower.pending

    @property
    def status(self) -> DatabaseStatus:
        """What it is, for the report."""
        return DatabaseStatus(self.target.duty, self.target.epoch, self.memory.note.opened)

    def _state_or_end(self) -> ServerState:
        """What the server is. A former master that does not tell is ended after some tries: it may be taking writes."""
        try:
            return self._state()
        except UnansweredFault as fault:
            note = self.memory.note
            if self.target.upstream is not None and (note.duty == "master" or note.closing):
                self.memory.remember(closing=note.closing + 1)
                end_at_last(self.client, self.memory.note.closing, fault)
            raise

    def _state(self) -> ServerState:
        """What the server is, and what only the notes and the candidate know of it."""
        state = self.client.state()
        if state.diverged and state.applying and not state.receiving and self.target.upstream:
            state = self.client.state_after_retry()  # the upstream may only have lagged when it was last asked
        state = replace(state, marked=has_mark(self.client, self.target))
        return replace(
            state,
            opened=was_opened(self.memory.note, self.target),
            complete=has_every_write(self.memory.note, self.target, state),
            restore_incomplete=self.memory.note.joining and state.upstream is None,
            acks_required=self.target.upstream is None and self._acks_required(state),
            password_outdated=state.upstream is not None and self.memory.note.login != self.login_fingerprint,
            channel_outdated=state.upstream is not None and state.channel != self.client.channel(state.upstream).status,
        )

    def _acks_required(self, state: ServerState) -> bool:
        """Whether the candidate acknowledges what this master writes, or has done so before."""
        members = self.target.members
        candidate = next((member for member in members if member.server == self.target.candidate), None)
        if candidate is None:
            return False
        if has_been_acknowledged(self.memory.note, self.target, state):
            return True  # whatever it is now: one that is out is not waited for here too
        return acknowledges_now(self.target, state, remote_state(self.client, address_of(candidate)))

    # Actions

    def _close(self) -> None:
        """Take writes no longer. How often that was tried is noted before it is: a run may be killed meanwhile."""
        self.memory.remember(closing=self.memory.note.closing + 1)
        close(self.client, self.memory.note.closing)

    def _perform(self, action: Action, state: ServerState, accounts: str, fingerprint: str) -> bool:
        """Perform one action; returns whether it changed anything."""
        match action:
            case Action.SET_READ_ONLY:
                self._require_successor(state)
                self._close()
            case Action.RESTORE:
                self.follower.restore()
            case Action.FOLLOW:
                return self.follower.follow(state)
            case Action.TAKE_OVER:
                self._promotion().take_over(state)
            case Action.SET_WRITABLE:
                self._promotion().require_sole_master(state)
                # Noted first: who is killed here has all the same what it needs, and nobody else can have been opened.
                self.memory.remember(opened=self.target.mastership)
                self.client.run(self.dialect.set_writable)
            case Action.UPDATE_ACCOUNTS:
                return self._update_accounts(accounts, fingerprint, state)
            case Action.RESUME:
                self.follower.resume()
            case _:
                self.client.run(_STATEMENTS[action](self.dialect))
        return True

    def _promotion(self) -> Promotion:
        return Promotion(self.client, self.target, self.memory.note.master, self.login)

    def _require_successor(self, state: ServerState) -> None:
        """A promotion that cannot end must not begin: nobody would take writes then. Raises FetchFault."""
        if self.target.upstream is None:
            promotion = self._promotion()
            problem = promotion.obstacle(state, promotion.ask(state).values())
        elif opened_before(self.memory.note, self.target):
            successor = remote_state(self.client, address_of(self.target.master))
            problem = successor_problem(successor, state)
        else:
            return
        if problem:
            raise FetchFault(
                f"{self.target.master.server} cannot take over yet: {problem}",
                "this server goes on taking writes until then; the next run checks again",
                "former-master",
            )

    def _update_accounts(self, accounts: str, fingerprint: str, state: ServerState) -> bool:
        """Create and drop accounts; returns whether their SQL had changed.

        It has passwords in it, so the note keeps its fingerprint.
        """
        if self.memory.note.accounts == fingerprint and not state.fresh:
            return False
        require_answers(self.client, self.target.candidate)
        needed, noted = account_names(self.target, self.replication.user), set(self.memory.note.created_accounts)
        self.memory.remember(created_accounts=tuple(sorted(needed | noted)))
        all_accounts = accounts_of(self.target, self.replication.user)
        changed = changed_passwords(all_accounts, self.secrets, self.fingerprints, self.memory.note.passwords)
        locked = update_accounts(self.client, accounts, changed, noted - needed)
        names = tuple(sorted(needed | locked))
        self.memory.remember(accounts=fingerprint, created_accounts=names, passwords=self.fingerprints)
        return True
