"""What a run does, as records of the journal: with fields to search by, and an id for each kind of record.

`journalctl ROLECALL_STEP=stage`, `journalctl MESSAGE_ID=…`. A service's standard error goes to the journal as well, so
where systemd-python is not installed the same words are written there, each line with its level (sd-daemon(3)).
"""

import os
import sys
from collections.abc import Mapping

from rolecall.errors import Fault
from rolecall.forms.quantities import duration
from rolecall.report import Report, Step

# Never changed once released: what is watched for them is not ours.
STEP_DONE = "9e9a820d6e89409d8ac5ba0a4b7f80c2"
STEP_FAILED = "737395b1212a4a2e8e7f1238392fe75f"
RUN_WELL = "7d7254dec4ed403a868b293e0ed901b9"
RUN_FAILED = "8bd1a50826c64072a2be576f3e0e4e64"
NOTE = "17ab824e3e124b43bece8f674d2c1494"
FAULT = "5bb7a4b05b8740b4bcb9ee6216959110"

_ERROR, _WARNING, _NOTICE, _INFO = 3, 4, 5, 6  # syslog(3)


def listens() -> bool:
    """Whether standard error leads to the journal, or systemd has started us and no person is looking."""
    if os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid()) and not sys.stderr.isatty():
        return True
    return _connected()


def _connected() -> bool:
    """Whether standard error is the stream that systemd has opened to the journal (systemd.exec(5))."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def step_ended(report: Report, step: Step) -> None:
    """A step is over."""
    failed = step.outcome == "failed"
    words = f"{step.name}: {step.note or step.outcome}, {duration(step.seconds)}"
    fields = {"STEP": step.name, "OUTCOME": step.outcome, "SECONDS": f"{step.seconds:.4f}"}
    level, event = (_WARNING, STEP_FAILED) if failed else (_INFO, STEP_DONE)
    _write(level, event, words, _run_fields(report) | fields)


def run_ended(report: Report) -> int:
    """How the run ended, and what people should know although it went on; returns the exit code."""
    fields = _run_fields(report) | {"OUTCOME": report.outcome, "SECONDS": f"{report.data()['seconds']:.4f}"}
    for warning in report.warnings:
        _write(_WARNING, NOTE, warning, fields)
    if report.degraded:
        _write(_WARNING, NOTE, f"degraded: {report.degraded}", fields)
    serving = "serving" if report.serving else "not serving"
    steps = ", ".join(f"{step.name} {step.seconds:.3f}" for step in report.steps)
    words = (
        f"{report.outcome}, {serving}: generation {report.current[:12] or 'none'}, serial {report.serial}; "
        f"seconds: {steps}"
    )
    if report.exit_code == 0:
        _write(_INFO if report.outcome == "unchanged" else _NOTICE, RUN_WELL, words, fields)
    else:
        _write(_ERROR, RUN_FAILED, "\n".join(filter(None, (words, report.error, report.hint))), fields)
    return report.exit_code


def command_failed(fault: Fault) -> None:
    """A command that ended before it had a run to report on."""
    _write(_ERROR, FAULT, "\n".join(filter(None, (fault.message, fault.hint))), {"CAUSE": fault.cause})


def _run_fields(report: Report) -> dict[str, str]:
    """What every record of a run says."""
    return {
        "COMMAND": report.command,
        "SERVER": report.server,
        "GENERATION": report.generation,
        "SERIAL": str(report.serial or ""),
        "CAUSE": report.cause,
    }


def _write(level: int, event: str, words: str, fields: Mapping[str, str]) -> None:
    if _connected() and _sent(level, event, words, fields):
        return
    sys.stderr.write("".join(f"<{level}>{line}\n" for line in words.splitlines()))
    sys.stderr.flush()


def _sent(level: int, event: str, words: str, fields: Mapping[str, str]) -> bool:
    """Whether the journal took a record, with its fields. It does not without systemd-python, or while it restarts."""
    try:
        from systemd import journal

        named = {f"ROLECALL_{key}": value for key, value in fields.items() if value}
        journal.send(words, MESSAGE_ID=event, PRIORITY=str(level), SYSLOG_IDENTIFIER="rolecall", **named)
    except (ImportError, OSError):
        return False
    return True
