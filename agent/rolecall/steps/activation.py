"""Have the daemons read the generation that is current."""

from rolecall.node.node import Node
from rolecall.node.notes import Instances
from rolecall.render.generation import Generation


def activate(node: Node, generation: Generation) -> str:
    """Reload or restart every unit that has not loaded its files, once each, and stop instances that are gone.

    Returns a note of what was done to which unit.
    """
    notes = _settle_instances(node, generation)
    for unit in node.loaded.owed(generation, node.manager):
        if unit.action == "start" and node.manager.active(unit):
            notes.append(f"{unit.name} has an older configuration until somebody restarts it")
            continue
        node.loaded.forget(unit)  # from here until it is recorded, nobody knows what the daemon has read
        node.manager.reconfigure(unit)
        node.loaded.record(unit)
        notes.append(f"{unit.action} {unit.name}")
    return ", ".join(notes)


def _settle_instances(node: Node, generation: Generation) -> list[str]:
    """Have exactly the generation's instances start with the machine. The note of them is never shorter than the truth:
    it names the old and the new before anything is changed."""
    noted = node.notes.read(Instances).units
    units = [unit for unit in generation.units if unit.instance and node.manager.manages(unit)]
    noted_names, names = {unit.name for unit in noted}, {unit.name for unit in units}
    added = [unit for unit in units if unit.name not in noted_names]
    removed = [unit for unit in noted if unit.name not in names]
    if not added and not removed:
        return []
    node.notes.write(Instances((*noted, *added)))
    for unit in removed:
        node.manager.disable(unit)
        node.manager.stop(unit)
        node.loaded.forget(unit)
    for unit in added:
        node.manager.enable(unit)
    node.notes.write(Instances(tuple(units)))
    return [f"stop {unit.name}" for unit in removed]
