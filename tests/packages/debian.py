"""A small Debian 12 in a folder, to install packages into: made once with this machine's apt, and never written to."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from roots import SUITE, debian_sources, kept, mounted, scratch, tops, why_not, write

PACKAGES = "ca-certificates,openssh-client,python3,python3-systemd,systemd,systemd-sysv"
# One page, and the daemon that serves it.
AGENT = """role = "site"
platform = "debian"
store = ["file:///srv/store"]
service_manager = "{service_manager}"
accounts = "none"
[trust]
unsigned = true
[paths]
templates = "/srv/roles"
"""
ROLE = """description = "One page"
[packages]
debian = []
[platform.debian]
[[file]]
source = "page.j2"
path = "site/index.html"
units = ["site"]
[[unit]]
name = "site"
service = "site.service"
action = "reload"
[[check]]
name = "the site is served"
unit = "site"
"""
SITE = """[Service]
ExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 --directory /var/lib/rolecall/current/site 80
ExecReload=/bin/true
"""
IDENTITY = '{"server": "web1"}\n'


class Root:
    """That Debian, with a layer of its own above it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def run(self, *argv: str, ok: bool = True, chroot: bool = True, **env: str) -> "subprocess.CompletedProcess[str]":
        """Run a program in it, or, without `chroot`, one of this machine that changes it. systemctl wants a /proc."""
        inside = ["chroot", str(self.path)] if chroot else []
        begin = 'mount -t proc proc "$0/proc" && exec "$@"'
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", begin, str(self.path), *inside, *argv],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0 or not ok, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def says(self, *argv: str, ok: bool = True, **env: str) -> str:
        """What a program in it writes."""
        done = self.run(*argv, ok=ok, chroot=True, **env)
        return (done.stdout + done.stderr).strip()

    def write(self, path: str, text: str) -> None:
        """A file, with the folders above it."""
        write(self.path / path.lstrip("/"), text)

    def take(self, package: Path) -> str:
        """Copy a package into it; returns its path there."""
        shutil.copy(package, self.path / "root")
        return f"/root/{package.name}"

    def node(self, service_manager: str = "direct") -> None:
        """Make it a node whose document is in a folder: one page is all there is to serve."""
        self.write("/etc/rolecall/agent.toml", AGENT.format(service_manager=service_manager))
        self.write("/etc/rolecall/identity.json", IDENTITY)
        self.write("/etc/systemd/system/site.service", SITE)
        self.write("/srv/roles/site/role.toml", ROLE)
        self.write("/srv/roles/site/page.j2", "zone {{ assignment.zone | word }}\n")
        self.publish(1, "a")

    def publish(self, serial: int, zone: str) -> None:
        """The fleet's document."""
        times = {"issued": "2026-01-01T00:00:00Z", "not_after": "2099-01-01T00:00:00Z"}
        servers = {"web1": {"role": "site", "address": "10.0.0.1", "zone": zone}}
        self.write(
            "/srv/store/fleet.json",
            json.dumps({"format": 1, "fleet": "test", "serial": serial, **times, "servers": servers}),
        )

    def units(self) -> dict[str, str]:
        """Which of our units are enabled, by name."""
        names = sorted(path.name for path in (self.path / "usr/lib/systemd/system").glob("rolecall-*"))
        return dict(zip(names, self.says("systemctl", "is-enabled", *names, ok=False).split(), strict=True))


@contextmanager
def fresh_root() -> Iterator[Root]:
    """A Debian 12 to install into. Skips the test where none can be made."""
    if reason := why_not():
        pytest.skip(f"not run: {reason}")
    with (
        kept("debian", [PACKAGES, *debian_sources()], make_debian) as system,
        tops() as memory,
        mounted(memory / "root", memory / "written", system) as root,
    ):
        yield Root(root)


def make_debian(folder: Path) -> None:
    argv = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={PACKAGES}"]
    argv += ["--aptopt=APT::Install-Recommends false", '--aptopt=Acquire::Languages "none"']
    hook = Path("/usr/share/mmdebstrap/hooks/eatmydata")  # no fsync: three times as fast
    if shutil.which("eatmydata") and hook.is_dir():
        argv.append(f"--hook-dir={hook}")
    mine = (
        'rm -f "$1/etc/hostname" "$1/etc/resolv.conf"; : >"$1/etc/machine-id"; echo 127.0.0.1 localhost >"$1/etc/hosts"'
    )
    with scratch() as temporary:
        made = subprocess.run(
            [*argv, f"--customize-hook={mine}", SUITE, folder, *debian_sources()],
            env={**os.environ, "TMPDIR": str(temporary)},
            capture_output=True,
            text=True,
        )
    assert made.returncode == 0, made.stderr[-3000:]
