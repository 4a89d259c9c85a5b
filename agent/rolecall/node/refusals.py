"""The note of releases that were refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rolecall.node.notes import Note
from rolecall.render.contents import DeployedRelease


@dataclass(frozen=True)
class Refusal:
    """A release that was refused: why, how often, and how long after the boot it was last tried."""

    release: DeployedRelease
    reason: str
    hint: str
    failures: int
    uptime: float  # seconds


@dataclass(frozen=True)
class Refusals(Note):
    """The products whose releases were refused. In the run folder."""

    name = "refusals"
    products: Mapping[str, Refusal] = field(default_factory=dict)
