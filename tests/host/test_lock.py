"""The lock of a run: for the agent's user alone, and whoever holds it is named as it is."""

import stat
import subprocess
from pathlib import Path

import pytest

from patience import wait_until
from rolecall.errors import BusyFault
from rolecall.host.lock import locked


def test_a_lock_that_everybody_could_open_is_closed_by_the_next_run(folder: Path) -> None:
    lock = folder / "lock"
    lock.touch(0o644)
    with locked(folder, "refresh"):
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600


def test_a_stranger_that_holds_the_lock_is_named_and_not_the_run_that_had_it_before(folder: Path) -> None:
    with locked(folder, "boot"):
        pass
    lock = folder / "lock"
    holder = subprocess.Popen(["flock", "--no-fork", lock, "sleep", "60"])
    try:
        wait_until(lambda: f":{lock.stat().st_ino} " in Path("/proc/locks").read_text(), "the stranger has the lock")
        with pytest.raises(BusyFault) as refusal, locked(folder, "refresh"):
            pass
        assert f"is held by process {holder.pid} (user " in refusal.value.message
        assert "sleep 60" in refusal.value.message
        assert "boot" not in refusal.value.message
        assert refusal.value.hint.endswith(f"kill {holder.pid}")
    finally:
        holder.kill()
        holder.wait()
