"""Images as layers of overlayfs: the distribution, the agent's libraries, and above them the agent with its settings.

The first two are kept below the system's folder for temporary files, named by what they are made of: only the first run
of the tests waits for them. A machine is one more layer, in memory: it costs nothing, and nothing of it stays.
"""

import fcntl
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from box import ROOT

SUITE = "bookworm"
PACKAGES = (
    "systemd systemd-sysv dbus apache2 php8.2-fpm php8.2-cli php8.2-mysql php8.2-opcache mariadb-client cron logrotate "
    "munin-node openssh-client python3 python3-systemd iproute2 ca-certificates"
).split()
MODULES = "proxy_fcgi headers rewrite".split()
PROGRAMS = "mmdebstrap systemd-nspawn journalctl ip nsenter unshare chroot mount setpriv tar zstd gcc".split()
SITE = Path("usr/lib/rolecall/site")
LAUNCHER = """#!/usr/bin/python3 -IS
import sys

sys.path += ["/usr/lib/rolecall/site", "/usr/lib/python3/dist-packages"]

from rolecall.__main__ import main

sys.exit(main())
"""
PACKAGE = os.environ.get("ROLECALL_DEB")  # a built package to install, instead of laying the agent as it would
UNITS = ("rolecall-boot.service", "rolecall-refresh.timer", "rolecall-ready.target")


def why_not() -> str:
    """Why this machine cannot run containers with a systemd of their own; '' if it can."""
    if os.geteuid() != 0:
        return "containers need root"
    if missing := [program for program in PROGRAMS if not shutil.which(program)]:
        return f"not installed: {', '.join(missing)} (requirements/debian.txt has the packages)"
    if f"VERSION_CODENAME={SUITE}" not in Path("/etc/os-release").read_text():
        return f"images are made from this machine's own package sources, and these are not Debian {SUITE}'s"
    tried = subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True, text=True)
    return f"no namespaces on this machine: {tried.stderr.strip()}" if tried.returncode else ""


