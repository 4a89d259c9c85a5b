"""A baseline image has no role: it learns from its tags or user-data what it is for, and installs that, once."""

from collections.abc import Callable

from rolecall.assignment import Assignment
from rolecall.errors import ConfigFault
from rolecall.host import attachments, command
from rolecall.host.templates import roles_folder
from rolecall.inputs import whoami
from rolecall.node import BASELINE, ROLE, Node
from rolecall.render import render
from rolecall.report import Report
from rolecall.role import read_role

SCRIPT = "/usr/share/rolecall/image-build/bake"  # the very script that bakes the role elsewhere


def install(node: Node, say: Callable[[str], None]) -> str:
    """Packages, enabled daemons, attachments; returns the role. It is noted last: whoever is killed begins again.

    The daemons' places in the boot come first. A power cut may leave some that are installed and enabled, and the next
    boot must not start them with the distribution's own page while this is still at work.
    """
    settings = node.settings
    if settings.role != BASELINE:
        return settings.role
    name = whoami(node, Report("boot")).tags.get("rolecall:role", "")
    if not name:
        raise ConfigFault(
            "this is a baseline image, and nothing says what this machine is for",
            'give it the tag rolecall:role, or the user-data {"rolecall": {"role": "web"}}',
        )
    role = read_role(roles_folder(settings.paths.templates), name)
    bare = render(role, Assignment("image", "image", name, "none", "127.0.0.1", ()), node.place)
    node.manager.order(bare, settings.state, settings.paths.root)
    say(f"installing the role {name}")
    done = command.must((SCRIPT, name, "--platform", settings.platform, "--first-boot"), settings.boot.budget)
    say(done.output.rstrip())
    attachments.lay(bare, settings.state, settings.paths.root)
    node.notes.write(ROLE, {"role": name})
    return name
