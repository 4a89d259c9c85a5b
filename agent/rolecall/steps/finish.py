"""The end of every run: others are told, and the report is kept."""

from collections.abc import Mapping
from typing import Any

from rolecall.errors import Fault, HostFault
from rolecall.host import files
from rolecall.node.node import Node
from rolecall.node.notes import Leaving
from rolecall.node.outbox import Outbox
from rolecall.node.verified import Verified
from rolecall.readiness import Metrics, open_reporter
from rolecall.report import Report

IDLE = "nothing is owed"


def finish(node: Node, report: Report) -> None:
    """Tell everybody, and keep the report. What fails here changes nothing of what the node is."""
    report.current = node.generations.current() or ""
    report.leaving = node.run_notes.read(Leaving).why or report.leaving
    outbox, metrics = Outbox(node), _metrics(node)
    for kind in node.reporters:
        try:
            open_reporter(kind, outbox, metrics).tell(report)
        except (Fault, OSError) as error:
            report.warn(f"the reporter {kind!r} could not be told: {error}")
    try:
        outbox.flush()
        if worth_keeping(report, (node.reports.last(1) or [{}])[0]):
            node.reports.save(report.data())
            node.reports.prune(node.settings.keep.reports)
    except HostFault as fault:  # such as a full disk: what the run itself has to say is more than that
        report.warn(f"the report could not be kept: {fault.message}")
        report.exit_code = report.exit_code or fault.exit_code


def _metrics(node: Node) -> Metrics:
    """`metrics/` of the state folder, which everybody may read."""
    folder = node.settings.state / "metrics"

    def write(name: str, data: bytes) -> None:
        files.make_folders(folder)
        files.replace(folder / name, data, 0o644)

    fetched = node.notes.read(Verified).fetched
    return Metrics(write, fetched.isoformat() if fetched else "")


def worth_keeping(report: Report, last: Mapping[str, Any]) -> bool:
    """Whether this run did or says anything that the last kept one does not."""
    if last.get("leaving", "") != report.leaving:
        return True
    if report.outcome == "unchanged":
        mended = any(
            step.name in ("stage", "activate", "replicate") and step.note not in ("", IDLE) for step in report.steps
        )
        return mended or last.get("exit_code") != 0 or last.get("degraded") != report.degraded
    news = any(last.get(key) != getattr(report, key) for key in ("outcome", "document", "generation", "error"))
    return news or (bool(report.generation) and report.outcome != "waiting")
