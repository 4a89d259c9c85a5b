"""`rolecall doctor`: why can this node not boot? Every cause at once, each with its remedy; nothing is changed."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from rolecall.causes import is_skewed, skewed
from rolecall.checks import probes
from rolecall.errors import BusyFault, Fault
from rolecall.host import attachments, programs, rehearsal
from rolecall.host.lock import locked
from rolecall.host.roles import read_role, roles_folder
from rolecall.image.role import bare_role
from rolecall.node.node import Node, open_ready_node
from rolecall.render.generation import Generation
from rolecall.report import Report
from rolecall.run import Decision, decide
from rolecall.settings import Settings, load_settings
from rolecall.steps.identification import identify_machine
from rolecall.steps.validation import validators
from rolecall.store import DOCUMENT
from rolecall.trust.selection import MOST, judge

T = TypeVar("T")
Finding = tuple[bool, str, str]


def examine(config: Path) -> list[Finding]:
    """(all well, what, remedy) for each thing that a boot needs."""
    found: list[Finding] = []
    written = _asked(found, f"settings {config}", lambda: load_settings(config))
    opened = partial(open_ready_node, written) if written else None
    if opened and (node := _asked(found, "stores, reporters and identity sources are known", opened)):
        settings = node.settings
        _asked(found, "identity", lambda: identify_machine(node, Report("doctor")))
        _asked(found, f"role {settings.role}", lambda: read_role(roles_folder(settings.paths.templates), settings.role))
        found.extend(
            (False, note, "remove it from agent.toml, or install a version that has it") for note in node.passed_over
        )
        _stores(found, node)
        decision = _asked(
            found, "fleet document, assignment and rendering", lambda: decide(node, Report("doctor"), dry=True)
        )
        found.extend(_machine(settings, node, decision))
    return found


def _stores(found: list[Finding], node: Node) -> None:
    """Each store by itself: a run is content with the first one that is good."""
    for title, question in node.providers.questions():
        _asked(found, title, question)
    for store in node.store.stores:
        stored = _asked(found, f"store {store.url}", partial(store.get, DOCUMENT, MOST))
        if stored and stored.date:
            found.append(
                (not is_skewed(stored.date), "this machine's clock is the store's", skewed("tell", stored.date).hint)
            )
        if stored:
            _asked(found, f"document of {store.url}", partial(judge, node, store, stored))
    for url, objects in node.notes.read("outbox").items():
        found.append((False, f"{len(objects)} reports wait for {url}", "written when that store takes them again"))


def _asked(found: list[Finding], what: str, ask: Callable[[], T]) -> T | None:
    try:
        answer = ask()
    except Fault as fault:
        cause = f" [{fault.cause}]" if fault.cause else ""
        found.append((False, f"{what}: {fault.message}{cause}", fault.hint))
        return None
    found.append((True, what, ""))
    return answer


def _machine(settings: Settings, node: Node, decision: Decision | None) -> Iterator[Finding]:
    if settings.accounts != "none":
        yield os.geteuid() == 0, "runs as root", "accounts and owners need it; sudo rolecall doctor"
    try:
        with locked(settings.run, "doctor"):
            yield True, "no other run holds the lock", ""
    except BusyFault as fault:
        yield False, fault.message, fault.hint
    except Fault as fault:
        yield False, fault.message, fault.hint
    if rehearsal.possible(Path("/")):
        yield True, "mount namespaces for rehearsals", ""
    else:
        yield True, "no mount namespaces here: generations are validated after the switch, before a daemon is told", ""
    if decision:
        yield from _generation(settings, node, decision.plan.new)


def _generation(settings: Settings, node: Node, wanted: Generation) -> Iterator[Finding]:
    for validator in validators(node, wanted):
        yield (
            programs.installed(validator.argv[0]),
            f"validator {validator.name} ({validator.argv[0]})",
            "install the package that brings it; role.toml lists the role's packages",
        )
    for problem in attachments.problems(bare_role(node, settings.role), settings.state, settings.paths.root):
        yield False, f"attachment: {problem}", "rolecall image attach"
    live = node.generations.load(node.generations.current())
    for unit in live.units if live else ():
        if node.manager.manages(unit):
            yield node.manager.active(unit), f"unit {unit.service} is active", "its log tells why it is not"
    if live:
        yield from _standing(settings, node, live)


def _standing(settings: Settings, node: Node, live: Generation) -> Iterator[Finding]:
    """What no generation is at fault for, such as a database's data."""
    asked = replace(live, checks=tuple(one for one in live.checks if one.blameless))
    subject = probes.Subject(asked, settings.state, settings.paths.root, node.manager)
    for one in probes.run_checks(subject, 0):
        hint = "`rolecall history` has what the last run said of it; docs/how-to/databases.md"
        yield one.ok, f"{one.name}: {one.reason}" if one.reason else one.name, hint