def sh(*argv: str | Path, ok: bool = True, timeout: float = 600) -> str:
    """Run a program; returns what it said on standard output. `ok`: it has to succeed."""
    done = subprocess.run(
        [str(one) for one in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0 or not ok, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def cache() -> Path:
    """Where layers are kept: a folder that belongs to root alone, whoever else may write beside it."""
    folder = Path(tempfile.gettempdir()) / "rolecall-machine"
    folder.mkdir(mode=0o755, exist_ok=True)
    status = folder.lstat()
    mine = stat.S_ISDIR(status.st_mode) and status.st_uid == 0 and not status.st_mode & 0o022
    assert mine, f"{folder} is not root's own folder: remove it"
    return folder


def kept(layer: Path, of: Sequence[str], make: Callable[[Path], None]) -> Path:
    """The layer made of these: unpacked, or made if it was not made before; older ones of its name are removed."""
    digest = hashlib.sha256("\n".join(of).encode()).hexdigest()[:16]
    packed = cache() / f"{layer.name}-{digest}.tar.zst"
    with open(cache() / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs of the tests wait for each other
        if packed.exists():
            layer.mkdir()
            sh("tar", "-I", "zstd", "-C", layer, "-xf", packed)
            return layer
        for old in cache().glob(f"{layer.name}-*"):
            old.unlink()
        make(layer)
        unfinished = packed.with_suffix(".new")
        sh("tar", "-I", "zstd -3 -T2", "-C", layer, "-cf", unfinished, ".")
        unfinished.rename(packed)
    return layer


@contextmanager
def mounted(folder: Path, top: Path, *lower: Path) -> Iterator[Path]:
    """The layers as one tree at `folder`; what is written lands in `top`."""
    work = top.with_name(f"{top.name}.work")
    for one in (folder, top, work):
        one.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={':'.join(map(str, lower))},upperdir={top},workdir={work}"
    sh("mount", "-t", "overlay", "overlay", "-o", options, folder)
    try:
        yield folder
    finally:
        sh("umount", folder)


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """A file, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def debian(memory: Path) -> Path:
    """The distribution, with the packages of the role and its daemons enabled, as an image build leaves it."""
    apt = Path("/etc/apt")
    sources = [*apt.glob("sources.list"), *sorted(apt.glob("sources.list.d/*.list")),
               *sorted(apt.glob("sources.list.d/*.sources"))]  # fmt: skip

    def make(new: Path) -> None:
        hooks = "/usr/share/mmdebstrap/hooks/eatmydata"
        quick = [f"--hook-dir={hooks}"] if Path(hooks).is_dir() and shutil.which("eatmydata") else []
        lean = ("--aptopt=Acquire::Languages none", "--aptopt=APT::Install-Recommends false")
        packages = f"--include={','.join(PACKAGES)}"
        sh("mmdebstrap", "--quiet", "--variant=minbase", packages, *quick, *lean, SUITE, new, *sources)
        sh("chroot", new, "a2enmod", "--quiet", *MODULES)
        write(new / "etc/hosts", "127.0.0.1 localhost\n")
        write(new / "etc/hostname", "node\n")
        for name in ("machine-id", "resolv.conf"):  # each machine gets its own; no names are asked for
            (new / "etc" / name).unlink(missing_ok=True)
            write(new / "etc" / name, "")
        (new / "var/log/journal").mkdir(exist_ok=True)

    return kept(memory / "system", [SUITE, *PACKAGES, *MODULES, *(one.read_text() for one in sources)], make)


def libraries(memory: Path, system: Path) -> Path:
    """What the agent needs from PyPI, as pinned; the systemd module is the distribution's."""
    wanted = re.sub(r"(?m)^systemd-python==(.*\\\n)*.*\n", "", (ROOT / "requirements/agent.txt").read_text())
    version = next(system.glob("usr/bin/python3.*[0-9]")).name.removeprefix("python")

    def make(new: Path) -> None:
        write(memory / "agent.txt", wanted)
        pip(new / SITE, "--require-hashes", "--only-binary=:all:", f"--python-version={version}",
            f"--requirement={memory / 'agent.txt'}")  # fmt: skip
        with mounted(memory / "root", new, system) as root:
            sh("chroot", root, "python3", "-m", "compileall", "-q", "-j2", f"/{SITE}")

    return kept(memory / "libraries", [version, wanted], make)


def pip(target: Path, *words: str) -> None:
    """Install with this Python's pip into a folder, for the Python of an image."""
    sh(sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps",
       "--no-build-isolation", "--no-compile", f"--target={target}", *words)  # fmt: skip
    shutil.rmtree(target / "bin", ignore_errors=True)


def lay_agent(root: Path, scratch: Path) -> None:
    """The agent as its package lays it: program, libraries beside it, templates, units."""
    if PACKAGE:
        shutil.copy(PACKAGE, root / "root/rolecall.deb")
        sh("chroot", root, "dpkg", "--install", "/root/rolecall.deb")
        return
    site = scratch / "agent"
    pip(site, str(ROOT))
    shutil.copytree(site / "share/rolecall", root / "usr/share/rolecall")
    for name in ("rolecall", *(path.name for path in site.glob("rolecall-*.dist-info"))):
        shutil.copytree(site / name, root / SITE / name)
    write(root / "usr/bin/rolecall", LAUNCHER, 0o755)
    for unit in (ROOT / "packaging/systemd").glob("rolecall-*"):
        shutil.copy(unit, root / "usr/lib/systemd/system")
    sh("chroot", root, "python3", "-m", "compileall", "-q", f"/{SITE}/rolecall")


def bake(scratch: Path, settings: str, *lower: Path, shape: Callable[[Path], None] = lambda _: None) -> list[Path]:
    """An image of the role `web` from these layers: agent, settings, attachments, units. Returns its layers."""
    top = scratch / "image"
    with mounted(scratch / "root", top, *lower) as root:
        shape(root)
        lay_agent(root, scratch)
        write(root / "etc/rolecall/agent.toml", settings)
        sh("chroot", root, "rolecall", "image", "attach")
        sh("chroot", root, "systemctl", "--quiet", "enable", *UNITS)
    return [top, *lower]
