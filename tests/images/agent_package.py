"""The agent's Debian package, of `packaging/build`; with stand-ins for roles that `templates/` does not have yet."""

import shutil
import subprocess
from pathlib import Path

from box import ROOT

ROLES = Path(__file__).parent / "roles"


def build(folder: Path) -> Path:
    """Make it in this folder; returns the .deb."""
    argv: list[str | Path] = [ROOT / "packaging/build", "debian-12", "--output", folder]
    said = subprocess.run(argv, stdin=-3, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert said.returncode == 0, said.stdout
    (made,) = folder.glob("rolecall_*.deb")
    if missing := [role for role in sorted(ROLES.iterdir()) if not (ROOT / "templates" / role.name).exists()]:
        tree = folder / "tree"
        subprocess.run(["dpkg-deb", "--raw-extract", made, tree], check=True)
        for role in missing:
            shutil.copytree(role, tree / "usr/share/rolecall/templates" / role.name)
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, made], check=True, stdout=-3
        )
        shutil.rmtree(tree)
    return made
