"""Everything slow and failing, beside what is live: accounts, releases, files, folders."""

from collections.abc import Callable, Mapping

from rolecall.host import accounts
from rolecall.host.certificates import Certificates
from rolecall.host.generations import owner_id
from rolecall.node.node import Node
from rolecall.render.generation import Generation
from rolecall.steps.deployment import deploy


def stage(
    node: Node,
    target: Generation,
    secrets: Mapping[str, str] | None,
    live: Generation,
    warn: Callable[[str], None],
) -> str:
    """Put the generation on disk, and put right what of it is damaged; returns a note of what was done.

    `secrets`: the values to fill in; None for an older generation, whose files stay as they were staged.
    """
    make_room(node, target)
    accounts.create_accounts(target, node.settings.paths.root)
    accounts.create_persistent_folders(target)  # before there is anything in them that others could read
    if refusal := certify(node, target):
        warn(f"clients will soon refuse what this server shows them: {refusal}")
    notes = deploy(node, target.releases, lambda: _tell_again(node, target))
    for release in target.releases:
        node.releases.own_links(release)
    if target.id == live.id and not node.generations.load(target.id):
        _tell_again(node, target)  # the manifest was lost: nobody knows what of the files the daemons have read
    node.generations.stage(target, secrets or {})
    if secrets is not None and (damage := node.generations.damage(target, secrets)):
        _tell_again(node, target)
        node.generations.repair(target, secrets, damage)
        if target.id == live.id:
            notes.append(f"repaired {', '.join(damage)}")
    return "; ".join(notes)


def make_room(node: Node, wanted: Generation) -> None:
    """Before anything is fetched: remove what runs that were cut off have left, and releases of no generation.

    Raises MachineFault where the disk has no room for what is to be fetched.
    """
    generations = map(node.generations.load, node.generations.ids())
    node.releases.prune([*filter(None, generations), wanted])
    node.releases.require_space(wanted.releases)


def certify(node: Node, target: Generation) -> str:
    """Have a certificate for the database server, before it starts; returns why clients will refuse it, or ''."""
    use = target.replication
    if use is None or not use.address:
        return ""
    return Certificates(node.settings.state).ensure(target.server, use.address, owner_id(use.account))


def _tell_again(node: Node, target: Generation) -> None:
    """Whatever daemons have read, they are owed a reload."""
    for unit in target.units:
        node.loaded.forget(unit)
