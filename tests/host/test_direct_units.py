"""Without a service manager: nobody but the daemon is ever signalled, whatever its pid file says."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from box import alive
from patience import wait_until
from rolecall.host import processes
from rolecall.host.direct_units import DirectManager
from rolecall.render.contents import DirectCommands, Unit


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    """A daemon that writes its pid file, as daemons do, and logs each start."""
    pidfile, log = tmp_path / "run/daemon.pid", tmp_path / "log"
    start = f"echo start >>{log}; setsid sleep 600 >/dev/null 2>&1 & echo $! >{pidfile}"
    yield Unit("daemon", "", "reload", DirectCommands(str(pidfile), ("sh", "-c", start), "CONT", "TERM"))
    if pidfile.exists():
        os.kill(int(pidfile.read_text()), signal.SIGKILL)


def pidfile_of(unit: Unit) -> Path:
    assert unit.direct
    return Path(unit.direct.pidfile)


def starts(unit: Unit) -> int:
    return (pidfile_of(unit).parents[1] / "log").read_text().count("start")


@pytest.fixture
def manager(tmp_path: Path) -> DirectManager:
    return DirectManager(tmp_path / "run/rolecall/started")


def test_a_stale_pid_file_has_no_stranger_signalled_and_the_daemon_is_started(
    manager: DirectManager, unit: Unit, stranger: subprocess.Popen[bytes]
) -> None:
    pidfile = pidfile_of(unit)
    pidfile.parent.mkdir()
    pidfile.write_text(f"{stranger.pid}\n")
    os.utime(pidfile, (1_700_000_000, 1_700_000_000))
    assert not manager.active(unit)
    manager.stop(unit)
    manager.reconfigure(unit)
    assert stranger.poll() is None
    assert manager.active(unit)
    assert int(pidfile.read_text()) != stranger.pid


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives the file to another user")
def test_a_pid_file_that_another_user_has_written_is_not_believed(
    manager: DirectManager, unit: Unit, stranger: subprocess.Popen[bytes]
) -> None:
    pidfile = pidfile_of(unit)
    pidfile.parent.mkdir()
    pidfile.write_text(f"{stranger.pid}\n")
    os.chown(pidfile, 65534, 65534)
    manager.stop(unit)
    assert stranger.poll() is None
    pidfile.unlink()


def test_a_daemon_that_was_told_something_is_known_again_whatever_has_become_of_the_clock(
    manager: DirectManager, unit: Unit
) -> None:
    manager.reconfigure(unit)
    os.utime(pidfile_of(unit), (1_700_000_000, 1_700_000_000))
    assert manager.active(unit)
    manager.reconfigure(unit)
    assert starts(unit) == 1, "it was reloaded, not started"
    pid = int(pidfile_of(unit).read_text())
    manager.stop(unit)
    wait_until(lambda: not alive(pid), "it has stopped")


def test_a_daemon_that_an_earlier_version_has_started_is_reloaded(manager: DirectManager, unit: Unit) -> None:
    assert unit.direct
    pidfile_of(unit).parent.mkdir()
    subprocess.run(unit.direct.start, check=True)
    manager.reconfigure(unit)
    assert starts(unit) == 1


def test_a_process_that_has_the_number_of_another_one_is_not_signalled(stranger: subprocess.Popen[bytes]) -> None:
    there = processes.process(stranger.pid)
    assert there
    gone = processes.Process(there.pid, there.start - 1, there.uid)
    assert not processes.send(gone, signal.SIGKILL)
    assert stranger.poll() is None
    assert processes.send(there, signal.SIGKILL)
    stranger.wait()
