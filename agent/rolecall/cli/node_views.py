"""What a person sees of a node's answers."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rolecall.cli import answers
from rolecall.cli.terminal import ago, console, count, duration, since, size_in_words
from rolecall.fleet.check import CheckResult
from rolecall.host import journal
from rolecall.node.aside import Aside

if TYPE_CHECKING:
    from rich.console import Console

NO_RUNS = "no run has done anything yet"


def show_run(answer: answers.RunAnswer) -> None:
    """How a run ended: one line on standard output, the reasons on standard error. In a service: records."""
    report = answer.report
    if journal.listens():
        journal.run_ended(report)
        return
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
    outcome = f"{report.outcome}, nothing was changed" if report.outcome == "refused" else report.outcome
    serial = f", serial {report.serial}" if report.serial else ""
    print(f"{outcome}: generation {report.current[:12] or 'none'}{serial}, {duration(report.data()['seconds'])}")


def show_drain(answer: answers.RunAnswer | answers.DrainUndone) -> None:
    """`drain`, and `drain --undo`."""
    if isinstance(answer, answers.RunAnswer):
        show_run(answer)
    elif answer.undone:
        print("the next refresh tells others that this machine is back")
    else:
        print("this machine was not drained")


def show_status(answer: answers.StatusAnswer) -> None:
    """Where the node stands, then its self-tests."""
    out = console()
    state, style = _state(answer)
    out.print(f"{answer.server or 'this machine'}: {state}", style=style)
    for name, value in _status_rows(answer).items():
        if value:
            out.print(f"  {name:<9} {value}")
    for item in answer.aside:
        out.print(f"  {'aside':<9} {_aside(item)}; `rolecall adopt` lists it and takes it, or remove the folder")
    print_checks(out, answer.checks)
    if answer.why:
        out.print(f"why:  {answer.why}")
        out.print(f"next: {answer.next}")


def _state(answer: answers.StatusAnswer) -> tuple[str, str]:
    """In a word, and the style of that."""
    if answer.healthy:
        return "ready", "bold green"
    failed = any(check.required and not check.ok for check in answer.checks)
    if answer.last_run and answer.current and answer.current == answer.ready and not failed:
        return f"ready, but the last run did not end well ({answer.last_run['outcome']})", "bold red"
    if answer.serving:
        return "NOT READY, but serving", "bold red"
    silent = [name for name, product in answer.products.items() if not product.serving]
    return f"NOT READY, not serving{': ' if silent else ''}{', '.join(silent)}", "bold red"


def _status_rows(answer: answers.StatusAnswer) -> dict[str, str]:
    """What there is to say in a line each; a row without a value is left out."""
    last_run = answer.last_run or {}
    return {
        "role": answer.role,
        "current": answer.current or "none",
        "ready": answer.ready or "none",
        "document": _document(answer) if answer.serial else "none yet",
        "releases": ", ".join(f"{product} {version}" for product, version in answer.releases.items()) or "none",
        "ailing": "; ".join(product.ailment for product in answer.products.values() if product.ailment),
        "owed": ", ".join(answer.owed) or "nothing",
        "held": "by `rolecall rollback`" if answer.held else "",
        "last run": _run(last_run) if last_run else "none",
        "degraded": last_run.get("degraded", ""),
        "leaving": answer.leaving,
        "foreign": f"the state in use is that of another instance, {answer.foreign}" if answer.foreign else "",
    }


def _aside(item: Aside) -> str:
    return f"{item.path}: what {item.instance} had left here, since {item.since:%Y-%m-%d %H:%M %Z}"


def _document(answer: answers.StatusAnswer) -> str:
    trust = "unsigned" if answer.unsigned else f"signed by {answer.signer}"
    age = ago(answer.document_age_seconds)
    return f"serial {answer.serial} of {answer.fleet} from {answer.source}, first read {age} ago, {trust}"


def _run(report: Mapping[str, Any]) -> str:
    return f"{report['command']}, {report['outcome']}, {since(report['started'])} ago"


def show_selftest(answer: answers.SelftestAnswer) -> None:
    """The self-tests."""
    print_checks(console(), answer.checks)


def print_checks(out: "Console", results: Iterable[CheckResult]) -> None:
    """A line for each self-test."""
    for result in results:
        if result.ok:
            mark, style = "✓ pass", "green"
        elif result.required:
            mark, style = "✗ FAIL", "red"
        else:
            mark, style = "! note", "yellow"
        out.print(mark, style=style, end=" ")
        out.print(f"{duration(result.seconds):>8}  {result.name}" + (f": {result.reason}" if result.reason else ""))


def show_diagnoses(answer: answers.DoctorAnswer) -> None:
    """What doctor has to say, with a remedy for whatever is wrong."""
    out = console()
    for diagnosis in answer.diagnoses:
        out.print("✓" if diagnosis.ok else "✗", style="green" if diagnosis.ok else "red", end=" ")
        remedy = f"\n  remedy: {diagnosis.remedy}" if diagnosis.remedy and not diagnosis.ok else ""
        out.print(diagnosis.what + remedy)


def show_adoption(answer: answers.AsideListing | answers.Adoption) -> None:
    """`adopt`: what lies aside, with its products; or what was taken of it."""
    if isinstance(answer, answers.Adoption):
        for move in answer.adopted:
            print(f"{move.product}: {move.path}")
        print(f"{count(len(answer.adopted), 'folder')} taken; the sites have them at once")
        return
    if not answer.aside:
        print("nothing lies aside")
    for content in answer.aside:
        print(f"{content.aside.name}: {_aside(content.aside)}")
        for product in content.products:
            sizes = f"{size_in_words(product.shared)} in shared/, {size_in_words(product.private)} in private/"
            print(f"  {product.name}: {sizes}")
        if not content.products:
            print("  no product has written anything")


def show_blame(answer: answers.BlameAnswer) -> None:
    """The mean time of each step as a bar, and the longest run against the budget."""
    if not answer.steps:
        print(NO_RUNS)
        return
    out, total = console(), sum(times.mean for times in answer.steps)
    out.print(f"the mean of the last {answer.runs} runs, the slowest step first:", style="bold")
    for times in answer.steps:
        bar = "█" * max(1, round(30 * times.mean / total)) if total else ""
        out.print(f"  {duration(times.mean):>8}  {times.step:<10} {bar:<30} at most {duration(times.longest)}")
    longest, budget = duration(answer.longest_run), duration(answer.budget)
    share = f"{100 * answer.longest_run / answer.budget:.2g} %"
    out.print(f"the longest run took {longest}: {share} of the boot budget of {budget}")
