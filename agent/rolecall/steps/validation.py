"""Before daemons read a generation: its validators on the whole future state, and the switch."""

from rolecall.errors import HostFault
from rolecall.host import attachments, rehearsal
from rolecall.node.node import Node
from rolecall.render.contents import Validator
from rolecall.render.generation import Generation
from rolecall.report import Report


def rehearse(node: Node, target: Generation, live: Generation, report: Report) -> str:
    """Run every validator on the whole future state; returns "postponed" where this machine allows no namespaces."""
    folder, paths = node.generations.folder, node.settings.paths
    if laid := attachments.renew(target, live, node.settings.state, paths.root):
        node.manager.reload_unit_files()
        report.warn(f"this version of the role has other attachments, which were laid: {', '.join(map(str, laid))}")
    if problems := attachments.problems(target, node.settings.state, paths.root):
        raise HostFault(
            "the role's attachments are not in place, so no daemon would read this generation:\n  "
            + "\n  ".join(problems),
            "`rolecall image attach` puts them in place",
        )
    if target.id == live.id:
        validate(node, target, node.generations.ready())
    elif rehearsal.possible(folder):
        rehearsal.rehearse(validators(node, target), folder / target.id, folder / live.id)
    else:
        report.warn("no mount namespaces here: validated after the switch, before any daemon was reloaded")
        return "postponed"
    return ""


def validators(node: Node, generation: Generation) -> list[Validator]:
    """Those whose unit is run on this node."""
    units = {unit.name for unit in generation.units if node.manager.manages(unit)}
    return [validator for validator in generation.validators if validator.unit is None or validator.unit in units]


def commit(node: Node, target: Generation, live: Generation, *, rehearsed: bool) -> None:
    """The switch. Without a rehearsal the validators run right after it, and it is taken back if they refuse."""
    if target.id != live.id:
        node.generations.commit(target.id)
    if not rehearsed:
        validate(node, target, live.id)


def validate(node: Node, live: Generation, previous: str | None) -> None:
    """The validators on what is live already: if they refuse it, `current` goes back to the previous generation."""
    try:
        rehearsal.validate_live(validators(node, live))
    except HostFault:
        if previous and previous != live.id:
            node.generations.commit(previous)
        raise
