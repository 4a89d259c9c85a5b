"""What rendering knows of the node: the settings that reach its configuration, and its hardware."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Hardware:
    """What a configuration may be measured by."""

    memory_mb: int = 1024
    processors: int = 2


@dataclass(frozen=True)
class RenderPaths:
    """Where the node lives. `root` is before every path of a node that is kept in a folder; else it is empty."""

    state: str = "/var/lib/rolecall"
    run: str = "/run/rolecall"
    root: str = ""

    @property
    def current(self) -> str:
        """The link that daemons read through."""
        return f"{self.state}/current"


@dataclass(frozen=True)
class RenderSettings:
    """The part of agent.toml that reaches what is rendered, and the machine's hardware.

    `accounts`: whether the node makes accounts, so that files have owners. `names` are those of agent.toml, which
    replace single names of the role's platform.
    """

    platform: str
    paths: RenderPaths = RenderPaths()
    accounts: bool = True
    names: Mapping[str, str | int] | None = None
    hardware: Hardware = Hardware()
