"""What the fleet document asks of this node: `assign` is a pure function of identity and document."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from rolecall.check import ProductCheck
from rolecall.errors import ConfigFault
from rolecall.fleet import Cache, CronJob, Database, Fleet, Product, Release, Server
from rolecall.identity import Identity
from rolecall.mistakes import suggest


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
class AssignedProduct:
    """A product with everything that its templates ask for."""

    name: str
    hostnames: tuple[str, ...]
    release: Release
    document_root: str
    runtime: str
    workers: int
    user: str
    groups: tuple[str, ...]
    writable: tuple[str, ...]
    environment: tuple[tuple[str, str | Secret], ...]
    databases: tuple[AssignedDatabase, ...]
    caches: tuple[AssignedCache, ...]
    cron: tuple[CronJob, ...]
    checks: tuple[ProductCheck, ...]

    @property
    def release_folder(self) -> str:
        """Where the release lies below the state folder.

        Named by the archive's digest; links to writable folders are a part of it, and so of its name.
        """
        folder = f"releases/{self.name}/{self.release.sha256}"
        if not self.writable:
            return folder
        layout = hashlib.sha256("\n".join(sorted(self.writable)).encode()).hexdigest()[:8]
        return f"{folder}-{layout}"

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The references among the environment."""
        return tuple(value for _, value in self.environment if isinstance(value, Secret))

    def variable(self, name: str) -> str | Secret | None:
        """One variable of the environment, for templates that need it by name."""
        return dict(self.environment).get(name)


@dataclass(frozen=True)
class Peer:
    """Another server of the fleet, or this one: whom a node may have to know."""

    name: str
    role: str
    address: str
    zone: str


@dataclass(frozen=True)
class Assignment:
    """What this node is to be."""

    fleet: str
    server: str
    role: str
    zone: str
    address: str
    products: tuple[AssignedProduct, ...]
    peers: tuple[Peer, ...] = ()

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret that this node needs, in a stable order."""
        return tuple(secret for product in self.products for secret in product.secrets)


def assign(identity: Identity, fleet: Fleet, role: str) -> Assignment:
    """What the document asks of the machine with this identity and an image of this role. Raises ConfigFault."""
    name, server = _find(identity, fleet, role)
    if server.role != role:
        raise ConfigFault(
            f"servers.{name}.role is {server.role!r}, but this machine's image is for {role!r}",
            "start the machine from an image of that role, or correct the document",
        )
    products = tuple(_product(one, fleet.products[one], server, fleet) for one in sorted(server.products))
    peers = tuple(
        Peer(one, fleet.servers[one].role, fleet.servers[one].address, fleet.servers[one].zone)
        for one in sorted(fleet.servers)
    )
    return Assignment(fleet.fleet, name, role, server.zone, server.address, products, peers)


def _find(identity: Identity, fleet: Fleet, role: str) -> tuple[str, Server]:
    """The server that is this machine: by instance, then by name or address among those without an instance."""
    for name, server in fleet.servers.items():
        if server.instance is not None and server.instance == identity.instance:
            return name, server
    for name, server in fleet.servers.items():
        mine = identity.server == name if identity.server else identity.address == server.address
        if mine and (server.instance is None or identity.instance is None):
            return name, server
    if identity.tags.get("rolecall:role") == role and identity.address:
        return _from_tags(identity, fleet, role)
    known = identity.instance or identity.server or identity.address or "nothing"
    raise ConfigFault(
        f"no server of the document is this machine ({known}, address {identity.address or 'unknown'})",
        "add it to 'servers' with its instance id, or give the machine the tag rolecall:role",
    )


def _from_tags(identity: Identity, fleet: Fleet, role: str) -> tuple[str, Server]:
    tag = identity.tags.get("rolecall:products", "")
    wanted = dict.fromkeys(name.strip() for name in tag.split(",") if name.strip())
    for name in wanted:
        if name not in fleet.products:
            raise ConfigFault(
                f"the tag rolecall:products names {name!r}, which is no product",
                suggest(name, fleet.products, "correct the tag"),
            )
    name = identity.server or identity.instance or identity.address or "unnamed"
    return name, Server(
        role=role,
        instance=identity.instance,
        address=identity.address or "",
        zone=identity.zone or "unknown",
        products=tuple(wanted),
    )


def _product(name: str, product: Product, server: Server, fleet: Fleet) -> AssignedProduct:
    databases = tuple(_database(one, fleet.databases[one], server, fleet) for one in product.databases)
    caches = tuple(_cache(one, fleet.caches[one], fleet) for one in product.caches)
    environment = dict(_topology(databases, caches))
    environment |= {
        "ROLECALL_PRODUCT": name,
        "ROLECALL_RELEASE": product.release.version,
        "ROLECALL_ZONE": server.zone,
    } | product.environment
    secrets = {key: Secret(name, key, reference) for key, reference in product.secrets.items()}
    return AssignedProduct(
        name, product.hostnames, product.release, product.document_root, product.runtime, product.workers,
        product.user, tuple(sorted(product.groups)), product.writable,
        tuple(sorted((environment | secrets).items())), databases, caches, product.cron, product.checks,
    )  # fmt: skip


def _database(name: str, database: Database, here: Server, fleet: Fleet) -> AssignedDatabase:
    def end(server: str) -> Endpoint:
        return Endpoint(server, fleet.servers[server].address, database.port)

    near_first = sorted(database.replicas, key=lambda one: fleet.servers[one].zone != here.zone)
    return AssignedDatabase(name, database.epoch, end(database.master), tuple(end(one) for one in near_first))


def _cache(name: str, cache: Cache, fleet: Fleet) -> AssignedCache:
    # Never sorted: clients hash over this order, and a replaced server has to keep its slot.
    return AssignedCache(name, tuple(Endpoint(one, fleet.servers[one].address, cache.port) for one in cache.servers))


def _topology(databases: tuple[AssignedDatabase, ...], caches: tuple[AssignedCache, ...]) -> Iterator[tuple[str, str]]:
    """Where databases and caches are, as variables: DATABASE_BLOG_MASTER=10.0.0.21:3306."""
    for database in databases:
        prefix = f"DATABASE_{_variable(database.name)}"
        yield f"{prefix}_MASTER", str(database.master)
        yield f"{prefix}_MASTER_NAME", database.master.server
        yield f"{prefix}_REPLICAS", ",".join(map(str, database.replicas))
    for cache in caches:
        yield f"CACHE_{_variable(cache.name)}_SERVERS", ",".join(map(str, cache.servers))


def _variable(name: str) -> str:
    return name.replace("-", "_").upper()
