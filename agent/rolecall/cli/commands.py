"""What each command does: open, ask, show. Every function returns an exit code."""

import argparse
import json
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from types import FrameType
from typing import NoReturn

from rolecall.checks import probes
from rolecall.cli import fleet, image, views
from rolecall.cli.parser import parser
from rolecall.cli.terminal import progress
from rolecall.errors import Fault, HostFault, Stopped
from rolecall.host import journal
from rolecall.node.node import Node, open_ready_node
from rolecall.report import Report
from rolecall.settings import load_settings
from rolecall.steps.finish import LEAVING


def dispatch(arguments: argparse.Namespace) -> int:
    """Do what the command line asks."""
    signal.signal(signal.SIGTERM, _stopped)
    if arguments.version:
        return version()
    words = [word for word in (arguments.command, getattr(arguments, "verb", None)) if word]
    if not words:
        parser().print_help(sys.stderr)
        return 2
    return COMMANDS[" ".join(words)](arguments)


def say(fault: Fault, *, as_json: bool) -> int:
    """A fault in words, on standard error; as JSON on standard output where that was asked for."""
    if as_json:
        from rolecall.forms.mistakes import Mistakes

        found = [vars(one) for one in fault.mistakes] if isinstance(fault, Mistakes) else []
        told = {"error": fault.message, "hint": fault.hint, "cause": fault.cause, "exit_code": fault.exit_code}
        print(json.dumps({**told, "mistakes": found}))
    if journal.listens():
        journal.fault(fault)
        return fault.exit_code
    print(f"rolecall: {fault.message}", file=sys.stderr)
    if fault.hint:
        print(f"  hint: {fault.hint}", file=sys.stderr)
    if fault.cause:
        print(f"  cause: {fault.cause} (docs/reference/causes.md)", file=sys.stderr)
    return fault.exit_code


def _stopped(number: int, _: FrameType | None) -> NoReturn:
    raise Stopped(signal.Signals(number).name)


def version() -> int:
    """`--version`."""
    from importlib.metadata import version as installed

    print(f"rolecall {installed('rolecall')}")
    return 0


def converge(arguments: argparse.Namespace) -> int:
    """`boot` and `refresh`."""
    from rolecall import run

    node = _node(arguments)
    with progress(quiet=arguments.json, patience=node.settings.boot.budget) as watch:
        report = run.converge(node, arguments.command, config=arguments.config, resume=arguments.resume, watch=watch)
    if journal.listens() and not arguments.json:
        return journal.outcome(report)
    return views.outcome(report, as_json=arguments.json)


def plan(arguments: argparse.Namespace) -> int:
    """`plan`: of this node, or offline of any server of a document."""
    from rolecall import run
    from rolecall.operator import offline
    from rolecall.render.generation import Generation
    from rolecall.render.plan import make_plan

    if bool(arguments.fleet or arguments.store) != bool(arguments.server):
        parser().error("--as needs a document, and a document a server: rolecall plan --fleet fleet.json --as web1")
    if not arguments.server:
        report = Report("plan")
        made = run.decide(_node(arguments), report, dry=True).plan
        return views.plan(made, report.warnings, summary=arguments.summary, as_json=arguments.json)
    known = arguments.config if arguments.config.exists() else None
    live = offline.live_fleet(offline.store_at(arguments.store, known)) if arguments.store else None
    wanted = offline.read_fleet(arguments.fleet) if arguments.fleet else live
    assert wanted
    platform = arguments.platform or offline.platform_of(arguments.config)
    old = Generation("", "", "")
    if live and arguments.fleet and arguments.server in live.servers:
        old = offline.generation(live, arguments.server, platform, arguments.templates)
    new = offline.generation(wanted, arguments.server, platform, arguments.templates)
    return views.plan(make_plan(old, new), [], summary=arguments.summary, as_json=arguments.json)


