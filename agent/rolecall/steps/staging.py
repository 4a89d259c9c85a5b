"""Everything slow and failing, beside what is live: accounts, releases, files, folders."""

from collections.abc import Mapping

from rolecall.host import accounts
from rolecall.node.node import Node
from rolecall.render.generation import Generation
from rolecall.steps.deployment import deploy


def stage(node: Node, target: Generation, secrets: Mapping[str, str] | None, live: Generation) -> str:
    """Put the generation on disk, and put right what of it is damaged; returns a note of what was done.

    `secrets`: the values to fill in; None for an older generation, whose files stay as they were staged.
    """
    accounts.create_accounts(target, node.settings.paths.root)
    accounts.create_persistent_folders(target)  # before there is anything in them that others could read
    unpacked = deploy(node, target.releases)
    for release in target.releases:
        node.releases.own_links(release)
    if target.id == live.id and not node.generations.load(target.id):
        for unit in target.units:  # the manifest was lost: nobody knows what of the files the daemons have read
            node.loaded.forget(unit)
    node.generations.stage(target, secrets or {})
    note = f"unpacked {', '.join(unpacked)}" if unpacked else ""
    if secrets is not None and (damage := node.generations.damage(target, secrets)):
        for unit in target.units:
            node.loaded.forget(unit)
        node.generations.repair(target, secrets, damage)
        note = f"repaired {', '.join(damage)}" if target.id == live.id else note
    return note
