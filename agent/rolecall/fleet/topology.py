"""Databases and caches, as a product sees them and as their own servers do."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from rolecall.fleet.connections import RESERVED, Account, limit_by_account
from rolecall.fleet.databases import Cache, Database, Succession
from rolecall.fleet.schema import Fleet, Server
from rolecall.fleet.secrets import Secret


@dataclass(frozen=True)
class Endpoint:
    """A server's port. `certificate`: of its authority; '' where the document has none."""

    server: str
    address: str
    port: int
    certificate: str = ""

    def __str__(self) -> str:
        """`10.0.0.21:3306`, `[fd00::21]:3306`."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True)
class AssignedDatabase:
    """A database as a product sees it: where to write, and where to read, the own zone first."""

    name: str
    epoch: int
    master: Endpoint
    replicas: tuple[Endpoint, ...]
    tls: bool

    @property
    def ca_variable(self) -> str:
        """The variable of a product's environment that names the file of its servers' certificates."""
        return f"DATABASE_{_variable(self.name)}_CA"


@dataclass(frozen=True)
class AssignedCache:
    """A cache as a product sees it, its servers in the order of their slots."""

    name: str
    servers: tuple[Endpoint, ...]


@dataclass(frozen=True)
class DatabaseAccount:
    """What a product needs on the servers of its database: a schema of its own, and an account that may use it."""

    product: str
    schema: str
    user: str
    password: Secret | None
    addresses: tuple[str, ...]  # of the servers that run the product
    connections: Mapping[str, int] = field(default_factory=dict)  # address → how many at once it may have from there
    withheld: bool = False  # its password cannot be had just now: what the server has of the account stays


@dataclass(frozen=True)
class NodeDatabase:
    """A database that this node is a server of."""

    name: str
    port: int
    epoch: int
    duty: str  # master | candidate | replica | snapshot
    master: Endpoint
    upstream: Endpoint | None  # whom it replicates from; nobody, if it is the master
    members: tuple[Endpoint, ...]
    accounts: tuple[DatabaseAccount, ...]
    replication_password: Secret | None
    candidate: str | None  # who acknowledges what the master writes

    server: str  # this node
    max_connections: int  # at each of its servers
    tls: bool = True
    succession: Succession | None = None  # who may have writes that others lack; None: nobody has said

    @property
    def mastership(self) -> int:
        """The epoch in which the master became the master: a later epoch may have the same one."""
        return self.succession.epoch if self.succession else self.epoch

    @property
    def server_id(self) -> int:
        """Of replication: other servers must not have the same."""
        return 1 + zlib.crc32(self.server.encode()) % (2**32 - 2)

    @property
    def product_connections(self) -> int:
        """What all products together have of the connections of each of its servers."""
        return self.max_connections - RESERVED

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret that its servers need."""
        passwords = (self.replication_password, *(account.password for account in self.accounts))
        return tuple(password for password in passwords if password is not None)


@dataclass(frozen=True)
class NodeCache:
    """A cache that this node is a server of."""

    name: str
    port: int
    memory_mb: int


@dataclass(frozen=True)
class Peer:
    """Another server of the fleet, or this one: whom a node may have to know."""

    name: str
    role: str
    address: str
    zone: str


def product_database(name: str, database: Database, here: Server, fleet: Fleet) -> AssignedDatabase:
    """As a product on this server sees it: of the replicas, those in the same zone first.

    Whoever verifies the master is sent to no replica that cannot be verified.
    """
    ordered = sorted(database.replicas, key=lambda server: fleet.servers[server].zone != here.zone)
    replicas = [_endpoint(server, database, fleet) for server in ordered]
    master, tls = _endpoint(database.master, database, fleet), database.tls == "on"
    verifies = tls and bool(master.certificate)
    return AssignedDatabase(
        name=name,
        epoch=database.epoch,
        master=master,
        replicas=tuple(replica for replica in replicas if replica.certificate or not verifies),
        tls=tls,
    )


