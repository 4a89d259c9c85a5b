"""A machine: an image and a layer of its own, booted by systemd-nspawn with a real systemd, in the network of a World.

systemd-nspawn runs without the host's systemd (`--register=no --keep-unit`): the host may be a container itself. What
the machine writes stays in its layer from boot to boot, as on a disk; `cut` is a power cut.
"""

import json
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import roots
from machine.world import World
from patience import on_this_machine
from roots import mounted, sh, write
from signed import Keys

PROGRAMS = ("systemd-nspawn", "journalctl", "ip", "nsenter", "setpriv", "ssh-keygen", "gcc")

# systemd of the machine and its services get control groups of their own, wherever this host has systemd's hierarchy.
GROUPS = [
    group
    for group in (Path("/sys/fs/cgroup", name) for name in ("systemd", "unified", ""))
    if (group / "cgroup.procs").exists()
]
IN_GROUPS = """
for group in "${@:2:$1}"; do mkdir -p "$group" && echo $$ >"$group/cgroup.procs"; done
shift $(($1 + 1))
exec "$@"
"""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BOOT, REFRESH, READY = "rolecall-boot.service", "rolecall-refresh.service", "rolecall-ready.target"
TIMER = "rolecall-refresh.timer"
EVERY_2_S = "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/2\nRandomizedDelaySec=0\n"
NEVER = "[Timer]\nOnCalendar=\nOnCalendar=2100-01-01\nRandomizedDelaySec=0\n"


def why_not() -> str:
    """Why this machine cannot run containers with a systemd of their own; '' if it can."""
    if reason := roots.why_not(*PROGRAMS):
        return reason
    tried = subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True, text=True)
    return f"no namespaces on this machine: {tried.stderr.strip()}" if tried.returncode else ""


