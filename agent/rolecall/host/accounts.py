"""Users, groups and folders, by systemd's own programs: they only add, and run again without harm."""

from pathlib import Path

from rolecall.host import programs
from rolecall.render.generation import Generation


def make_accounts(generation: Generation, root: str) -> None:
    """Make the accounts that a generation names, before any file is given to them. Raises HostFault."""
    file = generation.file(generation.accounts)
    lines = tuple(line for line in (file.text if file else "").splitlines() if line and not line.startswith("#"))
    if lines:
        prefix = (f"--root={root}",) if root else ()
        programs.must(("systemd-sysusers", *prefix, "--inline", *lines))


def make_folders(generation: Generation, folder: Path) -> None:
    """Make the folders that outlive releases. Raises HostFault."""
    if generation.folders:
        programs.must(("systemd-tmpfiles", "--create", str(folder / generation.folders)))
