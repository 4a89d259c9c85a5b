"""The agent's figures in the text format of Prometheus, for the textfile collector of node_exporter and for Munin."""

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.metadata import version

from rolecall.readiness import Metrics
from rolecall.report import Report

NAME = "rolecall.prom"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})  # the three that the format knows


class TextfileReporter:
    """Replaces the file of this node's figures."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics

    def tell(self, report: Report) -> None:
        """Write the figures as they are at the end of this run."""
        lines = (line for metric in figures(report, self.metrics.fetched, time.time()) for line in metric)
        self.metrics.write(NAME, "".join(f"{line}\n" for line in lines).encode())


def figures(report: Report, fetched: str, now: float) -> Iterator[list[str]]:
    """Each figure with its help; the reference of the settings lists the same."""
    about = {"server": report.server, "role": report.role, "generation": report.current[:12],
             "version": version("rolecall")}  # fmt: skip
    yield _metric("rolecall_info", "What this node is; always 1", [(about, 1)])
    yield _metric("rolecall_ready", "Whether the last run ended well and nobody is being sent away", [
        ({}, int(report.exit_code == 0 and not report.leaving))
    ])  # fmt: skip
    yield _metric("rolecall_exit_code", "How the last run ended", [({}, report.exit_code)])
    yield _metric("rolecall_degraded", "Whether it goes on with something older than it should", [
        ({}, int(bool(report.degraded)))
    ])  # fmt: skip
    yield _metric("rolecall_leaving", "Whether this node is about to go", [({}, int(bool(report.leaving)))])
    yield _metric("rolecall_last_run_timestamp_seconds", "When the last run ended that looked at everything", [
        ({}, int(now))
    ])  # fmt: skip
    yield _metric("rolecall_document_serial", "The document that it goes by", [({}, report.serial)])
    if fetched:
        yield _metric("rolecall_document_timestamp_seconds", "When this node first read that document", [
            ({}, int(datetime.fromisoformat(fetched).timestamp()))
        ])  # fmt: skip
    seconds: dict[str, float] = {}
    for step in report.steps:  # of a run that asks two stores, say, there are two steps of one name
        seconds[step.name] = seconds.get(step.name, 0.0) + step.seconds
    if seconds:
        yield _metric("rolecall_step_seconds", "How long each step of the last run took", [
            ({"step": name}, round(took, 4)) for name, took in seconds.items()
        ])  # fmt: skip


def _metric(name: str, words: str, samples: list[tuple[Mapping[str, str], float]]) -> list[str]:
    written = []
    for labels, value in samples:
        pairs = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items())
        written.append(f"{name}{{{pairs}}} {value}" if pairs else f"{name} {value}")
    return [f"# HELP {name} {words}.", f"# TYPE {name} gauge", *written]
