"""The reports of the last runs: what `history` and `blame` show, and what the pauses after failures go by."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime

from rolecall.errors import HostFault
from rolecall.forms.stored import json_object, plain, typed
from rolecall.host import files, state_files
from rolecall.node.evidence import FORMAT as EVIDENCE_FORMAT
from rolecall.node.evidence import MOST as MOST_EVIDENCE
from rolecall.node.evidence import Evidence, parse_evidence
from rolecall.node.notes import Notes, RunNumber
from rolecall.report import FORMAT, ProductStatus

_NUMBERED = re.compile(r"run-([0-9]{1,18})-")
_EVIDENCE = ".evidence.json"
MOST = 64 * 1024 * 1024  # bytes of a report


@dataclass(frozen=True)
class _StepShape:
    name: str
    seconds: float
    outcome: str
    note: str


@dataclass(frozen=True)
class _ReportShape:
    """What every report on disk has, for those who read it. A report has more than this."""

    started: AwareDatetime  # by a clock that may have been wrong
    command: str
    outcome: str
    exit_code: int
    error: str
    serial: int
    document: str
    generation: str
    current: str
    degraded: str
    leaving: str
    seconds: float
    changes: list[dict[str, str]]
    warnings: list[str]
    steps: list[_StepShape]
    # Those of 0.1.0 lack the rest.
    number: int = 0
    fault: str = ""
    boot: str = ""
    uptime: float = 0.0
    address: str = ""
    serving: bool | None = None
    products: dict[str, ProductStatus] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


class Reports:
    """The folder `reports/`: one file a run that did something, the newest last by name; its evidence beside it.

    A name begins with the run's number. Those of 0.1.0 begin with the year, and so come before them.
    """

    def __init__(self, state: Path, notes: Notes) -> None:
        self.folder = state / "reports"
        self.notes = notes

    def next_number(self) -> int:
        """The number of the run that begins now: above that of every report there is, and of those that are gone."""
        numbers = [int(match[1]) for path in self.paths() if (match := _NUMBERED.match(path.name))]
        return max([self.notes.read(RunNumber).number, *numbers]) + 1

    def save(self, report: dict[str, Any]) -> Path:
        """Write a run's report; the same run's earlier version is replaced."""
        number = report["number"]
        if self.notes.read(RunNumber).number < number:
            self.notes.write(RunNumber(number))
        files.make_folders(self.folder, 0o750)
        path = self.folder / f"run-{number:08}-{report['command']}.json"
        files.replace(path, (json.dumps(report, indent=1) + "\n").encode(), 0o640)
        return path

    def save_evidence(self, number: int, command: str, evidence: Evidence) -> None:
        """Write what the failure of a run looked like beside its report, for root alone to read."""
        data = json.dumps({"format": EVIDENCE_FORMAT, **plain(evidence)}, indent=1, ensure_ascii=False) + "\n"
        files.make_folders(self.folder, 0o750)
        files.replace(self.folder / f"run-{number:08}-{command}{_EVIDENCE}", data.encode(), 0o600)

    def evidence(self, report: Mapping[str, Any]) -> Evidence | None:
        """What the failure of a run looked like, if that was kept and can be read."""
        path = self.folder / f"run-{report.get('number', 0):08}-{report['command']}{_EVIDENCE}"
        try:
            return read_evidence(path)
        except (ValueError, HostFault):
            return None

    def last(self, count: int) -> list[dict[str, Any]]:
        """The newest reports, the newest first; one that cannot be read is left out."""
        reports = []
        for path in reversed(self.paths()[-count:]):
            try:
                reports.append(read_report(path))
            except ValueError:
                continue
        return reports

    def generations(self) -> list[str]:
        """The generations that were wanted or live, those of the last run first."""
        reports = self.last(len(self.paths()))
        return list(dict.fromkeys(report[key] for report in reports for key in ("generation", "current")))

    def prune(self, keep: int) -> None:
        """Remove all but the newest, the others' evidence, and what a run left that was killed while it wrote."""
        paths = self.paths()
        staying = {path.with_suffix(_EVIDENCE) for path in paths[-keep:]}
        evidence = [path for path in self.evidence_paths() if path not in staying]
        for path in [*paths[:-keep], *evidence, *self.folder.glob(".*.new")]:
            files.remove(path)

    def paths(self) -> list[Path]:
        """The reports' files, the oldest first."""
        return [path for path in self._paths() if not path.name.endswith(_EVIDENCE)]

    def evidence_paths(self) -> list[Path]:
        """The files of evidence, the oldest first."""
        return [path for path in self._paths() if path.name.endswith(_EVIDENCE)]

    def _paths(self) -> list[Path]:
        try:
            names = sorted(name for name in os.listdir(self.folder) if name.endswith(".json") and name[0] != ".")
        except OSError:
            return []
        return [self.folder / name for name in names]


def explanation(reports: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Why the last run did not end well, and what to do next, in a line each; '' where it did. The newest comes first.

    A run that only waits says nothing new: the reason is that of the run whose failure it waits for.
    """
    if not reports or not reports[0]["exit_code"]:
        return "", ""
    generation = reports[0]["generation"]
    tries = (
        run for run in reports if run["outcome"] != "waiting" and run["generation"] == generation and run["exit_code"]
    )
    cause = reports[0] if reports[0]["outcome"] != "waiting" else next(tries, reports[0])
    why = f"{cause['command']}, run {cause.get('number', 0)}, ended {cause['outcome']!r}: {headline(cause)}"
    return why, reports[0].get("hint") or "`rolecall history` has the whole reason"


def headline(report: Mapping[str, Any]) -> str:
    """How a run failed, in one line: of a list of reasons the first one."""
    words, *rest = report["error"].splitlines() or [report["outcome"]]
    return f"{words} {rest[0].strip()}" if words.endswith(":") and rest else str(words)


def read_report(path: Path) -> dict[str, Any]:
    """A report as plain data. Raises ValueError, which says why not."""
    report = json_object(state_files.read(path, MOST) or b"")
    if report.get("format") != FORMAT:
        raise ValueError(f"it has format {report.get('format')!r}, this version reads {FORMAT}")
    typed(_ReportShape, report)
    return report


def read_evidence(path: Path) -> Evidence | None:
    """Evidence, or None where there is none. Raises ValueError, which says why it cannot be read."""
    raw = state_files.read(path, MOST_EVIDENCE)
    return None if raw is None else parse_evidence(raw)
