"""A baseline image has no role: it learns from its tags or user-data what it is for, and installs that, once."""

from collections.abc import Callable
from dataclasses import replace

from rolecall.errors import ConfigFault
from rolecall.fleet.tags import ROLE, tag_mistakes
from rolecall.host import attachments, programs
from rolecall.image.role import bare_role
from rolecall.node.node import BAKE, BASELINE, Node
from rolecall.node.notes import InstalledRole
from rolecall.report import Report
from rolecall.steps.identification import identify_machine


def install(node: Node, show: Callable[[str], None]) -> str:
    """Packages, enabled daemons, attachments; returns the role. It is noted last: whoever is killed begins again.

    The daemons' places in the boot come first. A power cut may leave some that are installed and enabled, and the next
    boot must not start them with the distribution's own page while this is still at work.
    """
    settings = node.settings
    if settings.role != BASELINE:
        return settings.role
    identity = identify_machine(node, Report("boot"))
    if mistakes := tag_mistakes(identity):
        reasons = "".join(f"\n  {mistake}" for mistake in mistakes)
        raise ConfigFault(f"what this machine says of itself is wrong:{reasons}", "correct its tags or user-data")
    name = identity.tags.get(ROLE, "")
    if not name:
        raise ConfigFault(
            "this is a baseline image, and nothing says what this machine is for",
            'give it the tag rolecall:role, or the user-data {"rolecall": {"role": "web"}}',
        )
    role = bare_role(node, name)
    drop_ins = replace(role, attachments=node.manager.drop_ins(role, settings.state))
    attachments.attach(drop_ins, settings.state, settings.paths.root)
    node.manager.reload_unit_files()
    show(f"installing the role {name}")
    bake = programs.run_checked((BAKE, name, "--platform", settings.platform, "--first-boot"), settings.boot.budget)
    show(bake.output.rstrip())
    attachments.attach(role, settings.state, settings.paths.root)
    node.manager.reload_unit_files()  # a role may bring units of its own
    node.notes.write(InstalledRole(name))
    return name
