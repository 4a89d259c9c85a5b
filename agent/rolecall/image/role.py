"""A role without a product: what every node of it has, so that an image can have it already."""

from dataclasses import replace

from rolecall.fleet.assignment import Assignment
from rolecall.host.roles import read_role, roles_folder
from rolecall.node.node import Node
from rolecall.render.generation import Generation
from rolecall.render.rendering import render


def bare_role(node: Node, name: str) -> Generation:
    """The role's generation without a product, whose attachments include its daemons' drop-ins."""
    role = read_role(roles_folder(node.settings.paths.templates), name)
    generation = render(role, Assignment("image", "image", name, "none", "127.0.0.1", ()), node.render_settings)
    drop_ins = node.manager.drop_ins(generation, node.settings.state)
    return replace(generation, attachments=generation.attachments + drop_ins)
