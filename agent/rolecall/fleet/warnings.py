"""What a document may say but had better not, each with its position and a remedy."""

from collections.abc import Iterator
from dataclasses import dataclass

from rolecall.fleet.connections import RESERVED, available_connections, wanted_by_account
from rolecall.fleet.overview import homes, natural, server_rows, spreads
from rolecall.fleet.schema import Fleet
from rolecall.fleet.topology import duties
from rolecall.forms.mistakes import Mistake, dotted, locate
from rolecall.forms.positions import json_positions

# The roles whose images have the daemons; a fleet may call its roles otherwise.
_DATABASE, _CACHE = "database", "memcached"


@dataclass(frozen=True)
class FleetWarning(Mistake):
    """No mistake, but it will hurt one day. `kind`: what all of its kind have in common, in words about several."""

    kind: str = ""


def warnings(fleet: Fleet, raw: bytes) -> list[FleetWarning]:
    """What is not a mistake but will hurt one day, each with its position in the text and a remedy."""
    kinds = (_balance, _missing, _together, _accounts, _connections, _roles)
    mistakes = [mistake for kind in kinds for mistake in kind(fleet)]
    if not mistakes:
        return []
    located = locate(mistakes, json_positions(raw.decode("utf-8")))
    return sorted(located, key=lambda mistake: (mistake.line, mistake.column, dotted(mistake.path)))


def _balance(fleet: Fleet) -> Iterator[FleetWarning]:
    """What one machine, or one zone, takes away with it."""
    for spread in spreads(fleet):
        path, servers = (f"{spread.kind}s", spread.name), f"{spread.role} servers".strip()
        other_zones = ", ".join(spread.others)
        if spread.kind == "role" or (spread.kind == "database" and len(spread.servers) == 1):
            continue  # the database's missing candidate says it
        if spread.mark == "one server":
            hint = f"give it another one, best in another zone: {other_zones}" if other_zones else "give it another one"
            kind = f"have only one {servers[:-1]}"
            yield FleetWarning(path, f"has only one {servers[:-1]}, {spread.servers[0]}", hint, kind=kind)
        if spread.mark == "one zone":
            zone = fleet.servers[spread.servers[0]].zone
            message = f"its {len(spread.servers)} {servers} are all in {zone}"
            kind = f"have all their {servers} in {zone}"
            yield FleetWarning(path, message, f"have one elsewhere: {other_zones}", kind=kind)


def _missing(fleet: Fleet) -> Iterator[FleetWarning]:
    used = homes(fleet)
    for name, database in fleet.databases.items():
        path, members = ("databases", name), duties(database)
        if not database.candidate:
            only = "its only server " if len(members) == 1 else ""
            message = f"missing: nobody takes over when {only}{database.master} fails"
            if database.snapshot and len(members) == 2:
                message += f"; its only other copy is the snapshot server {database.snapshot}, which may be behind"
            zone = fleet.servers[database.master].zone
            better = f", best in another zone than {zone}" if used - {zone} else ""
            kind = "have no candidate: nobody takes over when their master fails"
            yield FleetWarning((*path, "candidate"), message, f"add 'candidate'{better}", kind=kind)
        if not database.snapshot:
            yield FleetWarning((*path, "snapshot"), "missing: nobody takes the backups", "add 'snapshot'",
                               kind="have no snapshot server: nobody takes their backups")  # fmt: skip
        if len(members) > 1 and not database.replication_password:
            message = f"missing: nobody can follow its master, {database.master}"
            hint = "add 'replication_password', a secret's reference"
            kind = "have no 'replication_password': nobody can follow their masters"
            yield FleetWarning((*path, "replication_password"), message, hint, kind=kind)


def _together(fleet: Fleet) -> Iterator[FleetWarning]:
    """A master and its candidate that one zone takes away at once, while other servers of theirs are elsewhere."""
    used = homes(fleet)
    for spread in spreads(fleet):
        database = fleet.databases[spread.name] if spread.kind == "database" else None
        if database is None or database.candidate is None or spread.mark == "one zone":
            continue
        zone = fleet.servers[database.candidate].zone
        elsewhere = sorted((spread.zones.keys() & used) - {zone}, key=natural)
        if zone == fleet.servers[database.master].zone and elsewhere:
            message = f"{database.candidate} is in {zone}, as the master {database.master} is"
            hint = f"have the candidate in another zone: {', '.join(elsewhere)}"
            kind = "have their candidate in the zone of their master"
            yield FleetWarning(("databases", spread.name, "candidate"), message, hint, kind=kind)


def _accounts(fleet: Fleet) -> Iterator[FleetWarning]:
    """Accounts of databases that products do not get, or that they share."""
    first: dict[tuple[str, str], str] = {}
    for name, product in fleet.products.items():
        path, secrets = ("products", name, "secrets"), product.secrets
        if product.databases and "DB_PASSWORD" not in secrets:
            message = f"missing: it gets no account in {', '.join(product.databases)}"
            kind = "use a database without a secret 'DB_PASSWORD': they get no account there"
            yield FleetWarning((*path, "DB_PASSWORD"), message, "add 'DB_PASSWORD' to its 'secrets'", kind=kind)
        if product.databases and "DB_USER" in secrets:
            message = f"the account is made for {product.user!r}, whatever this says"
            yield FleetWarning((*path, "DB_USER"), message, "give the account's name in 'environment'")
        for database in product.databases if "DB_PASSWORD" in secrets else ():
            other = first.setdefault((database, product.database_user), name)
            if other != name:
                message = f"shares the account {product.database_user!r} of {database} with {other}: each reaches both"
                key = ("environment", "DB_USER") if "DB_USER" in product.environment else ("user",)
                yield FleetWarning(("products", name, *key), message, "give it an account of its own")


def _connections(fleet: Fleet) -> Iterator[FleetWarning]:
    """Databases whose products may need more connections at once than their servers take."""
    for name, database in fleet.databases.items():
        wanted, available = sum(wanted_by_account(name, fleet).values()), available_connections(database)
        if wanted > available:
            message = f"its products may need {wanted} connections at once and get {available}: each gets less"
            hint = f"raise it to {wanted + RESERVED} if its servers have the memory, or lower 'workers' of products"
            kind = "have products that may need more connections than their servers take"
            yield FleetWarning(("databases", name, "max_connections"), message, hint, kind=kind)


def _roles(fleet: Fleet) -> Iterator[FleetWarning]:
    """A server whose image, by the name of its role, does not have what the document asks of it."""
    for row in server_rows(fleet):
        tasks = [(_DATABASE, f"{duty} of {name}") for name, duty in row.duties.items() if row.role != _DATABASE]
        if row.caches and row.role != _CACHE:
            tasks.append((_CACHE, f"a cache server of {', '.join(row.caches)}"))
        for role, duty in tasks:
            hint = f"give it the role {role!r}, or its part in that to another server"
            kind = f"are {row.role!r}, and have what a server of the role {role!r} is for"
            yield FleetWarning(("servers", row.name, "role"), f"is {row.role!r}, and it is {duty}", hint, kind=kind)
