"""Databases and caches, as a product sees them and as their own servers do."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from rolecall.fleet.schema import Cache, Database, Fleet, Server


@dataclass(frozen=True)
class Secret:
    """A reference to a value that only the node itself reads, and only when it writes the file that needs it."""

    product: str
    name: str
    reference: str

    @property
    def key(self) -> str:
        """`blog.DB_PASSWORD`: how messages and diffs name it."""
        return f"{self.product}.{self.name}"

    def __str__(self) -> str:
        """Refused: a template that joins a secret to other text would write this object's words, not the value."""
        raise TypeError(f"the secret {self.key} cannot be a part of another text: write it on its own")


@dataclass(frozen=True)
class Endpoint:
    """A server's port."""

    server: str
    address: str
    port: int

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

    server_id: int  # of replication: other servers must not have the same

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret that its servers need."""
        passwords = (self.replication_password, *(one.password for one in self.accounts))
        return tuple(one for one in passwords if one is not None)


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
    """As a product on this server sees it: of the replicas, those in the same zone first."""
    near_first = sorted(database.replicas, key=lambda one: fleet.servers[one].zone != here.zone)
    return AssignedDatabase(
        name, database.epoch, _end(database.master, database, fleet),
        tuple(_end(one, database, fleet) for one in near_first),
    )  # fmt: skip


def product_cache(name: str, cache: Cache, fleet: Fleet) -> AssignedCache:
    """As a product sees it. Never sorted: clients hash over this order, and a replaced server has to keep its slot."""
    return AssignedCache(name, tuple(Endpoint(one, fleet.servers[one].address, cache.port) for one in cache.servers))


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
    return tuple(NodeCache(name, one.port, one.memory_mb)
                 for name, one in sorted(fleet.caches.items()) if server in one.servers)  # fmt: skip


def node_databases(server: str, fleet: Fleet) -> tuple[NodeDatabase, ...]:
    """The databases that a server is for."""
    return tuple(_node_database(name, one, server, fleet)
                 for name, one in sorted(fleet.databases.items()) if server in duties(one))  # fmt: skip


def duties(database: Database) -> dict[str, str]:
    """Who does what: server → duty, in the order of the chain."""
    made = {database.master: "master"}
    made |= {database.candidate: "candidate"} if database.candidate else {}
    made |= dict.fromkeys(database.replicas, "replica")
    return made | ({database.snapshot: "snapshot"} if database.snapshot else {})


def _node_database(name: str, database: Database, server: str, fleet: Fleet) -> NodeDatabase:
    """Replicas follow the candidate, so that they need not move when it takes over; the snapshot follows the master."""
    every = duties(database)
    chain = {"candidate": database.master, "replica": database.candidate or database.master,
             "snapshot": database.master}  # fmt: skip
    upstream = chain.get(every[server])
    reference = database.replication_password
    return NodeDatabase(
        name, database.port, database.epoch, every[server], _end(database.master, database, fleet),
        _end(upstream, database, fleet) if upstream else None,
        tuple(_end(one, database, fleet) for one in every),
        tuple(_account(product, fleet) for product, one in sorted(fleet.products.items()) if name in one.databases),
        Secret(f"databases/{name}", "REPLICATION_PASSWORD", reference) if reference else None,
        database.candidate,
        1 + zlib.crc32(server.encode()) % (2**32 - 2),
    )  # fmt: skip


def _account(product: str, fleet: Fleet) -> DatabaseAccount:
    table = fleet.products[product]
    reference = table.secrets.get("DB_PASSWORD")
    return DatabaseAccount(
        product, product.replace("-", "_"), table.database_user,
        Secret(product, "DB_PASSWORD", reference) if reference else None,
        tuple(sorted(one.address for one in fleet.servers.values() if product in one.products)),
    )  # fmt: skip


def _end(server: str, database: Database, fleet: Fleet) -> Endpoint:
    return Endpoint(server, fleet.servers[server].address, database.port)
