"""The agent's figures in the text format of Prometheus, for the textfile collector of node_exporter and for Munin."""

import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version

from rolecall.readiness import Notice
from rolecall.report import Report

NAME = "rolecall.prom"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})  # the three that the format knows


class TextfileReporter:
    """Replaces the file of this node's figures."""

    def tell(self, notice: Notice) -> None:
        """Write the figures as they are at the end of this run."""
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
        lines = [*figures(notice.report, time.time(), uptime), *document_figures(notice)]
        notice.write_metrics(NAME, "".join(f"{line}\n" for line in lines).encode())


def figures(report: Report, now: float, uptime: float) -> Iterator[str]:
    """The lines of each figure of a run, with its help; the reference of the settings lists the same.

    `now`: seconds since 1970, by a clock that may be wrong; `uptime`: seconds since the boot.
    """
    labels = {
        "server": report.server,
        "role": report.role,
        "generation": report.current[:12],
        "version": version("rolecall"),
    }
    yield from _metric("rolecall_info", "What this node is; always 1", {_labelled(labels): 1})
    ready = report.exit_code == 0 and not report.leaving
    yield from _gauge("rolecall_ready", "Whether the last run ended well and nobody is being sent away", ready)
    yield from _gauge(
        "rolecall_serving", "Whether the current generation answers, even if it is an older one", bool(report.serving)
    )
    if report.products:
        products = {_labelled({"product": name}): product.serving for name, product in report.products.items()}
        yield from _metric(
            "rolecall_product_serving", "Whether this product of the current generation answers", products
        )
    yield from _gauge("rolecall_exit_code", "How the last run ended", report.exit_code)
    words = "How many runs in a row the machine itself has kept from their work"
    yield from _gauge("rolecall_machine_faults", words, report.machine_faults)
    yield from _gauge(
        "rolecall_degraded", "Whether it goes on with something older than it should have", report.degraded
    )
    yield from _gauge("rolecall_leaving", "Whether this node is about to leave service", report.leaving)
    if report.waits:
        waits = {_labelled({"database": name}): seconds for name, seconds in report.waits.items()}
        words = "How long the oldest write of this master has waited to be acknowledged, at the last run"
        yield from _metric("rolecall_database_wait_seconds", words, waits)
    words = "When the last run ended that looked at everything"
    yield from _gauge("rolecall_last_run_timestamp_seconds", words, int(now))
    if report.boot:
        words = "How long after the boot of this name the last run ended, whatever the clock said"
        yield from _metric("rolecall_last_run_uptime_seconds", words, {_labelled({"boot": report.boot}): int(uptime)})
    seconds: dict[str, float] = {}
    for step in report.steps:  # of a run that asks two stores, say, there are two steps of one name
        labels_of_step = _labelled({"step": step.name})
        seconds[labels_of_step] = round(seconds.get(labels_of_step, 0.0) + step.seconds, 4)
    if seconds:
        yield from _metric("rolecall_step_seconds", "How long each step of the last run took", seconds)


def document_figures(notice: Notice) -> Iterator[str]:
    """Those of the document that the node goes by."""
    yield from _gauge("rolecall_document_serial", "The document that it follows", notice.report.serial)
    if notice.document_read:
        moment = int(notice.document_read.timestamp())
        yield from _gauge("rolecall_document_timestamp_seconds", "When this node first read that document", moment)


def _gauge(name: str, words: str, value: float | str) -> list[str]:
    """A figure without labels; a text is whether there is any."""
    return _metric(name, words, {"": bool(value) if isinstance(value, str) else value})


def _metric(name: str, words: str, samples: Mapping[str, float]) -> list[str]:
    """A figure's lines; `samples` has its values by their labels."""
    lines = [f"{name}{labels} {int(value) if isinstance(value, bool) else value}" for labels, value in samples.items()]
    return [f"# HELP {name} {words}.", f"# TYPE {name} gauge", *lines]


def _labelled(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items())
    return f"{{{pairs}}}"
