"""Daemons without a service manager: for containers without systemd, the demo and tests."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rolecall.errors import HostFault
from rolecall.host import files, processes, programs
from rolecall.host.processes import Process
from rolecall.render.contents import Attachment, DirectCommands, Unit
from rolecall.render.generation import Generation


@dataclass(frozen=True)
class DirectManager:
    """Daemons without a service manager: the role's start command, and signals to the process in the pid file.

    A pid file outlives its daemon, and its number is given to others: it is believed only of the process that was the
    daemon when it was last told something, or that the file itself speaks for (`processes.speaks_for`).

    `started`: the folder that says which process that was, in a file a unit.
    """

    started: Path

    def manages(self, unit: Unit) -> bool:
        """Only the units whose start command the role names."""
        return unit.direct is not None

    def active(self, unit: Unit) -> bool:
        """Whether the pid file names a living process."""
        return self._process(unit) is not None

    def _process(self, unit: Unit) -> Process | None:
        pidfile = Path(_direct(unit).pidfile)
        process = processes.process_in(pidfile)
        if process is None:
            return None
        is_noted = files.read(self.started / unit.name) == process.mark
        return process if is_noted or processes.speaks_for(pidfile, process) else None

    def _note(self, unit: Unit, process: Process) -> None:
        files.make_folders(self.started)
        files.replace(self.started / unit.name, process.mark, 0o644)

    def reconfigure(self, unit: Unit) -> None:
        """Signal it, or start it."""
        direct = _direct(unit)
        process = self._process(unit)
        if process and unit.action == "reload" and direct.reload and _send(process, direct.reload):
            self._note(unit, process)
            return
        self.stop(unit)
        files.make_folders(Path(direct.pidfile).parent)
        files.remove(Path(direct.pidfile))  # if it names a stranger, Apache would take itself for running
        result = programs.run(direct.start, 60)
        if not result.ok:
            raise result.fault(f"{unit.name} does not start: {result.tail}", "the daemon's own log tells more")
        if not _wait(lambda: self.active(unit), 10):
            raise HostFault(f"{unit.name} was started, but {direct.pidfile} names no living process of it")
        if process := self._process(unit):
            self._note(unit, process)

    def log_position(self) -> str:
        """None: daemons have log files alone."""
        return ""

    def log_since(self, unit: Unit, position: str, lines: int) -> str:  # noqa: ARG002 - as above
        """None."""
        return ""

    def stop(self, unit: Unit) -> None:
        """Send its stop signal and wait."""
        process = self._process(unit)
        if process is None:
            return
        _send(process, _direct(unit).stop)
        if not _wait(lambda: processes.process(process.pid) != process, 20):
            raise HostFault(f"{unit.name} (process {process.pid}) does not stop")

    def enable(self, unit: Unit) -> None:
        """Nothing to do: whoever boots the node runs the agent, which starts the daemons."""

    def disable(self, unit: Unit) -> None:
        """Nothing to do."""

    def drop_ins(self, bare: Generation, state: Path) -> tuple[Attachment, ...]:  # noqa: ARG002 - nobody else starts any
        """None."""
        return ()

    def reload_unit_files(self) -> None:
        """Nothing to do."""


def _direct(unit: Unit) -> DirectCommands:
    if unit.direct is None:
        raise HostFault(f"the unit {unit.name} is not run on this node")
    return unit.direct


def _send(process: Process, name: str) -> bool:
    return processes.send(process, getattr(signal, f"SIG{name}"))


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()
