"""Who this machine is, and what becomes of state that another machine has left on its disk."""

import json
import math
import time

from rolecall.errors import FetchFault
from rolecall.fleet.identity import Identity
from rolecall.metadata import identify
from rolecall.node import records
from rolecall.node.node import Node
from rolecall.report import Report
from rolecall.trust.verification import VERIFIED

IDENTITY = "identity"  # the note in the run folder, which a reboot empties
_PAUSE = 1.0  # seconds between two looks at a source that may come late


def identify_machine(node: Node, report: Report) -> Identity:
    """Who this machine is. At boot, networks and mounts may be late, so it asks again; within one boot it stays.

    Raises FetchFault with the cause, ConfigFault for what is wrong and not late.
    """
    settings, note = node.settings, node.run_notes.read(IDENTITY)
    patience = settings.boot.metadata_timeout if report.command == "boot" else 0.0
    until = time.monotonic() + patience
    while True:
        try:
            deadline = max(until, time.monotonic() + min(settings.network.timeout, patience or math.inf))
            return identify(node.sources, node.providers.identify, deadline, settings.paths.root)
        except FetchFault as fault:
            if note:
                report.warn(f"{fault.message}; this machine goes by what it was told earlier in this boot")
                return Identity.model_validate_json(json.dumps(note))
            if fault.cause == "imds-off" or time.monotonic() + _PAUSE >= until:
                raise
        time.sleep(_PAUSE)


def set_aside_foreign_state(node: Node, identity: Identity, report: Report) -> None:
    """State that another instance has left, in an image or a copied disk, is kept for people, and trusted by nobody."""
    owner = node.notes.read(VERIFIED).get("instance")
    if identity.instance and owner and owner != identity.instance:
        folder = records.set_aside(node.settings.state, str(owner))
        report.server = ""
        report.warn(f"the state of another instance, {owner}, was found and set aside in {folder}")