def product_cache(name: str, cache: Cache, fleet: Fleet) -> AssignedCache:
    """As a product sees it. Never sorted: clients hash over this order, and a replaced server has to keep its slot."""
    endpoints = (Endpoint(server, fleet.servers[server].address, cache.port) for server in cache.servers)
    return AssignedCache(name, tuple(endpoints))


def variables(databases: tuple[AssignedDatabase, ...], caches: tuple[AssignedCache, ...]) -> Iterator[tuple[str, str]]:
    """Where they are, for a product's environment: DATABASE_BLOG_MASTER=10.0.0.21:3306."""
    for database in databases:
        prefix = f"DATABASE_{_variable(database.name)}"
        yield f"{prefix}_MASTER", str(database.master)
        yield f"{prefix}_MASTER_NAME", database.master.server
        yield f"{prefix}_REPLICAS", ",".join(map(str, database.replicas))
    for cache in caches:
        yield f"CACHE_{_variable(cache.name)}_SERVERS", ",".join(map(str, cache.servers))


def _variable(name: str) -> str:
    return name.replace("-", "_").upper()


def node_caches(server: str, fleet: Fleet) -> tuple[NodeCache, ...]:
    """The caches that a server is for."""
    caches = sorted(fleet.caches.items())
    return tuple(NodeCache(name, cache.port, cache.memory_mb) for name, cache in caches if server in cache.servers)


def node_databases(server: str, fleet: Fleet) -> tuple[NodeDatabase, ...]:
    """The databases that a server is for."""
    databases = sorted(fleet.databases.items())
    return tuple(
        _node_database(name, database, server, fleet) for name, database in databases if server in duties(database)
    )


def duties(database: Database) -> dict[str, str]:
    """Who does what: server → duty, in the order of the chain."""
    duty_of = {database.master: "master"}
    if database.candidate:
        duty_of[database.candidate] = "candidate"
    duty_of |= dict.fromkeys(database.replicas, "replica")
    if database.snapshot:
        duty_of[database.snapshot] = "snapshot"
    return duty_of


def _node_database(name: str, database: Database, server: str, fleet: Fleet) -> NodeDatabase:
    duty_of = duties(database)
    upstream = _upstream(database, duty_of[server])
    reference, limits = database.replication_password, limit_by_account(name, fleet)
    return NodeDatabase(
        name=name,
        port=database.port,
        epoch=database.epoch,
        duty=duty_of[server],
        master=_endpoint(database.master, database, fleet),
        upstream=_endpoint(upstream, database, fleet) if upstream else None,
        members=tuple(_endpoint(member, database, fleet) for member in duty_of),
        accounts=tuple(
            _account(product, fleet, limits)
            for product in sorted(fleet.products)
            if name in fleet.products[product].databases
        ),
        replication_password=Secret(f"databases/{name}", "REPLICATION_PASSWORD", reference) if reference else None,
        candidate=database.candidate,
        tls=database.tls == "on",
        server=server,
        max_connections=database.max_connections,
        succession=database.succession,
    )


def _upstream(database: Database, duty: str) -> str | None:
    """Replicas follow the candidate, so that they need not move when it takes over; the others follow the master."""
    if duty == "master":
        return None
    return database.candidate or database.master if duty == "replica" else database.master


def _account(name: str, fleet: Fleet, limits: Mapping[Account, int]) -> DatabaseAccount:
    product = fleet.products[name]
    reference = product.secrets.get("DB_PASSWORD")
    addresses = tuple(sorted(server.address for server in fleet.servers.values() if name in server.products))
    return DatabaseAccount(
        product=name,
        schema=name.replace("-", "_"),
        user=product.database_user,
        password=Secret(name, "DB_PASSWORD", reference) if reference else None,
        addresses=addresses,
        connections={address: limits[product.database_user, address] for address in addresses},
    )


def _endpoint(server: str, database: Database, fleet: Fleet) -> Endpoint:
    entry = fleet.servers[server]
    return Endpoint(server, entry.address, database.port, entry.certificate or "")
