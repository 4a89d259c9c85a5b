"""`history`: the runs that did something, and one of them whole, with the evidence of its failure."""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from rolecall.cli.node_views import NO_RUNS, print_checks
from rolecall.cli.tables import plain, print_paragraph, print_table
from rolecall.cli.terminal import console
from rolecall.errors import HostFault
from rolecall.fleet.check import CheckResult
from rolecall.forms.answers import Answer
from rolecall.forms.quantities import count, duration, size_in_words
from rolecall.forms.stored import typed
from rolecall.node.evidence import Evidence, Piece
from rolecall.node.node import open_ready_node
from rolecall.node.reports import headline
from rolecall.settings import load_settings

if TYPE_CHECKING:
    from rich.console import Console

_FAILURES = ("rolled back", "ailing", "not ready", "refused", "failed", "waiting", "interrupted")


@dataclass(frozen=True)
class HistoryAnswer(Answer):
    """The reports of past runs, the newest first; `evidence` says of each whether it has any."""

    sole_field: ClassVar[str] = "runs"

    runs: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class PastRun(Answer):
    """The report of one run, and what its failure looked like, if that was kept."""

    report: Mapping[str, Any]
    evidence: Evidence | None


def history(arguments: argparse.Namespace) -> HistoryAnswer | PastRun:
    """`history`, and `history NUMBER`. Raises HostFault where there is no report of that run."""
    node = open_ready_node(load_settings(arguments.config))
    reports = node.reports
    if arguments.number is None:
        runs = reports.last(arguments.n)
        return HistoryAnswer(tuple({**run, "evidence": reports.evidence(run) is not None} for run in runs))
    runs = reports.last(len(reports.paths()))
    numbers = {run.get("number", 0): run for run in reversed(runs)}
    if arguments.number not in numbers:
        choices = ", ".join(map(str, numbers)) or "none yet"
        raise HostFault(f"there is no report of run {arguments.number}", f"there are reports of: {choices}")
    run = numbers[arguments.number]
    return PastRun(run, reports.evidence(run))


def show_history(answer: HistoryAnswer | PastRun) -> None:
    """The runs, the newest first; or one of them, and then its evidence."""
    if isinstance(answer, PastRun):
        _show_run(answer.report)
        if answer.evidence:
            _show_evidence(answer.evidence)
        return
    if not answer.runs:
        print(NO_RUNS)
        return
    rows = [plain("run", "when", "command", "outcome", "serial", "generation", "took", "what")]
    for report in answer.runs:
        summary = headline(report) if report["error"] else count(len(report["changes"]), "change")
        texts = (
            str(report.get("number", "")),
            report["started"][:19].replace("T", " "),
            report["command"],
            report["outcome"],
            str(report["serial"] or ""),
            report["generation"][:12],
            duration(report["seconds"]),
            f"{summary} (with evidence)" if report["evidence"] else summary,
        )
        rows.append([(text, "red" if report["outcome"] in _FAILURES else "") for text in texts])
    print_table(console(), rows)


def _show_run(report: Mapping[str, Any]) -> None:
    out = console()
    style = "bold red" if report["outcome"] in _FAILURES else "bold"
    out.print(f"run {report.get('number', 0)}: {report['command']}, {report['outcome']}", style=style)
    print_table(out, [plain(f"  {name:<9}", value) for name, value in _rows(report) if value])
    rows = []
    for step in report["steps"]:
        note = step["note"] if step["outcome"] == "done" else f"{step['outcome']}: {step['note']}"
        rows.append(plain(f"  {step['name']:<10} {duration(step['seconds']):>8}", note))
    print_table(out, rows)
    print_checks(out, (typed(CheckResult, dict(check)) for check in report.get("checks", ())))
    for change in report["changes"]:
        print_paragraph(out, f"{change['action']:<8} {change['path']} {change['note']}")
    for warning in report["warnings"]:
        print_paragraph(out, f"note: {warning}", "yellow")
    if report["error"]:
        print_paragraph(out, report["error"], "red")
    if report.get("hint"):
        print_paragraph(out, f"  hint: {report['hint']}")


def _rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "began", f"{report['started'][:19].replace('T', ' ')} UTC, took {duration(report['seconds'])}"
    yield "wanted", report["generation"]
    yield "current", report["current"]
    yield "document", f"serial {report['serial']}" if report["serial"] else ""
    yield "cause", report.get("cause", "")
    yield "degraded", report["degraded"]


def _show_evidence(evidence: Evidence) -> None:
    out = console()
    for page in evidence.pages:
        _show_piece(out, f"answer to {page.check!r}", page.head)
        _show_piece(out, "", page.body)
    for log in evidence.logs:
        _show_piece(out, f"{log.name}, since the switch", log.lines)
    _show_piece(out, f"what was to change from {evidence.live[:12]} to {evidence.generation[:12]}", evidence.diff)
    for reason in evidence.missing:
        print_paragraph(out, f"missing: {reason}", "yellow")


def _show_piece(out: "Console", title: str, piece: Piece) -> None:
    if title:
        out.print(f"\n--- {title}", style="bold")
    for line in piece.text.splitlines():
        out.print(f"  {line}")
    if piece.cut:
        out.print(f"  ({size_in_words(piece.cut)} more were not kept)")
