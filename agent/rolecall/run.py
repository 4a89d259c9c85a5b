"""The whole run, top to bottom, a verb a line. `boot` and `refresh` are the same function; `plan` is its first half.

identify → fetch → verify → assign → render → plan → stage → rehearse → commit → activate → self-test → ready
                                                         └──────── fails: roll back ───────┘    → report
On a server of a database `replicate` comes before the self-tests; what it does is never rolled back.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rolecall.errors import ConfigFault, Fault, FetchFault, HostFault, Stopped, UnsettledFault
from rolecall.fleet.assignment import Assignment, assign
from rolecall.fleet.identity import Identity
from rolecall.fleet.schema import Fleet
from rolecall.host.lock import locked
from rolecall.host.roles import read_role, roles_folder
from rolecall.host.secrets import ensure_key, fingerprints, paths_of
from rolecall.node.node import Node
from rolecall.node.notes import BootIdentity, Hold
from rolecall.node.unreadable import set_aside_unreadable
from rolecall.node.verified import Verified
from rolecall.render.generation import Generation
from rolecall.render.parameters import unknown_parameters
from rolecall.render.plan import Plan, make_plan
from rolecall.render.rendering import render
from rolecall.report import Report, Watcher
from rolecall.shortcut import stamps
from rolecall.shortcut.record import rest, sources
from rolecall.steps.activation import activate
from rolecall.steps.choice import choose, earlier_generation
from rolecall.steps.finish import IDLE, finish
from rolecall.steps.identification import identify_machine, set_aside_foreign_state
from rolecall.steps.replication import replicate
from rolecall.steps.selftest import roll_back, self_test
from rolecall.steps.staging import stage
from rolecall.steps.templates import release_templates
from rolecall.steps.validation import commit, rehearse
from rolecall.trust.selection import obtain, record_verified
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
    plan: Plan
    secrets: Mapping[str, str]
    seen: Mapping[str, str]  # stamps of all that was read, taken before it was: what changes meanwhile is not missed


def converge(
    node: Node,
    command: str,
    *,
    config: Path | None = None,
    resume: bool = False,
    watch: Watcher = lambda _: lambda _: None,
) -> Report:
    """The run. It returns a report that says how it ended, whatever happened; BusyFault: another run holds the lock."""
    (report := Report(command, role=node.settings.role)).watched_by(watch(report))
    report.server = node.notes.read(Verified).server
    decision = None
    seen = stamps.stamps_of([str(config)] if config else [])
    with locked(node.settings.run, command):
        stamps.forget(node.settings.run)
        with ending(node, report):
            set_aside_unreadable(node, report.warn)
            decision = decide(node, report)
            record_verified(node, decision.document, decision.fleet, signer=decision.signer,
                     instance=decision.identity.instance, server=decision.assignment.server)  # fmt: skip
            if chosen := choose(node, decision.document, decision.plan, report, resume=resume):
                mine = chosen.id == decision.plan.new.id  # an older generation holds older secrets, and those it keeps
                act(node, chosen, decision.secrets if mine else None, report, decision)
                if mine and report.exit_code == 0:
                    node.secrets.keep_values()
        finish(node, report)
        if decision and config and report.exit_code == 0 and not report.owing:
            rest(node, decision.document, decision.plan.new, {**decision.seen, **seen})
    return report


def decide(node: Node, report: Report, *, dry: bool = False) -> Decision:
    """Learn what this node is to be: the pure half, but for the reads. `dry`: nothing at all is written."""
    settings = node.settings
    seen = stamps.stamps_of(sources(node))
    if settings.trust.unsigned:
        report.warn("unsigned: this image trusts whoever can write to its store (trust.unsigned in agent.toml)")
    for note in node.passed_over:
        report.warn(note)
    with report.step("identify") as step:
        identity = identify_machine(node, report)
        step.note = identity.instance or identity.server or identity.address or ""
        node.providers.locate(identity.region)
        if identity.leaving:
            report.leaving = identity.leaving
            report.warn(identity.leaving)
        if not dry:
            set_aside_foreign_state(node, identity, report)
            node.run_notes.write(BootIdentity(identity))
    patience = settings.boot.metadata_timeout if report.command == "boot" else 0.0
    document, fleet, signer = obtain(node, identity, report, patience)
    report.serial = fleet.serial
    with report.step("assign") as step:
        assignment = assign(identity, fleet, settings.role)
        report.server = assignment.server
        step.note = f"{assignment.server}: {', '.join(one.name for one in assignment.products) or 'no products'}"
    with report.step("render") as step:
        role = read_role(roles_folder(settings.paths.templates), settings.role)
        seen |= stamps.stamps_of(paths_of(assignment.secrets))
        secrets = node.secrets.read(assignment.secrets, report.warn)
        if not dry:
            ensure_key(settings.state)
        brought = release_templates(node, role, assignment, dry=dry)
        wanted = render(role, assignment, node.render_settings, fingerprints(secrets, settings.state), brought)
        for note in unknown_parameters(role, fleet.roles):
            report.warn(note)
        step.note = f"generation {wanted.id[:12]}"
    with report.step("plan") as step:
        current = node.generations.load(node.generations.current()) or Generation("", "", "")
        plan = make_plan(current, wanted)
        step.note = "nothing to do" if plan.empty else plan.count
    return Decision(identity, document, fleet, signer, assignment, plan, secrets, seen)


def act(
    node: Node,
    wanted: Generation,
    secrets: Mapping[str, str] | None,
    report: Report,
    decision: Decision | None = None,
) -> None:
    """Become it. Every step passes over what is done already, so an interrupted run is completed by the next one.

    `decision`: what the document says; without it, as in a roll-back, databases stay as they are.
    """
    live = node.generations.ensure_current()
    unproven = wanted.id != node.generations.ready() or wanted.id != live.id
    report.releases = {use.product: use.version for use in wanted.releases}
    with report.step("stage") as step:
        step.note = stage(node, wanted, secrets, live)
    if unproven:
        with report.step("rehearse") as step:
            step.note = rehearse(node, wanted, live, report)
        with report.step("commit"):
            commit(node, wanted, live, rehearsed=not step.note)
    try:
        with report.step("activate") as step:
            step.note = activate(node, wanted) or IDLE
        if decision and decision.plan.new.replication:
            with report.step("replicate") as step:
                databases = decision.assignment.databases
                step.note = replicate(node, decision.plan.new, databases, decision.secrets, report) or IDLE
        with report.step("self-test") as step:
            step.note = self_test(node, wanted, report)
    except (UnsettledFault, FetchFault) as fault:  # a database's data or its upstream: another generation heals neither
        report.failed(fault, "not ready")
        return
    except HostFault as fault:
        give_up(node, wanted, report, fault)
        return
    if report.outcome == "running":
        report.outcome = "ready" if unproven else "unchanged"
    if unproven:
        with report.step("ready"):
            node.generations.prove(wanted.id)
    # Whatever the outcome: a run that was killed while it removed the old has left the rest to this one.
    node.releases.prune(node.generations.prune(node.settings.keep.generations))


def give_up(node: Node, wanted: Generation, report: Report, fault: HostFault) -> None:
    """It does not work on this machine: back to the one that did."""
    report.failed(fault, "not ready")
    try:
        node.reports.save(report.data())  # a crash from here on must not look like a generation never tried
    except HostFault as second:
        report.warn(second.message)
    roll_back(node, wanted, report)


def go_back(node: Node, wanted: str | None, *, watch: Watcher = lambda _: lambda _: None) -> Report:
    """An operator's roll-back: an older generation, held until the document changes or a refresh with --resume."""
    (report := Report("rollback", role=node.settings.role)).watched_by(watch(report))
    with locked(node.settings.run, "rollback"):
        stamps.forget(node.settings.run)
        set_aside_unreadable(node, report.warn)
        target = earlier_generation(node, wanted)
        verified = node.notes.read(Verified)
        report.server, report.serial, report.document = verified.server, verified.serial, verified.sha256
        report.generation = target.id
        node.notes.write(Hold(target.id, report.document))
        with ending(node, report):
            act(node, target, None, report)
        finish(node, report)
    return report


@contextmanager
def ending(node: Node, report: Report) -> Iterator[None]:
    """Turn a fault into the report's outcome; what an earlier run left half done is finished all the same."""
    try:
        yield
    except Stopped as stopped:
        report.failed(stopped.fault, "interrupted")
    except Fault as fault:
        finish_earlier(node, report)
        report.failed(fault, "refused" if isinstance(fault, ConfigFault) else "failed")


def finish_earlier(node: Node, report: Report) -> None:
    """Prove, or tell the daemons of, what `current` points to, where a run before this one did not get so far."""
    live = node.generations.load(node.generations.current())
    if live is None or live.empty:
        return
    if live.id == node.generations.ready() and not node.loaded.owed(live, node.manager):
        return
    try:
        act(node, live, None, report)
        if report.error:
            report.warn(report.error)
    except Fault as second:
        report.warn(f"what was begun before could not be finished: {second.message}")
