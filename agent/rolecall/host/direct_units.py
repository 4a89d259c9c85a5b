"""Daemons without a service manager: for containers without systemd, the demo and tests."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rolecall.errors import HostFault
from rolecall.host import files, programs
from rolecall.render.generation import Generation
from rolecall.render.parts import AttachmentUse, DirectUse, UnitUse


@dataclass(frozen=True)
class DirectManager:
    """Daemons without a service manager: the role's start command, and signals to the process in the pid file."""

    def runs(self, unit: UnitUse) -> bool:
        """Only what the role says how to run."""
        return unit.direct is not None

    def active(self, unit: UnitUse) -> bool:
        """Whether the pid file names a living process."""
        return self._pid(self._how(unit)) is not None

    def tell(self, unit: UnitUse) -> None:
        """Signal it, or start it."""
        how = self._how(unit)
        pid = self._pid(how)
        if pid is not None and unit.action == "reload" and how.reload:
            os.kill(pid, getattr(signal, f"SIG{how.reload}"))
            return
        if pid is not None:
            self.stop(unit)
        files.make_folders(Path(how.pidfile).parent)
        done = programs.run(how.start, 60)
        if not done.ok:
            raise HostFault(f"{unit.name} does not start: {done.words}", "the daemon's own log tells more")
        if not self._wait(lambda: self._pid(how) is not None, 10):
            raise HostFault(f"{unit.name} was started, but there is no living process in {how.pidfile}")

    def stop(self, unit: UnitUse) -> None:
        """Send its stop signal and wait."""
        how = self._how(unit)
        pid = self._pid(how)
        if pid is None:
            return
        os.kill(pid, getattr(signal, f"SIG{how.stop}"))
        if not self._wait(lambda: not _alive(pid), 20):
            raise HostFault(f"{unit.name} (process {pid}) does not stop")

    def keep(self, unit: UnitUse, *, wanted: bool) -> None:
        """Nothing to do: whoever boots the node starts what it has."""

    def drop_ins(self, bare: Generation, state: Path) -> tuple[AttachmentUse, ...]:  # noqa: ARG002 - who else starts any
        """None."""
        return ()

    def reread(self) -> None:
        """Nothing to do."""

    @staticmethod
    def _how(unit: UnitUse) -> DirectUse:
        if unit.direct is None:
            raise HostFault(f"the unit {unit.name} is not run on this node")
        return unit.direct

    @staticmethod
    def _pid(how: DirectUse) -> int | None:
        raw = files.read(Path(how.pidfile)) or b""
        return int(raw) if raw.strip().isdigit() and _alive(int(raw)) else None

    @staticmethod
    def _wait(done: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if done():
                return True
            time.sleep(0.02)
        return done()


def _alive(pid: int) -> bool:
    """A process that is there and no zombie."""
    raw = files.read(Path(f"/proc/{pid}/stat"))
    return raw is not None and raw.rpartition(b")")[2].split()[:1] != [b"Z"]
