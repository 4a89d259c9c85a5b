"""What a person sees of the answers about a fleet document. The tables of `fleet show` are in `fleet_tables`."""

from collections.abc import Sequence

from rolecall.cli.fleet_summary import some_of
from rolecall.cli.fleet_tables import print_tables
from rolecall.cli.plan_view import print_changes
from rolecall.cli.tables import plain, print_paragraph, print_table
from rolecall.cli.terminal import console
from rolecall.fleet.warnings import FleetWarning
from rolecall.forms.mistakes import Mistake
from rolecall.forms.quantities import count
from rolecall.operator.answers import FleetCheck, FleetDiff, FleetOverview, Publication, Unplannable
from rolecall.operator.certificates import FleetCertificates

_MOST_WARNINGS = 200  # lines; JSON has them all
_MOST_ALIKE = 3  # that have a line each


def show_check(answer: FleetCheck) -> None:
    """`fleet check`: that there is no mistake, and how much is in the document."""
    counts = (
        f"products: {answer.products}, servers: {answer.servers}, "
        f"databases: {answer.databases}, caches: {answer.caches}"
    )
    head = f"{answer.source}: no mistakes. {answer.fleet}, serial {answer.serial}: {counts}"
    print_paragraph(console(), head + _expiry(answer))
    _print_warnings(answer.source, answer.warnings)


def show_overview(answer: FleetOverview) -> None:
    """`fleet show`: servers, how they are spread over the zones, which of them have which products; the warnings."""
    out = console()
    numbers = {
        "server": len(answer.servers),
        "zone": len(answer.zones),
        "product": len(answer.products),
        "database": len(answer.databases),
        "cache": len(answer.caches),
    }
    counts = ", ".join(count(number, noun) for noun, number in numbers.items())
    print_paragraph(out, f"{answer.fleet}, serial {answer.serial}: {counts}{_expiry(answer)}", "bold")
    if answer.selection:
        chosen = ", ".join(f"{kind} {name}" for kind, name in answer.selection.items())
        out.print(f"only {chosen}; zones are counted for the whole fleet")
    print_tables(out, answer)
    _print_warnings(answer.source, answer.warnings)


def show_diff(answer: FleetDiff) -> None:
    """`fleet diff`: each server that would change; what `fleet publish` would refuse on standard error."""
    out, changed, unknown = console(), 0, 0
    for server, changes in answer.servers.items():
        if isinstance(changes, Unplannable):
            unknown += 1
            print_paragraph(out, f"{server} unknown: {changes.error}", "yellow")
            continue
        old, new = answer.generations[server]
        if old != new:
            changed += 1
            out.print(server, style="bold", end=" ")
            print_changes(out, changes, old, new)
    rest = f"; unknown for {unknown}" if unknown else ""
    out.print(f"{changed} of {len(answer.servers)} servers would change{rest}", style="bold")
    _print_warnings(answer.source, answer.refusals)


def show_publication(answer: Publication) -> None:
    """`fleet publish`: what the store has now."""
    replaced = f"in place of serial {answer.before}" if answer.before else "the first one"
    signer = f", signed by {answer.signer}" if answer.signer else ""
    until = f"good until {answer.not_after:%Y-%m-%d %H:%M} UTC"
    print_paragraph(console(), f"published serial {answer.serial}, {replaced}: {answer.url}{signer}; {until}")
    for note in answer.notes:
        print_paragraph(console(errors=True), f"note: {note}", "yellow")
    _print_warnings(answer.source, answer.warnings)


_CERTIFICATES = {
    "known": ("is in the document", ""),
    "added": ("added", "green"),
    "replaced": ("replaced", "yellow"),
    "other": ("is another one than the document's: name the server to take it, if that is meant", "red"),
    "none": ("none", "yellow"),
    "wrong": ("refused", "red"),
}


def show_certificates(answer: FleetCertificates) -> None:
    """`fleet certificates`: a row for each server."""
    out = console()
    rows = [[(title, "dim") for title in ("server", "until", "sha256", "certificate")]]
    for server in answer.servers:
        words, style = _CERTIFICATES[server.state]
        until = f"{server.until:%Y-%m-%d}" if server.until else "-"
        rows.append([*plain(server.server, until, server.sha256[:16] or "-"), (server.reason or words, style)])
    print_table(out, rows)


def _print_warnings(source: str, warnings: Sequence[Mistake]) -> None:
    """On standard error, in the form of mistakes."""
    if not warnings:
        return
    errors = console(errors=True)
    print_paragraph(errors, f"{source} has {count(len(warnings), 'warning')}:", style="yellow")
    lines = _summarised(warnings)
    for line in lines[:_MOST_WARNINGS]:
        print_paragraph(errors, f"  {line}", "yellow")
    if len(lines) > _MOST_WARNINGS:
        errors.print(f"  … and {len(lines) - _MOST_WARNINGS} more", style="yellow")


def _summarised(warnings: Sequence[Mistake]) -> list[str]:
    """A line for each warning; more than three of one kind share one, in the place of the first."""
    alike: dict[tuple[object, ...], list[Mistake]] = {}
    for number, warning in enumerate(warnings):
        kind = warning.kind if isinstance(warning, FleetWarning) else ""
        alike.setdefault((warning.path[0], kind) if kind else (number,), []).append(warning)
    return [
        line
        for group in alike.values()
        for line in ([_summary(group)] if len(group) > _MOST_ALIKE else map(str, group))
    ]


def _summary(warnings: Sequence[Mistake]) -> str:
    first = warnings[0]
    assert isinstance(first, FleetWarning)
    names = some_of([str(warning.path[1]) for warning in warnings])
    hints = {warning.hint for warning in warnings}
    hint = f" — {first.hint}" if len(hints) == 1 else ""
    return f"{first.line}:{first.column}: {first.path[0]}: {len(warnings)} {first.kind}: {names}{hint}"


def _expiry(answer: FleetCheck | FleetOverview) -> str:
    return "; it has EXPIRED" if answer.expired else ""
