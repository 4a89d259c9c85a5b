"""Where the roles are."""

import sys
from pathlib import Path

_PACKAGED = "/usr/lib/rolecall/site/rolecall"  # where the deb and the RPM have the agent, whichever Python runs it


def roles_folder(named: str | None) -> Path:
    """The folder that agent.toml names; else the checkout's; else the one installed with the package."""
    if named:
        return Path(named)
    package = Path(__file__).parents[1]
    checkout, packaged = package.parents[1] / "templates", Path("/usr/share/rolecall/templates")
    if checkout.is_dir():
        return checkout
    return packaged if package == Path(_PACKAGED) else Path(sys.prefix) / "share/rolecall/templates"