def status(arguments: argparse.Namespace) -> int:
    """`status`: exit code 0 only if what is current is ready and its self-tests pass now."""
    node = _node(arguments)
    generations = node.generations
    current, ready = generations.current(), generations.ready()
    live, note = generations.load(current), node.notes.read("fleet/verified")
    results = probes.run_checks(_subject(node, current), 0) if live else []
    fetched = note.get("fetched")
    age = (datetime.now(UTC) - datetime.fromisoformat(fetched)).total_seconds() if fetched else None
    last = next(iter(node.reports.last(1)), None)
    well = bool(live) and current == ready and not probes.failed(results)
    known = {
        "server": note.get("server"), "role": node.settings.role, "fleet": note.get("fleet"),
        "current": current, "ready": ready, "serving": well, "healthy": well and not (last and last["exit_code"]),
        "serial": note.get("serial"), "source": note.get("source"), "document_age_seconds": age,
        "signer": note.get("signer"), "unsigned": node.settings.trust.unsigned, "held": bool(node.notes.read("hold")),
        "leaving": str(node.run_notes.read(LEAVING).get("why", "")),
        "owed": [unit.name for unit in node.loaded.owed(live, node.manager)] if live else [],
        "releases": {use.product: use.version for use in live.releases} if live else {},
        "checks": [vars(one) for one in results], "last_run": last,
    }  # fmt: skip
    return views.status(known, as_json=arguments.json)


def _node(arguments: argparse.Namespace) -> Node:
    return open_ready_node(load_settings(arguments.config))


def _subject(node: Node, generation: str | None) -> probes.Subject:
    live = node.generations.load(generation)
    if live is None:
        raise HostFault("this node has no generation yet", "run `rolecall boot`")
    return probes.Subject(live, node.settings.state, node.settings.paths.root, node.manager)


def selftest(arguments: argparse.Namespace) -> int:
    """`selftest`: each check once."""
    node = _node(arguments)
    results = probes.run_checks(_subject(node, node.generations.current()), 0)
    return views.checks(results, as_json=arguments.json)


def history(arguments: argparse.Namespace) -> int:
    """`history`."""
    node = _node(arguments)
    return views.history(node.reports.last(arguments.n), as_json=arguments.json)


def blame(arguments: argparse.Namespace) -> int:
    """`blame`."""
    node = _node(arguments)
    return views.blame(node.reports.last(arguments.n), node.settings.boot.budget, as_json=arguments.json)


def rollback(arguments: argparse.Namespace) -> int:
    """`rollback`: hold an older generation until the document changes."""
    node = _node(arguments)
    from rolecall import run

    with progress(quiet=arguments.json, patience=node.settings.boot.budget) as watch:
        report = run.go_back(node, arguments.generation, watch=watch)
    return views.outcome(report, as_json=arguments.json)


def drain(arguments: argparse.Namespace) -> int:
    """`drain`: used at shutdown."""
    from rolecall.steps.drain import drain, undo

    node = _node(arguments)
    if arguments.undo:
        done = undo(node)
        words = "the next refresh tells others that this machine is back" if done else "this machine was not drained"
        return views.said(words, {"undone": done}, as_json=arguments.json)
    with progress(quiet=arguments.json, patience=node.settings.drain.wait + 60) as watch:
        report = drain(node, watch=watch)
    if journal.listens() and not arguments.json:
        return journal.outcome(report)
    return views.outcome(report, as_json=arguments.json)


def doctor(arguments: argparse.Namespace) -> int:
    """`doctor`."""
    from rolecall.cli.doctor import examine

    return views.causes(examine(arguments.config), as_json=arguments.json)


def demo(arguments: argparse.Namespace) -> int:
    """`demo`."""
    from rolecall.demo import story

    return story.tell(arguments.folder, keep=arguments.keep)


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "boot": converge,
    "refresh": converge,
    "plan": plan,
    "status": status,
    "drain": drain,
    "selftest": selftest,
    "doctor": doctor,
    "history": history,
    "rollback": rollback,
    "blame": blame,
    "fleet check": fleet.check,
    "fleet show": fleet.overview,
    "fleet diff": fleet.diff,
    "fleet publish": fleet.publish,
    "fleet fetch": fleet.fetch,
    "fleet schema": fleet.schema,
    "image attach": image.attach,
    "image detach": image.detach,
    "image check": image.check,
    "image install": image.install,
    "demo": demo,
}
