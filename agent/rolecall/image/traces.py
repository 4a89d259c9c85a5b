"""What a machine's life or a build leaves behind, and an image must not have: it is copied to many machines.

Everything here only reads. What `rolecall image check --fix` does is a finding's own `fix`, by way of `host.files`; it
is there only where a person has nothing to decide. Secrets have none: one that was removed is no secret again.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rolecall.host import files
from rolecall.image.root import Finding, Image

_SECRET = re.compile(
    rb"^-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----|aws_secret_access_key[\"']?\s*[=:]\s*[\"']?[A-Za-z0-9/+]{40}",
    re.IGNORECASE | re.MULTILINE,
)
_LARGEST = 64 * 1024  # of a file that is searched for keys
_MOST_NAMES = 5  # paths in a remedy


class Trace(NamedTuple):
    """Something left behind: where, and why it must not be copied. `fix` makes it harmless; None: a person has to."""

    name: str
    why: str
    places: str
    fix: Callable[[Path], None] | None = files.remove_tree


def _truncate(path: Path) -> None:
    """Put an empty file in its place, with the same owner and mode."""
    status = path.lstat()
    files.replace(path, b"", status.st_mode & 0o7777, status.st_uid, status.st_gid)


_IN_USE = "revoke it, since whoever has the image has it too, and remove it: rm -r {paths}"
_SAME_ID = "every machine of this image would have the same id"
_BUILDER = "the machine that built the image"
TRACES = (
    Trace(
        "credentials",
        "credentials of a person or of a service",
        "~/.aws/credentials ~/.aws/*/cache ~/.netrc ~/.git-credentials ~/.docker/config.json ~/.kube/config ~/.my.cnf"
        " ~/.pgpass ~/.vault-token ~/.config/gcloud ~/.azure",
        fix=None,
    ),
    Trace(
        "history",
        "what somebody typed, perhaps passwords",
        "~/.*_history ~/.history ~/.lesshst ~/.viminfo ~/.wget-hsts ~/.local/share/fish/fish_history",
    ),
    Trace(
        "login-keys",
        "whoever built the image could log in to its machines",
        "~/.ssh/authorized_keys* ~/.ssh/known_hosts*",
    ),
    Trace("host-keys", "every machine of this image would have the same", "etc/ssh/ssh_host_*"),
    Trace("machine-id", _SAME_ID, "etc/machine-id", _truncate),
    Trace("machine-id", _SAME_ID, "var/lib/dbus/machine-id"),
    Trace("server-uuid", "a database server refuses a replica with its own id", "var/lib/mysql/auto.cnf"),
    Trace(
        "cloud-init",
        "a new machine would be taken for one that is set up already",
        "var/lib/cloud/data var/lib/cloud/handlers var/lib/cloud/instance var/lib/cloud/instances var/lib/cloud/sem",
    ),
    Trace(
        "random-seed",
        "every machine of this image would start from the same secret",
        "var/lib/systemd/random-seed var/lib/systemd/credential.secret var/lib/urandom/random-seed"
        " boot/efi/loader/random-seed var/lib/NetworkManager/secret_key",
    ),
    Trace(
        "network",
        f"addresses and interfaces of {_BUILDER}",
        "etc/udev/rules.d/70-persistent-* var/lib/dhcp/*.lease* var/lib/dhclient/* var/lib/NetworkManager/*.lease",
    ),
    Trace("network", f"name and name servers of {_BUILDER}", "etc/hostname etc/resolv.conf", _truncate),
    Trace(
        "caches",
        "soon out of date, and the image is larger for it",
        "var/cache/apt/archives/*.deb var/cache/apt/*.bin var/lib/apt/lists/*_* var/cache/dnf/* var/cache/libdnf5/*"
        " var/cache/yum/* ~/.cache",
    ),
    Trace("policy-rc.d", "it keeps packages from starting their services", "usr/sbin/policy-rc.d"),
    Trace("logs", f"what happened on {_BUILDER}", "var/log/journal/* var/crash/* var/lib/systemd/coredump/*"),
    Trace("logs", f"what happened on {_BUILDER}", "var/log/**/* var/mail/* var/spool/mail/*", _truncate),
    Trace("temporary", "left over from the build", "tmp/* var/tmp/* run/*"),
)


def traces(image: Image) -> Iterator[Finding]:
    """What must not be there."""
    claimed = set[Path]()
    for trace in TRACES:
        candidates = (path for path in image.find(trace.places) if not claimed.intersection((path, *path.parents)))
        paths = [path for path in candidates if _matters(path, trace)]
        claimed.update(paths)
        if paths:
            yield _finding(image, trace.name, trace.why, paths, fix=trace.fix)
    yield from _state(image)
    yield from _keys(image)
    yield from _passwords(image)


def _finding(
    image: Image,
    name: str,
    why: str,
    paths: Sequence[Path],
    *,
    fix: Callable[[Path], None] | None = None,
    remedy: str = _IN_USE,
) -> Finding:
    """One finding for all these paths."""
    names = tuple(map(image.name, paths))
    rest = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    problem = f"{names[0]}{rest}: {why}"
    if fix:
        command = f"rolecall image check{image.flag} --fix"
        return Finding(name, problem, command, names, partial(_fix_all, fix, paths))
    listed = " ".join(map(str, paths[:_MOST_NAMES])) + (" …" if len(paths) > _MOST_NAMES else "")
    return Finding(name, problem, remedy.format(paths=listed), names)


def _fix_all(fix: Callable[[Path], None], paths: Sequence[Path]) -> None:
    for path in paths:
        fix(path)


def _matters(path: Path, trace: Trace) -> bool:
    """Whether there is anything in it that matters."""
    if trace.fix is _truncate:
        return path.is_file() and not path.is_symlink() and path.stat().st_size > 0 and not _unset(path)
    if trace.name == "temporary" and (path.name.startswith("systemd-private-") or os.path.ismount(path.parent)):
        return False  # gone when the builder stops
    if trace.name == "machine-id" and path.is_symlink():
        return False  # to /etc/machine-id
    return _has_content(path)


def _has_content(path: Path) -> bool:
    """Whether there is anything in it: an empty folder, or an empty file, does no harm."""
    if path.is_dir() and not path.is_symlink():
        return any(_files_below(path))
    return path.is_symlink() or path.stat().st_size > 0


def _unset(path: Path) -> bool:
    """A machine id that is to be made at the first boot."""
    return path.name == "machine-id" and path.read_bytes().strip() == b"uninitialized"


def _state(image: Image) -> Iterator[Finding]:
    """What the agent remembers, the machine that it was said to be, and the credentials that it was said to use."""
    settings = image.settings
    state = image.locate(settings.paths.state if settings else "/var/lib/rolecall")
    entries = [path for path in sorted(state.glob("*")) if _has_content(path)]
    data = [path for path in entries if path.name in ("shared", "private")]
    if notes := [path for path in entries if path not in data]:
        why = "a new machine would take up the life of another one"
        yield _finding(image, "instance-state", why, notes, fix=files.remove_tree)
    if data:
        yield _finding(image, "instance-state", "data of products", data, remedy="keep a copy, then rm -r {paths}")
    for source in settings.identity if settings else ():
        kind, _, name = source.partition(":")
        if kind == "file" and re.search(rb'"(server|instance|address)"', files.read(image.locate(name)) or b""):
            why = "every machine of this image would take itself for this one"
            yield _finding(image, "identity", why, [image.locate(name)], remedy="rm {paths}")
    for name in settings.credentials_files if settings else ():
        path = image.locate(name)
        if path.exists():
            yield _finding(image, "credentials", "credentials for a provider", [path])


def _keys(image: Image) -> Iterator[Finding]:
    """Private keys and AWS keys, whatever their files are called."""
    folders = ("etc", "root", "home", "srv", "opt", "usr/local")
    paths = [path for folder in folders for path in _files_below(image.root / folder) if _has_secret(path)]
    if paths:
        yield _finding(image, "private-key", "a private key or a secret key", sorted(paths))


def _files_below(folder: Path) -> Iterator[Path]:
    """Everything that is not a folder. A folder that cannot be read must not count as empty."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for parent, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(parent, name) for name in names)


def _has_secret(path: Path) -> bool:
    if path.name.startswith("ssh_host_") or path.suffix in (".py", ".pyc"):
        return False  # host keys have a finding of their own, and code that reads keys has none in it
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST:
        return False
    return bool(_SECRET.search(path.read_bytes()))


def _passwords(image: Image) -> Iterator[Finding]:
    """Passwords, or none at all, that would be the same on every machine."""
    lines = (files.read(image.locate("etc/shadow")) or b"").decode("utf-8", "replace").splitlines()
    fields = [line.split(":") for line in lines if line.count(":") > 1]
    if names := [name for name, password, *_ in fields if password[:1] not in ("!", "*")]:
        problem = f"/etc/shadow: every machine of this image would have the same password for {', '.join(names)}"
        remedy = "; ".join(f"usermod{image.flag} --lock {name}" for name in names)
        yield Finding("password", problem, remedy, ("/etc/shadow",))
