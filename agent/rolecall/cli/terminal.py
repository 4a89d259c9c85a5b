"""The terminal: the answer on standard output, progress on standard error, times in words.

Colour only where a terminal is, and never with NO_COLOR; no meaning is in a colour alone.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from rolecall.forms.answers import Answer
from rolecall.host import journal
from rolecall.readiness import systemd
from rolecall.report import Report, Step

if TYPE_CHECKING:
    from rich.console import Console


def console(*, errors: bool = False) -> "Console":
    """Standard output, or standard error, as rich sees it; wide lines are never folded in a pipe."""
    from rich.console import Console

    stream = sys.stderr if errors else sys.stdout
    width = None if stream.isatty() else 1000
    return Console(file=stream, highlight=False, markup=False, soft_wrap=True, emoji=False, width=width)


def print_json(answer: Answer) -> None:
    """Any command's answer, for machines."""
    print(json.dumps(answer.data(), indent=2, default=str))


@contextmanager
def progress(*, quiet: bool, patience: float) -> Iterator[Callable[[Report], Callable[[Step], None]]]:
    """A line for each step as it ends; on a terminal the running one is shown too. In a service: records, and STATUS.

    `patience`: for how many seconds a service manager should wait for a step.
    """
    if journal.listens():
        yield lambda report: partial(_record_step, report, patience)
        return
    if quiet:
        yield lambda _: lambda _: None
        return
    out = console(errors=True)
    with out.status("") as status:

        def watch(step: Step) -> None:
            if step.outcome == "running":
                status.update(step.name)
                return
            mark, style = ("✓", "green") if step.outcome == "done" else ("✗", "red")
            out.print(mark, style=style, end=" ")
            out.print(f"{step.name:<10} {duration(step.seconds):>8}  {step.note}")

        yield lambda _: watch


def _record_step(report: Report, patience: float, step: Step) -> None:
    if step.outcome == "running":
        systemd.working(step.name, patience)
    else:
        journal.step_ended(report, step)


def count(number: int, noun: str) -> str:
    """`1 change`, `19 changes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def size_in_words(size: int) -> str:
    """`17 bytes`, `1.2 MiB`."""
    if size < 1024:
        return count(size, "byte")
    value = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"


def duration(seconds: float) -> str:
    """`68 ms`, `1.2 s`, `20 min`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:g} min"


def since(moment: str) -> str:
    """How long ago an ISO 8601 moment was."""
    return ago((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())


def ago(seconds: float | None) -> str:
    """`3 min`."""
    if seconds is None:
        return "never"
    if seconds < -60:
        return "less than 0 s (this machine's clock was set back)"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
