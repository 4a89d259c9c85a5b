"""Whose the state on this disk is. A disk may be a copy, or that of a machine which is gone.

The state of another instance is *foreign*: it is set aside once a document has a place for this machine, and trusted by
nobody already before that. The state folder is this machine's own where nothing says otherwise.
"""

import os
from pathlib import Path

from rolecall.fleet.identity import Identity
from rolecall.host.generations import Generations
from rolecall.node import aside
from rolecall.node.node import Node
from rolecall.node.notes import Notes, identity_in_this_boot
from rolecall.node.verified import Verified
from rolecall.render.generation import Generation


def foreign_owner(node: Node, identity: Identity | None = None) -> str:
    """The instance whose state lies in the state folder, if it is another one than this machine; else ''.

    `identity`: who this machine is; None: who it was found to be earlier in this boot.
    """
    identity = identity or identity_in_this_boot(node.run_notes)
    owner, instance = node.notes.read(Verified).instance, identity.instance if identity else None
    return owner if owner and instance and owner != instance else ""


def own_folder(node: Node, identity: Identity | None = None) -> Path | None:
    """Where this machine's own state lies: in the state folder, or aside; None: nowhere yet."""
    state, identity = node.settings.state, identity or identity_in_this_boot(node.run_notes)
    is_foreign = bool(foreign_owner(node, identity))
    has_nothing = node.notes.read(Verified) == Verified() and not os.path.lexists(state / "current")
    if identity and identity.instance and (is_foreign or has_nothing):
        lies_aside = aside.whole(state, identity.instance)
        return lies_aside or (None if is_foreign else state)
    return state


def own_generation(node: Node, identity: Identity) -> Generation:
    """What this machine itself has made current; the empty generation where all that there is, is another's."""
    folder = own_folder(node, identity)
    generations = node.generations if folder == node.settings.state else Generations(folder) if folder else None
    return (generations.load(generations.current()) if generations else None) or Generation("", "", "")


def own_verified(node: Node, identity: Identity | None = None) -> Verified:
    """What this machine itself has verified last: never what another instance has."""
    folder = own_folder(node, identity)
    return Notes(folder).read(Verified) if folder else Verified()
