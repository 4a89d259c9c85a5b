"""Before a machine goes: others are told to send nobody here any more, and what is under way gets its time.

Nothing of the machine itself changes. Its runs go on and say in every report that it leaves, until `undo` or a reboot.
"""

import time

from rolecall.errors import BusyFault
from rolecall.host.lock import locked
from rolecall.node.node import Node
from rolecall.node.notes import Leaving
from rolecall.node.verified import Verified
from rolecall.report import Report, Watcher
from rolecall.shortcut import stamps
from rolecall.steps.finish import finish

WHY = "drained by `rolecall drain`"
_PATIENCE = 30.0  # seconds; at shutdown a refresh is told to stop while we begin


def drain(node: Node, *, watch: Watcher = lambda _: lambda _: None) -> Report:
    """Withdraw readiness, then wait as long as `drain.wait` says. Raises BusyFault if another run does not end."""
    (report := Report("drain", role=node.settings.role, outcome="drained")).watched_by(watch(report))
    node.run_notes.write(Leaving(WHY))  # first: a run that ends meanwhile says so too
    until = time.monotonic() + _PATIENCE
    while not _withdrawn(node, report, last=time.monotonic() >= until):
        time.sleep(0.1)
    with report.step("wait") as step:
        step.note = "for requests under way"
        time.sleep(node.settings.drain.wait)
    return report


def _withdrawn(node: Node, report: Report, *, last: bool) -> bool:
    """Whether others were told; not while another run goes on."""
    try:
        with locked(node.settings.run, "drain"), report.step("withdraw"):
            stamps.forget(node.settings.run)  # the next refresh says it once more
            verified, live = node.notes.read(Verified), node.generations.load(node.generations.current())
            report.server, report.serial, report.document = verified.server, verified.serial, verified.sha256
            report.releases = {use.product: use.version for use in live.releases} if live else {}
            finish(node, report)
    except BusyFault:
        if last:
            raise
        return False
    return True


def undo(node: Node) -> bool:
    """Send people here again: the next refresh tells everybody. Returns whether the machine was drained."""
    if not node.run_notes.read(Leaving).why:
        return False
    node.run_notes.remove(Leaving)
    stamps.forget(node.settings.run)
    return True
