"""What a person sees of a fleet document: its tables, and what had better be otherwise; `as_json` is for machines."""

import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeAlias

from rolecall.cli.terminal import answer, console
from rolecall.fleet.overview import MatrixRow, ServerRow, Spread, matrix, server_rows, spreads, zones
from rolecall.fleet.schema import Fleet
from rolecall.forms.mistakes import Mistake

if TYPE_CHECKING:
    from rich.console import Console

    from rolecall.operator.publish import Published

Cell: TypeAlias = tuple[str, str]  # text and style

_ZONES = ("cyan", "magenta", "green", "blue", "bright_cyan", "bright_magenta", "bright_green", "bright_blue")
_MARKS = {"one zone": "bold red", "one server": "yellow", "no server": "yellow", "uneven": "yellow"}
_MARK = max(map(len, _MARKS))
_MOST = 200  # warnings in words


def checked(fleet: Fleet, source: str, warnings: Sequence[Mistake], *, as_json: bool) -> int:
    """A document without a mistake."""
    counts = {"products": len(fleet.products), "servers": len(fleet.servers), "databases": len(fleet.databases),
              "caches": len(fleet.caches)}  # fmt: skip
    if as_json:
        return answer({"fleet": fleet.fleet, "serial": fleet.serial, "mistakes": [], "warnings": _data(warnings),
                       **counts})  # fmt: skip
    what = ", ".join(f"{name}: {count}" for name, count in counts.items())
    print(f"{source}: no mistakes. {fleet.fleet}, serial {fleet.serial}: {what}{_expired(fleet)}", flush=True)
    warn(source, warnings)
    return 0


def published(done: "Published", source: str, warnings: Sequence[Mistake], *, as_json: bool) -> int:
    """What the store has now."""
    fleet, by = done.fleet, f", signed by {done.signer}" if done.signer else ""
    if as_json:
        return answer({"url": done.url, "serial": fleet.serial, "before": done.before, "signer": done.signer,
                       "not_after": fleet.not_after.isoformat(), "warnings": _data(warnings)})  # fmt: skip
    was = f"in place of serial {done.before}" if done.before else "the first one"
    until = f"good until {fleet.not_after:%Y-%m-%d %H:%M} UTC"
    print(f"published serial {fleet.serial}, {was}: {done.url}{by}; {until}", flush=True)
    warn(source, warnings)
    return 0


def overview(fleet: Fleet, source: str, warnings: Sequence[Mistake], *, as_json: bool) -> int:
    """The whole fleet: servers, how they are spread over the zones, and which of them have which products."""
    rows, spread, marks = server_rows(fleet), spreads(fleet), matrix(fleet)
    if as_json:
        products = {name: [row.name for row in rows if name in row.products] for name in sorted(fleet.products)}
        return answer({
            "fleet": fleet.fleet, "serial": fleet.serial, "not_after": fleet.not_after.isoformat(),
            "zones": zones(fleet), "servers": [vars(row) for row in rows],
            "spread": [{"kind": one.kind, "name": one.name, "role": one.role, "zones": one.zones,
                        "servers": len(one.servers), "mark": one.mark} for one in spread],
            "products": products, "warnings": _data(warnings),
        })  # fmt: skip
    out = console()
    colours = {zone: _ZONES[i % len(_ZONES)] for i, zone in enumerate(zones(fleet))}
    counts = {"server": rows, "zone": colours, "product": fleet.products, "database": fleet.databases,
              "cache": fleet.caches}  # fmt: skip
    what = ", ".join(_count(len(those), word) for word, those in counts.items())
    out.print(f"{fleet.fleet}, serial {fleet.serial}: {what}{_expired(fleet)}", style="bold")
    _servers(out, rows, len(fleet.products), colours)
    _spreads(out, spread, colours)
    _matrix(out, marks, [one for one in spread if one.kind == "product"], colours)
    warn(source, warnings)
    return 0


def _servers(out: "Console", rows: list[ServerRow], products: int, colours: dict[str, str]) -> None:
    def left(row: ServerRow) -> list[Cell]:
        colour = colours[row.zone]
        return [(f"  {row.name}", colour), (row.zone, colour), (row.address, ""), (row.instance or "-", "")]

    def cells(row: ServerRow) -> list[Cell]:
        return [*left(row), (_does(row, products, room), "")]

    head: list[Cell] = [(text, "dim") for text in ("  server", "zone", "address", "instance", "what it is for")]
    widths = _widths([head, *([*left(row), ("", "")] for row in rows)])
    room = _room(out, widths)
    if rows:
        out.print()
        _print(out, [head], widths)
    for role, those in groupby(rows, lambda row: row.role):
        table = [cells(row) for row in those]
        out.print(f"{role}, {_count(len(table), 'server')}", style="bold")
        _print(out, table, widths)


def _does(row: ServerRow, products: int, room: int) -> str:
    """Products, duties and caches in words; of products how many, where all of them do not fit into a line."""
    words = list(row.products)
    if len(words) == products > 3:
        words = [f"all {products} products"]
    elif len(words) > 3 and len(", ".join(words)) > room:
        words = [f"{len(words)} of {products} products"]
    words += [f"{duty} of {database}" for database, duty in row.duties.items()]
    return ", ".join([*words, *(f"cache {name}" for name in row.caches)]) or "-"


