"""SELinux types: what a run writes gets those that the policy has for its place (packaging/selinux/file_contexts)."""

from pathlib import Path

from rolecall.host import programs


def restore(*paths: Path) -> None:
    """Give these files and folders their types. Nothing where SELinux is off or absent. Raises HostFault.

    A file inherits the type of the folder that it is made in, which is right for most; a daemon that is confined may
    not read the rest.
    """
    if programs.installed("selinuxenabled") and programs.run(("selinuxenabled",)).ok:
        programs.must(("restorecon", "-R", *map(str, paths)), 120)
