"""What an operator's commands find out about a fleet document, as data."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from rolecall.fleet.overview import MatrixRow, Selection, ServerRow, matrix, spreads, zones
from rolecall.fleet.schema import Fleet
from rolecall.fleet.warnings import FleetWarning
from rolecall.forms.answers import Answer
from rolecall.forms.mistakes import Mistake
from rolecall.render.plan import Change, Plan
from rolecall.store.proofs import Proof


@dataclass(frozen=True)
class FleetCheck(Answer):
    """A document without a mistake: how much is in it, and what had better be otherwise."""

    source: str
    fleet: str
    serial: int
    expired: bool
    products: int
    servers: int
    databases: int
    caches: int
    warnings: tuple[FleetWarning, ...]
    mistakes: tuple[Mistake, ...] = ()


def fleet_check(fleet: Fleet, source: str, warnings: Sequence[FleetWarning]) -> FleetCheck:
    """The answer for a document that was read from `source`."""
    return FleetCheck(
        source=source,
        fleet=fleet.fleet,
        serial=fleet.serial,
        expired=_has_expired(fleet),
        products=len(fleet.products),
        servers=len(fleet.servers),
        databases=len(fleet.databases),
        caches=len(fleet.caches),
        warnings=tuple(warnings),
    )


@dataclass(frozen=True)
class SpreadRow:
    """How many servers of a role, product, database or cache each zone has; `mark` says what is out of balance."""

    kind: str  # role | product | database | cache
    name: str
    role: str  # of the servers; '' for databases and caches
    zones: Mapping[str, int]
    servers: int
    mark: str


@dataclass(frozen=True)
class FleetOverview(Answer):
    """A whole fleet: its servers, how they are spread over the zones, and which of them have which products."""

    source: str
    fleet: str
    serial: int
    not_after: datetime
    expired: bool
    selection: Mapping[str, str]  # role, product, zone → name: which part of the fleet this is; {}: all of it
    zones: tuple[str, ...]
    servers: tuple[ServerRow, ...]
    spread: tuple[SpreadRow, ...]
    products: Mapping[str, tuple[str, ...]]  # product → its servers
    databases: tuple[str, ...]
    caches: tuple[str, ...]
    matrix: tuple[MatrixRow, ...]
    warnings: tuple[FleetWarning, ...]


def fleet_overview(fleet: Fleet, source: str, warnings: Sequence[FleetWarning], selection: Selection) -> FleetOverview:
    """The overview of a document that was read from `source`, or of a part of it: of its servers and what they are for.

    What is said of a role, product, database or cache is about all of its servers, those of other zones too.
    Raises ConfigFault for a role, product or zone that the document does not have.
    """
    servers = selection.of(fleet)
    names = _names_of(fleet, servers, selection)
    return FleetOverview(
        source=source,
        fleet=fleet.fleet,
        serial=fleet.serial,
        not_after=fleet.not_after,
        expired=_has_expired(fleet),
        selection=selection.names,
        zones=tuple(zones(fleet)),
        servers=tuple(servers),
        spread=tuple(
            SpreadRow(spread.kind, spread.name, spread.role, spread.zones, len(spread.servers), spread.mark)
            for spread in spreads(fleet)
            if spread.name in names[f"{spread.kind}s"]
        ),
        products=_servers_of(names["products"], servers),
        databases=tuple(sorted(names["databases"])),
        caches=tuple(sorted(names["caches"])),
        matrix=tuple(row for row in matrix(fleet) if names["servers"] >= set(row.servers)),
        warnings=tuple(warning for warning in warnings if warning.path[1] in names[str(warning.path[0])]),
    )


def _servers_of(products: Iterable[str], servers: Sequence[ServerRow]) -> dict[str, tuple[str, ...]]:
    names: dict[str, list[str]] = {product: [] for product in sorted(products)}
    for row in servers:
        for product in row.products:
            if product in names:
                names[product].append(row.name)
    return {product: tuple(servers) for product, servers in names.items()}


def _names_of(fleet: Fleet, servers: Sequence[ServerRow], selection: Selection) -> Mapping[str, set[str]]:
    """What these servers are for, by its kind; of a product, what it uses too."""
    if not selection.names:
        products, databases, caches = set(fleet.products), set(fleet.databases), set(fleet.caches)
    elif selection.product:
        product = fleet.products[selection.product]
        products, databases, caches = {selection.product}, set(product.databases), set(product.caches)
    else:
        products = {name for row in servers for name in row.products}
        databases = {name for row in servers for name in row.duties}
        caches = {name for row in servers for name in row.caches}
    return {
        "servers": {row.name for row in servers},
        "roles": {row.role for row in servers},
        "products": products,
        "databases": databases,
        "caches": caches,
    }


@dataclass(frozen=True)
class Unplannable:
    """Why nobody can say what would change on a server."""

    error: str


@dataclass(frozen=True)
class FleetDiff(Answer):
    """The blast radius of a document, server by server; `refusals` is what `fleet publish` would refuse it for."""

    sole_field: ClassVar[str] = "servers"

    servers: Mapping[str, tuple[Change, ...] | Unplannable]
    generations: Mapping[str, tuple[str, str]]  # server → the ids of its old and its new generation
    source: str
    refusals: tuple[Mistake, ...]


def fleet_diff(plans: Mapping[str, Plan | str], source: str, refusals: Sequence[Mistake]) -> FleetDiff:
    """The answer for these plans; a text in the place of a plan says why there is none."""
    return FleetDiff(
        servers={
            server: Unplannable(plan) if isinstance(plan, str) else plan.changes for server, plan in plans.items()
        },
        generations={server: (plan.old.id, plan.new.id) for server, plan in plans.items() if not isinstance(plan, str)},
        source=source,
        refusals=tuple(refusals),
    )


@dataclass(frozen=True)
class Publication(Answer):
    """What the store has now."""

    url: str
    serial: int
    before: int  # the serial that it had; 0 if there was none
    signer: str
    not_after: datetime
    source: str
    warnings: tuple[FleetWarning, ...]
    notes: tuple[str, ...]  # what could not be done about the documents that are kept


@dataclass(frozen=True)
class StoreCopy(Answer):
    """What a copy of a store has done; in a dry run, what it would have."""

    source: str
    target: str
    fleet: str
    serial: int
    copied: tuple[str, ...]  # keys
    unchanged: int
    deleted: tuple[str, ...]  # keys
    bytes: int  # of the objects that were copied
    dry_run: bool


@dataclass(frozen=True)
class StoreCheck(Answer):
    """What a store was seen to do, and not to do, of what we rely on."""

    url: str
    publish: bool  # whether all that publishing relies on holds
    writable: bool
    proofs: tuple[Proof, ...]

    @property
    def exit_code(self) -> int:
        """1 where documents cannot be published safely."""
        return 0 if self.publish else 1


@dataclass(frozen=True)
class FetchedDocument(Answer):
    """The document that a store has, as its author wrote it."""

    verbatim: ClassVar[bool] = True

    text: bytes


@dataclass(frozen=True)
class DocumentSchema(Answer):
    """The JSON Schema of the fleet document."""

    sole_field: ClassVar[str] = "schema"

    schema: Mapping[str, Any]


def _has_expired(fleet: Fleet) -> bool:
    return fleet.not_after < datetime.now(UTC)
