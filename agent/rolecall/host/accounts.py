"""Users, groups and the folders that outlive releases, made by systemd's own programs.

systemd-sysusers and systemd-tmpfiles only add what is missing, so that running them again does no harm.
"""

from pathlib import Path

from rolecall.host import programs
from rolecall.render.generation import Generation


def create_accounts(generation: Generation, root: str) -> None:
    """Create the accounts that a generation names, before any file is given to them. Raises HostFault."""
    file = generation.file(generation.accounts)
    lines = tuple(line for line in (file.text if file else "").splitlines() if line and not line.startswith("#"))
    if lines:
        prefix = (f"--root={root}",) if root else ()
        programs.run_checked(("systemd-sysusers", *prefix, "--inline", *lines))


def create_persistent_folders(generation: Generation, folder: Path) -> None:
    """Create the folders that outlive releases. `folder`: where the generation lies. Raises HostFault."""
    if generation.folders:
        programs.run_checked(("systemd-tmpfiles", "--create", str(folder / generation.folders)))
