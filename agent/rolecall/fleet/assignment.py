"""What the fleet document asks of this node: `assign` is a pure function of identity and document."""

import hashlib
from dataclasses import dataclass

from rolecall.errors import ConfigFault
from rolecall.fleet.account_numbers import group_number, product_number
from rolecall.fleet.check import ProductCheck
from rolecall.fleet.identity import Identity
from rolecall.fleet.schema import CronJob, Fleet, Release, Server
from rolecall.fleet.secrets import Secret
from rolecall.fleet.tags import ROLE, product_names, tag_mistakes
from rolecall.fleet.topology import (
    AssignedCache,
    AssignedDatabase,
    NodeCache,
    NodeDatabase,
    Peer,
    node_caches,
    node_databases,
    product_cache,
    product_database,
    variables,
)


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
    uid: int
    groups: tuple[str, ...]
    writable: tuple[str, ...]
    environment: tuple[tuple[str, str | Secret], ...]
    databases: tuple[AssignedDatabase, ...]
    caches: tuple[AssignedCache, ...]
    cron: tuple[CronJob, ...]
    checks: tuple[ProductCheck, ...]
    keeps_account: bool = False  # its account and folders stay as the machine has them: what is asked of them clashes

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
    def certificates(self) -> tuple[str, ...]:
        """Of the authorities by which it knows the servers of its databases; none while it would know only some."""
        encrypted = [database for database in self.databases if database.tls]
        if not all(database.master.certificate for database in encrypted):
            return ()
        endpoints = (endpoint for database in encrypted for endpoint in (database.master, *database.replicas))
        return tuple(dict.fromkeys(endpoint.certificate for endpoint in endpoints))

    @property
    def gids(self) -> tuple[tuple[str, int], ...]:
        """The groups that it shares with other products, each with its number."""
        return tuple((group, group_number(group)) for group in self.groups)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The references among the environment."""
        return tuple(value for _, value in self.environment if isinstance(value, Secret))

    def variable(self, name: str) -> str | Secret | None:
        """One variable of the environment, for templates that need it by name."""
        return dict(self.environment).get(name)


@dataclass(frozen=True)
class Assignment:
    """What this node is to be."""

    fleet: str
    server: str
    role: str
    zone: str
    address: str
    products: tuple[AssignedProduct, ...]
    spare: bool = False  # the document wants it without products, for the time being
    left_out: tuple[AssignedProduct, ...] = ()  # those that cannot be deployed: nothing of them may run
    peers: tuple[Peer, ...] = ()
    caches: tuple[NodeCache, ...] = ()
    databases: tuple[NodeDatabase, ...] = ()
    everything: Fleet | None = None  # for roles that look at the whole fleet, such as a monitor

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret that this node needs, in a stable order."""
        secrets = [secret for product in self.products for secret in product.secrets]
        secrets += [secret for database in self.databases for secret in database.secrets]
        return tuple({secret.key: secret for secret in secrets}.values())


def assign(identity: Identity, fleet: Fleet, role: str) -> Assignment:
    """What the document asks of the machine with this identity and an image of this role. Raises ConfigFault."""
    name, server = _find(identity, fleet, role)
    if server.role != role:
        raise ConfigFault(
            f"servers.{name}.role is {server.role!r}, but this machine's image is for {role!r}",
            "start the machine from an image of that role, or correct the document",
        )
    return Assignment(
        fleet=fleet.fleet,
        server=name,
        role=role,
        zone=server.zone,
        address=server.address,
        products=tuple(_product(product, server, fleet) for product in sorted(server.products)),
        spare=server.spare,
        peers=tuple(_peer(peer, fleet.servers[peer]) for peer in sorted(fleet.servers)),
        caches=node_caches(name, fleet),
        databases=node_databases(name, fleet),
        everything=fleet,
    )


def _peer(name: str, server: Server) -> Peer:
    return Peer(name, server.role, server.address, server.zone)


def _find(identity: Identity, fleet: Fleet, role: str) -> tuple[str, Server]:
    """The server that is this machine: by instance, then by name or address among those without an instance."""
    for name, server in fleet.servers.items():
        if server.instance is not None and server.instance == identity.instance:
            return name, server
    for name, server in fleet.servers.items():
        matches = identity.server == name if identity.server else identity.address == server.address
        if matches and (server.instance is None or identity.instance is None):
            return name, server
    mistakes = tag_mistakes(identity, role, fleet.products)
    if identity.tags.get(ROLE) == role and identity.address and not mistakes:
        return _from_tags(identity, fleet, role)
    identifier = identity.instance or identity.server or identity.address or "nothing"
    remedy = f"give the machine the tag {ROLE}"
    if mistakes:
        remedy = "correct its tags or user-data"
    elif ROLE in identity.tags:
        remedy = "find out why it is told no address: machines that tags speak for need one"
    reasons = "".join(f"\n  {mistake}" for mistake in mistakes)
    raise ConfigFault(
        f"no server of the document matches this machine ({identifier}, address {identity.address or 'unknown'})"
        + (f", and what it says of itself is wrong:{reasons}" if mistakes else ""),
        f"add it to 'servers' with its instance id, or {remedy}",
    )


def _from_tags(identity: Identity, fleet: Fleet, role: str) -> tuple[str, Server]:
    name = identity.server or identity.instance or identity.address or "unnamed"
    for product in product_names(identity):
        if name in fleet.products[product].hostnames:
            message = f"products.{product}.hostnames has {name!r}, the name of this machine, which answers to it itself"
            raise ConfigFault(message, "give the product a hostname of its own")
    return name, Server(
        role=role,
        instance=identity.instance,
        address=identity.address or "",
        zone=identity.zone or "unknown",
        products=tuple(product_names(identity)),
    )


def _product(name: str, server: Server, fleet: Fleet) -> AssignedProduct:
    product = fleet.products[name]
    databases = tuple(product_database(used, fleet.databases[used], server, fleet) for used in product.databases)
    caches = tuple(product_cache(used, fleet.caches[used], fleet) for used in product.caches)
    environment = dict(variables(databases, caches))
    environment |= {
        "ROLECALL_PRODUCT": name,
        "ROLECALL_RELEASE": product.release.version,
        "ROLECALL_ZONE": server.zone,
    } | product.environment
    secrets = {key: Secret(name, key, reference) for key, reference in product.secrets.items()}
    return AssignedProduct(
        name=name,
        hostnames=product.hostnames,
        release=product.release,
        document_root=product.document_root,
        runtime=product.runtime,
        workers=product.workers,
        user=product.user,
        uid=product_number(name, product.uid),
        groups=tuple(sorted(product.groups)),
        writable=product.writable,
        environment=tuple(sorted((environment | secrets).items())),
        databases=databases,
        caches=caches,
        cron=product.cron,
        checks=product.checks,
    )
