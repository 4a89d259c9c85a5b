"""The whole run, top to bottom, a verb a line. `boot` and `refresh` are the same function; `plan` is its first half.

identify → fetch → verify → assign → render → plan → stage → rehearse → examine → commit → activate → self-test → ready
                                                         └──────── fails: roll back ───────┘    → report
On a server of a database `replicate` comes before the self-tests; what it does is never rolled back.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rolecall.errors import AilingFault, Fault, FetchFault, HostFault, UnsettledFault
from rolecall.fleet.assignment import Assignment, assign
from rolecall.fleet.identity import Identity
from rolecall.fleet.schema import Fleet
from rolecall.host.lock import locked
from rolecall.host.secrets import paths_of
from rolecall.node.node import Node
from rolecall.node.notes import Hold
from rolecall.node.owner import foreign_owner, own_verified
from rolecall.node.refusals import Refusals
from rolecall.node.unreadable import set_aside_unreadable
from rolecall.node.verified import Verified
from rolecall.render.generation import Generation
from rolecall.report import Report, Watcher
from rolecall.shortcut import stamps
from rolecall.shortcut.record import leave_stamps, source_paths
from rolecall.steps.activation import activate
from rolecall.steps.choice import choose, earlier_generation
from rolecall.steps.deployment import RefusedReleases, conclude, refused_releases
from rolecall.steps.evidence import Before, keep_evidence
from rolecall.steps.finish import IDLE, recorded
from rolecall.steps.identification import identify_machine, note_identity, settle_state
from rolecall.steps.planning import Prospect, make_plan
from rolecall.steps.remarks import warn_of_connections, warn_of_settings, warn_of_tags, warn_of_what_lies_aside
from rolecall.steps.replication import replicate
from rolecall.steps.rotation import leave_secrets
from rolecall.steps.selftest import examine, observe, roll_back, self_test
from rolecall.steps.staging import stage
from rolecall.steps.validation import commit, rehearse
from rolecall.trust.selection import record_verified, select_document
from rolecall.trust.signatures import Signer
from rolecall.trust.verification import Document


@dataclass(frozen=True)
class Decision:
    """What the first half of a run found out: what this node is to be."""

    identity: Identity
    document: Document
    fleet: Fleet
    signer: Signer
    assignment: Assignment
    prospect: Prospect
    stamps: Mapping[str, str]  # of every path that was read, taken before it was: no change meanwhile is missed


def converge(
    node: Node,
    command: str,
    *,
    config: Path | None = None,
    resume: bool = False,
    watch: Watcher = lambda _: lambda _: None,
) -> Report:
    """The run. It returns a report that says how it ended, whatever happened. Raises BusyFault: another run goes on."""
    report = Report(command, role=node.settings.role, server=own_verified(node).server)
    report.watched_by(watch(report))
    settings_stamps = stamps.stamps_of([str(config)] if config else [])
    decision: Decision | None = None

    def leave_record() -> None:
        if decision and config and report.exit_code == 0 and not report.owing:
            try:
                generation = decision.prospect.plan.new
                leave_stamps(node, decision.document, generation, {**decision.stamps, **settings_stamps})
            except HostFault as fault:
                report.warn(f"the next refresh looks at everything again: {fault.message}")

    with recorded(node, report, afterwards=leave_record), completing_earlier_run(node, report):
        set_aside_unreadable(node, report)
        if resume:
            node.run_notes.remove(Refusals)
        decision = decide(node, report)
        instance, server = decision.identity.instance, decision.assignment.server
        record_verified(
            node, decision.document, decision.fleet, signer=decision.signer, instance=instance, server=server
        )
        try:
            follow(node, decision, report, resume=resume)
        except RefusedReleases as refusal:  # the other products go on
            refused = {**decision.prospect.refused, **refusal.faults}
            prospect = make_plan(node, decision.identity, decision.assignment, refused, report)
            decision = replace(decision, prospect=prospect)
            follow(node, decision, report, resume=resume)
        conclude(node, report, decision.prospect.lacking)
    return report


def follow(node: Node, decision: Decision, report: Report, *, resume: bool) -> None:
    """The second half: choose what is to be current, and become it."""
    if target := choose(node, decision.document, decision.prospect.plan, report, resume=resume):
        newest = target.id == decision.prospect.plan.new.id
        # An older generation holds older secrets, and those it keeps.
        act(node, target, decision.prospect.secrets if newest else None, report, decision.prospect)
        leave_secrets(node, decision.prospect, report)


def decide(node: Node, report: Report, *, dry: bool = False) -> Decision:
    """Learn what this node is to be: the pure half, but for the reads. `dry`: nothing at all is written."""
    settings = node.settings
    stamps_read = stamps.stamps_of(source_paths(node))
    warn_of_settings(node, report)
    with report.step("identify") as step:
        identity = identify_machine(node, report)
        step.note = identity.instance or identity.server or identity.address or ""
        node.providers.locate(identity.region)
        if identity.leaving:
            report.leaving = identity.leaving
            report.warn(identity.leaving)
        if not dry:
            note_identity(node, identity)
        if foreign_owner(node, identity):
            report.server = own_verified(node, identity).server  # no report goes out in the other's name
    patience = settings.boot.metadata_timeout if report.command == "boot" else 0.0
    document, fleet, signer = select_document(node, identity, report, patience)
    report.serial = fleet.serial
    with report.step("assign") as step:
        assignment = assign(identity, fleet, settings.role)
        report.server, report.address = assignment.server, assignment.address
        products = ", ".join(product.name for product in assignment.products) or "no products"
        step.note = f"{assignment.server}: {products}"
        warn_of_tags(identity, fleet, settings.role, report)
        warn_of_connections(assignment, report)
    if not dry:
        settle_state(node, identity, report)
        warn_of_what_lies_aside(node, report)
    stamps_read |= stamps.stamps_of(paths_of(assignment.secrets))
    # A boot tries all again.
    refused = refused_releases(node, assignment, waiting=True) if report.command != "boot" else {}
    prospect = make_plan(node, identity, assignment, refused, report, dry=dry)
    return Decision(identity, document, fleet, signer, assignment, prospect, stamps_read)


def act(
    node: Node,
    target: Generation,
    secrets: Mapping[str, str] | None,
    report: Report,
    prospect: Prospect | None = None,
) -> None:
    """Become it. Every step passes over what is done already, so an interrupted run is completed by the next one.

    `prospect`: what the document asks; without it, as in a roll-back, databases stay as they are.
    """
    live = node.generations.ensure_current()
    unproven = target.id != node.generations.ready() or target.id != live.id
    report.releases = target.versions
    with report.step("stage") as step:
        step.note = stage(node, target, secrets, live, report.warn)
    before = Before(live)
    if unproven:
        with report.step("rehearse") as step:
            postponed = step.note = rehearse(node, target, live, report)
        with report.step("examine"):
            before = examine(node, target, live)
        with report.step("commit"):
            commit(node, target, live, rehearsed=not postponed)
    try:
        with report.step("activate") as step:
            step.note = activate(node, target) or IDLE
        if prospect and prospect.plan.new.replication:
            with report.step("replicate") as step:
                step.note = replicate(node, prospect, report) or IDLE
        with report.step("self-test") as step:
            step.note = self_test(node, target, report, ailing=before.ailing, answers=before.answers)
    except AilingFault as fault:
        report.failed(fault, "ailing")
    except (UnsettledFault, FetchFault) as fault:  # a database's data or its upstream: another generation heals neither
        report.failed(fault, "not ready")
        observe(node, report)
        return
    except HostFault as fault:
        give_up(node, target, report, fault, before)
        return
    if report.outcome == "running":
        report.outcome = "ready" if unproven else "unchanged"
    if unproven:
        with report.step("ready"):
            node.generations.prove(target.id)
    # Whatever the outcome: a run that was killed while it removed the old has left the rest to this one.
    node.releases.prune(node.generations.prune(node.settings.keep.generations, node.reports.generations()))


def give_up(node: Node, target: Generation, report: Report, fault: HostFault, before: Before) -> None:
    """It does not work on this machine: back to the generation that did. `before`: what did not work then either."""
    report.failed(fault, "not ready")
    try:
        node.reports.save(report.data())  # a crash from here on must not look like a generation never tried
    except HostFault as second:
        report.warn(second.message)
    keep_evidence(node, target, report, before)
    roll_back(node, target, report, before.ailing)
    observe(node, report)


def go_back(node: Node, prefix: str | None, *, watch: Watcher = lambda _: lambda _: None) -> Report:
    """An operator's roll-back: an older generation, held until the document changes or a refresh with --resume.

    `prefix`: the start of its id, or None for the one before. Raises HostFault where there is no such generation, and
    BusyFault: no run has begun then, and there is nothing to report.
    """
    with locked(node.settings.run, "rollback"):
        target = earlier_generation(node, prefix)
    verified = node.notes.read(Verified)
    report = Report("rollback", role=node.settings.role, server=verified.server, generation=target.id)
    report.watched_by(watch(report))
    report.serial, report.document = verified.serial, verified.sha256
    with recorded(node, report), completing_earlier_run(node, report):
        set_aside_unreadable(node, report)
        node.notes.write(Hold(target.id, report.document))
        act(node, target, None, report)
    return report


@contextmanager
def completing_earlier_run(node: Node, report: Report) -> Iterator[None]:
    """Where this run cannot go on, what one before it has left half done is finished all the same."""
    try:
        yield
    except Fault:
        complete_earlier_run(node, report)
        raise


def complete_earlier_run(node: Node, report: Report) -> None:
    """Prove what `current` points to, and have the daemons read it, where an earlier run did not get so far."""
    try:
        live = node.generations.load(node.generations.current())
        if live is None or live.empty or foreign_owner(node):
            return
        if live.id == node.generations.ready() and not node.loaded.owed(live, node.manager):
            return
        act(node, live, None, report)
        if report.error:
            report.warn(report.error)
    except Fault as second:
        report.warn(f"what an earlier run began could not be finished: {second.message}")
