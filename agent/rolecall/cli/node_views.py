"""What a person sees of a node's answers."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rolecall.cli import answers
from rolecall.cli.tables import plain, print_faults, print_marked, print_paragraph, print_table, room
from rolecall.cli.terminal import console
from rolecall.fleet.check import CheckResult
from rolecall.forms.quantities import ago, count, duration, size_in_words
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
        print_paragraph(errors, f"note: {warning}", "yellow")
    if report.degraded:
        print_paragraph(errors, f"degraded: {report.degraded}", "yellow")
    if report.error:
        print_paragraph(errors, f"rolecall: {report.error}", "red")
    if report.hint:
        print_paragraph(errors, f"  hint: {report.hint}")
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
    rows = [(name, value) for name, value in _status_rows(answer).items() if value]
    rows += [
        ("aside", f"{_aside(item)}; `rolecall adopt` lists it and takes it, or remove the folder")
        for item in answer.aside
    ]
    print_table(out, [plain(f"  {name:<8}", value) for name, value in rows])
    print_checks(out, answer.checks)
    if answer.why:
        print_paragraph(out, f"why:  {answer.why}", hang=6)
        print_paragraph(out, f"next: {answer.next}", hang=6)


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
        "last run": _run(last_run, answer.last_run_age_seconds) if last_run else "none",
        "degraded": last_run.get("degraded", ""),
        "leaving": answer.leaving,
        "foreign": f"the state in use is that of another instance, {answer.foreign}" if answer.foreign else "",
    }


def _aside(item: Aside) -> str:
    return f"{item.path}: what {item.instance} had left here, since {item.since:%Y-%m-%d %H:%M %Z}"


def _document(answer: answers.StatusAnswer) -> str:
    trust = "unsigned" if answer.unsigned else f"signed by {answer.signer}"
    age = "never" if answer.document_age_seconds is None else ago(answer.document_age_seconds)
    return f"serial {answer.serial} of {answer.fleet} from {answer.source}, first read {age}, {trust}"


def _run(report: Mapping[str, Any], age: float | None) -> str:
    """How the last run ended, and how long ago; by the clock alone nobody can tell how long before this boot."""
    moment = f"{report['started'][:16].replace('T', ' ')} UTC by this machine's clock"
    before = "before this boot, at" if report.get("boot") else "at"
    when = f"{before} {moment}" if age is None else ago(age)
    return f"{report['command']}, {report['outcome']}, {when}"


def show_selftest(answer: answers.SelftestAnswer) -> None:
    """The self-tests."""
    print_checks(console(), answer.checks)


def print_checks(out: "Console", results: Iterable[CheckResult]) -> None:
    """A line for each self-test."""
    rows = []
    for result in results:
        if result.ok:
            mark, style = "✓ pass", "green"
        elif result.required:
            mark, style = "✗ FAIL", "red"
        else:
            mark, style = "! note", "yellow"
        words = f"{result.name}: {result.reason}" if result.reason else result.name
        rows.append([(f"{mark} {duration(result.seconds):>8}", style), (words, "")])
    print_table(out, rows)


def show_diagnoses(answer: answers.DoctorAnswer) -> None:
    """What doctor has to say; below all that one remedy is for, the remedy, where the last of them stands: why the last
    run did not end well is the end."""
    out, faults, last = console(), defaultdict[str, list[str]](list), {}
    for diagnosis in answer.diagnoses:
        if not diagnosis.ok:
            faults[diagnosis.remedy].append(diagnosis.what)
            last[diagnosis.remedy] = diagnosis
    for diagnosis in answer.diagnoses:
        if diagnosis.ok:
            print_marked(out, "✓", diagnosis.what, "green")
        elif diagnosis is last[diagnosis.remedy]:
            print_faults(out, faults[diagnosis.remedy], diagnosis.remedy)


def show_adoption(answer: answers.AsideListing | answers.Adoption) -> None:
    """`adopt`: what lies aside, with its products; or what was taken of it."""
    if isinstance(answer, answers.Adoption):
        for move in answer.adopted:
            print(f"{move.product}: {move.path}")
        print(f"{count(len(answer.adopted), 'folder')} taken; the sites have them at once")
        return
    out = console()
    if not answer.aside:
        out.print("nothing lies aside")
    for content in answer.aside:
        print_paragraph(out, f"{content.aside.name}: {_aside(content.aside)}")
        for product in content.products:
            sizes = f"{size_in_words(product.shared)} in shared/, {size_in_words(product.private)} in private/"
            print_paragraph(out, f"  {product.name}: {sizes}")
        if not content.products:
            out.print("  no product has written anything")


def show_blame(answer: answers.BlameAnswer) -> None:
    """The mean time of each step as a bar, and the longest run against the budget."""
    if not answer.steps:
        print(NO_RUNS)
        return
    out, total = console(), sum(times.mean for times in answer.steps)
    out.print(f"the mean of the last {answer.runs} runs, the slowest step first:", style="bold")
    widths = [10, 16, 10]
    longest_bar = min(30, room(out, widths))
    rows = []
    for times in answer.steps:
        bar = "█" * max(1, round(longest_bar * times.mean / total)) if total else ""
        rows.append(plain(f"  {duration(times.mean):>8}", f"at most {duration(times.longest):>8}", times.step, bar))
    print_table(out, rows, widths)
    longest, budget = duration(answer.longest_run), duration(answer.budget)
    share = f"{100 * answer.longest_run / answer.budget:.2g} %"
    print_paragraph(out, f"the longest run took {longest}: {share} of the boot budget of {budget}")
