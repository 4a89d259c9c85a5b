"""Releases put on disk, and those that are refused: one that is keeps no other product of the node from its own.

What was refused is noted in the run folder, so that a large archive is not downloaded each minute to be refused again.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from rolecall.causes import OF_ONE_THING
from rolecall.errors import ConfigFault, Fault, FetchFault
from rolecall.fleet.assignment import Assignment
from rolecall.host import boot
from rolecall.node.node import Node
from rolecall.node.refusals import Refusal, Refusals
from rolecall.render.contents import DeployedRelease, deployed_release
from rolecall.report import Report
from rolecall.steps.choice import pause_after
from rolecall.steps.shortcomings import all_of


class RefusedReleases(ConfigFault):
    """Releases that are not what the document says, break the rules, or are not there; the others can go on."""

    def __init__(self, faults: Mapping[str, Fault]) -> None:
        fault = all_of(faults)
        super().__init__(fault.message, fault.hint, fault.cause)
        self.exit_code, self.faults = fault.exit_code, faults


def deploy(node: Node, releases: Iterable[DeployedRelease], tell: Callable[[], None] | None = None) -> list[str]:
    """Unpack each release that is not on disk yet; returns notes of what was done.

    With `tell`, what is damaged of the others is repaired too; it is called right before one takes its place: its path
    stays the same, and a daemon may go on with the code that it has read. Raises RefusedReleases once all were tried.
    """
    unpacked: list[str] = []
    notes: list[str] = []
    refused: dict[DeployedRelease, ConfigFault] = {}
    absent: dict[str, Fault] = {}
    before = node.run_notes.read(Refusals).products
    noted = dict(before)
    for release in releases:
        try:
            if tell and (note := node.releases.keep_whole(release, node.store.stream, tell)):
                notes.append(note)
            if node.releases.ensure(release, node.store.stream):
                unpacked.append(release.product)
            if _noted(noted, release):
                del noted[release.product]
        except ConfigFault as fault:
            refused[release] = fault
        except FetchFault as fault:
            if fault.cause not in OF_ONE_THING:
                raise
            absent[release.product] = fault  # not noted: to ask again costs nothing
    noted |= _refusals(refused, noted)
    if noted != before:
        node.run_notes.write(Refusals(noted))
    if faults := {release.product: fault for release, fault in refused.items()} | absent:
        raise RefusedReleases(faults)
    return [f"unpacked {', '.join(unpacked)}", *notes] if unpacked else notes


def _refusals(faults: Mapping[DeployedRelease, ConfigFault], noted: Mapping[str, Refusal]) -> dict[str, Refusal]:
    refusals = {}
    for release, fault in faults.items():
        before = _noted(noted, release)
        failures = before.failures + 1 if before else 1
        refusals[release.product] = Refusal(release, fault.message, fault.hint, failures, boot.uptime())
    return refusals


def _noted(noted: Mapping[str, Refusal], release: DeployedRelease) -> Refusal | None:
    """The refusal of exactly this release: one that the document has corrected is another one."""
    refusal = noted.get(release.product)
    return refusal if refusal and is_same(refusal.release, release) else None


def is_same(release: DeployedRelease, other: DeployedRelease) -> bool:
    """Whether two are one release, laid out in one way; whose its writable folders are is no matter of the archive."""
    return replace(release, user="") == replace(other, user="")


def refused_releases(node: Node, assignment: Assignment, *, waiting: bool = False) -> dict[str, Fault]:
    """Products whose releases were refused, each with the reason. `waiting`: only those whose pause is not over."""
    noted = node.run_notes.read(Refusals).products
    releases = (deployed_release(product, product.user) for product in assignment.products)
    refusals = (refusal for release in releases if (refusal := _noted(noted, release)))
    return {
        refusal.release.product: ConfigFault(refusal.reason, refusal.hint)
        for refusal in refusals
        if not waiting or pause_after(refusal.failures, refusal.uptime) > 0
    }


def conclude(node: Node, report: Report, faults: Mapping[str, Fault]) -> None:
    """A run in which products lack something has not done what the document says, however well the others are."""
    if not faults:
        if node.run_notes.read(Refusals).products:
            node.run_notes.remove(Refusals)
        return
    fault = all_of(faults)
    if report.exit_code:
        report.warn(fault.message)
    else:
        report.failed(fault, "refused" if report.outcome == "unchanged" else "incomplete")
