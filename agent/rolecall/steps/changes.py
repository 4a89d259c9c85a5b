"""What a run does to the machine: each step is small, may be killed anywhere and runs again without harm."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict

from rolecall.checks import probes
from rolecall.database.server import DatabaseServer, leave
from rolecall.errors import HostFault, UnsettledFault
from rolecall.fleet.topology import NodeDatabase
from rolecall.host import accounts, attachments, rehearsal
from rolecall.node.node import Node
from rolecall.render.generation import Generation
from rolecall.render.parts import ValidatorUse, unit_use
from rolecall.report import Report

_INSTANCES = "instances"


def stage(node: Node, wanted: Generation, secrets: Mapping[str, str] | None, live: Generation) -> str:
    """Everything slow and failing, beside what is live: accounts, releases, files, folders."""
    accounts.create_accounts(wanted, node.settings.paths.root)
    fresh = [use.product for use in wanted.releases if node.releases.ensure(use, node.store.stream)]
    node.generations.stage(wanted, secrets or {})
    note = f"unpacked {', '.join(fresh)}" if fresh else ""
    if secrets is not None and (damage := node.generations.damage(wanted, secrets)):
        for unit in wanted.units:
            node.loaded.forget(unit)
        node.generations.repair(wanted, secrets, damage)
        note = f"repaired {', '.join(damage)}" if wanted.id == live.id else note
    accounts.create_persistent_folders(wanted, node.generations.folder / wanted.id)
    return note


def rehearse(node: Node, wanted: Generation, live: Generation, report: Report) -> str:
    """Every validator on the whole future state; returns why not, where this machine lets us make no namespaces."""
    folder, paths = node.generations.folder, node.settings.paths
    if absent := attachments.problems(wanted, node.settings.state, paths.root):
        raise HostFault(
            "the role's attachments are not in place, so no daemon would read this generation:\n  "
            + "\n  ".join(absent),
            "`rolecall image attach` lays them",
        )
    if wanted.id == live.id:
        validate(node, wanted, node.generations.ready())
    elif rehearsal.possible(folder):
        rehearsal.rehearse(validators(node, wanted), folder / wanted.id, folder / live.id)
    else:
        report.warn("no mount namespaces here: validated after the switch, before any daemon was told")
        return "postponed"
    return ""


def validators(node: Node, generation: Generation) -> list[ValidatorUse]:
    """Those whose unit is run on this node."""
    run_here = {unit.name for unit in generation.units if node.manager.manages(unit)}
    return [one for one in generation.validators if one.unit is None or one.unit in run_here]


def commit(node: Node, wanted: Generation, live: Generation, *, rehearsed: bool) -> None:
    """The switch. Without a rehearsal the validators run right after it, and it is taken back if they refuse."""
    if wanted.id != live.id:
        node.generations.commit(wanted.id)
    if not rehearsed:
        validate(node, wanted, live.id)


def validate(node: Node, live: Generation, before: str | None) -> None:
    """The validators on what is live already: if they refuse it, `current` goes back to the generation before."""
    try:
        rehearsal.validate_live(validators(node, live))
    except HostFault:
        if before and before != live.id:
            node.generations.commit(before)
        raise


def activate(node: Node, generation: Generation) -> str:
    """Tell every unit that has not loaded its files, once each; instances that are gone are stopped. Returns whom."""
    told = _instances(node, generation)
    for unit in node.loaded.owed(generation, node.manager):
        if unit.action == "start" and node.manager.active(unit):
            told.append(f"{unit.name} has an older configuration until somebody restarts it")
            continue
        node.loaded.forget(unit)  # from here until it is recorded, nobody knows what the daemon has read
        node.manager.reconfigure(unit)
        node.loaded.record(unit)
        told.append(f"{unit.action} {unit.name}")
    return ", ".join(told)


def _instances(node: Node, generation: Generation) -> list[str]:
    """Instances start with the machine as long as they are wanted. The note of them is never shorter than the truth."""
    noted = [unit_use(one) for one in node.notes.read(_INSTANCES).get("units", [])]
    wanted = [unit for unit in generation.units if unit.instance and node.manager.manages(unit)]
    known, names = {unit.name for unit in noted}, {unit.name for unit in wanted}
    fresh = [unit for unit in wanted if unit.name not in known]
    gone = [unit for unit in noted if unit.name not in names]
    if not fresh and not gone:
        return []
    node.notes.write(_INSTANCES, {"units": [asdict(unit) for unit in (*noted, *fresh)]})
    for unit in gone:
        node.manager.disable(unit)
        node.manager.stop(unit)
        node.loaded.forget(unit)
    for unit in fresh:
        node.manager.enable(unit)
    node.notes.write(_INSTANCES, {"units": [asdict(unit) for unit in wanted]})
    return [f"stop {unit.name}" for unit in gone]


def replicate(
    node: Node, wanted: Generation, databases: Iterable[NodeDatabase], secrets: Mapping[str, str], report: Report
) -> str:
    """Have the database server be master, candidate or replica, as the document says. Data is never overwritten."""
    if (use := wanted.replication) is None:
        return ""
    file = wanted.file(use.accounts)
    accounts, mark = (wanted.text_of(file, secrets), wanted.mark_of(file)) if file else ("", "")
    servers = [DatabaseServer(use, one, secrets, wanted.secrets, node.notes) for one in databases]
    done = [leave(use, [one.wanted.name for one in servers], node.notes)]
    done += [one.settle(accounts, mark) for one in servers]
    for one in servers:
        if one.owed:
            report.owe(one.owed)
    return "; ".join(filter(None, done))


def self_test(node: Node, generation: Generation, report: Report, deadline: float | None = None) -> str:
    """All checks until they pass or the deadline is over. Raises HostFault with the reasons."""
    subject = probes.Subject(generation, node.settings.state, node.settings.paths.root, node.manager)
    results = probes.run_checks(subject, node.settings.boot.selftest_deadline if deadline is None else deadline)
    report.tested(results)
    for one in results:
        if not one.ok and not one.required:
            report.warn(f"{one.name}: {one.reason}")
    if failed := probes.failed(results):
        reasons = "\n".join(f"  {one.name}: {one.reason}" for one in failed)
        kind = UnsettledFault if all(one.blameless for one in failed) else HostFault
        raise kind(
            f"{len(failed)} of {len(results)} self-tests failed:\n{reasons}",
            "the product's log and `rolecall selftest` tell more",
        )
    return f"{len(results)} passed"


def roll_back(node: Node, failed: Generation, report: Report) -> None:
    """Back to the generation that last passed its self-tests, code and configuration together."""
    ready = node.generations.load(node.generations.ready())
    if ready is None or ready.id == failed.id:
        return
    try:
        with report.step("roll back") as step:
            node.generations.commit(ready.id)
            activate(node, ready)
            after = Report(report.command)
            self_test(node, ready, after, min(10.0, node.settings.boot.selftest_deadline))
            step.note = f"generation {ready.id[:12]} serves again"
        report.outcome = "rolled back"
    except HostFault as fault:
        report.error += f"\nand the generation before it fails too: {fault.message}"
