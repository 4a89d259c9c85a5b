"""Images that only a test or two of machines boot: disks, and the image without a role."""

import json
import shutil
from pathlib import Path

from baked import SETTINGS, seed
from box import ROOT
from machine.world import OPERATOR
from roots import scratch, sh, write
from signed import Keys


def bake(role: str, output: Path, package: Path, keys: Keys, settings: str = SETTINGS) -> Path:
    """As an operator would; returns `output`, a folder or FILE.img."""
    with scratch() as given:
        write(given / "agent.toml", settings)
        write(given / "allowed_signers", f"{keys.line(OPERATOR)}\n")
        (given / "seed.json").write_bytes(keys.seal(OPERATOR, json.dumps(seed()).encode()))
        # The root of a disk is made in the folder for temporary files, and a root folder is made faster in memory.
        sh("env", f"TMPDIR={given}", ROOT / "image-build/build", role, "--platform", "debian", "--output", output,
           "--package", package, "--settings", given / "agent.toml", "--signers", given / "allowed_signers",
           "--seed", given / "seed.json", timeout=1500)  # fmt: skip
    return output


def give_role(root: Path, role: str) -> None:
    """Lay the stand-in of a role that the agent's package does not have yet; do nothing once it has it."""
    if not (there := root / "usr/share/rolecall/templates" / role).exists():
        shutil.copytree(ROOT / "tests/images/roles" / role, there)
