"""Which generation a run makes current: the rendered one, the one that an operator holds, or an earlier one."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rolecall.errors import HostFault
from rolecall.host import boot
from rolecall.node.node import Node
from rolecall.node.notes import Hold
from rolecall.node.owner import foreign_owner
from rolecall.render.generation import Generation
from rolecall.render.plan import Plan
from rolecall.report import Report
from rolecall.trust.verification import Document

_PROVEN = ("ready", "ailing", "incomplete")  # outcomes of a run whose generation is good to go back to
_LONGEST_PAUSE = 60  # minutes


def choose(node: Node, document: Document, plan: Plan, report: Report, *, resume: bool) -> Generation | None:
    """The rendered generation; or the one that an operator holds; or, while a failed one waits, the ready one."""
    target = plan.new
    report.generation = target.id
    report.changes = [{"action": change.action, "path": change.path, "note": change.note} for change in plan.changes]
    hold = node.notes.read(Hold)
    if hold.generation and (resume or hold.document != document.sha256):
        node.notes.remove(Hold)
    elif held := node.generations.load(hold.generation):
        report.warn(f"held at generation {held.id[:12]} by `rolecall rollback`, until the document changes or --resume")
        report.generation, report.changes = held.id, []
        return held
    tried_at_once = report.command == "boot" or resume
    unproven = target.id not in (node.generations.ready(), node.generations.current())
    if unproven and not tried_at_once and (fault := _still_waiting(node, target, document)):
        report.failed(fault, "waiting")
        report.changes = []
        return node.generations.load(node.generations.ready())
    return target


def _still_waiting(node: Node, target: Generation, document: Document) -> HostFault | None:
    """Why a generation that has failed is not tried yet, or None."""
    failures = failures_of(node, target.id, document.sha256)
    pause = remaining_pause(failures)
    if pause <= 0:
        return None
    times = "once" if len(failures) == 1 else f"{len(failures)} times"
    next_try = datetime.now(UTC) + timedelta(seconds=pause)
    return HostFault(
        f"generation {target.id[:12]} has failed {times}; the next try is at {next_try:%Y-%m-%d %H:%M:%S} UTC; "
        f"run {failures[0].get('number', 0)}: {failures[0]['error']}",
        "correct the document; `rolecall refresh --resume` tries at once",
    )


def failures_of(node: Node, generation: str, document: str) -> list[dict[str, Any]]:
    """The reports of the runs in which a generation has failed with this document, the newest first."""
    return [
        report
        for report in node.reports.last(node.settings.keep.reports)
        if (report.get("generation"), report.get("document")) == (generation, document)
        and report.get("outcome") not in ("waiting", "incomplete")
        # 0.1.0 did not say whose fault it was.
        and (report["fault"] == "document" if "fault" in report else report.get("exit_code") in (1, 78))
    ]


def remaining_pause(failures: Sequence[Mapping[str, Any]]) -> float:
    """For how many seconds more a generation with these failures is not tried; at most an hour, whatever a clock says.

    It is counted from the end of the last try, by the time since the boot. A reboot ends it.
    """
    if not failures or failures[0].get("boot") != boot.boot_id():
        return 0.0
    return pause_after(len(failures), failures[0]["uptime"])


def pause_after(failures: int, end: float) -> float:
    """The same for so many failures, the last of which ended so many seconds after the boot: 1, 2, 4, … minutes."""
    pause: float = 60 * min(2 ** min(failures - 1, 10), _LONGEST_PAUSE)
    return min(pause - (boot.uptime() - end), pause)


def earlier_generation(node: Node, prefix: str | None) -> Generation:
    """The generation that an operator means: by its id's start, or the one that was ready before. Raises HostFault."""
    if owner := foreign_owner(node):
        raise HostFault(
            f"the generations on this disk are those of another instance, {owner}",
            "`rolecall refresh` sets them aside as soon as the document has a place for this machine",
        )
    current = node.generations.current()
    candidates = [node.generations.load(id_) for id_ in node.generations.ids() if id_ != current]
    ids = [candidate.id for candidate in candidates if candidate and not candidate.empty]
    if prefix:
        matches = [id_ for id_ in ids if id_.startswith(prefix)]
        problem = f"{len(matches)} generations start with {prefix!r}"
    else:
        reports = node.reports.last(node.settings.keep.reports)
        proven = [report.get("generation") for report in reports if report.get("outcome") in _PROVEN]
        matches = [id_ for id_ in proven if id_ in ids][:1]
        problem = "no earlier generation was ever ready"
    generation = node.generations.load(matches[0]) if len(matches) == 1 else None
    if generation is None:
        raise HostFault(problem, f"on disk: {', '.join(id_[:12] for id_ in ids) or 'none but the current one'}")
    return generation
