"""Columns and paragraphs. A terminal gets lines that it does not have to fold: they are folded at words here.

Where standard output is no terminal nothing is folded, and no line ends with blanks: grep and awk see a line a row.
"""

import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console

Cell: TypeAlias = tuple[str, str]  # text and style
Row: TypeAlias = Sequence[Cell]

_GAP = 2  # blanks between columns
_LEAST_ROOM = 24  # where the last column would have less, it is printed below its row
_HANG = 4  # blanks before what goes on below


def plain(*texts: str) -> list[Cell]:
    """Cells without a style."""
    return [(text, "") for text in texts]


def print_table(out: "Console", rows: Iterable[Row], widths: Sequence[int] | None = None) -> None:
    """Rows in columns as wide as their cells, or of these widths; the last column is as wide as it likes.

    In a terminal that is too narrow it is folded below itself, or printed below its row. Where the other columns alone
    are too wide, a row is a paragraph.
    """
    table = list(rows)
    widths = column_widths(table) if widths is None else widths
    for row in table:
        if room(out, widths):
            _print_row(out, row, widths)
        else:
            print_paragraph(out, "  ".join(text for text, _ in row), row[-1][1])


def column_widths(table: Iterable[Row]) -> list[int]:
    """The width of every column but the last."""
    return [max(len(text) for text, _ in column) for column in zip(*table, strict=True)][:-1]


def room(out: "Console", widths: Sequence[int]) -> int:
    """What is left of a line for the last column; a pipe has no end."""
    return max(out.width - sum(widths) - _GAP * len(widths), 0) if out.file.isatty() else sys.maxsize


def print_paragraph(out: "Console", text: str, style: str = "", *, hang: int = _HANG) -> None:
    """Each line of a text, folded at words: what goes on below is indented more than its beginning by `hang`."""
    for line in text.splitlines():
        for part in folded(line, out.width, hang) if out.file.isatty() else [line.rstrip()]:
            out.print(part, style=style)


def print_marked(out: "Console", mark: str, text: str, style: str) -> None:
    """A paragraph behind a mark, which alone has the style."""
    first, *rest = text.splitlines() or [""]
    head, *parts = folded(f"{mark} {first}", out.width, 2) if out.file.isatty() else [f"{mark} {first}".rstrip()]
    out.print(mark, style=style, end="")
    out.print(head[len(mark) :])
    for line in parts:
        out.print(line)
    print_paragraph(out, "\n".join(rest))


def print_faults(out: "Console", faults: Sequence[str], remedy: str) -> None:
    """What is wrong, and once below all that the remedy for it."""
    for fault in faults:
        print_marked(out, "✗", fault, "red")
    if faults and remedy:
        print_paragraph(out, f"  remedy: {remedy}")


def folded(line: str, width: int, hang: int = _HANG) -> list[str]:
    """A line as lines that are no wider; a word that is wider itself, such as a URL, stays whole."""
    indent = " " * (len(line) - len(line.lstrip()) + hang)
    return textwrap.wrap(
        line, max(width, 2 * len(indent)), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    ) or [""]


def width_of(stream: TextIO) -> int | None:
    """How wide the terminal is that a stream goes to; None where it is none."""
    import shutil

    return shutil.get_terminal_size().columns if stream.isatty() else None


def _print_row(out: "Console", row: Row, widths: Sequence[int]) -> None:
    from rich.text import Text

    (text, style), space = row[-1], room(out, widths)
    below = space < min(_LEAST_ROOM, len(text))
    first, *rest = folded(text, space, 0) if space < len(text) and not below else [text]
    line = Text()
    for (cell, colour), width in zip(row, widths, strict=False):
        line.append(f"{cell:<{width}}" + " " * _GAP, colour)
    line.append("" if below else first, style)
    line.rstrip()
    out.print(line)
    for part in rest:
        out.print(" " * (sum(widths) + _GAP * len(widths)) + part, style=style)
    if below:
        print_paragraph(out, " " * _HANG + text, style, hang=0)
