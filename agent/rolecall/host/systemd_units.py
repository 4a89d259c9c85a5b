"""Daemons as units of systemd."""

import time
from dataclasses import dataclass
from pathlib import Path

from rolecall.host import programs
from rolecall.host.attachments import MARK
from rolecall.render.contents import Attachment, Unit
from rolecall.render.generation import Generation

BOOT_UNIT, DRAIN_UNIT = "rolecall-boot.service", "rolecall-drain.service"
_CURSOR = "-- cursor: "  # of journalctl --show-cursor


@dataclass(frozen=True)
class SystemdManager:
    """Units of systemd."""

    def manages(self, unit: Unit) -> bool:  # noqa: ARG002 - every unit of a role is systemd's
        """Always: an image has the units of its role."""
        return True

    def active(self, unit: Unit) -> bool:
        """`systemctl is-active`."""
        return programs.run(("systemctl", "--quiet", "is-active", unit.service), 10).ok

    def reconfigure(self, unit: Unit) -> None:
        """`reload-or-restart`, `restart` or `start`; each of them starts a unit that is not running.

        Daemons are ordered after the boot unit, and its start job ends only when the agent says that the node is
        ready. From inside that job, an ordinary job for a daemon would wait for the agent while the agent waits for
        it. With `ignore-dependencies` the job is merged into the daemon's own job of the boot, if there is one, and
        both run at once (systemd 252: job_install, job_is_runnable).

        Such a job pulls in no other unit and waits for none. What the daemon requires is a part of the boot's own
        transaction anyway, since the daemon is enabled; what it is ordered after is waited for here. Outside of the
        boot all of this is left to systemd.
        """
        verb = "reload-or-restart" if unit.action == "reload" else unit.action
        booting = _jobs().get(BOOT_UNIT) == "start running"
        if booting:
            _wait_for_predecessors(unit.service)
        options = ("--job-mode=ignore-dependencies",) if booting else ()
        result = programs.run(("systemctl", *options, verb, unit.service), 120)
        if not result.ok:
            log = programs.run(("journalctl", "--no-pager", "--lines=8", "--output=cat", "--unit", unit.service), 10)
            raise result.fault(
                f"systemctl {verb} {unit.service} failed: {result.tail}\n{log.tail}",
                f"systemctl status {unit.service} tells more",
            )

    def log_position(self) -> str:
        """The cursor of the journal's last record: the clock may jump, as it does soon after a boot."""
        output = programs.run(("journalctl", "--no-pager", "--lines=1", "--output=cat", "--show-cursor"), 5).output
        return output.rpartition(_CURSOR)[2].strip() if _CURSOR in output else ""

    def log_since(self, unit: Unit, position: str, lines: int) -> str:
        """Its records in the journal."""
        since = ("--after-cursor", position) if position else ("--boot",)
        options = ("--no-pager", "--quiet", "--output=short-iso", f"--lines={lines}")
        return programs.run_checked(("journalctl", *options, *since, "--unit", unit.service), 2).output

    def stop(self, unit: Unit) -> None:
        """`systemctl stop`."""
        programs.run_checked(("systemctl", "stop", unit.service), 120)

    def enable(self, unit: Unit) -> None:
        """`systemctl enable`."""
        programs.run_checked(("systemctl", "--quiet", "enable", unit.service), 60)

    def disable(self, unit: Unit) -> None:
        """`systemctl disable`."""
        programs.run_checked(("systemctl", "--quiet", "disable", unit.service), 60)

    def drop_ins(self, bare: Generation, state: Path) -> tuple[Attachment, ...]:
        """One for each unit, which orders it after the agent's boot unit and before its drain unit.

        `After`, never `Requires`: a dead agent keeps no daemon from starting. At shutdown systemd turns the order
        round, so a daemon stops only once readiness was withdrawn and nobody sends requests here any more.

        Before the first generation there is nothing to serve, and the folder that the attachment leads to does not
        exist: php-fpm would fail, and Apache would show the distribution's page to a load balancer. A unit whose
        condition does not hold is passed over without a failure; the first run that has a generation starts it.
        """
        return tuple(
            Attachment(f"/etc/systemd/system/{unit.service}.d/rolecall.conf", None, _drop_in(unit, bare, state))
            for unit in bare.units
        )

    def reload_unit_files(self) -> None:
        """`systemctl daemon-reload`; nothing where no systemd runs, as in a chroot."""
        programs.run(("systemctl", "daemon-reload"), 30)


def _drop_in(unit: Unit, bare: Generation, state: Path) -> str:
    lines = [
        MARK,
        "[Unit]",
        f"After={BOOT_UNIT}",
        f"Before={DRAIN_UNIT}",
    ]
    first_file = next((file for file in bare.files if unit.name in file.units), None)
    if first_file:
        lines.append(f"ConditionPathExists={state}/current/{first_file.path.partition('/')[0]}")
    return "\n".join((*lines, ""))


def _jobs() -> dict[str, str]:
    """The units that systemd has a job for, with its type and state: `start running`, `stop waiting`."""
    lines = programs.run(("systemctl", "list-jobs", "--no-legend"), 10).output.splitlines()
    rows = (line.split() for line in lines)
    return {row[1]: f"{row[2]} {row[3]}" for row in rows if len(row) == 4}


def _wait_for_predecessors(service: str, patience: float = 60.0) -> None:
    """Wait until nothing that a daemon is ordered after is being started; at most `patience` seconds.

    Jobs that are still waiting do not count: some of them wait for the agent itself.
    """
    ordering = programs.run(("systemctl", "show", "--property=After", "--value", service), 10)
    predecessors = set(ordering.output.split()) - {BOOT_UNIT}
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if predecessors.isdisjoint(unit for unit, job in _jobs().items() if job.endswith("running")):
            return
        time.sleep(0.05)
