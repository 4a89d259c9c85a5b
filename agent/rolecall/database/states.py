"""What a database server is, as far as decisions go: this node's own one, and the others of its database."""

import re
from dataclasses import dataclass
from typing import TypeAlias

from rolecall.fleet.topology import Endpoint

Address: TypeAlias = tuple[str, int]  # IP address and port

# Access denied; this host is not allowed to connect, which the client may pass on with words of its own before it.
_NO_ACCOUNT = re.compile(r"ERROR (1045|1130)\b|\b1130 - ")


def address_of(endpoint: Endpoint) -> Address:
    """Where a server of the document is."""
    return endpoint.address, endpoint.port


@dataclass(frozen=True)
class ServerState:
    """What this node's server is now: what it tells of itself, and what the agent knows of it from earlier runs."""

    read_only: bool
    fresh: bool  # no data of any product, and no upstream
    has_history: bool  # a GTID position or an upstream: its data can be compared with that of other servers
    upstream: Address | None = None
    receiving: bool = False  # the receiver (I/O thread) runs
    applying: bool = False  # the applier (SQL thread) runs
    error: int = 0  # the last error of receiver or applier; 0 is none
    error_text: str = ""
    diverged: bool = False  # the error is one that only a person can judge
    waits_for_acks: bool = False  # semi-synchronous as a source: a commit waits for an acknowledgement
    acknowledges: bool = False  # semi-synchronous as a replica
    acknowledging_replicas: int = 0  # replicas that are connected to it and acknowledge
    channel: tuple[str, str, str] = ("", "", "")  # how it connects to its upstream: `Channel.status`

    marked: bool = False  # its data says that the master of this document waits for its candidate

    # From the agent's notes, not from the server:
    acks_required: bool = False  # the candidate acknowledges, or has before: the master never goes on without it
    opened: bool = False  # it was opened as this master before: nobody has more than it
    complete: bool = False  # it was the former master, or has acknowledged its writes alone, up to the end: it has them
    restore_incomplete: bool = False  # a restore was cut off: its data is a part of its upstream's
    password_outdated: bool = False  # it follows with a replication password that has changed
    channel_outdated: bool = False  # it connects to its upstream in another way than the document asks


@dataclass(frozen=True)
class RemoteState:
    """What another server of the database tells of itself. With `error` it answers, but does not tell."""

    address: Address
    unreachable: bool = False
    error: str = ""
    read_only: bool = True
    positions: tuple[str, ...] = ()  # GTID positions: what it has, and what it has received and will apply
    has_written: bool = False  # it has been open with the data that it has now
    waits_for_acks: bool = False
    acknowledging_replicas: int = 0
    acknowledges: bool = False
    upstream: Address | None = None
    receiving: bool = False
    applying: bool = False
    replication_error: str = ""

    @property
    def name(self) -> str:
        """For messages."""
        return str(Endpoint("", *self.address))

    @property
    def answers(self) -> bool:
        """Whether it tells what it is and has."""
        return not (self.unreachable or self.error)

    @property
    def has_no_account(self) -> bool:
        """Whether it knows no account for replication, as a server that was never a part of the database."""
        return bool(_NO_ACCOUNT.search(self.error))
