"""Whether a product's user reaches what is another's: tried on the node, with that user's rights, in its place."""

import os
import shlex
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from posixpath import relpath

from rolecall.checks.probes import Subject, run_checks
from rolecall.errors import HostFault
from rolecall.fleet.check import Check
from rolecall.forms.mistakes import suggest
from rolecall.host import files
from rolecall.host.attachments import path_of
from rolecall.host.programs import answer_as
from rolecall.host.redaction import Redaction
from rolecall.host.units import ServiceManager
from rolecall.render.contents import DeployedRelease
from rolecall.render.generation import Generation


@dataclass(frozen=True)
class Places:
    """Where the node has what a product may want: its folders, and the root below which the machine is."""

    state: Path
    run: Path
    root: str
    manager: ServiceManager
    redaction: Redaction = field(default_factory=Redaction)  # of the pages that are reached


@dataclass(frozen=True)
class Attempt:
    """What was tried, and how it went: '' if it was refused."""

    what: str
    reached: str


def attempts(product: str, live: Generation, places: Places) -> Iterator[Attempt]:
    """Try everything. Nothing is changed but for links that are removed again. Raises HostFault where it cannot be."""
    own = next((release for release in live.releases if release.product == product), None)
    if own is None:
        names = [release.product for release in live.releases]
        hint = suggest(product, names, f"it has: {', '.join(names) or 'none'}")
        raise HostFault(f"this node has no product {product!r}", hint)
    if not own.user:
        raise HostFault(
            "nothing separates the products of this node: all of them run as one user",
            'accounts = "none" in agent.toml is for a node in a folder',
        )
    tries: list[tuple[str, Callable[[str], bool], str]] = [
        *(("read", _read, path) for path in _secrets(own, live, places)),
        *(("write to", _writable, path) for path in _fixed(own, live, places)),
        *(("connect to", _connect, path) for path in _sockets(own, live)),
    ]
    tries = [entry for entry in dict.fromkeys(tries) if os.path.lexists(entry[2])]
    answers = answer_as(own.user, lambda: [question(path) for _, question, path in tries])
    for (verb, _, path), is_reached in zip(tries, answers, strict=True):
        yield Attempt(f"{verb} {path}", "it can" if is_reached else "")
    yield from _through_apache(own, live, places)


def _secrets(own: DeployedRelease, live: Generation, places: Places) -> Iterator[str]:
    """What this user may not read: other products' code, files that are not for all, folders of other owners."""
    for release in live.releases:
        if release != own:
            yield from (str(places.state / release.folder / name) for name in ("", release.document_root))
    for file in live.staged_files:
        if not file.mode & 0o004 and own.user not in (file.owner, file.group):
            yield str(places.state / "generations" / live.id / file.path)
    folders = live.file(live.folders)
    for line in folders.text.splitlines() if folders else ():
        words = shlex.split(line, comments=True)
        if words[:1] == ["d"] and not int(words[2], 8) & 0o005 and own.user not in words[3:5]:
            yield words[1]
    yield from map(str, (places.state / "fleet", places.state / "reports", *places.state.glob("*.json")))
    yield from map(str, (places.state / "generations" / live.id / "generation.json", places.state / "fingerprint.key"))
    yield from (str(places.run / name) for name in ("lock", "credentials", "identity.json"))


def _fixed(own: DeployedRelease, live: Generation, places: Places) -> Iterator[str]:
    """Where this user may make no name: what it could lay there is read by root, by daemons or by other products."""
    code = places.state / own.folder
    shared = places.state / "shared"
    for folder in (places.state, places.run, code.parent, code, code / own.document_root, shared, shared / own.product):
        yield str(folder)
    yield from (str(places.state / name) for name in ("generations", f"generations/{live.id}", "private"))
    yield from (str(path_of(attachment, places.root).parent) for attachment in live.attachments)


def _sockets(own: DeployedRelease, live: Generation) -> Iterator[str]:
    """The sockets of other products' daemons, which have their names, as proc(5) lists those that are listening."""
    names = [f"rolecall-{release.product}." for release in live.releases if release != own]
    table = (files.read(Path("/proc/net/unix")) or b"").decode(errors="replace")
    paths = {words[7] for words in map(str.split, table.splitlines()) if len(words) > 7}
    yield from sorted(path for path in paths if os.path.basename(path).startswith(tuple(names)))


def _read(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _writable(path: str) -> bool:
    return os.access(path, os.W_OK)


def _connect(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(path)
        except OSError:
            return False
        return True


def _through_apache(own: DeployedRelease, live: Generation, places: Places) -> Iterator[Attempt]:
    """Lay a link in a folder that the product writes and its web server shows, and ask for it, as a visitor would."""
    usual = next((check for check in live.checks if check.kind == "http" and check.product == own.product), None)
    public_folders = [folder for folder in own.writable if not relpath(folder, own.document_root).startswith("..")]
    if usual is None or not public_folders:
        return
    name = f"rolecall-doctor-{os.getpid()}"
    link = places.state / "shared" / own.product / public_folders[0] / name
    url = f"/{relpath(public_folders[0], own.document_root)}/{name}"
    check = Check("link", "http", url, {**usual.expect, "status": 403, "contains": None, "headers": {}})
    subject = Subject(
        Generation("", "", "", checks=(check,)), places.state, places.root, places.manager, places.redaction
    )
    for target in _shown_targets(own, live, places):
        try:
            if answer_as(own.user, partial(_lay, str(link), target)):
                (result,) = run_checks(subject, 0)
                yield Attempt(f"read {target} by a link at {url}", result.reason)
        finally:
            files.remove(link)


def _shown_targets(own: DeployedRelease, live: Generation, places: Places) -> Iterator[str]:
    """What Apache's user may read, or might."""
    for release in live.releases:
        if release != own:
            yield str(places.state / release.folder / release.document_root)
            yield from (str(places.state / "shared" / release.product / folder) for folder in release.writable)
    yield from (str(places.run), str(places.state / "current"), "/etc/passwd")


def _lay(link: str, target: str) -> bool:
    try:
        files.make_link(Path(link), target)
    except HostFault:
        return False
    return True
