"""`rolecall doctor`: why can this node not boot? Every cause at once, each with its remedy; nothing is changed."""

import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from rolecall.causes import is_skewed, skewed
from rolecall.checks import isolation, probes
from rolecall.cli.answers import Diagnosis
from rolecall.errors import Fault, HostFault
from rolecall.fleet.identity import Identity
from rolecall.host import attachments, programs, rehearsal
from rolecall.host.accounts import account_differences
from rolecall.host.lock import locked
from rolecall.host.roles import read_role, roles_folder
from rolecall.image.role import bare_role
from rolecall.node.aside import lying_aside
from rolecall.node.node import Node, open_ready_node
from rolecall.node.notes import Waiting
from rolecall.node.redaction import redaction_for
from rolecall.node.reports import explanation
from rolecall.node.unreadable import unreadable
from rolecall.node.verified import MOST
from rolecall.operator.store_check import reading_proofs
from rolecall.render.generation import Generation
from rolecall.report import Report
from rolecall.run import Decision, decide
from rolecall.settings import Settings, load_settings
from rolecall.steps.identification import identify_machine
from rolecall.steps.validation import validators
from rolecall.store import DOCUMENT
from rolecall.trust.selection import verify_stored

T = TypeVar("T")
_MODES = "`rolecall refresh --json` puts modes and owners right; docs/reference/isolation.md says what keeps what"


def diagnose(config: Path) -> list[Diagnosis]:
    """Each thing that a boot needs, in the order in which a boot needs it."""
    diagnoses: list[Diagnosis] = []
    settings = _try(diagnoses, f"settings {config}", partial(load_settings, config))
    if settings is None:
        return diagnoses
    node = _try(diagnoses, "stores, reporters and identity sources are known", partial(open_ready_node, settings))
    if node is None:
        return diagnoses
    settings = node.settings
    identity = _try(diagnoses, "identity", lambda: identify_machine(node, Report("doctor")))
    _try(diagnoses, f"role {settings.role}", lambda: read_role(roles_folder(settings.paths.templates), settings.role))
    remedy = "remove it from agent.toml, or install a version that has it"
    diagnoses += [Diagnosis(ok=False, what=note, remedy=remedy) for note in node.passed_over]
    for path, why in unreadable(node):
        what = f"{path} cannot be read: {why}"
        diagnoses.append(Diagnosis(ok=False, what=what, remedy="the next refresh sets it aside and makes it anew"))
    for item in lying_aside(settings.state):
        what = f"what the instance {item.instance} had left here lies aside in {item.path}: `rolecall adopt` lists it"
        diagnoses.append(Diagnosis(ok=True, what=what, remedy=""))
    _diagnose_stores(diagnoses, node, identity)
    decide_only = partial(decide, node, Report("doctor"), dry=True)
    decision = _try(diagnoses, "fleet document, assignment and rendering", decide_only)
    diagnoses += _diagnose_machine(settings, node, decision)
    why, remedy = explanation(node.reports.last(settings.keep.reports))
    diagnoses.append(Diagnosis(not why, f"why: {why}" if why else "the last run ended well, if there was one", remedy))
    live = node.generations.load(node.generations.current())
    redact = redaction_for(node, *[live] if live else []).redacted  # servers and programs are quoted above
    return [replace(entry, what=redact(entry.what), remedy=redact(entry.remedy)) for entry in diagnoses]


def diagnose_isolation(config: Path, product: str) -> Iterator[Diagnosis]:
    """What a product's user reaches of other products and of the agent. Raises HostFault where that cannot be tried."""
    if os.geteuid() != 0:
        raise HostFault("only root can try what another user reaches", f"sudo rolecall doctor --as-product {product}")
    node = open_ready_node(load_settings(config))
    live = node.generations.load(node.generations.current())
    if live is None:
        raise HostFault("this node has no generation yet", "run `rolecall boot`")
    settings, redaction = node.settings, redaction_for(node, live)
    places = isolation.Places(settings.state, settings.run, settings.paths.root, node.manager, redaction)
    for attempt in isolation.attempts(product, live, places):
        if attempt.reached:
            yield Diagnosis(ok=False, what=f"REACHED: {attempt.what}: {attempt.reached}", remedy=_MODES)
        else:
            yield Diagnosis(ok=True, what=f"refused: {attempt.what}", remedy="")
    note = "not tried: the metadata service, which a firewall has to keep from products"
    yield Diagnosis(ok=True, what=note, remedy="")


def _try(diagnoses: list[Diagnosis], title: str, question: Callable[[], T]) -> T | None:
    """Ask something, and note how that went; None where there is no answer."""
    try:
        answer = question()
    except Fault as fault:
        diagnoses.append(_failure(title, fault))
        return None
    diagnoses.append(Diagnosis(ok=True, what=title, remedy=""))
    return answer


