"""The agent's Debian package with stand-ins, for images of roles that `templates/` does not have yet."""

import shutil
import subprocess
from pathlib import Path

from box import ROOT

ROLES = Path(__file__).parent / "roles"


def stand_in(role: str) -> Path | None:
    """The folder that stands for a role; None where the package has it itself, or no templates are wanted."""
    folder = ROLES / role
    return folder if folder.is_dir() and not (ROOT / "templates" / role).exists() else None


def with_stand_in(package: Path, folder: Path, role: str) -> Path:
    """The package if it has the role, else a copy of it that has; made in this folder."""
    if not (extra := stand_in(role)):
        return package
    tree, made = folder / "tree", folder / package.name
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    shutil.copytree(extra, tree / "usr/share/rolecall/templates" / role)
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, made], check=True, stdout=-3)
    return made