class Machine:
    """One machine. `root` is its whole tree, seen from outside."""

    def __init__(self, name: str, root: Path, world: World, folder: Path, space: str = "") -> None:
        self.name, self.root, self.world, self.folder = name, root, world, folder
        self.space = space or world.inside
        self.started = self.booted = 0.0
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._groups = [group / name for group in GROUPS]

    # Power

    def boot(self, *, wait: bool = True, extra: Sequence[str] = ()) -> None:
        """Switch it on, and wait until its systemd has done all jobs, well or not; or only until it runs."""
        assert self._nspawn is None, "it runs already"
        told = self.folder / "notify"
        told.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
            ear.bind(str(told))
            ear.settimeout(120)
            self.started = time.monotonic()
            with open(self.folder / "console", "ab") as console:
                self._nspawn = subprocess.Popen(
                    ["bash", "-c", IN_GROUPS, "bash", str(len(self._groups)), *map(str, self._groups),
                     "setpriv", "--pdeathsig=KILL", "systemd-nspawn", "--quiet", "--boot", f"--directory={self.root}",
                     f"--machine={self.name}", f"--network-namespace-path=/run/netns/{self.space}",
                     "--register=no", "--keep-unit", "--notify-ready=yes", "--resolv-conf=off", "--timezone=off",
                     "--system-call-filter=bpf", "--capability=CAP_BPF", *extra],
                    env={**os.environ, "NOTIFY_SOCKET": str(told), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                    stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
                )  # fmt: skip
            words: list[str] = []
            while "READY=1" not in words and (wait or not self._leader):
                words = ear.recv(4096).decode().splitlines()
                for word in words:
                    if word.startswith("X_NSPAWN_LEADER_PID="):
                        self._leader = int(word.partition("=")[2])
            self.booted = time.monotonic() - self.started

    def cut(self) -> None:
        """Power cut: every process is gone at once, and with them /run."""
        if self._nspawn is None:
            return
        os.kill(self._leader, signal.SIGKILL)
        try:
            self._nspawn.wait(20)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait(20)
        self._nspawn, self._leader = None, 0

    def poweroff(self) -> None:
        """Shut down in order."""
        assert self._nspawn
        self.run("systemctl poweroff")
        self.gone()

    def gone(self) -> None:
        """Wait until it has shut down."""
        assert self._nspawn
        self._nspawn.wait(60)
        self._nspawn, self._leader = None, 0

    def reboot(self) -> None:
        """Shut down in order and start again."""
        self.poweroff()
        self.boot()

    # Inside

    def try_(self, command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a shell command in the machine, however it ends."""
        argv = ["nsenter", f"--target={self._leader}", "--all", "env", "-i", f"PATH={PATH}", "LC_ALL=C.UTF-8"]
        return subprocess.run(
            [*argv, "sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
        )

    def run(self, command: str, timeout: float = 120) -> str:
        """Run a shell command in the machine, which has to succeed; returns what it said."""
        done = self.try_(command, timeout)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def rolecall(self, *words: str) -> Any:
        """The answer of a command with --json, whatever its exit code."""
        return json.loads(self.try_(shlex.join(["rolecall", *words, "--json"])).stdout)

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run(f"systemctl show --value --property={name} {unit}").strip()

    def states(self, *units: str) -> list[str]:
        """active, inactive, failed, …"""
        return self.try_(f"systemctl is-active {' '.join(units)}").stdout.split()

    def failed(self) -> list[str]:
        """The units that have failed: what an operator sees first."""
        lines = self.run("systemctl list-units --failed --plain --no-legend").splitlines()
        return [line.split()[0] for line in lines]

    def refresh(self) -> int:
        """What the timer does; returns the run's exit status."""
        self.try_(f"systemctl start {REFRESH}")
        return int(self.show(REFRESH, "ExecMainStatus"))

    def pids(self, *units: str) -> list[str]:
        """The main process of each unit."""
        return [self.show(unit, "MainPID") for unit in units]

    def until(self, what: Callable[[], object], seconds: float = 30) -> None:
        """Wait for something to become true."""
        end = time.monotonic() + on_this_machine(seconds)
        while not what():
            assert time.monotonic() < end, f"not within {seconds} s\n{self.log()}"
            time.sleep(0.05)

    # From outside

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file of the machine."""
        write(self.root / path.lstrip("/"), text, mode)

    def drop_in(self, unit: str, text: str) -> None:
        """More settings of a unit, in the place of those before; a machine that runs takes them up."""
        self.write(f"/etc/systemd/system/{unit}.d/test.conf", text)
        if self._leader:
            self.run("systemctl daemon-reload")

    def own_timer(self) -> None:
        """From now on the timer comes as the image has it, every minute."""
        (self.root / f"etc/systemd/system/{TIMER}.d/test.conf").unlink()
        if self._leader:
            self.run(f"systemctl daemon-reload; systemctl restart {TIMER}")

    def setting(self, old: str, new: str) -> None:
        """Replace something in agent.toml."""
        path = self.root / "etc/rolecall/agent.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """Records of all boots, the oldest first, read without the machine's help."""
        folder = f"--directory={self.root / 'var/log/journal'}"
        lines = sh("journalctl", folder, "--output=json", "--all", *matches, ok=False).splitlines()
        return [json.loads(line) for line in lines]

    def told(self, *matches: str) -> dict[str, Any]:
        """The one record with these fields; what a run says last comes after the unit is active already."""
        self.until(lambda: self.journal(*matches))
        (record,) = self.journal(*matches)
        return record

    def log(self) -> str:
        """The last lines of the journal, for the message of a test that fails."""
        folder = f"--directory={self.root / 'var/log/journal'}"
        return sh("journalctl", folder, "--output=short-monotonic", "--lines=60", "--no-pager", ok=False)

    @property
    def links(self) -> list[str]:
        """The generations that daemons read, and that was proven."""
        links = (self.root / "var/lib/rolecall" / name for name in ("current", "ready"))
        return [os.readlink(link).rpartition("/")[2] if link.is_symlink() else "" for link in links]

    def clean(self) -> None:
        """Take the control groups away."""
        for group in self._groups:
            sh("find", group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";", ok=False)


@contextmanager
def machine(name: str, layers: Sequence[Path], folder: Path, keys: Keys) -> Iterator[Machine]:
    """A machine that was never booted, and its world, until the end of the block.

    Its timer is active and never comes: no run may come between two statements of a test and do what the next one is
    about. Tests of the timer give it times of theirs, or the image's (`own_timer`).
    """
    folder.mkdir()
    with World(name, folder, keys) as world, machine_in(world, name, layers, folder) as made:
        made.drop_in(TIMER, NEVER)
        yield made


@contextmanager
def machine_in(world: World, name: str, layers: Sequence[Path], folder: Path, space: str = "") -> Iterator[Machine]:
    """A machine that was never booted, in a world that is there; `space` is its network, by default the first one's."""
    with mounted(folder / "root", folder / "disk", *layers) as root:
        made = Machine(name, root, world, folder, space)
        try:
            yield made
        finally:
            made.cut()
            made.clean()
