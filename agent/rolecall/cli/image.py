"""The commands that make an image, or a machine, into one of the fleet. Each returns an exit code."""

import argparse
import sys
from functools import partial

from rolecall.cli import views
from rolecall.host import attachments
from rolecall.host.lock import locked
from rolecall.node.node import open_node, open_ready_node
from rolecall.settings import load_settings


def attach(arguments: argparse.Namespace) -> int:
    """`image attach`: with no product assigned, the attachments are the same."""
    from rolecall.image.role import bare_role

    node = open_ready_node(load_settings(arguments.config))
    settings = node.settings
    role = bare_role(node, settings.role)
    with locked(settings.run, "image attach"):
        laid = attachments.attach(role, settings.state, settings.paths.root)
        node.manager.reload_unit_files()
    if not node.generations.current():
        for unit in role.units:
            if node.manager.manages(unit) and node.manager.active(unit):
                note = f"{unit.service} runs, and would not start again before this node's first run: rolecall boot"
                print(f"note: {note}", file=sys.stderr)
    return views.laid("laid", [str(path) for path in laid], as_json=arguments.json)


def detach(arguments: argparse.Namespace) -> int:
    """`image detach`: the daemons read their own configuration again; what it served stays on disk."""
    from rolecall.image.role import bare_role

    node = open_ready_node(load_settings(arguments.config))
    settings = node.settings
    with locked(settings.run, "image detach"):
        taken = attachments.detach(bare_role(node, settings.role), settings.state, settings.paths.root)
        node.manager.reload_unit_files()
    return views.laid("took away", [str(path) for path in taken], as_json=arguments.json)


def install(arguments: argparse.Namespace) -> int:
    """`image install`: what a baseline image does at its first boot."""
    from rolecall.image import installation

    node = open_node(load_settings(arguments.config))
    with locked(node.settings.run, "image install"):
        role = installation.install(node, lambda words: print(words, file=sys.stderr))
    return views.said(f"this machine has the role {role}", {"role": role}, as_json=arguments.json)


def check(arguments: argparse.Namespace) -> int:
    """`image check`: exit code 1 with findings; `--fix` does what is safe first."""
    from rolecall.image import check

    ask = partial(
        check.examine, arguments.root, arguments.config,
        allow_unsigned=arguments.allow_unsigned, machine=arguments.machine,
    )  # fmt: skip
    found = ask()
    mended = check.mend(arguments.root, arguments.config, found) if arguments.fix else []
    left = ask() if mended else found
    return views.findings(*([one.told() for one in some] for some in (left, mended)), as_json=arguments.json)
