"""The commands that make an image, or a machine, into one of the fleet."""

import argparse
import sys
from functools import partial
from typing import Any

from rolecall.cli import image_views
from rolecall.cli.answers import AttachedPaths, DetachedPaths, ImageCheck, RoleInstallation
from rolecall.cli.command import Command
from rolecall.host import attachments
from rolecall.host.lock import locked
from rolecall.image import check, inputs, installation
from rolecall.image.role import bare_role
from rolecall.node.node import open_node, open_ready_node
from rolecall.settings import load_settings


def attach(arguments: argparse.Namespace) -> AttachedPaths:
    """`image attach`: with no product assigned, the attachments are the same."""
    node = open_ready_node(load_settings(arguments.config))
    settings = node.settings
    role = bare_role(node, settings.role)
    with locked(settings.run, "image attach"):
        kept_generations = filter(None, map(node.generations.load, node.generations.ids()))
        earlier = [attachment for generation in kept_generations for attachment in generation.attachments]
        laid = attachments.attach(role, settings.state, settings.paths.root, earlier)
        node.manager.reload_unit_files()
    if not node.generations.current():
        for unit in role.units:
            if node.manager.manages(unit) and node.manager.active(unit):
                note = f"{unit.service} runs, and would not start again before this node's first run: rolecall boot"
                print(f"note: {note}", file=sys.stderr)
    originals = {str(path): str(original) for path, original in laid.items() if original}
    return AttachedPaths(tuple(map(str, laid)), originals)


def detach(arguments: argparse.Namespace) -> DetachedPaths:
    """`image detach`: the daemons read their own configuration again; what it served stays on disk."""
    node = open_ready_node(load_settings(arguments.config))
    settings = node.settings
    with locked(settings.run, "image detach"):
        paths = attachments.detach(bare_role(node, settings.role), settings.state, settings.paths.root)
        node.manager.reload_unit_files()
    return DetachedPaths(tuple(map(str, paths)))


def check_image(arguments: argparse.Namespace) -> ImageCheck:
    """`image check`: with `--fix`, what is safe is mended before the image is looked at again."""
    root, config = arguments.root, arguments.config
    if arguments.inputs:
        return ImageCheck(tuple(inputs.judge(root, config, allow_unsigned=arguments.allow_unsigned)), ())
    examine = partial(check.examine, root, config, allow_unsigned=arguments.allow_unsigned, machine=arguments.machine)
    findings = examine()
    mended = check.mend(root, config, findings) if arguments.fix else []
    return ImageCheck(tuple(examine() if mended else findings), tuple(mended))


def install(arguments: argparse.Namespace) -> RoleInstallation:
    """`image install`: what a baseline image does at its first boot."""
    node = open_node(load_settings(arguments.config))
    with locked(node.settings.run, "image install"):
        role = installation.install(node, partial(print, file=sys.stderr))
    return RoleInstallation(role)


COMMANDS: dict[str, Command[Any]] = {
    "attach": Command(attach, image_views.show_attached),
    "detach": Command(detach, image_views.show_detached),
    "check": Command(check_image, image_views.show_check),
    "install": Command(install, image_views.show_role),
}
