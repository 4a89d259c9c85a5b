"""A fleet at a glance, as data: who does what, and where."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from rolecall.errors import ConfigFault
from rolecall.fleet.schema import Fleet
from rolecall.fleet.topology import duties
from rolecall.forms.mistakes import suggest

_SHOWN = 20  # names in a message


@dataclass(frozen=True)
class ServerRow:
    """A server and all that it is for."""

    name: str
    role: str
    zone: str
    address: str
    instance: str | None
    products: tuple[str, ...]
    duties: dict[str, str]  # database → duty
    caches: tuple[str, ...]


@dataclass(frozen=True)
class Spread:
    """How servers that stand in for each other are spread over the zones."""

    kind: str  # role | product | database | cache
    name: str
    role: str  # of the servers; '' for databases and caches
    servers: tuple[str, ...]
    zones: dict[str, int]  # every zone of the fleet → how many of the servers
    others: tuple[str, ...] = ()  # zones that could have some of them too

    @property
    def mark(self) -> str:
        """What is out of balance, in a word or two; '' if nothing is."""
        used = [count for count in self.zones.values() if count]
        if len(self.servers) < 2:
            return "one server" if self.servers else "no server"
        if len(used) == 1 and self.others:
            return "one zone"
        most, least = max(used), 0 if self.others else min(used)
        return "uneven" if most > least + 1 and most >= 2 * least else ""


@dataclass(frozen=True)
class MatrixRow:
    """Servers of a role and a zone that have the same products."""

    role: str
    zone: str
    products: frozenset[str]
    servers: tuple[str, ...]


@dataclass(frozen=True)
class Selection:
    """A part of a fleet: the servers of a role, of a product, of a zone, or of several of these at once."""

    role: str | None = None
    product: str | None = None
    zone: str | None = None

    def of(self, fleet: Fleet) -> list[ServerRow]:
        """Its servers. Raises ConfigFault for a name that the document does not have."""
        roles = {row.role for row in fleet.servers.values()}
        choices = {"role": roles, "product": fleet.products, "zone": zones(fleet)}
        wrong = [(kind, name) for kind, name in self.names.items() if name not in choices[kind]]
        if wrong:
            hints = (suggest(name, choices[kind], f"{kind}s: {_some(choices[kind])}") for kind, name in wrong)
            problem = ", ".join(f"no {kind} {name!r}" for kind, name in wrong)
            raise ConfigFault(f"the document has {problem}", "; ".join(hints))
        return [row for row in server_rows(fleet) if self._has(row)]

    @property
    def names(self) -> dict[str, str]:
        """What it chooses by, such as `role` → `web`; nothing where it is the whole fleet."""
        return {kind: name for kind, name in vars(self).items() if name is not None}

    def _has(self, row: ServerRow) -> bool:
        return (
            self.role in (None, row.role)
            and self.zone in (None, row.zone)
            and (self.product is None or self.product in row.products)
        )


def _some(names: Iterable[str]) -> str:
    first = sorted(names)
    return ", ".join([*first[:_SHOWN], *(["…"] if first[_SHOWN:] else [])])


def zones(fleet: Fleet) -> list[str]:
    """The zones of a fleet, in one order."""
    return sorted({server.zone for server in fleet.servers.values()}, key=natural)


def server_rows(fleet: Fleet) -> list[ServerRow]:
    """Every server, by role, zone and name."""
    duties_of: dict[str, dict[str, str]] = defaultdict(dict)
    caches_of: dict[str, list[str]] = defaultdict(list)
    for name, database in sorted(fleet.databases.items()):
        for server, duty in duties(database).items():
            duties_of[server][name] = duty
    for name, cache in sorted(fleet.caches.items()):
        for server in cache.servers:
            caches_of[server].append(name)
    rows = (
        ServerRow(
            name=name,
            role=server.role,
            zone=server.zone,
            address=server.address,
            instance=server.instance,
            products=tuple(sorted(server.products)),
            duties=duties_of.get(name, {}),
            caches=tuple(caches_of.get(name, ())),
        )
        for name, server in fleet.servers.items()
    )
    return sorted(rows, key=lambda row: (row.role, natural(row.zone), natural(row.name)))


def spreads(fleet: Fleet) -> list[Spread]:
    """Roles, then products (by the role of the servers that have them), databases, caches."""
    roles: dict[str, list[str]] = defaultdict(list)
    products: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in server_rows(fleet):
        roles[row.role].append(row.name)
        for product in row.products:
            products[product, row.role].append(row.name)
    nowhere = fleet.products.keys() - {product for product, _ in products}
    products |= {(product, ""): [] for product in nowhere}
    all_zones, used = zones(fleet), homes(fleet)

    def spread(kind: str, name: str, role: str, servers: Iterable[str]) -> Spread:
        count = Counter(fleet.servers[server].zone for server in servers)
        other_zones = tuple(zone for zone in all_zones if zone in used and not count[zone])
        return Spread(kind, name, role, tuple(servers), {zone: count[zone] for zone in all_zones}, other_zones)

    return [
        *(spread("role", role, role, servers) for role, servers in sorted(roles.items())),
        *(spread("product", name, role, servers) for (name, role), servers in sorted(products.items())),
        *(spread("database", name, "", duties(database)) for name, database in sorted(fleet.databases.items())),
        *(spread("cache", name, "", cache.servers) for name, cache in sorted(fleet.caches.items())),
    ]


def homes(fleet: Fleet) -> set[str]:
    """Zones where a product, database or cache lives: an office with a monitor is no place for the others."""
    members = {server for database in fleet.databases.values() for server in duties(database)}
    members |= {server for cache in fleet.caches.values() for server in cache.servers}
    return {server.zone for name, server in fleet.servers.items() if server.products or name in members}


def matrix(fleet: Fleet) -> list[MatrixRow]:
    """Which servers have which products; of the roles that have products, also servers that have none."""
    rows = server_rows(fleet)
    serving = {row.role for row in rows if row.products}
    alike: dict[tuple[str, str, frozenset[str]], list[str]] = defaultdict(list)
    for row in rows:
        if row.role in serving:
            alike[row.role, row.zone, frozenset(row.products)].append(row.name)
    groups = [MatrixRow(*key, tuple(servers)) for key, servers in alike.items()]
    return sorted(groups, key=lambda row: (row.role, natural(row.zone), -len(row.products), natural(row.servers[0])))


def natural(text: str) -> list[tuple[int, str]]:
    """web2 before web10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", text)]
