"""Time that no clock can change: how long ago this machine was booted, and which boot that was."""

import time
from pathlib import Path

from rolecall.host import files


def boot_id() -> str:
    """What tells this boot from any other (random(4))."""
    return (files.read(Path("/proc/sys/kernel/random/boot_id")) or b"").decode("ascii", "replace").strip()


def uptime() -> float:
    """Seconds since the boot, sleep included (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
