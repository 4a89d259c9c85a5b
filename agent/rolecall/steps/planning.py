"""The steps that render and plan: the role, the secrets, the templates that products bring along in their releases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rolecall.errors import ConfigFault, Fault, FetchFault
from rolecall.fleet.assignment import Assignment
from rolecall.fleet.identity import Identity
from rolecall.host.accounts import account_mistakes, check_accounts
from rolecall.host.roles import read_role, roles_folder
from rolecall.host.secrets import ensure_key, fingerprints
from rolecall.node.node import Node
from rolecall.node.owner import foreign_owner, own_generation
from rolecall.render.generation import Generation
from rolecall.render.parameters import unknown_parameters
from rolecall.render.plan import Plan
from rolecall.render.plan import make_plan as plan_between
from rolecall.render.rendering import render
from rolecall.render.role import Role
from rolecall.report import Report
from rolecall.steps.deployment import RefusedReleases, deploy
from rolecall.steps.logins import passwords_held_back
from rolecall.steps.products import without_accounts, without_refused, without_secrets
from rolecall.steps.shortcomings import by_product, joined
from rolecall.steps.staging import make_room


@dataclass(frozen=True)
class Prospect:
    """What a node can become of what the document asks."""

    assignment: Assignment  # as far as it can be had
    plan: Plan
    secrets: Mapping[str, str]
    refused: Mapping[str, Fault]  # product → why its release cannot be had
    lacking: Mapping[str, Fault]  # product → all that keeps it from what the document says


@dataclass(frozen=True)
class _Rendered:
    assignment: Assignment
    target: Generation
    secrets: Mapping[str, str]
    lacking: Mapping[str, Fault]  # product → which of its secrets cannot be had, or how its account clashes


def make_plan(
    node: Node,
    identity: Identity,
    assignment: Assignment,
    refused: Mapping[str, Fault],
    report: Report,
    *,
    dry: bool = False,
) -> Prospect:
    """What an assignment changes. `refused`: products whose release cannot be had. `dry`: nothing at all is written."""
    foreign_state = bool(foreign_owner(node, identity))

    def rendered_without(refused: Mapping[str, Fault]) -> _Rendered:
        possible = without_refused(node, assignment, refused)
        return _render_target(node, possible, report, dry=dry, foreign_state=foreign_state)

    with report.step("render") as step:
        try:
            rendered = rendered_without(refused)
        except RefusedReleases as refusal:  # of those that bring templates along
            if refusal.faults.keys() <= refused.keys():
                raise
            refused = {**refused, **refusal.faults}
            rendered = rendered_without(refused)
        step.note = f"generation {rendered.target.id[:12]}"
    lacking = _tell_lacks(assignment, refused, rendered.lacking, report)
    with report.step("plan") as step:
        target = rendered.target
        live = own_generation(node, identity)
        plan = plan_between(live, target)
        report.new_secrets = [
            key for key in sorted(live.secrets) if target.secrets.get(key, "") not in ("", live.secrets[key])
        ]
        if dry:
            kept = [*filter(None, map(node.generations.load, node.generations.ids())), target]
            if shortage := node.releases.shortage(target.releases, kept):
                report.warn(shortage)
        check_accounts(target, node.settings.paths.root, foreign_state=foreign_state)
        note = "nothing to do" if plan.empty else plan.count
        step.note = note + _secrets_note(rendered.secrets, report.new_secrets)
    return Prospect(rendered.assignment, plan, rendered.secrets, refused, lacking)


def _secrets_note(secrets: Mapping[str, str], changed: Sequence[str]) -> str:
    return f"; secrets read: {len(secrets)}, new values: {', '.join(changed) or 'none'}" if secrets else ""


def _render_target(node: Node, assignment: Assignment, report: Report, *, dry: bool, foreign_state: bool) -> _Rendered:
    role = read_role(roles_folder(node.settings.paths.templates), node.settings.role)
    values, faults = node.secrets.read(assignment.secrets, report.warn)
    if not dry:
        ensure_key(node.settings.state)
    values |= passwords_held_back(node, assignment, values, report)
    if assignment.everything:
        for note in unknown_parameters(role, assignment.everything.roles):
            report.warn(note)

    def rendered(unusable: Mapping[str, Fault], clashes: Mapping[str, Fault]) -> tuple[_Rendered, dict[str, Fault]]:
        able = without_accounts(node, assignment, clashes)
        possible, live_values, lacking = without_secrets(node, able, unusable)
        lacking |= {name: joined(filter(None, (lacking.get(name), clashes[name]))) for name in clashes}
        usable = values | live_values
        secrets = {secret.key: usable[secret.key] for secret in possible.secrets}
        templates = release_templates(node, role, possible, dry=dry)
        target = render(role, possible, node.render_settings, fingerprints(secrets, node.settings.state), templates)
        return _Rendered(possible, target, secrets, lacking), target.unwritable(secrets)

    result, unwritable = rendered(faults, {})
    if unwritable:  # what a format cannot express is as good as absent
        faults |= unwritable
        result, _ = rendered(faults, {})
    if mistakes := account_mistakes(result.target, node.settings.paths.root, foreign_state=foreign_state):
        result, _ = rendered(faults, by_product(mistakes))
    return result


def _tell_lacks(
    assignment: Assignment, refused: Mapping[str, Fault], lacking: Mapping[str, Fault], report: Report
) -> dict[str, Fault]:
    """What keeps products from what the document says, for the report and as faults."""
    versions = {product.name: product.release.version for product in assignment.products}
    words: dict[str, list[str]] = {}
    for name, fault in refused.items():
        state = "missing" if isinstance(fault, FetchFault) else "refused"
        words.setdefault(name, []).append(f"release {versions[name]} is {state}: {fault.message}")
    for name, fault in lacking.items():
        words.setdefault(name, []).append(fault.message)
    report.leave_out({name: "; ".join(reasons) for name, reasons in words.items() if name in versions})
    return {name: joined(faults[name] for faults in (refused, lacking) if name in faults) for name in words}


def release_templates(node: Node, role: Role, assignment: Assignment, *, dry: bool) -> dict[str, dict[str, str]]:
    """The text of each template by product and source.

    They are in the releases, which are unpacked for it, unless `dry`: then only what is unpacked already is seen.
    Raises RefusedReleases.
    """
    allowed = [file.source for file in role.table.file if file.release]
    if not allowed:
        return {}
    draft = render(role, assignment, node.render_settings)
    if not dry:
        make_room(node, draft)
        deploy(node, draft.releases)
    templates, faults = {}, {}
    for release in draft.releases:
        try:
            templates[release.product] = node.releases.templates(release, allowed)
        except ConfigFault as fault:
            faults[release.product] = fault
    if faults:
        raise RefusedReleases(faults)
    return templates
