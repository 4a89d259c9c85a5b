"""What whoever reads a report should know although the run goes on."""

from rolecall.fleet.assignment import Assignment
from rolecall.fleet.encryption import encryption_remarks
from rolecall.fleet.identity import Identity
from rolecall.fleet.schema import Fleet
from rolecall.fleet.tags import tag_mistakes
from rolecall.node import aside
from rolecall.node.node import Node
from rolecall.report import Report


def warn_of_settings(node: Node, report: Report) -> None:
    """What whoever reads a report should know of this image's settings."""
    if node.settings.trust.unsigned:
        report.warn("unsigned: this image trusts whoever can write to its store (trust.unsigned in agent.toml)")
    for note in node.passed_over:
        report.warn(note)


def warn_of_connections(assignment: Assignment, report: Report) -> None:
    """To databases: whether they are encrypted, and whether this machine knows who answers."""
    for remark in encryption_remarks(assignment):
        report.warn(remark)


def warn_of_tags(identity: Identity, fleet: Fleet, role: str, report: Report) -> None:
    """Mistakes in tags and user-data of a machine that has its place in the document without them."""
    for mistake in tag_mistakes(identity, role, fleet.products):
        report.warn(f"{mistake} (it changes nothing here: the document names this machine)")


def warn_of_what_lies_aside(node: Node, report: Report) -> None:
    """Nobody but a person takes or removes it: whoever reads a report should know that it is there."""
    for item in aside.lying_aside(node.settings.state):
        report.warn(
            f"{item.path} has what the instance {item.instance} had left here: `rolecall adopt` lists and takes what "
            f"products have written; remove the folder when nobody needs it"
        )
