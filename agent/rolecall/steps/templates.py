"""The step that renders: the role, the secrets, and the templates that products bring along in their releases."""

from rolecall.fleet.assignment import Assignment
from rolecall.host.roles import read_role, roles_folder
from rolecall.host.secrets import ensure_key, fingerprints
from rolecall.node.node import Node
from rolecall.render.generation import Generation
from rolecall.render.parameters import unknown_parameters
from rolecall.render.rendering import render
from rolecall.render.role import Role
from rolecall.report import Report


def render_target(
    node: Node, assignment: Assignment, report: Report, *, dry: bool
) -> tuple[Generation, dict[str, str]]:
    """The generation that an assignment asks for, and the values of its secrets. `dry`: nothing at all is written."""
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
    for release in render(role, assignment, node.render_settings).releases:
        if not dry:
            node.releases.ensure(release, node.store.stream)
        templates[release.product] = node.releases.templates(release, allowed)
    return templates
