"""What the kernel tells of this machine: memory and processors, for what is rendered; and which boot this is."""

import functools
from pathlib import Path

from rolecall.errors import HostFault
from rolecall.host import files
from rolecall.render.settings import Hardware

# Memory is rounded down to a multiple of this, in MB: a new kernel leaves a little more or less of it, which is no
# reason to give a database another configuration.
_GRANULARITY_MB = 64


@functools.cache
def hardware() -> Hardware:
    """This machine's memory in MB and the number of its processors. Raises HostFault."""
    import psutil

    try:
        memory = psutil.virtual_memory().total // 2**20
    except OSError as error:
        raise HostFault(f"cannot tell how much memory this machine has: {error}", "is /proc mounted?") from None
    return Hardware(memory // _GRANULARITY_MB * _GRANULARITY_MB, psutil.cpu_count() or 1)


@functools.cache
def boot_id() -> str:
    """The kernel's name for this boot: another one after each reboot. '' where there is none. Raises HostFault."""
    return (files.read(Path("/proc/sys/kernel/random/boot_id")) or b"").decode("ascii", "replace").strip()
