"""Daemons without a service manager: for containers without systemd, the demo and tests."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rolecall.errors import HostFault
from rolecall.host import files, programs
from rolecall.render.contents import Attachment, DirectCommands, Unit
from rolecall.render.generation import Generation


@dataclass(frozen=True)
class DirectManager:
    """Daemons without a service manager: the role's start command, and signals to the process in the pid file."""

    def manages(self, unit: Unit) -> bool:
        """Only the units whose start command the role names."""
        return unit.direct is not None

    def active(self, unit: Unit) -> bool:
        """Whether the pid file names a living process."""
        return _pid(_direct(unit)) is not None

    def reconfigure(self, unit: Unit) -> None:
        """Signal it, or start it."""
        direct = _direct(unit)
        pid = _pid(direct)
        if pid is not None and unit.action == "reload" and direct.reload:
            os.kill(pid, getattr(signal, f"SIG{direct.reload}"))
            return
        if pid is not None:
            self.stop(unit)
        files.make_folders(Path(direct.pidfile).parent)
        result = programs.run(direct.start, 60)
        if not result.ok:
            raise result.fault(f"{unit.name} does not start: {result.tail}", "the daemon's own log tells more")
        if not _wait(lambda: _pid(direct) is not None, 10):
            raise HostFault(f"{unit.name} was started, but {direct.pidfile} names no living process")

    def stop(self, unit: Unit) -> None:
        """Send its stop signal and wait."""
        direct = _direct(unit)
        pid = _pid(direct)
        if pid is None:
            return
        os.kill(pid, getattr(signal, f"SIG{direct.stop}"))
        if not _wait(lambda: not _alive(pid), 20):
            raise HostFault(f"{unit.name} (process {pid}) does not stop")

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


def _pid(direct: DirectCommands) -> int | None:
    content = files.read(Path(direct.pidfile)) or b""
    return int(content) if content.strip().isdigit() and _alive(int(content)) else None


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def _alive(pid: int) -> bool:
    """Whether the process exists and is no zombie: proc(5), /proc/PID/stat, where the state follows the name."""
    content = files.read(Path(f"/proc/{pid}/stat"))
    return content is not None and content.rpartition(b")")[2].split()[:1] != [b"Z"]
