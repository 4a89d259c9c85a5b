"""SELinux types: what a run writes gets those that the policy has for its path (packaging/selinux/file_contexts)."""

from pathlib import Path

from rolecall.host import programs


def relabel(*paths: Path) -> None:
    """Give these files and folders their types. Nothing where SELinux is off or absent. Raises HostFault.

    A file inherits the type of the folder that it is made in. That is right for most files; a confined daemon could
    not read the others.
    """
    if programs.installed("selinuxenabled") and programs.run(("selinuxenabled",)).ok:
        programs.run_checked(("restorecon", "-R", *map(str, paths)), 120)
