"""A disk in QEMU, in the network of a World: a machine with nothing but what was baked on it.

The machine's namespace, which a container would live in, becomes a switch: the cable to the world and QEMU's are on one
bridge. The address comes by DHCP, as it does from EC2.
"""

import contextlib
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from machine.world import GATE, NODE, World
from roots import sh

QEMU = "qemu-system-x86_64"
# The console shows what systemd does; the journal's own forwarding makes a failure readable without the disk.
KERNEL = (
    "root=LABEL=rolecall rw console=ttyS0 TERM=dumb net.ifnames=0 quiet systemd.show_status=1 "
    "systemd.journald.forward_to_console=1 systemd.journald.max_level_console=notice"
)
DISCOVER, OFFER, REQUEST, ACK = 1, 2, 3, 5
COOKIE = b"\x63\x82\x53\x63"


def slow(why: str) -> pytest.MarkDecorator:
    """For tests that are run by `make machine-disk` only, and say so elsewhere."""
    reason = "" if os.environ.get("ROLECALL_DISK") == "1" else f"`make machine-disk` {why}"
    return pytest.mark.skipif(bool(reason), reason=f"not run: {reason}")


class Dhcp:
    """Tells whoever asks that it is NODE, and that GATE knows the way to all others."""

    def __init__(self) -> None:
        self._ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # in the namespace of the thread that makes it
        self._ear.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._ear.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"bridge")
        self._ear.bind(("", 67))
        self._ear.settimeout(0.2)
        self._over = threading.Event()
        self._server = threading.Thread(target=self._serve)
        self._server.start()

    def stop(self) -> None:
        """Nobody gets an address from now on."""
        self._over.set()
        self._server.join()
        self._ear.close()

    def _serve(self) -> None:
        answers = {DISCOVER: OFFER, REQUEST: ACK}
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                packet = self._ear.recv(2048)
                if answer := answers.get(self._kind(packet)):
                    self._ear.sendto(self._answer(packet, answer), ("255.255.255.255", 68))

    @staticmethod
    def _kind(packet: bytes) -> int:
        """Which message this is, by option 53."""
        rest = packet[240:]
        while len(rest) > 2 and rest[0] != 255:
            if rest[0] == 53:
                return rest[2]
            rest = rest[1:] if rest[0] == 0 else rest[2 + rest[1] :]
        return 0

    @staticmethod
    def _answer(asked: bytes, kind: int) -> bytes:
        gate, mine = socket.inet_aton(GATE), socket.inet_aton(NODE)
        head = bytes((2, 1, 6, 0)) + asked[4:12] + bytes(4) + mine + bytes(8) + asked[28:44] + bytes(192)
        options = {53: bytes([kind]), 54: gate, 51: struct.pack("!I", 86400), 1: socket.inet_aton("255.255.255.0"),
                   3: gate}  # fmt: skip
        told = b"".join(bytes((code, len(value))) + value for code, value in options.items())
        return head + COOKIE + told + b"\xff"


@contextlib.contextmanager
def switched(world: World) -> Iterator[None]:
    """The world's cable ends at a switch, with a socket `tap0` for QEMU; and there is DHCP."""
    inside = ("ip", "-n", world.inside)
    sh(*inside, "addr", "flush", "dev", "eth0")
    sh(*inside, "link", "add", "switch", "type", "bridge")
    sh(*inside, "tuntap", "add", "tap0", "mode", "tap")
    for name in ("eth0", "tap0"):
        sh(*inside, "link", "set", name, "master", "switch")
    for name in ("switch", "tap0"):
        sh(*inside, "link", "set", name, "up")
    dhcp = world.within(Dhcp)
    try:
        yield
    finally:
        dhcp.stop()


class Disk:
    """A machine whose disk is this file, with FILE.vmlinuz and FILE.initrd beside it. What it writes stays on it."""

    def __init__(self, image: Path, world: World) -> None:
        self.image, self.world = image, world
        self.console = image.with_name("console")
        self._monitor = image.with_name("monitor")
        self._qemu: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._qemu:
            self._qemu.kill()
            self._qemu.wait()
        if error:
            error.add_note(f"the end of its console:\n{self.said()}")

    def power_on(self) -> None:
        """Switch it on; nothing is waited for."""
        self._monitor.unlink(missing_ok=True)
        self._started = time.monotonic()
        argv: list[str | Path] = [
            "nsenter", f"--net=/run/netns/{self.world.inside}", "setpriv", "--pdeathsig=KILL", QEMU,
            "-machine", "q35", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "1536", "-nodefaults", "-no-reboot",
            "-display", "none", "-serial", "stdio", "-monitor", f"unix:{self._monitor},server=on,wait=off",
            "-smbios", "type=1,manufacturer=Amazon EC2",  # else the agent knows that it is not on EC2
            "-kernel", f"{self.image}.vmlinuz", "-initrd", f"{self.image}.initrd", "-append", KERNEL,
            # What was written is in the file when QEMU has ended; until then nobody waits for this host's disk.
            "-drive", f"file={self.image},format=raw,if=none,id=disk,cache=unsafe",
            "-device", "virtio-blk-pci,drive=disk",
            "-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no",
            "-device", "virtio-net-pci,netdev=net,romfile=",
        ]  # fmt: skip
        with self.console.open("ab") as console:
            self._qemu = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT)

    def until(self, what: Callable[[], Any], seconds: float = 600) -> float:
        """Wait until something is there, nobody minding errors meanwhile; returns the seconds since power on."""
        end = time.monotonic() + seconds
        while True:
            assert self._qemu
            assert self._qemu.poll() is None, "it has switched itself off"
            with contextlib.suppress(OSError, KeyError):
                if what():
                    return time.monotonic() - self._started
            assert time.monotonic() < end, f"not within {seconds} s"
            time.sleep(0.25)

    def power_off(self, seconds: float = 300) -> float:
        """Press its button, and wait until it has shut down; returns how long that took."""
        assert self._qemu
        pressed = time.monotonic()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as monitor:
            monitor.connect(str(self._monitor))
            monitor.sendall(b"system_powerdown\n")
            assert self._qemu.wait(seconds) == 0
        self._qemu = None
        assert "reboot: Power down" in self.said(), "it was not shut down in order"
        return time.monotonic() - pressed

    def said(self, lines: int = 80) -> str:
        """The last lines of its console."""
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        return "\n".join([line for line in text.splitlines() if line][-lines:])
