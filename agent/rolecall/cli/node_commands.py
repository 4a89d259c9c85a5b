"""The commands of a node: its runs, where it stands, and its past."""

import argparse
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rolecall import run
from rolecall.checks import probes
from rolecall.cli import answers, doctor, history, node_views
from rolecall.cli.command import Command
from rolecall.cli.terminal import progress
from rolecall.errors import HostFault
from rolecall.fleet.check import CheckResult
from rolecall.host import boot
from rolecall.node.aside import lying_aside
from rolecall.node.node import Node, open_ready_node
from rolecall.node.notes import Hold, Leaving
from rolecall.node.owner import foreign_owner, own_verified
from rolecall.node.redaction import redaction_for
from rolecall.node.reports import explanation
from rolecall.report import product_statuses, serves, with_left_out
from rolecall.settings import load_settings
from rolecall.steps import adoption, drain

_DRAIN_PATIENCE = 60.0  # seconds beyond `drain.wait`: for the run that is under way, and for telling others


def converge(arguments: argparse.Namespace) -> answers.RunAnswer:
    """`boot` and `refresh`."""
    node = _open_node(arguments)
    if arguments.secrets:
        node.secrets.require_anew()
    with progress(quiet=arguments.json, patience=node.settings.boot.budget) as watch:
        report = run.converge(node, arguments.command, config=arguments.config, resume=arguments.resume, watch=watch)
    return answers.RunAnswer(report)


def roll_back(arguments: argparse.Namespace) -> answers.RunAnswer:
    """`rollback`: hold an older generation until the document changes."""
    node = _open_node(arguments)
    with progress(quiet=arguments.json, patience=node.settings.boot.budget) as watch:
        report = run.go_back(node, arguments.generation, watch=watch)
    return answers.RunAnswer(report)


def withdraw(arguments: argparse.Namespace) -> answers.RunAnswer | answers.DrainUndone:
    """`drain`: used at shutdown."""
    node = _open_node(arguments)
    if arguments.undo:
        return answers.DrainUndone(drain.undo(node))
    with progress(quiet=arguments.json, patience=node.settings.drain.wait + _DRAIN_PATIENCE) as watch:
        report = drain.drain(node, watch=watch)
    return answers.RunAnswer(report)


def status(arguments: argparse.Namespace) -> answers.StatusAnswer:
    """`status`: the node is well only if what is current is ready and its self-tests pass now."""
    node = _open_node(arguments)
    generations = node.generations
    current, ready = generations.current(), generations.ready()
    live, verified = generations.load(current), own_verified(node)
    results = probes.run_checks(_subject(node, current), 0) if live else []
    reports = node.reports.last(node.settings.keep.reports)
    last_run = reports[0] if reports else None
    releases = {release.product: release.version for release in live.releases} if live else {}
    products = product_statuses(results, releases)
    left_out = (last_run or {}).get("left_out", {})
    why, remedy = explanation(reports) if reports and reports[0]["exit_code"] else _failing(results)
    well = bool(live) and current == ready and not probes.failed(results)
    return answers.StatusAnswer(
        server=verified.server or None,
        role=node.settings.role,
        fleet=verified.fleet or None,
        current=current,
        ready=ready,
        serving=bool(live) and serves(results, products) and not (left_out and not products),
        products=with_left_out(products, left_out),
        healthy=well and not (last_run and last_run["exit_code"]),
        serial=verified.serial or None,
        source=verified.source or None,
        document_age_seconds=(datetime.now(UTC) - verified.fetched).total_seconds() if verified.fetched else None,
        signer=verified.signer or None,
        unsigned=node.settings.trust.unsigned,
        held=bool(node.notes.read(Hold).generation),
        leaving=node.run_notes.read(Leaving).why,
        foreign=foreign_owner(node),
        aside=lying_aside(node.settings.state),
        owed=tuple(unit.name for unit in node.loaded.owed(live, node.manager)) if live else (),
        releases=releases,
        checks=tuple(results),
        last_run=last_run,
        last_run_age_seconds=_age(last_run) if last_run else None,
        why=why,
        next=remedy,
    )


def _age(report: Mapping[str, Any]) -> float | None:
    """How many seconds ago a run ended, whatever the clock has done since; None where it was not in this boot."""
    return boot.uptime() - report["uptime"] if report.get("boot") == boot.boot_id() else None


def _failing(results: list[CheckResult]) -> tuple[str, str]:
    """Why a node is not well whose last run was, and what to do."""
    failures = [f"{result.name}: {result.reason}" for result in probes.failed(results)]
    if not failures:
        return "", ""
    rest = f" ({len(failures) - 1} more fail)" if failures[1:] else ""
    return f"{failures[0]}{rest}", "`rolecall refresh --json` mends what a run can; the product's log tells the rest"


def selftest(arguments: argparse.Namespace) -> answers.SelftestAnswer:
    """`selftest`: each check once."""
    node = _open_node(arguments)
    return answers.SelftestAnswer(tuple(probes.run_checks(_subject(node, node.generations.current()), 0)))


def diagnose(arguments: argparse.Namespace) -> answers.DoctorAnswer:
    """`doctor`."""
    if arguments.product:
        return answers.DoctorAnswer(tuple(doctor.diagnose_isolation(arguments.config, arguments.product)))
    return answers.DoctorAnswer(tuple(doctor.diagnose(arguments.config)))


def blame(arguments: argparse.Namespace) -> answers.BlameAnswer:
    """`blame`."""
    node = _open_node(arguments)
    return answers.blame_answer(node.reports.last(arguments.n), node.settings.boot.budget)


def adopt(arguments: argparse.Namespace) -> answers.AsideListing | answers.Adoption:
    """`adopt`: what lies aside, or to have it."""
    node = _open_node(arguments)
    if not arguments.instance:
        return answers.AsideListing(tuple(adoption.contents_aside(node.settings.state)))
    return answers.Adoption(adoption.adopt(node, arguments.instance, arguments.product))


def _open_node(arguments: argparse.Namespace) -> Node:
    return open_ready_node(load_settings(arguments.config))


def _subject(node: Node, generation: str | None) -> probes.Subject:
    live = node.generations.load(generation)
    if live is None:
        raise HostFault("this node has no generation yet", "run `rolecall boot`")
    redaction = redaction_for(node, live)
    return probes.Subject(live, node.settings.state, node.settings.paths.root, node.manager, redaction)


COMMANDS: dict[str, Command[Any]] = {
    "boot": Command(converge, node_views.show_run),
    "refresh": Command(converge, node_views.show_run),
    "rollback": Command(roll_back, node_views.show_run),
    "drain": Command(withdraw, node_views.show_drain),
    "status": Command(status, node_views.show_status),
    "selftest": Command(selftest, node_views.show_selftest),
    "doctor": Command(diagnose, node_views.show_diagnoses),
    "history": Command(history.history, history.show_history),
    "blame": Command(blame, node_views.show_blame),
    "adopt": Command(adopt, node_views.show_adoption),
}
