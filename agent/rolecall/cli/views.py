"""What a person sees of each answer; `as_json` is for machines."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rolecall.cli.terminal import ago, answer, console, duration, since
from rolecall.fleet.check import CheckResult
from rolecall.render.plan import Plan
from rolecall.report import Report

if TYPE_CHECKING:
    from rich.console import Console

_BAD = ("rolled back", "not ready", "refused", "failed", "waiting", "interrupted")


def outcome(report: Report, *, as_json: bool) -> int:
    """How a run ended: one line on standard output, the reasons on standard error."""
    if as_json:
        return answer(report.data(), report.exit_code)
    errors = console(errors=True)
    for warning in report.warnings:
        errors.print(f"note: {warning}", style="yellow")
    if report.degraded:
        errors.print(f"degraded: {report.degraded}", style="yellow")
    if report.error:
        errors.print(f"rolecall: {report.error}", style="red")
    if report.hint:
        errors.print(f"  hint: {report.hint}")
    if report.cause:
        errors.print(f"  cause: {report.cause} (docs/reference/causes.md)")
    serial = f", serial {report.serial}" if report.serial else ""
    kept = ", nothing was changed" if report.outcome == "refused" else ""
    current, took = report.current[:12] or "none", duration(report.data()["seconds"])
    print(f"{report.outcome}{kept}: generation {current}{serial}, {took}")
    return report.exit_code


def plan(made: Plan, warnings: Iterable[str], *, summary: bool, as_json: bool) -> int:
    """The changes, and the diff."""
    if as_json:
        changes = [vars(one) for one in made.changes]
        return answer({"current": made.old.id, "wanted": made.new.id, "changes": changes, "diff": list(made.diff())})
    out, errors = console(), console(errors=True)
    for warning in warnings:
        errors.print(f"note: {warning}", style="yellow")
    if not summary:
        styles = {"+": "green", "-": "red", "@": "cyan", "#": "yellow"}
        for line in made.diff():
            out.print(line, style="bold" if line[:3] in ("+++", "---") else styles.get(line[:1]))
    if made.empty:
        out.print(f"nothing to do: generation {made.new.id[:12]} is current")
        return 0
    _changes(out, made)
    return 0


def _changes(out: "Console", made: Plan) -> None:
    styles = {
        **dict.fromkeys(("add", "deploy"), "green"),
        **dict.fromkeys(("remove", "withdraw", "stop", "leave"), "red"),
        **dict.fromkeys(("reload", "restart", "start", "become"), "cyan"),
        "change": "yellow",
    }
    out.print(f"{made.count}, generation {made.old.id[:12] or 'none'} → {made.new.id[:12]}:", style="bold")
    for one in made.changes:
        out.print(f"  {one.action:<8} {one.path:<28} {one.note}".rstrip(), style=styles[one.action])


def checks(results: Iterable[CheckResult], *, as_json: bool) -> int:
    """The self-tests; exit code 1 if a required one fails."""
    results = list(results)
    code = int(any(one.required and not one.ok for one in results))
    if as_json:
        return answer([vars(one) for one in results], code)
    _checks(console(), results)
    return code


def _checks(out: "Console", results: Iterable[CheckResult]) -> None:
    for one in results:
        mark, style = ("✓ pass", "green") if one.ok else ("✗ FAIL", "red") if one.required else ("! note", "yellow")
        out.print(mark, style=style, end=" ")
        out.print(f"{duration(one.seconds):>8}  {one.name}" + (f": {one.reason}" if one.reason else ""))


def status(known: Mapping[str, Any], *, as_json: bool) -> int:
    """Where the node stands."""
    code = 0 if known["healthy"] else 1
    if as_json:
        return answer(known, code)
    out = console()
    last, age = known["last_run"] or {}, known["document_age_seconds"]
    failed = f"ready, but the last run was not well ({last.get('outcome')})" if known["serving"] else "NOT READY"
    out.print(
        f"{known['server'] or 'this machine'}: {'ready' if known['healthy'] else failed}",
        style="bold green" if known["healthy"] else "bold red",
    )
    trust = ", unsigned" if known["unsigned"] else f", signed by {known['signer']}"
    document = f"serial {known['serial']} of {known['fleet']} from {known['source']}, first read {ago(age)} ago{trust}"
    rows = {
        "role": known["role"], "current": known["current"] or "none", "ready": known["ready"] or "none",
        "document": document if known["serial"] else "none yet",
        "releases": ", ".join(f"{product} {version}" for product, version in known["releases"].items()) or "none",
        "owed": ", ".join(known["owed"]) or "nothing", "held": "by `rolecall rollback`" if known["held"] else "",
        "last run": f"{last['command']}, {last['outcome']}, {since(last['started'])} ago" if last else "none",
        "degraded": last.get("degraded", ""), "leaving": known["leaving"],
    }  # fmt: skip
    for name, value in rows.items():
        if value:
            out.print(f"  {name:<9} {value}")
    _checks(out, [CheckResult(**one) for one in known["checks"]])
    return code


def history(reports: list[dict[str, Any]], *, as_json: bool) -> int:
    """The runs, the newest first."""
    if as_json:
        return answer(reports)
    if not reports:
        print("no run has done anything yet")
        return 0
    from rich.table import Table

    table = Table("when", "command", "outcome", "serial", "generation", "took", "what", box=None, pad_edge=False)
    for one in reports:
        what = one["error"].splitlines()[0] if one["error"] else f"{len(one['changes'])} changes"
        table.add_row(one["started"][:19].replace("T", " "), one["command"], one["outcome"], str(one["serial"] or ""),
                      one["generation"][:12], duration(one["seconds"]), what,
                      style="red" if one["outcome"] in _BAD else None)  # fmt: skip
    console().print(table, soft_wrap=False)
    return 0


def blame(reports: list[dict[str, Any]], budget: float, *, as_json: bool) -> int:
    """Time by step over the runs, the slowest first, and the longest run against the boot budget."""
    spent: dict[str, list[float]] = defaultdict(list)
    for report in reports:
        for step in report["steps"]:
            spent[step["name"]].append(step["seconds"])
    rows = sorted(((name, max(all_), sum(all_) / len(all_)) for name, all_ in spent.items()), key=lambda row: -row[2])
    longest = max((one["seconds"] for one in reports), default=0.0)
    if as_json:
        steps = [{"step": name, "mean": mean, "longest": most} for name, most, mean in rows]
        return answer({"runs": len(reports), "steps": steps, "longest_run": longest, "budget": budget})
    if not rows:
        print("no run has done anything yet")
        return 0
    out, total = console(), sum(row[2] for row in rows)
    out.print(f"the mean of the last {len(reports)} runs, the slowest step first:", style="bold")
    for name, most, mean in rows:
        bar = "█" * max(1, round(30 * mean / total)) if total else ""
        out.print(f"  {duration(mean):>8}  {name:<10} {bar:<30} at most {duration(most)}")
    share = f"{100 * longest / budget:.2g} %"
    out.print(f"the longest run took {duration(longest)}: {share} of the boot budget of {duration(budget)}")
    return 0


def fleet_diff(plans: Mapping[str, Plan | str], *, as_json: bool) -> int:
    """The blast radius: server by server."""
    changed = {server: one for server, one in plans.items() if isinstance(one, str) or not one.empty}
    if as_json:
        return answer({server: {"error": one} if isinstance(one, str) else [vars(change) for change in one.changes]
                      for server, one in plans.items()})  # fmt: skip
    out = console()
    for server, one in changed.items():
        out.print(server, style="bold", end=" ")
        if isinstance(one, str):
            out.print(f"cannot be told: {one}", style="yellow")
        else:
            _changes(out, one)
    untold = sum(isinstance(one, str) for one in changed.values())
    unknown = f", of {untold} it cannot be told" if untold else ""
    out.print(f"{len(changed) - untold} of {len(plans)} servers would change{unknown}", style="bold")
    return 0


def causes(found: list[tuple[bool, str, str]], *, as_json: bool) -> int:
    """What doctor found: (all well, what, remedy); exit code 1 if anything is wrong."""
    code = int(any(not well for well, _, _ in found))
    if as_json:
        return answer([{"ok": well, "what": what, "remedy": remedy} for well, what, remedy in found], code)
    out = console()
    for well, what, remedy in found:
        out.print("✓" if well else "✗", style="green" if well else "red", end=" ")
        out.print(what + (f"\n  remedy: {remedy}" if remedy and not well else ""))
    return code


def findings(found: Sequence[Mapping[str, Any]], mended: Sequence[Mapping[str, Any]], *, as_json: bool) -> int:
    """What `image check` found and mended; exit code 1 if anything is left."""
    if as_json:
        return answer({"findings": found, "mended": mended}, int(bool(found)))
    out = console()
    for one in mended:
        out.print(f"✓ {one['name']}: mended: {one['what']}", style="green")
    for one in found:
        out.print("✗", style="red", end=" ")
        out.print(f"{one['name']}: {one['what']}" + (f"\n  remedy: {one['remedy']}" if one["remedy"] else ""))
    if not found:
        out.print("✓ nothing is wrong with it", style="green")
    return int(bool(found))


def said(words: str, data: Mapping[str, Any], *, as_json: bool) -> int:
    """An answer of one line."""
    if as_json:
        return answer(data)
    print(words)
    return 0


def laid(done: str, paths: list[str], *, as_json: bool) -> int:
    """The attachments that were put in place, or taken away."""
    if as_json:
        return answer(paths)
    print("\n".join(f"{done} {path}" for path in paths) or "nothing to do")
    return 0
