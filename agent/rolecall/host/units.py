"""Daemons: telling them of a new configuration, and remembering which one each has loaded.

`<run>/loaded/<unit>` holds the digest of the files that the running daemon has read. It is written only after the
daemon was told, so what is owed to whom is always the difference between two digests, whatever was interrupted.
"""

from pathlib import Path
from typing import Protocol

from rolecall.errors import HostFault
from rolecall.host import files
from rolecall.host.direct_units import DirectManager
from rolecall.host.systemd_units import SystemdManager
from rolecall.render.generation import Generation
from rolecall.render.parts import AttachmentUse, UnitUse


class ServiceManager(Protocol):
    """Who starts and reloads daemons."""

    def runs(self, unit: UnitUse) -> bool:
        """Whether this unit is run on this node at all."""

    def active(self, unit: UnitUse) -> bool:
        """Whether the unit is running now."""

    def tell(self, unit: UnitUse) -> None:
        """Have it read its configuration: reload, restart, or start if it is not running. Raises HostFault."""

    def stop(self, unit: UnitUse) -> None:
        """Stop it and wait until it is gone."""

    def keep(self, unit: UnitUse, *, wanted: bool) -> None:
        """Have an instance start with the machine, or not any more: those of a role itself are enabled in the image."""

    def drop_ins(self, bare: Generation, state: Path) -> tuple[AttachmentUse, ...]:
        """What an image needs so that daemons start after the run at boot, and not before they have a configuration.

        `bare`: the role's generation without a product.
        """

    def reread(self) -> None:
        """Its own files have changed."""


class Loaded:
    """What each daemon has loaded."""

    def __init__(self, run: Path) -> None:
        self.folder = run / "loaded"

    def path(self, unit: UnitUse) -> Path:
        """Where the digest of a unit stands."""
        return self.folder / unit.name

    def owed(self, generation: Generation, manager: ServiceManager) -> list[UnitUse]:
        """The units that have not loaded what this generation has for them, or do not run, in the role's order."""
        return [
            unit for unit in generation.units
            if manager.runs(unit) and not (files.read(self.path(unit)) == unit.digest.encode() and manager.active(unit))
        ]  # fmt: skip

    def record(self, unit: UnitUse) -> None:
        """The daemon was told and has this digest's files."""
        files.make_folders(self.folder)
        files.replace(self.path(unit), unit.digest.encode(), 0o644)

    def forget(self, unit: UnitUse) -> None:
        """Nobody knows what the daemon has read: it is owed a reload."""
        files.remove(self.path(unit))


def service_manager(kind: str) -> ServiceManager:
    """The service manager that agent.toml names."""
    match kind:
        case "systemd":
            return SystemdManager()
        case "direct":
            return DirectManager()
        case _:
            raise HostFault(f"no service manager is called {kind!r}")
