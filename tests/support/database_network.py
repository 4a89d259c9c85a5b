"""Servers of one database that each have a network of their own, joined by a switch: any of them can be cut off."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from box import alive
from database_fleet import Fleet
from patience import wait_until


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class NetworkFleet(Fleet):
    """The four servers, each in a network namespace, with its logs on a small disk; the networks are there already."""

    addresses = {f"db{n}": f"10.77.0.2{n}" for n in (1, 2, 3, 4)}

    def __init__(self, folder: Path, switch: str) -> None:
        super().__init__(folder)
        self.switch, self.asides = switch, 0
        for name, node in self.nodes.items():
            node.env["ROLECALL_TEST_NETWORK"] = f"/run/netns/{switch}-{name}"
        del self.document["servers"]["db5"]
        self.become(port=3306, replicas=["db3", "db4"], snapshot=None)
        self.fillers = {name: self.small_disk(name) for name in self.nodes}

    def prefix(self, name: str) -> tuple[str, ...]:
        return "nsenter", f"--net=/run/netns/{self.switch}-{name}"

    def cut(self, name: str) -> None:
        """What it sends arrives nowhere, and nothing comes to it, the document included."""
        self.unreached.add(name)
        ip("-n", self.switch, "link", "set", name, "nomaster")

    def join(self, name: str) -> None:
        """It is in the network again."""
        ip("-n", self.switch, "link", "set", name, "master", "bridge0")
        self.unreached.discard(name)
        self.deliver(name)

    def fill(self, name: str) -> None:
        """Its logs' disk has no room left; whatever is written to the database makes it wait for some."""
        with self.fillers[name].open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"x" * 65536)

    def set_aside(self, name: str) -> None:
        """What a person does with a server that has diverged: docs/how-to/databases.md, "Replace a server"."""
        if alive(self.pid(name)):
            os.kill(self.pid(name), signal.SIGCONT)
            self.kill(name)
        lib = self.nodes[name].machine.root / "var/lib"
        self.asides += 1
        old = lib / f"mysql.old-{self.asides}"
        (lib / "mysql").rename(old)
        for log in (lib / "mysql-binlog").iterdir():  # the folder is a disk of its own
            shutil.move(log, old)
        self.socket(name).unlink(missing_ok=True)
        shutil.copytree(self.template, lib / "mysql")


@contextmanager
def networks(names: tuple[str, ...]) -> Iterator[str]:
    """A switch, and for each name a network namespace that is plugged into it; yields the switch's name."""
    switch = f"rc{os.getpid()}"
    ip("netns", "add", switch)
    spaces = [switch]
    try:
        ip("-n", switch, "link", "add", "bridge0", "type", "bridge")
        ip("-n", switch, "link", "set", "bridge0", "up")
        for name in names:
            space = f"{switch}-{name}"
            ip("netns", "add", space)
            spaces.append(space)
            ip("link", "add", "name", name, "netns", switch, "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("-n", switch, "link", "set", name, "master", "bridge0", "up")
            ip("-n", space, "addr", "add", f"{NetworkFleet.addresses[name]}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "lo", "up")
            ip("-n", space, "link", "set", "eth0", "up")
        yield switch
    finally:
        for space in spaces:
            ip("netns", "del", space)


class Fault:
    """Something that happens to one machine, until it is mended.

    `agent_runs`: whether its agent goes on meanwhile, as it cannot on a machine that is off.
    """

    def __init__(self, fleet: NetworkFleet, kind: str, server: str, *, agent_runs: bool) -> None:
        self.fleet, self.kind, self.server = fleet, kind, server
        self.agent_runs = agent_runs and kind != "killed"
        self.pid = fleet.pid(server)

    def strike(self) -> None:
        """Let it happen."""
        strikes: dict[str, Callable[[], None]] = {
            "killed": lambda: self.fleet.kill(self.server),
            "frozen": lambda: os.kill(self.pid, signal.SIGSTOP),
            "cut off": lambda: self.fleet.cut(self.server),
            "disk full": lambda: self.fleet.fill(self.server),
        }
        strikes[self.kind]()

    def mend(self) -> None:
        """It is over. A server that was killed is started by its machine's agent."""
        match self.kind:
            case "frozen":
                with suppress(ProcessLookupError):  # its agent may have ended it
                    os.kill(self.pid, signal.SIGCONT)
            case "cut off":
                self.fleet.join(self.server)
            case "disk full":
                self.fleet.fillers[self.server].unlink()


def waits_for_room(fleet: Fleet, name: str) -> None:
    """Wait until a server does, because somebody writes."""
    statement = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE = 'Waiting for someone to free space'"
    wait_until(lambda: fleet.sql(name, statement) != "0", f"{name} waits for room")
