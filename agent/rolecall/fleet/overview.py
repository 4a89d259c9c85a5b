"""A fleet at a glance, as data: who does what and where, and what a document may say but had better not."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rolecall.fleet.schema import Fleet
from rolecall.fleet.topology import duties
from rolecall.forms.mistakes import Mistake, dotted, locate
from rolecall.forms.positions import json_positions

# The roles whose images have the daemons. Only for warnings: a fleet may call its roles otherwise.
_DATABASE, _CACHE = "database", "memcached"


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


def zones(fleet: Fleet) -> list[str]:
    """The zones of a fleet, in one order."""
    return sorted({server.zone for server in fleet.servers.values()}, key=_natural)


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
    return sorted(rows, key=lambda row: (row.role, _natural(row.zone), _natural(row.name)))


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
    all_zones, homes = zones(fleet), _homes(fleet)

    def spread(kind: str, name: str, role: str, servers: Iterable[str]) -> Spread:
        count = Counter(fleet.servers[server].zone for server in servers)
        others = tuple(zone for zone in all_zones if zone in homes and not count[zone])
        return Spread(kind, name, role, tuple(servers), {zone: count[zone] for zone in all_zones}, others)

    return [
        *(spread("role", role, role, servers) for role, servers in sorted(roles.items())),
        *(spread("product", name, role, servers) for (name, role), servers in sorted(products.items())),
        *(spread("database", name, "", duties(database)) for name, database in sorted(fleet.databases.items())),
        *(spread("cache", name, "", cache.servers) for name, cache in sorted(fleet.caches.items())),
    ]


def _homes(fleet: Fleet) -> set[str]:
    """Zones where a product, database or cache lives: an office with a monitor is no place for the others."""
    return {row.zone for row in server_rows(fleet) if row.products or row.duties or row.caches}


def matrix(fleet: Fleet) -> list[MatrixRow]:
    """Which servers have which products; of the roles that have products, also servers that have none."""
    rows = server_rows(fleet)
    serving = {row.role for row in rows if row.products}
    alike: dict[tuple[str, str, frozenset[str]], list[str]] = defaultdict(list)
    for row in rows:
        if row.role in serving:
            alike[row.role, row.zone, frozenset(row.products)].append(row.name)
    groups = [MatrixRow(*key, tuple(servers)) for key, servers in alike.items()]
    return sorted(groups, key=lambda row: (row.role, _natural(row.zone), -len(row.products), _natural(row.servers[0])))


def _natural(text: str) -> list[tuple[int, str]]:
    """web2 before web10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", text)]


def warnings(fleet: Fleet, raw: bytes) -> list[Mistake]:
    """What is not a mistake but will hurt one day, each with its position in the text and a remedy."""
    mistakes = [*_balance(fleet), *_missing(fleet), *_together(fleet), *_accounts(fleet), *_roles(fleet)]
    if not mistakes:
        return []
    located = locate(mistakes, json_positions(raw.decode("utf-8")))
    return sorted(located, key=lambda mistake: (mistake.line, mistake.column, dotted(mistake.path)))


def _balance(fleet: Fleet) -> Iterator[Mistake]:
    """What one machine, or one zone, takes away with it."""
    for spread in spreads(fleet):
        path, servers = (f"{spread.kind}s", spread.name), f"{spread.role} servers".strip()
        others = ", ".join(spread.others)
        if spread.kind == "role" or (spread.kind == "database" and len(spread.servers) == 1):
            continue  # the database's missing candidate says it
        if spread.mark == "one server":
            hint = f"give it another one, best in another zone: {others}" if others else "give it another one"
            yield Mistake(path, f"has only one {servers[:-1]}, {spread.servers[0]}", hint)
        if spread.mark == "one zone":
            zone = fleet.servers[spread.servers[0]].zone
            yield Mistake(
                path, f"its {len(spread.servers)} {servers} are all in {zone}", f"have one elsewhere: {others}"
            )


def _missing(fleet: Fleet) -> Iterator[Mistake]:
    for name, database in fleet.databases.items():
        path, members = ("databases", name), duties(database)
        if not database.candidate:
            only = "its only server " if len(members) == 1 else ""
            message = f"missing: nobody takes over when {only}{database.master} fails"
            if database.snapshot and len(members) == 2:
                message += f"; its only other copy is the snapshot server {database.snapshot}, which may be behind"
            zone = fleet.servers[database.master].zone
            better = f", best in another zone than {zone}" if _homes(fleet) - {zone} else ""
            yield Mistake((*path, "candidate"), message, f"add 'candidate'{better}")
        if not database.snapshot:
            yield Mistake((*path, "snapshot"), "missing: nobody takes the backups", "add 'snapshot'")
        if len(members) > 1 and not database.replication_password:
            message = f"missing: nobody can follow its master, {database.master}"
            yield Mistake((*path, "replication_password"), message, "add 'replication_password', a secret's reference")


def _together(fleet: Fleet) -> Iterator[Mistake]:
    """A master and its candidate that one zone takes away at once, while other servers of theirs are elsewhere."""
    for spread in spreads(fleet):
        database = fleet.databases[spread.name] if spread.kind == "database" else None
        if database is None or database.candidate is None or spread.mark == "one zone":
            continue
        zone = fleet.servers[database.candidate].zone
        elsewhere = sorted((spread.zones.keys() & _homes(fleet)) - {zone}, key=_natural)
        if zone == fleet.servers[database.master].zone and elsewhere:
            message = f"{database.candidate} is in {zone}, as the master {database.master} is"
            hint = f"have the candidate in another zone: {', '.join(elsewhere)}"
            yield Mistake(("databases", spread.name, "candidate"), message, hint)


def _accounts(fleet: Fleet) -> Iterator[Mistake]:
    """Accounts of databases that products do not get, or that they share."""
    first: dict[tuple[str, str], str] = {}
    for name, product in fleet.products.items():
        path, secrets = ("products", name, "secrets"), product.secrets
        if product.databases and "DB_PASSWORD" not in secrets:
            message = f"missing: it gets no account in {', '.join(product.databases)}"
            yield Mistake((*path, "DB_PASSWORD"), message, "add 'DB_PASSWORD' to its 'secrets'")
        if product.databases and "DB_USER" in secrets:
            message = f"the account is made for {product.user!r}, whatever this says"
            yield Mistake((*path, "DB_USER"), message, "give the account's name in 'environment'")
        for database in product.databases if "DB_PASSWORD" in secrets else ():
            other = first.setdefault((database, product.database_user), name)
            if other != name:
                message = f"shares the account {product.database_user!r} of {database} with {other}: each reaches both"
                key = ("environment", "DB_USER") if "DB_USER" in product.environment else ("user",)
                yield Mistake(("products", name, *key), message, "give it an account of its own")


def _roles(fleet: Fleet) -> Iterator[Mistake]:
    """A server whose image, by the name of its role, does not have what the document asks of it."""
    for row in server_rows(fleet):
        tasks = [(_DATABASE, f"{duty} of {name}") for name, duty in row.duties.items() if row.role != _DATABASE]
        if row.caches and row.role != _CACHE:
            tasks.append((_CACHE, f"a cache server of {', '.join(row.caches)}"))
        for role, duty in tasks:
            hint = f"give it the role {role!r}, or its part in that to another server"
            yield Mistake(("servers", row.name, "role"), f"is {row.role!r}, and it is {duty}", hint)
