"""The frame of every run: alone on this machine, and ending with a report that is kept and that others are told of."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

from rolecall.deadline import within
from rolecall.errors import BusyFault, ConfigFault, Fault, HostFault, Stopped, fault_of, machine_error
from rolecall.forms.quantities import duration
from rolecall.host import boot, files
from rolecall.host.lock import locked
from rolecall.node import unreadable
from rolecall.node.node import Node
from rolecall.node.notes import Leaving, MachineFaults
from rolecall.node.outbox import Outbox
from rolecall.node.owner import foreign_owner, own_verified
from rolecall.node.redaction import redacted
from rolecall.readiness import Notice, open_reporter
from rolecall.report import ProductStatus, Report, with_left_out
from rolecall.shortcut import stamps

IDLE = "up to date"
_WORK = (unreadable.STEP, "stage", "activate", "replicate")  # steps that may mend something while the generation stays


@contextmanager
def recorded(node: Node, report: Report, afterwards: Callable[[], None] = lambda: None) -> Iterator[None]:
    """A run, alone on this machine. Whatever happens in it, it ends with a report.

    A fault becomes the report's outcome, and goes no further. An exception that nobody has foreseen is a defect: it is
    reported, and raised again with its traceback. `afterwards` is called while the lock is still held, after others
    were told. Raises BusyFault where another run holds the lock: the report is that one's. Raises the fault of a lock
    that cannot be taken, as in a run folder that is full, once it is reported.
    """
    report.redacted_by(lambda text: redacted(node, text, report.generation, node.generations.current()))
    with ExitStack() as lock:
        try:
            lock.enter_context(locked(node.settings.run, report.command))
            begin(node, report)
            stamps.forget(node.settings.run)  # nothing is known to be well any more
        except BusyFault:
            raise
        except Fault as fault:
            begin(node, report)
            report.failed(fault, "failed")
            finish(node, report)
            raise
        try:
            yield
        except Stopped as stopped:
            report.failed(stopped.fault, "interrupted")
        except KeyboardInterrupt:
            report.failed(Stopped("SIGINT").fault, "interrupted")
            finish(node, report)
            raise
        except Fault as fault:
            report.failed(fault, "refused" if isinstance(fault, ConfigFault) else "failed")
        # The border of every run: what a library makes of a machine without memory or files, or else a defect.
        except Exception as error:
            if machines := machine_error(error):
                report.failed(fault_of(machines, f"this machine cannot go on: {error}", "", HostFault), "failed")
                finish(node, report)
                return
            hint = "please report it with the traceback, which is in the journal"
            report.failed(HostFault(f"a defect of the agent: {error!r}", hint), "failed")
            finish(node, report)
            raise
        finish(node, report)
        afterwards()


def begin(node: Node, report: Report) -> None:
    """Which run this is, and in which boot."""
    with suppress(HostFault):  # without a number it is still told
        report.boot = boot.boot_id()
        report.number = node.reports.next_number()


def finish(node: Node, report: Report) -> None:
    """Keep the report, and tell everybody. What fails here changes nothing of what the node is.

    It is kept before others are told, so that a run which is killed meanwhile is on record, and once more if one of
    them could not be told.
    """
    try:
        complete(node, report)
    except (HostFault, OSError) as error:
        report.warn(f"the report lacks what an earlier run has left: {error}")
    is_kept = keep(node, report)
    warnings = len(report.warnings)
    tell_reporters(node, report)
    if is_kept and len(report.warnings) > warnings:
        keep(node, report, anew=False)


def complete(node: Node, report: Report) -> None:
    """What every report has, whether its run got that far or not: where this run has learned nothing, the last one."""
    last = {} if foreign_owner(node) else next(iter(node.reports.last(1)), {})
    report.address = report.address or str(last.get("address", ""))
    if report.certificate is None:
        report.certificate = last.get("certificate")
    if report.serving is None:
        # A report of 0.1.0 does not say whether its node served.
        report.serving = bool(last.get("serving", last.get("exit_code") == 0))
        report.products = {
            name: ProductStatus(product["version"], product["serving"], product.get("ailment", ""))
            for name, product in last.get("products", {}).items()
        }
    report.products = with_left_out(report.products, report.left_out)
    if report.logins is None:
        report.logins = last.get("logins") or {}
    report.leaving = node.run_notes.read(Leaving).why or report.leaving
    report.current = node.generations.current() or ""
    count_machine_faults(node, report)


def count_machine_faults(node: Node, report: Report) -> None:
    """How often in a row the machine has failed. The count is in the run folder, which a full disk leaves writable."""
    before = node.run_notes.read(MachineFaults).runs
    if report.fault == "machine":
        report.machine_faults = before + 1
        node.run_notes.write(MachineFaults(report.machine_faults))
    elif before:
        node.run_notes.remove(MachineFaults)


def keep(node: Node, report: Report, *, anew: bool = True) -> bool:
    """Save the report, if it says anything that the last one does not. Returns whether it did; a failure is a warning.

    `anew`: whether this run has no report on disk yet.
    """
    try:
        if anew and not worth_keeping(report, next(iter(node.reports.last(1)), {})):
            return False
        node.reports.save(report.data())
        node.reports.prune(node.settings.keep.reports)
    except HostFault as fault:  # such as a full disk: what the run itself has to say is more than that
        report.warn(f"the report could not be kept: {fault.message}")
        report.exit_code = report.exit_code or fault.exit_code
        return False
    return True


def tell_reporters(node: Node, report: Report) -> None:
    """Tell each reporter, within its own deadline. Whatever one does wrong is a warning, and the next one's turn."""
    for kind in node.reporters:
        timeout = getattr(node.settings.reporter, kind).timeout
        try:
            problem = within(timeout, partial(problem_of, node, kind, report.snapshot()))
        except TimeoutError:
            problem = f"it did not end within {duration(timeout)}"
        if problem:
            report.warn(f"the reporter {kind!r} could not be told: {problem}")


