"""Databases and caches of the fleet document, as types; the document as a whole is in schema.py."""

from typing import Literal

from pydantic import Field

from rolecall.forms.scalars import Frozen, Name, SecretReference


class Mastership(Frozen):
    """A master of earlier times and its candidate."""

    epoch: int = Field(ge=1, description="In which it became the master")
    master: Name
    candidate: Name | None = None
    since: int | None = Field(None, description="Serial of the document that made the candidate this master's")
    relieved: tuple[Name, ...] = Field((), description="Candidates of this master before that one")
    opened: bool = Field(False, description="Whether the master had reported that it takes writes")


class Succession(Frozen):
    """Who may have writes that others lack: what `rolecall fleet publish` knows of the document that it replaces."""

    epoch: int = Field(ge=1, description="In which this master became the master")
    since: int = Field(ge=1, description="Serial of the document that made the candidate this master's")
    relieved: tuple[Name, ...] = Field((), description="Candidates of this master before that one")
    opened: bool = Field(False, description="Whether the master has reported that it takes writes")
    former: Mastership | None = Field(None, description="The last one before this that is known to have been open")
    between: tuple[Name, ...] = Field((), description="Masters after that one, who may never have been open")


class Database(Frozen):
    """A replicated database: which server has which duty."""

    port: int = Field(3306, ge=1, le=65535)
    epoch: int = Field(ge=1, description="Raised with every change of the master")
    master: Name
    candidate: Name | None = Field(None, description="Takes over when the master fails")
    replicas: tuple[Name, ...] = Field((), description="Serve reads")
    snapshot: Name | None = Field(None, description="Takes the backups")
    replication_password: SecretReference | None = Field(None, description="Of the account that replicas log in with")
    max_connections: int = Field(
        1000, ge=60, le=100_000, description="Connections that each of its servers takes; 50 of them are no product's"
    )
    tls: Literal["on", "off"] = Field("on", description="Whether connections to its servers are encrypted")
    succession: Succession | None = Field(None, description="Set by `rolecall fleet publish`, never by hand")


class Cache(Frozen):
    """A pool of memcached servers; their order is the order of the clients' slots."""

    port: int = Field(11211, ge=1, le=65535)
    servers: tuple[Name, ...] = Field(min_length=1)
    memory_mb: int = Field(64, ge=1)
