"""The tables of `fleet show`. A terminal that is too narrow gets shorter ones; in a pipe nothing is shortened.

Of many servers, products or rows there are summaries instead.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rolecall.cli.fleet_summary import MOST, print_balance, print_server_groups
from rolecall.cli.tables import Cell, column_widths, print_table, room
from rolecall.fleet.overview import ServerRow
from rolecall.forms.quantities import count
from rolecall.operator.answers import FleetOverview, SpreadRow

if TYPE_CHECKING:
    from rich.console import Console

_ZONE_STYLES = ("cyan", "magenta", "green", "blue", "bright_cyan", "bright_magenta", "bright_green", "bright_blue")
_MARK_STYLES = {"one zone": "bold red", "one server": "yellow", "no server": "yellow", "uneven": "yellow"}
_MARK_WIDTH = max(map(len, _MARK_STYLES))
_EMPTY: Cell = ("", "")


def print_tables(out: "Console", fleet: FleetOverview) -> None:
    """Servers, servers by zone, products by server; each zone has a colour."""
    colours = {zone: _ZONE_STYLES[i % len(_ZONE_STYLES)] for i, zone in enumerate(fleet.zones)}
    many = len(fleet.servers) > MOST
    (print_server_groups if many else _print_servers)(out, fleet, colours)
    _print_spread(out, fleet.spread, colours)
    if not many and len(fleet.products) <= MOST:
        _print_matrix(out, fleet, colours)


def _print_servers(out: "Console", fleet: FleetOverview, colours: Mapping[str, str]) -> None:
    def place(row: ServerRow) -> list[Cell]:
        colour = colours[row.zone]
        return [(f"  {row.name}", colour), (row.zone, colour), (row.address, ""), (row.instance or "-", "")]

    if not fleet.servers:
        return
    head: list[Cell] = [(text, "dim") for text in ("  server", "zone", "address", "instance", "what it is for")]
    widths = column_widths([head, *([*place(row), _EMPTY] for row in fleet.servers)])
    space = room(out, widths)
    out.print()
    print_table(out, [head], widths)
    for role, rows in groupby(fleet.servers, lambda row: row.role):
        table = [
            [*place(row), (_purpose(row, 0 if fleet.selection else len(fleet.products), space), "")] for row in rows
        ]
        out.print(f"{role}, {count(len(table), 'server')}", style="bold")
        print_table(out, table, widths)


def _purpose(row: ServerRow, products: int, room: int) -> str:
    """Products, duties and caches in words; the number of products alone where their names do not fit into a line.

    `products`: how many the fleet has; 0 where it is not shown whole.
    """
    words = list(row.products)
    if len(words) == products > 3:
        words = [f"all {products} products"]
    elif len(words) > 3 and not products and len(", ".join(words)) > room:
        words = [count(len(words), "product")]
    elif len(words) > 3 and len(", ".join(words)) > room:
        words = [f"{len(words)} of {products} products"]
    words += [f"{duty} of {database}" for database, duty in row.duties.items()]
    words += [f"cache {name}" for name in row.caches]
    return ", ".join(words) or "-"


def _print_spread(out: "Console", spread: Sequence[SpreadRow], colours: Mapping[str, str]) -> None:
    """How many servers are in each zone; what is out of balance has a word. Of many rows those of the roles alone."""
    if not spread:
        return
    out.print("\nservers by zone", style="bold")
    if len(spread) > MOST:
        _print_spread_rows(out, [row for row in spread if row.kind == "role"], colours)
        print_balance(out, [row for row in spread if row.kind != "role"])
    else:
        _print_spread_rows(out, spread, colours)


def _print_spread_rows(out: "Console", spread: Sequence[SpreadRow], colours: Mapping[str, str]) -> None:
    names = _spread_names(spread)
    left = column_widths([[*cells, _EMPTY] for cells in names])
    widths = {name: max(len(name), 5) for name in (*colours, "total")}
    narrow = room(out, left) < sum(widths.values()) + 2 * len(widths) + _MARK_WIDTH
    if narrow:
        widths = dict.fromkeys(widths, 3)
        _print_stairs(out, sum(left) + 2 * len(left) + 2, [*colours.items(), ("total", "dim")], 5)

    def numbers(row: SpreadRow) -> list[Cell]:
        zones = [
            (f"{number or '·':>{widths[zone]}}", colours[zone] if number else "dim")
            for zone, number in row.zones.items()
        ]
        return [*zones, (f"{row.servers:>{widths['total']}}", ""), (row.mark, _MARK_STYLES.get(row.mark, ""))]

    zone_names = [(f"{zone:>{widths[zone]}}", colour) for zone, colour in colours.items()]
    head: list[Cell] = [_EMPTY, _EMPTY, *zone_names, ("total", "dim"), _EMPTY]
    table = [] if narrow else [head]
    table += [[*cells, *numbers(row)] for cells, row in zip(names, spread, strict=True)]
    print_table(out, table, column_widths(table))


def _spread_names(spread: Sequence[SpreadRow]) -> list[list[Cell]]:
    """Kind and name of each row; a product that servers of several roles have is told apart by the role."""
    rows_of = Counter(row.name for row in spread if row.kind == "product")

    def name(row: SpreadRow) -> str:
        return f"{row.name} ({row.role})" if row.kind == "product" and rows_of[row.name] > 1 else row.name

    return [[(f"  {row.kind}", "dim"), (name(row), "")] for row in spread]


def _print_matrix(out: "Console", fleet: FleetOverview, colours: Mapping[str, str]) -> None:
    """A column a product, its name above it; servers of a zone that have the same products share a line."""
    products = [row for row in fleet.spread if row.kind == "product"]
    if not fleet.matrix or not products:
        return
    out.print("\nproducts by server", style="bold")
    marks: dict[str, list[str]] = {}
    for row in products:
        marks.setdefault(row.name, []).extend([row.mark] if row.mark else [])
    common = {tuple(words) for words in marks.values()}
    if len(common) == 1 < len(marks) and common != {()}:
        out.print(f"  each of them: {', '.join(common.pop())}", style="yellow")
        marks = {name: [] for name in marks}
    places: list[list[Cell]] = [[(f"  {row.role}", ""), (row.zone, colours[row.zone])] for row in fleet.matrix]
    left = sum(2 + width for width in column_widths([[*cells, _EMPTY] for cells in places]))
    most = max((out.width - left - 26) // 2, 10) if out.file.isatty() else len(marks)
    for start in range(0, len(marks), most):
        names = list(marks)[start : start + most]
        heads = [(": ".join([name, *marks[name]]), _MARK_STYLES.get("".join(marks[name][:1]), "")) for name in names]
        _print_stairs(out, left, heads, 2)
        table = []
        for cells, servers in zip(places, fleet.matrix, strict=True):
            ticks = " ".join("✓" if name in servers.products else "·" for name in names)
            table.append([*cells, (ticks, ""), (" ".join(servers.servers), colours[servers.zone])])
        print_table(out, table, column_widths(table))


def _print_stairs(out: "Console", left: int, names: Iterable[Cell], step: int) -> None:
    """Names above narrow columns: each on a line of its own, with a bar down to its column."""
    for i, (text, style) in enumerate(names):
        out.print(" " * left + f"{'│':<{step}}" * i, style="dim", end="")
        out.print(text, style=style)
