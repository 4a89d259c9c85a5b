"""What a person sees of a plan: its diff, and the list of changes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rolecall.cli.answers import PlanAnswer
from rolecall.cli.tables import print_paragraph, print_table
from rolecall.cli.terminal import console
from rolecall.forms.quantities import count
from rolecall.render.plan import Change

if TYPE_CHECKING:
    from rich.console import Console

_DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan", "#": "yellow"}
_CHANGE_STYLES = {
    **dict.fromkeys(("add", "deploy"), "green"),
    **dict.fromkeys(("remove", "withdraw", "stop", "leave"), "red"),
    **dict.fromkeys(("reload", "restart", "start", "become"), "cyan"),
    "change": "yellow",
}


def show_plan(answer: PlanAnswer) -> None:
    """`plan`: the diff, then the changes; warnings on standard error."""
    out, errors = console(), console(errors=True)
    for warning in answer.warnings:
        print_paragraph(errors, f"note: {warning}", "yellow")
    for line in answer.diff:
        out.print(line, style="bold" if line[:3] in ("+++", "---") else _DIFF_STYLES.get(line[:1]))
    if answer.current == answer.wanted:
        out.print(f"nothing to do: generation {answer.wanted[:12]} is current")
    else:
        print_changes(out, answer.changes, answer.current, answer.wanted)


def print_changes(out: "Console", changes: Sequence[Change], old: str, new: str) -> None:
    """A line for each change between the generations `old` and `new`."""
    out.print(f"{count(len(changes), 'change')}, generation {old[:12] or 'none'} → {new[:12]}:", style="bold")
    rows = []
    for change in changes:
        style = _CHANGE_STYLES[change.action]
        rows.append([(f"  {change.action:<8} {change.path:<28}", style), (change.note, style)])
    print_table(out, rows)
