"""The package for Debian 12 on a machine that runs: its systemd, booted in a container, and a site with visitors.

What the units themselves do on a booted machine is told elsewhere; here it is what a package may do to a node that
serves.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from builds import NEXT, VERSION, Builds
from packages.debian import Root, fresh_root

CGROUPS = [Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup/unified")]
VISITOR = """
import pathlib, time, urllib.request
served = failed = 0
while not pathlib.Path("/root/enough").exists():
    try:
        urllib.request.urlopen("http://127.0.0.1/", timeout=5).read()
        served += 1
    except OSError:
        failed += 1
    time.sleep(0.01)
print(served, failed)
"""


class Machine:
    """A booted root. `run` enters it."""

    def __init__(self, root: Root, leader: int) -> None:
        self.root, self.leader = root, leader

    def enter(self, *argv: str) -> list[str]:
        return [
            "nsenter",
            "--target",
            str(self.leader),
            "--all",
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin",
            "HOME=/root",
            *argv,
        ]

    def run(self, *argv: str, ok: bool = True) -> str:
        done = subprocess.run(self.enter(*argv), stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0 or not ok, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
        return (done.stdout + done.stderr).strip()

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "--property", name, unit)

    def page(self) -> str:
        """What the site answers."""
        return self.run(
            "python3", "-c", "import urllib.request as r; print(r.urlopen('http://127.0.0.1/').read().decode())"
        )

    @contextmanager
    def visited(self) -> Iterator[None]:
        """Somebody asks for the page all the time; no request may fail."""
        enough = self.root.path / "root/enough"
        visitor = subprocess.Popen(self.enter("python3", "-c", VISITOR), stdout=subprocess.PIPE, text=True)
        try:
            yield
        finally:
            enough.touch()
            said = visitor.communicate(timeout=30)[0]
            enough.unlink()
        served, failed = map(int, said.split())
        assert (served > 0, failed) == (True, 0)


@contextmanager
def booted(root: Root) -> Iterator[Machine]:
    """Boot a root in a container without a network. Skips the test where that is not possible."""
    if not shutil.which("systemd-nspawn"):
        pytest.skip("not run: systemd-nspawn is not installed")
    name = f"rolecall-packages-{os.getpid()}"
    ready = root.path.parent / "ready"
    groups = [group / name for group in CGROUPS if group.is_dir()]
    for group in groups:
        group.mkdir()
    join = "".join(f"echo $$ >{group}/cgroup.procs; " for group in groups)
    argv = ["systemd-nspawn", "--quiet", "--boot", "--directory", str(root.path), "--machine", name, "--register=no"]
    argv += ["--keep-unit", "--private-network", "--notify-ready=yes", "--console=pipe", "--link-journal=no"]
    env = {**os.environ, "NOTIFY_SOCKET": str(ready), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as messages,
        open(root.path.parent / "console", "w+") as console,
    ):
        messages.bind(str(ready))
        messages.settimeout(1)
        argv = ["sh", "-c", f'{join}exec "$@"', "sh", *argv]
        container = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        try:
            leader = wait_until_ready(messages, container)
            if not leader:
                console.seek(0)
                pytest.skip(f"not run: systemd cannot be booted in a container here: {console.read()[-500:]}")
            yield Machine(root, leader)
        finally:
            if container.poll() is None:
                container.send_signal(signal.SIGTERM)
                try:
                    container.wait(30)
                except subprocess.TimeoutExpired:
                    container.kill()
                    container.wait()
            for group in groups:
                for folder in sorted(group.rglob("*/"), reverse=True):
                    folder.rmdir()
                group.rmdir()


def wait_until_ready(messages: socket.socket, container: "subprocess.Popen[bytes]") -> int:
    """The process id of the container's systemd once its default target is reached; 0 if it does not come up."""
    leader, until = 0, time.monotonic() + 120
    while container.poll() is None and time.monotonic() < until:
        try:
            told = messages.recv(4096).decode()
        except TimeoutError:
            continue
        for line in told.splitlines():
            if line.startswith("X_NSPAWN_LEADER_PID="):
                leader = int(line.partition("=")[2])
            if line == "READY=1":
                return leader
    return 0


@pytest.fixture(scope="module")
def machine(builds: Builds) -> Iterator[Machine]:
    """A node that has booted with the package; the tests of this file take turns at it, from boot to removal."""
    with fresh_root() as root:
        root.run("dpkg", "--install", root.take(builds.package("debian-12")))
        root.node(service_manager="systemd")
        with booted(root) as made:
            yield made


def test_a_machine_with_the_package_boots_into_its_role(machine: Machine) -> None:
    units = "rolecall-boot.service", "rolecall-ready.target", "rolecall-refresh.timer", "site.service"
    assert machine.run("systemctl", "is-active", *units, ok=False).split() == ["active"] * 4
    assert machine.page() == "zone a"
    assert machine.run("rolecall", "--version") == f"rolecall {VERSION}"


def test_through_an_upgrade_the_node_keeps_serving_and_the_timer_goes_on(machine: Machine, builds: Builds) -> None:
    keep = [(unit, name) for unit in ("rolecall-boot.service", "site.service") for name in ("InvocationID", "MainPID")]
    keep.append(("rolecall-ready.target", "InvocationID"))
    before = {one: machine.show(*one) for one in keep}
    timer = machine.show("rolecall-refresh.timer", "InvocationID")
    package = machine.root.take(builds.package("debian-12", "newer"))
    with machine.visited():
        machine.run("dpkg", "--install", package)
    assert {one: machine.show(*one) for one in keep} == before
    assert machine.show("rolecall-refresh.timer", "ActiveState") == "active"
    assert machine.show("rolecall-refresh.timer", "InvocationID") != timer
    assert machine.show("rolecall-refresh.timer", "NeedDaemonReload") == "no"

    assert machine.run("rolecall", "--version") == f"rolecall {NEXT}"
    machine.root.publish(2, "b")
    with machine.visited():
        machine.run("systemctl", "start", "rolecall-refresh.service")
    assert machine.page() == "zone b"


def test_a_removal_stops_a_run_and_the_timer_and_the_site_goes_on(machine: Machine) -> None:
    machine.run("mkdir", "-p", "/run/systemd/system/rolecall-refresh.service.d")
    drop_in = (
        "printf '[Service]\\nExecStart=\\nExecStart=sleep 99\\n' >/run/systemd/system/rolecall-refresh.service.d/a.conf"
    )
    machine.run("sh", "-c", drop_in)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "--no-block", "rolecall-refresh.service")
    assert machine.show("rolecall-refresh.service", "ActiveState") == "activating"
    with machine.visited():
        machine.run("dpkg", "--remove", "rolecall")
    assert machine.run("systemctl", "list-units", "--all", "--no-legend", "--plain", "rolecall-refresh.*") == ""
    assert machine.run("systemctl", "--failed", "--no-legend", "--plain") == ""
    assert machine.page() == "zone b"
    assert machine.run("readlink", "/var/lib/rolecall/ready").startswith("generations/")
    machine.run("dpkg", "--purge", "rolecall")
    assert machine.run("ls", "/var/lib/rolecall/current/site") == "index.html"
    assert machine.run("ls", "-d", "/run/rolecall", ok=False).endswith("No such file or directory")
