"""Daemons: telling them of a new configuration, and remembering which one each has loaded.

`<run>/loaded/<unit>` holds the digest of the files that the running daemon has read. It is written only after the
daemon was told, so what is owed to whom is always the difference between two digests, whatever was interrupted.
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rolecall.errors import HostFault
from rolecall.generation import AttachmentUse, DirectUse, Generation, UnitUse
from rolecall.host import command, files

BOOT_UNIT, DRAIN_UNIT = "rolecall-boot.service", "rolecall-drain.service"


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


@dataclass(frozen=True)
class Systemd:
    """Units of systemd."""

    def runs(self, unit: UnitUse) -> bool:  # noqa: ARG002 - every unit of a role is systemd's
        """Always: an image has the units of its role."""
        return True

    def active(self, unit: UnitUse) -> bool:
        """`systemctl is-active`."""
        return command.run(("systemctl", "--quiet", "is-active", unit.service), 10).ok

    def tell(self, unit: UnitUse) -> None:
        """`reload-or-restart` or `restart`; both start a unit that is not running.

        Daemons are ordered after the boot unit, whose start job ends when we say that the node is ready: from inside
        it, an ordinary job for a daemon would wait for us while we wait for it. With `ignore-dependencies` ours is
        merged into the daemon's job of the boot, if there is one, and both run at once (systemd 252: job_install,
        job_is_runnable). It pulls in nothing and waits for nobody: what the daemon needs is in the boot's own
        transaction, since the daemon is enabled, and is waited for here. Any other run leaves all of it to systemd.
        """
        verb = "reload-or-restart" if unit.action == "reload" else "restart"
        early = _jobs().get(BOOT_UNIT) == "start running"
        if early:
            _wait_for_others(unit.service)
        options = ("--job-mode=ignore-dependencies",) if early else ()
        done = command.run(("systemctl", *options, verb, unit.service), 120)
        if not done.ok:
            log = command.run(("journalctl", "--no-pager", "--lines=8", "--output=cat", "--unit", unit.service), 10)
            raise HostFault(
                f"systemctl {verb} {unit.service} failed: {done.words}\n{log.words}",
                f"systemctl status {unit.service} tells more",
            )

    def stop(self, unit: UnitUse) -> None:
        """`systemctl stop`."""
        command.must(("systemctl", "stop", unit.service), 120)

    def drop_ins(self, bare: Generation, state: Path) -> tuple[AttachmentUse, ...]:
        """One for each unit. After, never Requires: a dead agent keeps no daemon from starting. At shutdown the order
        is turned round: a daemon stops once others were told to send nobody here any more.

        Before the first generation there is nothing to serve, and what its attachment leads to is not there: php-fpm
        would fail, Apache would show the distribution's page to a load balancer. A unit whose condition does not hold
        is passed over without a failure; the first run that has a generation starts it.
        """
        made = []
        for unit in bare.units:
            lines = ["[Unit]", f"After={BOOT_UNIT}", f"Before={DRAIN_UNIT}"]
            lines += [f"ConditionPathExists={state}/current/{file.path.partition('/')[0]}"
                      for file in bare.files if unit.name in file.units][:1]  # fmt: skip
            text = "\n".join(("# Laid by `rolecall image attach`.", *lines, ""))
            made.append(AttachmentUse(f"/etc/systemd/system/{unit.service}.d/rolecall.conf", None, text))
        return tuple(made)

    def reread(self) -> None:
        """`systemctl daemon-reload`; nothing where no systemd runs, as in a chroot."""
        command.run(("systemctl", "daemon-reload"), 30)


def _jobs() -> dict[str, str]:
    """The units that systemd has a job for: `start running`, `stop waiting`."""
    lines = command.run(("systemctl", "list-jobs", "--no-legend"), 10).output.splitlines()
    return {words[1]: f"{words[2]} {words[3]}" for line in lines if len(words := line.split()) == 4}


def _wait_for_others(service: str, patience: float = 60.0) -> None:
    """Until nothing that a daemon is ordered after is being started. Jobs that wait do not count: some wait for us."""
    shown = command.run(("systemctl", "show", "--property=After", "--value", service), 10)
    after = set(shown.output.split()) - {BOOT_UNIT}
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if after.isdisjoint(unit for unit, job in _jobs().items() if job.endswith("running")):
            return
        time.sleep(0.05)


@dataclass(frozen=True)
class Direct:
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
        done = command.run(how.start, 60)
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


def service_manager(kind: str) -> ServiceManager:
    """The service manager that agent.toml names."""
    match kind:
        case "systemd":
            return Systemd()
        case "direct":
            return Direct()
        case _:
            raise HostFault(f"no service manager is called {kind!r}")