def _diagnose_stores(diagnoses: list[Diagnosis], node: Node, identity: Identity | None) -> None:
    """Each store by itself: a run is content with the first one that is good."""
    for title, question in node.providers.questions():
        _try(diagnoses, title, question)
    for store in node.store.stores:
        stored = _try(diagnoses, f"store {store.url}", partial(store.get, DOCUMENT, MOST))
        if stored is None:
            continue
        if stored.date:
            remedy = skewed("tell", stored.date).hint
            diagnoses.append(Diagnosis(not is_skewed(stored.date), "this machine's clock is the store's", remedy))
        _try(diagnoses, f"document of {store.url}", partial(verify_stored, node, store, stored, identity))
        what = f"{store.url}: what publishing relies on is proven by writing, which no node does: `fleet publish` does "
        what += f"each time, and `rolecall store check {shlex.quote(store.url)}` tells all"
        diagnoses.append(Diagnosis(ok=True, what=what, remedy=""))
        proofs = _try(diagnoses, f"reading of {store.url}", partial(reading_proofs, store, DOCUMENT, stored)) or ()
        for proof in proofs:
            if not proof.holds and proof.name != "clock":  # which is told above
                what = f"{store.url}: {proof.seen}: {proof.consequence}"
                diagnoses.append(Diagnosis(ok=True, what=what, remedy=""))
    for url, reports in node.notes.read(Waiting).stores.items():
        backlog = f"{len(reports)} reports wait for {url}"
        diagnoses.append(
            Diagnosis(ok=False, what=backlog, remedy="they are written as soon as that store accepts them again")
        )


def _failure(title: str, fault: Fault) -> Diagnosis:
    cause = f" [{fault.cause}]" if fault.cause else ""
    return Diagnosis(ok=False, what=f"{title}: {fault.message}{cause}", remedy=fault.hint)


def _diagnose_machine(settings: Settings, node: Node, decision: Decision | None) -> Iterator[Diagnosis]:
    if settings.accounts != "none":
        yield Diagnosis(os.geteuid() == 0, "runs as root", "accounts and file owners need root: sudo rolecall doctor")
    try:
        with locked(settings.run, "doctor"):
            yield Diagnosis(ok=True, what="no other run holds the lock", remedy="")
    except Fault as fault:
        yield Diagnosis(ok=False, what=fault.message, remedy=fault.hint)
    namespaces = "mount namespaces for rehearsals"
    if not rehearsal.possible(Path("/")):
        namespaces = (
            "no mount namespaces here: generations are validated after the switch, before any daemon reloads them"
        )
    yield Diagnosis(ok=True, what=namespaces, remedy="")
    if decision:
        for name, lack in decision.prospect.lacking.items():
            yield _failure(f"product {name}", lack)
        yield from _diagnose_generation(settings, node, decision.prospect.plan.new)


def _diagnose_generation(settings: Settings, node: Node, target: Generation) -> Iterator[Diagnosis]:
    for validator in validators(node, target):
        yield Diagnosis(
            programs.installed(validator.argv[0]),
            f"validator {validator.name} ({validator.argv[0]})",
            "install the package that brings it; role.toml lists the role's packages",
        )
    for difference in account_differences(target, settings.paths.root):
        yield Diagnosis(
            ok=True, what=f"{difference} (docs/reference/document.md#accounts-and-their-numbers)", remedy=""
        )
    for problem in attachments.problems(bare_role(node, settings.role), settings.state, settings.paths.root):
        yield Diagnosis(ok=False, what=f"attachment: {problem}", remedy="rolecall image attach")
    live = node.generations.load(node.generations.current())
    for unit in live.units if live else ():
        if node.manager.manages(unit):
            remedy = "its log says why it is not"
            active = node.manager.active(unit)
            yield Diagnosis(active, f"unit {unit.service} is {'active' if active else 'not active'}", remedy)
    if live:
        yield from _diagnose_data(settings, node, live)


def _diagnose_data(settings: Settings, node: Node, live: Generation) -> Iterator[Diagnosis]:
    """What no generation is at fault for, such as a database's data."""
    blameless = replace(live, checks=tuple(check for check in live.checks if check.blameless))
    subject = probes.Subject(blameless, settings.state, settings.paths.root, node.manager, redaction_for(node, live))
    for result in probes.run_checks(subject, 0):
        remedy = "`rolecall history` shows what the last run said about it; docs/how-to/databases.md"
        yield Diagnosis(result.ok, f"{result.name}: {result.reason}" if result.reason else result.name, remedy)
