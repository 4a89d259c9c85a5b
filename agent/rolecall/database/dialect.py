"""What the agent says to a database server, as a type: a row for each thing that the two servers say differently."""

from dataclasses import dataclass
from typing import NamedTuple


class StatusColumns(NamedTuple):
    """The columns of `replica_status`; those of errors have the same names in both servers."""

    host: str
    port: str
    receiver: str  # whether the receiver (I/O thread) runs
    applier: str  # whether the applier (SQL thread) runs
    lag: str  # in seconds
    received: str  # the GTID position up to which the receiver has received
    encrypted: str
    authority: str  # the file of the authority that it believes
    verified: str


class Channel(NamedTuple):
    """How a connection to another server is made; `{authority}` stands for the file of the one that it believes."""

    options: tuple[str, ...]  # of the client
    clause: str  # of `follow`
    status: tuple[str, str, str]  # the last three of `status_columns`

    def trusting(self, authority: str, quoted: str) -> "Channel":
        """The same with that file; `quoted`: for SQL."""
        options = tuple(option.format(authority=authority) for option in self.options)
        encrypted, _, verified = self.status
        return Channel(options, self.clause.format(authority=quoted), (encrypted, authority, verified))


class Clone(NamedTuple):
    """How a server makes the files of another its own."""

    statement: str  # the server ends with it, to start with other data; {negation}: NO without TLS
    progress: str  # one row: moved and total, in bytes
    outcome: str  # one row: state, which is Completed if all went well, and error
    ends_with: tuple[int, ...]  # its errors where all went well: it is gone, or nobody is there to start it anew


@dataclass(frozen=True)
class Dialect:
    """Statements; `{…}` stands for a value that is already quoted for SQL."""

    replica_status: str  # one row, whose columns are `status_columns`; none where it follows nobody
    status_columns: StatusColumns
    # One row: read_only, position, waits_for_acks, acknowledges, acknowledging_replicas, has_written. The last one is
    # whether its data is still that to which it has written itself, and no copy of another's.
    server_state: str
    look: str  # one short text, another one as soon as the server is, or a session has waited for over {seconds}
    set_read_only: str
    set_writable: str
    wait_for_acks: str
    stop_waiting_for_acks: str
    acknowledge: str
    stop_acknowledging: str
    follow: str  # an upstream, from this server's own GTID position on
    resume: str
    stop_receiver: str
    reset_replica: str  # it follows nobody any more
    # Of passwords. An account rotates while an older one is as good as its newest.
    accounts: str  # a row for each: account (user@host, in hexadecimal), rotating, age (of its newest, in seconds)
    rotate: str  # to another password; the one before stays good
    rotate_again: str  # an account that rotates already: the oldest stays good
    end_rotation: str
    wait_for_position: str  # at most {seconds} until everything up to {position} is applied; 0 is good
    before_restore: str  # so that nothing of a dump goes into this server's own binary log
    after_restore: str
    clone: Clone | None  # None: a server has to be given a dump
    refuses_lagging_upstream: bool  # whether the server notices by itself that its upstream lacks what it has
    divergence_errors: tuple[int, ...]  # errors of replication that only a person can judge
    plain: Channel
    encrypted: Channel  # whoever answers is believed
    verified: Channel
    shows_certificate: str  # one row: shown, 1 where clients of the running server are shown {certificate}
    reload_certificate: str  # without a restart, and without a word in the binary log
