"""What `fleet show` says of more servers, or of more that they are for, than a person reads line by line."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rolecall.cli.tables import Cell, Row, plain, print_paragraph, print_table
from rolecall.fleet.overview import ServerRow
from rolecall.forms.quantities import count
from rolecall.operator.answers import FleetOverview, SpreadRow

if TYPE_CHECKING:
    from rich.console import Console

MOST = 100  # servers, products or rows that are listed one by one
_SHOWN = 5  # names of a group


def some_of(names: Sequence[str]) -> str:
    """`a, b, c, d, e and 16 more`."""
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest


def print_server_groups(out: "Console", fleet: FleetOverview, colours: Mapping[str, str]) -> None:
    """A line for the servers of each role in each zone: how many they are, and how much they are for."""
    table: list[Row] = [[(text, "dim") for text in ("  role", "zone", "servers", "what they are for")]]
    for (role, zone), group in groupby(fleet.servers, lambda row: (row.role, row.zone)):
        rows = list(group)
        number: Cell = (f"{len(rows):>7}", "")
        table.append([(f"  {role}", ""), (zone, colours[zone]), number, (_purposes(rows, len(fleet.products)), "")])
    out.print()
    print_table(out, table)
    print_paragraph(
        out,
        f"{len(fleet.servers)} servers are too many to be listed: choose some by --role, --product and --zone; "
        "--json has all",
        "dim",
    )


def _purposes(rows: Iterable[ServerRow], products: int) -> str:
    names, duties, caches = set[str](), Counter[str](), set[str]()
    for row in rows:
        names.update(row.products)
        duties.update(row.duties.values())
        caches.update(row.caches)
    words = [f"{len(names)} of {count(products, 'product')}"] if names else []
    words += [count(number, duty) for duty, number in sorted(duties.items())]
    words += [count(len(caches), "cache")] if caches else []
    return ", ".join(words) or "-"


def print_balance(out: "Console", spread: Sequence[SpreadRow]) -> None:
    """A line for each kind: how many of it are in balance, and which are not."""
    table = []
    for kind, group in groupby(spread, lambda row: row.kind):
        rows = list(group)
        marks = Counter(row.mark for row in rows)
        words = [f"{marks.pop('')} in balance"] if marks[""] else []
        words += [f"{number} {mark} ({some_of(_names(rows, mark))})" for mark, number in sorted(marks.items()) if mark]
        table.append(plain(f"  {count(len(rows), kind)}", "; ".join(words)))
    print_table(out, table)


def _names(rows: Iterable[SpreadRow], mark: str) -> list[str]:
    return [row.name for row in rows if row.mark == mark]
