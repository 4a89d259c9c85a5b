"""The steps that render and plan: the role, the secrets, the templates that products bring along in their releases."""

from rolecall.fleet.assignment import Assignment
from rolecall.fleet.identity import Identity
from rolecall.host.accounts import check_accounts
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
from rolecall.steps.staging import make_room


def make_plan(
    node: Node, identity: Identity, assignment: Assignment, report: Report, *, dry: bool = False
) -> tuple[Plan, dict[str, str]]:
    """What an assignment changes, and the values of its secrets. `dry`: nothing at all is written."""
    with report.step("render") as step:
        target, secrets = _render_target(node, assignment, report, dry=dry)
        step.note = f"generation {target.id[:12]}"
    with report.step("plan") as step:
        plan = plan_between(own_generation(node, identity), target)
        if dry:
            kept = [*filter(None, map(node.generations.load, node.generations.ids())), target]
            if shortage := node.releases.shortage(target.releases, kept):
                report.warn(shortage)
        check_accounts(target, node.settings.paths.root, foreign_state=bool(foreign_owner(node, identity)))
        step.note = "nothing to do" if plan.empty else plan.count
    return plan, secrets


def _render_target(
    node: Node, assignment: Assignment, report: Report, *, dry: bool
) -> tuple[Generation, dict[str, str]]:
    role = read_role(roles_folder(node.settings.paths.templates), node.settings.role)
    secrets = node.secrets.read(assignment.secrets, report.warn)
    if not dry:
        ensure_key(node.settings.state)
    templates = release_templates(node, role, assignment, dry=dry)
    digests = fingerprints(secrets, node.settings.state)
    if assignment.everything:
        for note in unknown_parameters(role, assignment.everything.roles):
            report.warn(note)
    return render(role, assignment, node.render_settings, digests, templates), secrets


def release_templates(node: Node, role: Role, assignment: Assignment, *, dry: bool) -> dict[str, dict[str, str]]:
    """The text of each template by product and source.

    They are in the releases, which are unpacked for it, unless `dry`: then only what is unpacked already is seen.
    """
    allowed = [file.source for file in role.table.file if file.release]
    if not allowed:
        return {}
    templates = {}
    wanted = render(role, assignment, node.render_settings)
    if not dry:
        make_room(node, wanted)
    for release in wanted.releases:
        if not dry:
            node.releases.ensure(release, node.store.stream)
        templates[release.product] = node.releases.templates(release, allowed)
    return templates
