"""What a machine's life or a build leaves behind, and an image must not have: it is copied to many machines.

Everything here only reads. What `rolecall image check --fix` does is a finding's own `fix`, by way of `host.files`; it
is there only where a person has nothing to decide. Secrets have none: one that was removed is no secret again.
"""

import functools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rolecall.host import files
from rolecall.settings import Settings

_SECRET = re.compile(
    rb"^-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----|aws_secret_access_key[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9/+]{40}",
    re.IGNORECASE | re.MULTILINE,
)
_LARGEST = 64 * 1024  # of a file that is searched for keys


class Finding(NamedTuple):
    """One thing that is wrong, and what to do about it. `paths` are as the image's machines would see them."""

    name: str
    what: str
    remedy: str
    paths: tuple[str, ...] = ()
    fix: Callable[[], object] | None = None

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {**self._asdict(), "fix": self.fix is not None}


@dataclass(frozen=True)
class Image:
    """A root folder with a machine's files in it, and its settings, if they are good."""

    root: Path
    settings: Settings | None = None

    @property
    def flag(self) -> str:
        """How our own command, and systemctl, are told which root is meant."""
        return "" if self.root == Path("/") else f" --root={self.root}"

    def place(self, path: str) -> Path:
        """Where a path of the image lies here."""
        return self.root / path.lstrip("/")

    def name(self, path: Path) -> str:
        """What the image calls a path that lies here."""
        return f"/{path.relative_to(self.root).as_posix()}"

    def find(self, patterns: str) -> Iterator[Path]:
        """What there is, as `~` in every home; not what a link would show of the world outside the root."""
        homes = {word: ("root", "home/*") if word.startswith("~") else ("",) for word in patterns.split()}
        words = {word.replace("~", home) for word, several in homes.items() for home in several}
        real = functools.cache(lambda folder: folder.resolve().is_relative_to(self.root.resolve()))
        yield from (
            path for path in sorted({one for word in words for one in self._matching(word)}) if real(path.parent)
        )

    def _matching(self, word: str) -> Iterator[Path]:
        """As `glob`, but a link is there whether or not its target is: that means something else here."""
        folder, _, name = word.rpartition("/")
        if "*" in name:
            yield from self.root.glob(word)
        else:
            yield from (at / name for at in self.root.glob(folder) if os.path.lexists(at / name))

    def real(self, path: Path) -> Path | None:
        """The file behind a path, its links followed as on the image's machines; None where there is none."""
        for _ in range(20):
            target = files.read_link(path)
            if target is None:
                return path if path.exists() else None
            path = self.place(target) if target.startswith("/") else path.parent / target
        return None


class Trace(NamedTuple):
    """Something left behind: where, and why it must not be copied. `fix` makes it harmless; None: a person decides."""

    name: str
    why: str
    places: str
    fix: Callable[[Path], None] | None = files.remove_tree


def _empty(path: Path) -> None:
    """An empty file in its place: whose it is, and who may write it, stays."""
    status = path.lstat()
    files.replace(path, b"", status.st_mode & 0o7777, status.st_uid, status.st_gid)


_SPOILT = "take it out, and out of use, for whoever has the image has it too: rm -r {paths}"
_SAME_ID = "every machine of this image would have the same id"
_BUILDER = "the machine that built the image"
TRACES = (
    Trace("credentials", "credentials of a person or of a service",
          "~/.aws/credentials ~/.aws/*/cache ~/.netrc ~/.git-credentials ~/.docker/config.json ~/.kube/config ~/.my.cnf"
          " ~/.pgpass ~/.vault-token ~/.config/gcloud ~/.azure", None),
    Trace("history", "what somebody typed, passwords perhaps",
          "~/.*_history ~/.history ~/.lesshst ~/.viminfo ~/.wget-hsts ~/.local/share/fish/fish_history"),
    Trace("login-keys", "whoever built the image could log in to its machines",
          "~/.ssh/authorized_keys* ~/.ssh/known_hosts*"),
    Trace("host-keys", "every machine of this image would have the same", "etc/ssh/ssh_host_*"),
    Trace("machine-id", _SAME_ID, "etc/machine-id", _empty),
    Trace("machine-id", _SAME_ID, "var/lib/dbus/machine-id"),
    Trace("server-uuid", "a database server refuses a replica with its own id", "var/lib/mysql/auto.cnf"),
    Trace("cloud-init", "a new machine would be taken for one that is set up already",
          "var/lib/cloud/data var/lib/cloud/handlers var/lib/cloud/instance var/lib/cloud/instances var/lib/cloud/sem"),
    Trace("random-seed", "every machine of this image would start from the same secret",
          "var/lib/systemd/random-seed var/lib/systemd/credential.secret var/lib/urandom/random-seed"
          " boot/efi/loader/random-seed var/lib/NetworkManager/secret_key"),
    Trace("network", f"addresses and interfaces of {_BUILDER}",
          "etc/udev/rules.d/70-persistent-* var/lib/dhcp/*.lease* var/lib/dhclient/* var/lib/NetworkManager/*.lease"),
    Trace("network", f"name and name servers of {_BUILDER}", "etc/hostname etc/resolv.conf", _empty),
    Trace("caches", "old soon, and the image is larger for it",
          "var/cache/apt/archives/*.deb var/cache/apt/*.bin var/lib/apt/lists/*_* var/cache/dnf/* var/cache/libdnf5/*"
          " var/cache/yum/* ~/.cache"),
    Trace("policy-rc.d", "it keeps packages from starting their services", "usr/sbin/policy-rc.d"),
    Trace("logs", f"what happened on {_BUILDER}", "var/log/journal/* var/crash/* var/lib/systemd/coredump/*"),
    Trace("logs", f"what happened on {_BUILDER}", "var/log/**/* var/mail/* var/spool/mail/*", _empty),
    Trace("temporary", "left over from the build", "tmp/* var/tmp/* run/*"),
)  # fmt: skip


