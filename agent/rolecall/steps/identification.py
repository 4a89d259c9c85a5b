"""Who this machine is, and what becomes of state that another machine has left on its disk."""

import math
import time

from rolecall.errors import FetchFault
from rolecall.fleet.identity import Identity
from rolecall.metadata import identify
from rolecall.node import aside
from rolecall.node.node import Node
from rolecall.node.notes import BootIdentity
from rolecall.node.verified import Verified
from rolecall.report import Report

_PAUSE = 1.0  # seconds between two looks at a source that may come late


def identify_machine(node: Node, report: Report) -> Identity:
    """Who this machine is. At boot, networks and mounts may be late, so it asks again; within one boot it stays.

    Raises FetchFault with the cause, ConfigFault for what is wrong and not late.
    """
    settings, earlier = node.settings, node.run_notes.read(BootIdentity).identity
    patience = settings.boot.metadata_timeout if report.command == "boot" else 0.0
    until = time.monotonic() + patience
    while True:
        try:
            deadline = max(until, time.monotonic() + min(settings.network.timeout, patience or math.inf))
            return identify(node.sources, node.providers.identify, deadline, settings.paths.root)
        except FetchFault as fault:
            if earlier:
                report.warn(f"{fault.message}; the identity from earlier in this boot is used")
                return earlier
            if fault.cause == "imds-off" or time.monotonic() + _PAUSE >= until:
                raise
        time.sleep(_PAUSE)


def set_aside_foreign_state(node: Node, identity: Identity, report: Report) -> None:
    """State that another instance has left, in an image or a copied disk, is kept for people, and trusted by nobody."""
    owner = node.notes.read(Verified).instance
    if identity.instance and owner and owner != identity.instance:
        folder = aside.set_aside(node.settings.state, owner)
        report.server = ""
        report.warn(f"the state of another instance, {owner}, was found and set aside in {folder}")
