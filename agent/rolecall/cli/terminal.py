"""The terminal: the answer on standard output, progress on standard error.

Colour only where a terminal is, and never with NO_COLOR; no meaning is in a colour alone.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from rolecall.cli.tables import print_table
from rolecall.forms.answers import Answer
from rolecall.forms.quantities import duration
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
                status.update(f"{step.name} {step.note}")
                return
            mark, style = ("✓", "green") if step.outcome == "done" else ("✗", "red")
            head = f"{mark} {step.name:<10} {duration(step.seconds):>8}"
            print_table(out, [[(head, style), (step.note, "")]])

        yield lambda _: watch


def _record_step(report: Report, patience: float, step: Step) -> None:
    if step.outcome == "running":
        systemd.working(f"{step.name} {step.note}".strip(), patience)
    else:
        journal.step_ended(report, step)