def traces(image: Image) -> Iterator[Finding]:
    """What must not be there."""
    claimed = set[Path]()
    for trace in TRACES:
        found = [path for path in image.find(trace.places)
                 if not claimed.intersection((path, *path.parents)) and _counts(path, trace)]  # fmt: skip
        claimed.update(found)
        if found:
            yield _finding(image, trace.name, trace.why, found, fix=trace.fix)
    yield from _state(image)
    yield from _keys(image)
    yield from _passwords(image)


def _finding(
    image: Image, name: str, why: str, paths: list[Path], *, fix: Callable[[Path], None] | None = None, remedy: str = ""
) -> Finding:
    """One finding for all these paths."""
    inside = tuple(map(image.name, paths))
    others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    remedy = f"rolecall image check{image.flag} --fix" if fix else remedy or _SPOILT
    here = " ".join(map(str, paths[:5])) + (" …" if len(paths) > 5 else "")
    mend = partial(_each, fix, paths) if fix else None
    return Finding(name, f"{inside[0]}{others}: {why}", remedy.format(paths=here), inside, mend)


def _each(fix: Callable[[Path], None], paths: list[Path]) -> None:
    for path in paths:
        fix(path)


def _counts(path: Path, trace: Trace) -> bool:
    """Whether there is anything in it that matters."""
    if trace.fix is _empty:
        return path.is_file() and not path.is_symlink() and path.stat().st_size > 0 and not _unset(path)
    if trace.name == "temporary" and (path.name.startswith("systemd-private-") or os.path.ismount(path.parent)):
        return False  # gone when the builder stops
    if trace.name == "machine-id" and path.is_symlink():
        return False  # to /etc/machine-id
    return _holds(path)


def _holds(path: Path) -> bool:
    """Whether there is anything in it: an empty folder, or an empty file, is nothing."""
    if path.is_dir() and not path.is_symlink():
        return any(_files_below(path))
    return path.is_symlink() or path.stat().st_size > 0


def _unset(path: Path) -> bool:
    """A machine id that is to be made at the first boot."""
    return path.name == "machine-id" and path.read_bytes().strip() == b"uninitialized"


def _state(image: Image) -> Iterator[Finding]:
    """What the agent remembers, who it was told to be, and credentials that it was told to use."""
    settings = image.settings
    state = image.place(settings.paths.state if settings else "/var/lib/rolecall")
    everything = [path for path in sorted(state.glob("*")) if _holds(path)]
    data = [path for path in everything if path.name in ("shared", "private")]
    if rest := [path for path in everything if path not in data]:
        yield _finding(image, "instance-state", "a new machine would go on as another one", rest, fix=files.remove_tree)
    if data:
        yield _finding(image, "instance-state", "data of products", data, remedy="keep a copy, then rm -r {paths}")
    for source in settings.identity if settings else ():
        kind, _, name = source.partition(":")
        if kind == "file" and re.search(rb'"(server|instance|address)"', files.read(image.place(name)) or b""):
            why = "every machine of this image would take itself for this one"
            yield _finding(image, "identity", why, [image.place(name)], remedy="rm {paths}")
    for name in settings.credentials_files if settings else ():
        path = image.place(name)
        if path.exists():
            yield _finding(image, "credentials", "credentials for a provider", [path])


def _keys(image: Image) -> Iterator[Finding]:
    """Private keys and AWS keys, whatever their files are called."""
    found = []
    for top in ("etc", "root", "home", "srv", "opt", "usr/local"):
        found += [path for path in _files_below(image.root / top) if _has_secret(path)]
    if found:
        yield _finding(image, "private-key", "a private key or a secret key", sorted(found))


def _files_below(folder: Path) -> Iterator[Path]:
    """Every name that is no folder. A folder that may not be read is no empty one."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for at, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(at, name) for name in names)


def _has_secret(path: Path) -> bool:
    if path.name.startswith("ssh_host_") or path.suffix in (".py", ".pyc"):
        return False  # they have a finding of their own; code that reads keys has none in it
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST:
        return False
    return bool(_SECRET.search(path.read_bytes()))


def _passwords(image: Image) -> Iterator[Finding]:
    """Passwords, or none at all, that would be the same on every machine."""
    lines = (files.read(image.place("etc/shadow")) or b"").decode("utf-8", "replace").splitlines()
    fields = [line.split(":") for line in lines if line.count(":") > 1]
    if names := [name for name, password, *_ in fields if password[:1] not in ("!", "*")]:
        what = f"/etc/shadow: every machine of this image would have the same password for {', '.join(names)}"
        remedy = "; ".join(f"usermod{image.flag} --lock {name}" for name in names)
        yield Finding("password", what, remedy, ("/etc/shadow",))
