"""Before a machine goes: others are told to send nobody here any more, and what is under way gets its time.

Nothing of the machine itself changes. Its runs go on and say in every report that it leaves, until `undo` or a reboot.
"""

import time
from contextlib import suppress

from rolecall.errors import BusyFault, HostFault
from rolecall.node.node import Node
from rolecall.node.notes import Leaving
from rolecall.node.owner import foreign_owner, own_verified
from rolecall.report import Report, Watcher
from rolecall.shortcut import stamps
from rolecall.steps.finish import recorded

WHY = "drained by `rolecall drain`"
_PATIENCE = 30.0  # seconds; at shutdown a refresh is told to stop while we begin


def drain(node: Node, *, watch: Watcher = lambda _: lambda _: None) -> Report:
    """Withdraw readiness, then wait as long as `drain.wait` says. Raises BusyFault if another run does not end."""
    report = Report("drain", role=node.settings.role, outcome="drained")
    report.watched_by(watch(report))
    with suppress(HostFault):  # without the lock, so that a run which ends meanwhile says so too
        node.run_notes.write(Leaving(WHY))
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            with recorded(node, report), report.step("withdraw"):
                withdraw(node, report)
            break
        except BusyFault:
            if time.monotonic() >= until:
                raise
            time.sleep(0.1)
    with report.step("wait") as step:
        step.note = "for requests under way"
        time.sleep(node.settings.drain.wait)
    return report


def withdraw(node: Node, report: Report) -> None:
    """Have this run's report, and every later one, say that the machine leaves."""
    report.leaving = WHY
    verified = own_verified(node)
    live = None if foreign_owner(node) else node.generations.load(node.generations.current())
    report.server, report.serial, report.document = verified.server, verified.serial, verified.sha256
    report.releases = {release.product: release.version for release in live.releases} if live else {}
    node.run_notes.write(Leaving(WHY))


def undo(node: Node) -> bool:
    """Send people here again: the next refresh tells everybody. Returns whether the machine was drained."""
    if not node.run_notes.read(Leaving).why:
        return False
    node.run_notes.remove(Leaving)
    stamps.forget(node.settings.run)
    return True
