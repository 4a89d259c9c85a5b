"""Daemons: having them read a new configuration, and recording which one each of them has loaded.

`<run>/loaded/<unit>` holds the digest of the files that the running daemon has read. It is written only after a
successful reload, so the units that still need one are always those whose two digests differ, whatever was interrupted.
"""

from pathlib import Path
from typing import Protocol

from rolecall.errors import HostFault
from rolecall.host import files
from rolecall.host.direct_units import DirectManager
from rolecall.host.systemd_units import SystemdManager
from rolecall.render.contents import Attachment, Unit
from rolecall.render.generation import Generation


class ServiceManager(Protocol):
    """Who starts and reloads daemons."""

    def manages(self, unit: Unit) -> bool:
        """Whether this unit is run on this node at all."""

    def active(self, unit: Unit) -> bool:
        """Whether the unit is running now."""

    def reconfigure(self, unit: Unit) -> None:
        """Have it read its configuration: reload, restart, or start if it is not running. Raises HostFault."""

    def log_position(self) -> str:
        """Where the log of all units ends now; '' where there is none. Raises HostFault."""

    def log_since(self, unit: Unit, position: str, lines: int) -> str:
        """The last lines that the unit has logged since, '' where there are none. Raises HostFault."""

    def stop(self, unit: Unit) -> None:
        """Stop it and wait until it has ended. Raises HostFault."""

    def enable(self, unit: Unit) -> None:
        """Have it start with the machine. Only for instances: the units of a role are enabled in the image."""

    def disable(self, unit: Unit) -> None:
        """Have it start with the machine no longer."""

    def drop_ins(self, bare: Generation, state: Path) -> tuple[Attachment, ...]:
        """What an image needs so that daemons start after the run at boot, and not before they have a configuration.

        `bare`: the role's generation without a product.
        """

    def reload_unit_files(self) -> None:
        """Read the files that define units again: some of them have changed."""


class LoadedDigests:
    """The digest of the configuration that each daemon has loaded, in a file a unit."""

    def __init__(self, run_folder: Path) -> None:
        self.folder = run_folder / "loaded"

    def path(self, unit: Unit) -> Path:
        """The file that holds a unit's digest."""
        return self.folder / unit.name

    def owed(self, generation: Generation, manager: ServiceManager) -> list[Unit]:
        """The units that have not loaded what this generation has for them, or do not run, in the role's order."""
        units = (unit for unit in generation.units if manager.manages(unit))
        return [unit for unit in units if not (self._is_current(unit) and manager.active(unit))]

    def _is_current(self, unit: Unit) -> bool:
        return files.read(self.path(unit)) == unit.digest.encode()

    def record(self, unit: Unit) -> None:
        """The daemon has loaded the files of this digest."""
        files.make_folders(self.folder)
        files.replace(self.path(unit), unit.digest.encode(), 0o644)

    def forget_all(self) -> None:
        """What daemons have read was another configuration than that which will stand in its place."""
        files.remove_tree(self.folder)

    def forget(self, unit: Unit) -> None:
        """It is not certain any more what the daemon has loaded, so it is owed a reload."""
        files.remove(self.path(unit))


def service_manager(kind: str, run_folder: Path) -> ServiceManager:
    """The service manager that agent.toml names."""
    match kind:
        case "systemd":
            return SystemdManager()
        case "direct":
            return DirectManager(run_folder / "started")
        case _:
            raise HostFault(f"no service manager is called {kind!r}")
