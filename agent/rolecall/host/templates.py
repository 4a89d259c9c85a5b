"""Where the roles are."""

import sys
from pathlib import Path


def roles_folder(named: str | None) -> Path:
    """The folder that agent.toml names; else the checkout's; else the one installed with the package."""
    if named:
        return Path(named)
    checkout = Path(__file__).parents[3] / "templates"
    return checkout if checkout.is_dir() else Path(sys.prefix) / "share/rolecall/templates"
