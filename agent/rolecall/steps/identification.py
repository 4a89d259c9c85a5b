"""Who this machine is, and what becomes of state that another machine has left on its disk."""

import math
import time
from dataclasses import replace

from rolecall.errors import FetchFault
from rolecall.fleet.identity import Identity
from rolecall.host import hardware
from rolecall.metadata import identify
from rolecall.node import aside
from rolecall.node.node import Node
from rolecall.node.notes import BootIdentity, Instances, identity_in_this_boot
from rolecall.node.owner import foreign_owner, own_folder
from rolecall.node.unreadable import STEP, set_aside_unreadable
from rolecall.node.verified import Verified
from rolecall.render.contents import Unit
from rolecall.report import Report

_PAUSE = 1.0  # seconds between two looks at a source that may come late


def identify_machine(node: Node, report: Report) -> Identity:
    """Who this machine is. At boot, networks and mounts may be late, so it asks again; within one boot it stays.

    Raises FetchFault with the cause, ConfigFault for what is wrong and not late.
    """
    settings, earlier = node.settings, identity_in_this_boot(node.run_notes)
    patience = settings.boot.metadata_timeout if report.command == "boot" else 0.0
    until = time.monotonic() + patience
    while True:
        try:
            deadline = max(until, time.monotonic() + min(settings.network.timeout, patience or math.inf))
            answer = _ask(node, deadline)
            return _unchanged_in_this_boot(node, earlier, answer, report)
        except FetchFault as fault:
            if earlier:
                report.warn(f"{fault.message}; the identity from earlier in this boot is used")
                return earlier
            if fault.cause == "imds-off" or time.monotonic() + _PAUSE >= until:
                raise
        time.sleep(_PAUSE)


def _ask(node: Node, deadline: float) -> Identity:
    """The answer of the first source that has one. If the state on disk contradicts it, a second one has to agree."""
    sources, root = node.sources, node.settings.paths.root
    answer = identify(sources, node.providers.identify, deadline, root)
    if foreign_owner(node, answer):
        second = identify(sources, node.providers.identify, deadline, root)
        if second.instance != answer.instance:
            raise FetchFault(
                f"asked twice, this machine is the instance {answer.instance}, then {second.instance or 'none'}",
                "look at what answers for the metadata service",
                "imds-error",
            )
    return answer


def _unchanged_in_this_boot(node: Node, earlier: Identity | None, answer: Identity, report: Report) -> Identity:
    """The answer; or the identity from earlier in this boot, if that is certain and the answer is another instance's.

    It is certain once the state on disk is that instance's: it was so already, or a document has had a place for it.
    So a first answer that is wrong heals with the next one.
    """
    instance = earlier.instance if earlier else None
    if not earlier or answer.instance == instance or node.notes.read(Verified).instance != instance or not instance:
        return answer
    claim = f"is the instance {answer.instance}" if answer.instance else "has no instance id"
    report.warn(
        f"the answer to who this machine is says that it {claim}; an instance id does not change within a boot: "
        f"it goes on as {instance}. If the answer is right, reboot"
    )
    return earlier


def note_identity(node: Node, identity: Identity) -> None:
    """Who the machine is found to be, for the later runs of this boot."""
    note = BootIdentity(identity, hardware.boot_id())
    if node.run_notes.read(BootIdentity) != note:
        node.run_notes.write(note)


def settle_state(node: Node, identity: Identity, report: Report) -> None:
    """Have this machine's own state in the state folder, and its name on it; a document has a place for it.

    What another instance has left, in an image or on a copied disk, is set aside for people. What was set aside of
    this machine's own is taken back.
    """
    if not identity.instance:
        return
    state, running = node.settings.state, _running_instances(node)
    if owner := foreign_owner(node, identity):
        with report.step(STEP) as step:
            node.loaded.forget_all()  # what daemons have read is not there any more
            step.note = f"the state of {owner}"
            folder = aside.set_aside(state, owner)
        report.warn(f"the state of another instance, {owner}, was found and set aside in {folder}")
    source = own_folder(node, identity)
    if source == state:
        source = aside.unfinished(state, identity.instance)
    if source:
        with report.step(STEP) as step:
            node.loaded.forget_all()
            step.note = "this machine's own state is back"
            aside.take_back(state, source)
        report.warn(f"this machine's own state, which lay in {source}, was taken back")
        set_aside_unreadable(node, report)
    _keep_in_view(node, running)
    verified = node.notes.read(Verified)
    if not verified.instance:
        node.notes.write(replace(verified, instance=identity.instance))


def _running_instances(node: Node) -> tuple[Unit, ...]:
    """The daemons that run here of those which the state's owner has several of."""
    units = node.notes.read(Instances).units
    return tuple(unit for unit in units if node.manager.manages(unit) and node.manager.active(unit))


def _keep_in_view(node: Node, running: tuple[Unit, ...]) -> None:
    """Daemons that run here stop when nobody wants them, whoever's they were: the note is never shorter than that."""
    units = node.notes.read(Instances).units
    names = {unit.name for unit in units}
    if missing := tuple(unit for unit in running if unit.name not in names):
        node.notes.write(Instances((*units, *missing)))
