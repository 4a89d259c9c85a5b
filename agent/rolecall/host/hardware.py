"""What this machine has: for configurations that are measured by it."""

import functools

from rolecall.errors import HostFault
from rolecall.render.role import Hardware

_STEP = 64  # MB; a new kernel takes a little more or less, which is no reason to restart a database


@functools.cache
def hardware() -> Hardware:
    """Memory and processors. Raises HostFault."""
    import psutil

    try:
        memory = psutil.virtual_memory().total // 2**20
    except OSError as error:
        raise HostFault(f"cannot tell how much memory this machine has: {error}", "is /proc mounted?") from None
    return Hardware(memory // _STEP * _STEP, psutil.cpu_count() or 1)