def problem_of(node: Node, kind: str, report: Report) -> str:
    """Why a reporter could not be told, or ''."""
    try:
        open_reporter(kind).tell(notice_of(node, report))
    except Fault as fault:
        return fault.message
    # Whatever a reporter's library throws, even SystemExit, must not cost the run its report. This is a thread of its
    # own: signals are raised in the main one.
    except BaseException as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}".rstrip(": ")
    return ""


def notice_of(node: Node, report: Report) -> Notice:
    """What a reporter is given."""
    folder = node.settings.state / "metrics"

    def write_metrics(name: str, data: bytes) -> None:
        files.make_folders(folder)
        files.replace(folder / name, data, 0o644)

    document_read = own_verified(node).fetched
    return Notice(report, node.settings.reporter, node.providers, Outbox(node), write_metrics, document_read)


def worth_keeping(report: Report, last: Mapping[str, Any]) -> bool:
    """Whether this run did or says anything that the last kept one does not."""
    if (last.get("leaving", ""), last.get("serving")) != (report.leaving, report.serving):
        return True
    if last.get("certificate") != report.certificate:
        return True
    if report.outcome == "unchanged":
        mended = any(step.name in _WORK and step.note not in ("", IDLE) for step in report.steps)
        return mended or last.get("exit_code") != 0 or last.get("degraded") != report.degraded
    if report.outcome == last.get("outcome") == "waiting":  # its words have the time of the next try
        return any(last.get(key) != getattr(report, key) for key in ("document", "generation"))
    if report.outcome == "refused" and report.left_out and last.get("left_out") == report.left_out:
        return bool(last.get("document") != report.document)
    news = any(last.get(key) != getattr(report, key) for key in ("outcome", "document", "generation", "error"))
    return news or (bool(report.generation) and report.outcome != "waiting")
