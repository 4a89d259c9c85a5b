"""Daemons as units of systemd."""

import time
from dataclasses import dataclass
from pathlib import Path

from rolecall.errors import HostFault
from rolecall.host import programs
from rolecall.render.generation import Generation
from rolecall.render.parts import AttachmentUse, UnitUse

BOOT_UNIT, DRAIN_UNIT = "rolecall-boot.service", "rolecall-drain.service"


@dataclass(frozen=True)
class SystemdManager:
    """Units of systemd."""

    def runs(self, unit: UnitUse) -> bool:  # noqa: ARG002 - every unit of a role is systemd's
        """Always: an image has the units of its role."""
        return True

    def active(self, unit: UnitUse) -> bool:
        """`systemctl is-active`."""
        return programs.run(("systemctl", "--quiet", "is-active", unit.service), 10).ok

    def tell(self, unit: UnitUse) -> None:
        """`reload-or-restart` or `restart`; both start a unit that is not running.

        Daemons are ordered after the boot unit, whose start job ends when we say that the node is ready: from inside
        it, an ordinary job for a daemon would wait for us while we wait for it. With `ignore-dependencies` ours is
        merged into the daemon's job of the boot, if there is one, and both run at once (systemd 252: job_install,
        job_is_runnable). It pulls in nothing and waits for nobody: what the daemon needs is in the boot's own
        transaction, since the daemon is enabled, and is waited for here. Any other run leaves all of it to systemd.
        """
        verb = {"reload": "reload-or-restart"}.get(unit.action, unit.action)
        early = _jobs().get(BOOT_UNIT) == "start running"
        if early:
            _wait_for_others(unit.service)
        options = ("--job-mode=ignore-dependencies",) if early else ()
        done = programs.run(("systemctl", *options, verb, unit.service), 120)
        if not done.ok:
            log = programs.run(("journalctl", "--no-pager", "--lines=8", "--output=cat", "--unit", unit.service), 10)
            raise HostFault(
                f"systemctl {verb} {unit.service} failed: {done.words}\n{log.words}",
                f"systemctl status {unit.service} tells more",
            )

    def stop(self, unit: UnitUse) -> None:
        """`systemctl stop`."""
        programs.must(("systemctl", "stop", unit.service), 120)

    def keep(self, unit: UnitUse, *, wanted: bool) -> None:
        """`systemctl enable` or `disable`."""
        programs.must(("systemctl", "--quiet", "enable" if wanted else "disable", unit.service), 60)

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
        programs.run(("systemctl", "daemon-reload"), 30)


def _jobs() -> dict[str, str]:
    """The units that systemd has a job for: `start running`, `stop waiting`."""
    lines = programs.run(("systemctl", "list-jobs", "--no-legend"), 10).output.splitlines()
    return {words[1]: f"{words[2]} {words[3]}" for line in lines if len(words := line.split()) == 4}


def _wait_for_others(service: str, patience: float = 60.0) -> None:
    """Until nothing that a daemon is ordered after is being started. Jobs that wait do not count: some wait for us."""
    shown = programs.run(("systemctl", "show", "--property=After", "--value", service), 10)
    after = set(shown.output.split()) - {BOOT_UNIT}
    until = time.monotonic() + patience
    while time.monotonic() < until:
        if after.isdisjoint(unit for unit, job in _jobs().items() if job.endswith("running")):
            return
        time.sleep(0.05)
