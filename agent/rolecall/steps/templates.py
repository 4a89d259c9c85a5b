"""The templates that products bring along in their releases, for the files that the role allows by name."""

from rolecall.fleet.assignment import Assignment
from rolecall.node.node import Node
from rolecall.render.rendering import render
from rolecall.render.role import Role


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
