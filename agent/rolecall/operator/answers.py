"""What an operator's commands find out about a fleet document, as data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from rolecall.fleet.overview import MatrixRow, ServerRow, matrix, server_rows, spreads, zones
from rolecall.fleet.schema import Fleet
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
    warnings: tuple[Mistake, ...]
    mistakes: tuple[Mistake, ...] = ()


def fleet_check(fleet: Fleet, source: str, warnings: Sequence[Mistake]) -> FleetCheck:
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
    zones: tuple[str, ...]
    servers: tuple[ServerRow, ...]
    spread: tuple[SpreadRow, ...]
    products: Mapping[str, tuple[str, ...]]  # product → its servers
    databases: tuple[str, ...]
    caches: tuple[str, ...]
    matrix: tuple[MatrixRow, ...]
    warnings: tuple[Mistake, ...]


def fleet_overview(fleet: Fleet, source: str, warnings: Sequence[Mistake]) -> FleetOverview:
    """The overview of a document that was read from `source`."""
    servers = server_rows(fleet)
    return FleetOverview(
        source=source,
        fleet=fleet.fleet,
        serial=fleet.serial,
        not_after=fleet.not_after,
        expired=_has_expired(fleet),
        zones=tuple(zones(fleet)),
        servers=tuple(servers),
        spread=tuple(
            SpreadRow(spread.kind, spread.name, spread.role, spread.zones, len(spread.servers), spread.mark)
            for spread in spreads(fleet)
        ),
        products={name: tuple(row.name for row in servers if name in row.products) for name in sorted(fleet.products)},
        databases=tuple(sorted(fleet.databases)),
        caches=tuple(sorted(fleet.caches)),
        matrix=tuple(matrix(fleet)),
        warnings=tuple(warnings),
    )


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
    warnings: tuple[Mistake, ...]


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