def _spreads(out: "Console", spread: list[Spread], colours: dict[str, str]) -> None:
    """How many in each zone; what is out of balance has a word."""
    if not spread:
        return
    out.print("\nservers by zone", style="bold")
    twice = {name for name, count in Counter(one.name for one in spread if one.kind == "product").items() if count > 1}
    names: list[list[Cell]] = [
        [(f"  {one.kind}", "dim"),
         (f"{one.name} ({one.role})" if one.kind == "product" and one.name in twice else one.name, "")]
        for one in spread
    ]  # fmt: skip
    left = _widths([[*cells, ("", "")] for cells in names])
    wide = {name: max(len(name), 5) for name in (*colours, "total")}
    if narrow := _room(out, left) < sum(wide.values()) + 2 * len(wide) + _MARK:
        wide = dict.fromkeys(wide, 3)
        _stairs(out, sum(left) + 2 * len(left) + 2, [*colours.items(), ("total", "dim")], 5)

    def cells(one: Spread) -> list[Cell]:
        return [*((f"{count or '·':>{wide[zone]}}", colours[zone] if count else "dim")
                  for zone, count in one.zones.items()),
                (f"{len(one.servers):>{wide['total']}}", ""), (one.mark, _MARKS.get(one.mark, ""))]  # fmt: skip

    head: list[Cell] = [("", ""), ("", ""), *((f"{zone:>{wide[zone]}}", colour) for zone, colour in colours.items())]
    table = [] if narrow else [[*head, ("total", "dim"), ("", "")]]
    table += [[*name, *cells(one)] for name, one in zip(names, spread, strict=True)]
    _print(out, table, _widths(table))


def _matrix(out: "Console", rows: list[MatrixRow], spread: list[Spread], colours: dict[str, str]) -> None:
    """A column a product, its name above it; servers of a zone that have the same products share a line."""
    if not rows or not spread:
        return
    out.print("\nproducts by server", style="bold")
    marks: dict[str, list[str]] = {}
    for one in spread:
        marks.setdefault(one.name, []).extend({one.mark} - {""})
    where: list[list[Cell]] = [[(f"  {row.role}", ""), (row.zone, colours[row.zone])] for row in rows]
    left = sum(2 + width for width in _widths([[*cells, ("", "")] for cells in where]))
    most = max((out.width - left - 26) // 2, 10) if sys.stdout.isatty() else len(marks)
    for start in range(0, len(marks), most):
        some = list(marks)[start : start + most]
        _stairs(out, left, [(": ".join([name, *marks[name]]), _MARKS.get(next(iter(marks[name]), ""), ""))
                            for name in some], 2)  # fmt: skip
        table = [
            [*cells, (" ".join("✓" if name in row.products else "·" for name in some), ""),
             (" ".join(row.servers), colours[row.zone])] for cells, row in zip(where, rows, strict=True)
        ]  # fmt: skip
        _print(out, table, _widths(table))


def _stairs(out: "Console", left: int, names: Iterable[Cell], step: int) -> None:
    """Names above narrow columns: each on a line of its own, with a bar down to its column."""
    for i, (text, style) in enumerate(names):
        out.print(" " * left + f"{'│':<{step}}" * i, style="dim", end="")
        out.print(text, style=style)


def _widths(table: Sequence[Sequence[Cell]]) -> list[int]:
    """Of every column but the last."""
    return [max(len(text) for text, _ in column) for column in zip(*table, strict=True)][:-1]


def _room(out: "Console", widths: list[int]) -> int:
    """What is left of a line for the last column; a pipe has no end."""
    return max(out.width - sum(widths) - 2 * len(widths), 20) if sys.stdout.isatty() else sys.maxsize


def _print(out: "Console", table: Iterable[Sequence[Cell]], widths: list[int]) -> None:
    """Lines in columns. The last column is folded below itself where a terminal is too narrow, and never in a pipe."""
    from rich.text import Text

    left, room = sum(widths) + 2 * len(widths), _room(out, widths)
    for *cells, (last, style) in table:
        first, *more = textwrap.wrap(last, room, break_on_hyphens=False, break_long_words=False) or [""]
        line = Text()
        for (text, colour), width in zip(cells, widths, strict=True):
            line.append(f"{text:<{width}}  ", colour)
        line.append(first, style)
        line.rstrip()
        out.print(line)
        for text in more:
            out.print(" " * left + text, style=style)


def warn(source: str, warnings: Sequence[Mistake]) -> None:
    """On standard error, as mistakes are told."""
    if not warnings:
        return
    errors = console(errors=True)
    errors.print(f"{source} has {_count(len(warnings), 'warning')}:", style="yellow")
    for one in warnings[:_MOST]:
        errors.print(f"  {one}", style="yellow")
    if len(warnings) > _MOST:
        errors.print(f"  … and {len(warnings) - _MOST} more", style="yellow")


def _data(warnings: Iterable[Mistake]) -> list[dict[str, Any]]:
    return [vars(one) for one in warnings]


def _expired(fleet: Fleet) -> str:
    return "; it has EXPIRED" if fleet.not_after < datetime.now(UTC) else ""


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
