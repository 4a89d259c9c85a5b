"""The commands of an operator who looks after stores."""

import argparse
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rolecall.cli.command import Command
from rolecall.cli.tables import plain, print_paragraph, print_table
from rolecall.cli.terminal import console
from rolecall.forms.quantities import count, size_in_words
from rolecall.operator import offline
from rolecall.operator.answers import StoreCheck, StoreCopy
from rolecall.operator.store_check import check_store
from rolecall.operator.store_copy import Progress, copy_store
from rolecall.store.proofs import Proof

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


def copy(arguments: argparse.Namespace) -> StoreCopy:
    """`store copy`."""
    source = offline.store_at(arguments.source, arguments.config)
    target = offline.store_at(arguments.target, arguments.config)
    with _progress(quiet=arguments.json) as progress:
        return copy_store(source, target, progress, delete=arguments.delete, dry_run=arguments.dry_run)


def check(arguments: argparse.Namespace) -> StoreCheck:
    """`store check`."""
    return check_store(offline.store_at(arguments.url, arguments.config))


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Progress]:
    """A bar on a terminal; a line for each object in a pipe; nothing beside JSON."""
    if quiet or not sys.stderr.isatty():
        yield _Lines(quiet=quiet)
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[key]}"),
    )
    with Bar(*columns, console=console(errors=True), transient=True) as bar:
        yield _Bar(bar)


class _Lines:
    """A line for each object that was copied or deleted, on standard error."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet

    def begin(self, objects: int, size: int) -> None:
        """How much there is to look at."""
        self._print(f"{count(objects, 'object')}, {size_in_words(size)}")

    def advance(self, size: int) -> None:
        """Nothing is told of a part of an object."""

    def finish(self, action: str, key: str, size: int) -> None:
        """What was done, and to which object."""
        if action != "unchanged":
            self._print(f"{action} {key}" + (f", {size_in_words(size)}" if action == "copied" else ""))

    def _print(self, line: str) -> None:
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)


class _Bar:
    """One bar for the bytes of all objects."""

    def __init__(self, bar: "Bar") -> None:
        self.bar = bar
        self.task = bar.add_task("", key="")

    def begin(self, objects: int, size: int) -> None:  # noqa: ARG002 - the bar shows bytes
        """The bar's whole length."""
        self.bar.update(self.task, total=size)

    def advance(self, size: int) -> None:
        """A little further."""
        self.bar.advance(self.task, size)

    def finish(self, action: str, key: str, size: int) -> None:  # noqa: ARG002 - the bar shows bytes
        """The object that was done last."""
        self.bar.update(self.task, key=f"{action} {key}")


def show_copy(answer: StoreCopy) -> None:
    """`store copy`: what the target has now."""
    would = "would be " if answer.dry_run else ""
    counts = f"{would}copied: {len(answer.copied)} ({size_in_words(answer.bytes)}), unchanged: {answer.unchanged}"
    head = f"{answer.target}: {answer.fleet}, serial {answer.serial}"
    print_paragraph(console(), f"{head}. {counts}, {would}deleted: {len(answer.deleted)}")
    if answer.dry_run:
        for verb, keys in (("copy", answer.copied), ("delete", answer.deleted)):
            print("".join(f"  {verb} {key}\n" for key in keys), end="")


def show_check(answer: StoreCheck) -> None:
    """`store check`: a row for each experiment; below, what follows from those that failed."""
    out = console()
    rows = [[(title, "dim") for title in ("", "for", "what was tried", "what was seen")]]
    for proof in answer.proofs:
        mark = ("✓", "green") if proof.holds else ("✗", "red")
        rows.append([mark, *plain(proof.purpose, proof.name, proof.seen)])
    print_table(out, rows)
    for consequence, proofs in _by_consequence(answer.proofs).items():
        print_paragraph(out, f"{', '.join(proofs)}: {consequence}", "yellow")
    verdict = "can be published to by several people" if answer.publish else _refusal(answer)
    print_paragraph(out, f"{answer.url} {verdict}", "bold")


def _by_consequence(proofs: Iterable[Proof]) -> dict[str, list[str]]:
    consequences: dict[str, list[str]] = {}
    for proof in proofs:
        if not proof.holds:
            consequences.setdefault(proof.consequence, []).append(proof.name)
    return consequences


def _refusal(answer: StoreCheck) -> str:
    if not answer.writable:
        return "is for reading only"
    return "cannot be published to, but by one person alone (`rolecall fleet publish --alone`)"


COMMANDS: dict[str, Command[Any]] = {"check": Command(check, show_check), "copy": Command(copy, show_copy)}
