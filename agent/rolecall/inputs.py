"""What a run goes by: the document, whether it may be trusted, and which generation is wanted.

Nothing is changed here but the folder of releases, where a role lets products bring templates along.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

from rolecall.assignment import Assignment
from rolecall.errors import ConfigFault, FetchFault, HostFault
from rolecall.fleet import MAX_BYTES, Fleet, parse_fleet
from rolecall.generation import Generation
from rolecall.identity import Identity
from rolecall.node import Node
from rolecall.plan import Plan
from rolecall.render import render
from rolecall.report import Report
from rolecall.role import Role
from rolecall.store import DOCUMENT

T = TypeVar("T")


@dataclass(frozen=True)
class Document:
    """The fleet document as bytes, and where it came from; `degraded` says why it is not the newest one."""

    raw: bytes
    source: str
    degraded: str = ""

    @property
    def sha256(self) -> str:
        """The digest of the bytes."""
        return hashlib.sha256(self.raw).hexdigest()


def patiently(ask: Callable[[], T], seconds: float) -> T:
    """Ask again while the answer is a FetchFault: at boot, mounts and networks may be late."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except FetchFault:
            if time.monotonic() >= deadline:
                raise
            time.sleep(min(1.0, seconds))


def fetch(node: Node, identity: Identity) -> Document:
    """The newest document; with every store out, the last verified one; then the seed of the image."""
    try:
        raw = node.store.get(DOCUMENT, MAX_BYTES)
    except FetchFault as fault:
        note, seed = node.notes.read("fleet/verified"), node.settings.paths.seed
        mine = (note.get("role"), note.get("instance")) == (node.settings.role, identity.instance)
        if mine and isinstance(note.get("raw"), str):
            why = f"no store answers ({fault.message}); going on with the document of {note['fetched']}"
            return Document(note["raw"].encode(), str(note["source"]), why)
        if seed and Path(seed).is_file():
            return Document(Path(seed).read_bytes(), f"file://{seed}", f"no store answers ({fault.message}); seed used")
        hint = "mount the store and publish the document; there is no earlier document and no seed to go on with"
        raise FetchFault(fault.message, hint) from None
    return Document(raw, f"{node.store.url}/{DOCUMENT}")


def verify(node: Node, document: Document, report: Report) -> Fleet:
    """Trust, form, fleet, serial and expiry, in that order. Raises ConfigFault."""
    trust = node.settings.trust
    if not trust.unsigned:
        raise ConfigFault(
            "this version cannot verify signatures, and agent.toml asks for signers",
            "until it can: trust.unsigned = true, said aloud in every report",
        )
    fleet = parse_fleet(document.raw, document.source)
    if trust.fleet is not None and fleet.fleet != trust.fleet:
        raise ConfigFault(
            f"{document.source} is the document of the fleet {fleet.fleet!r}, not of {trust.fleet!r}",
            "check the store's address in agent.toml",
        )
    seen = node.notes.read("fleet/verified")
    if seen and seen.get("fleet") != fleet.fleet:
        raise ConfigFault(
            f"{document.source} is the document of the fleet {fleet.fleet!r}; this node is of {seen.get('fleet')!r}",
            f"check the store's address; to move the node, remove {node.settings.state}/fleet",
        )
    if seen.get("fleet") == fleet.fleet and (older := int(seen.get("serial", 0)) - fleet.serial) >= 0:
        if older > 0:
            raise ConfigFault(
                f"{document.source} has serial {fleet.serial}, but {seen['serial']} was seen before",
                "to go back, publish the old content with a new serial",
            )
        if seen.get("sha256") != document.sha256:
            raise ConfigFault(
                f"{document.source} was changed, but its serial is still {fleet.serial}",
                "raise the serial with every change",
            )
    if fleet.expired(datetime.now(UTC)):
        if node.generations.ready() is None or seen.get("sha256") != document.sha256:
            raise ConfigFault(
                f"{document.source} has expired on {fleet.not_after:%Y-%m-%d %H:%M} UTC",
                "publish it anew; check this machine's clock",
            )
        report.warn(f"the document has expired on {fleet.not_after:%Y-%m-%d %H:%M} UTC: kept, but publish it anew")
    return fleet


def release_templates(node: Node, role: Role, assignment: Assignment, *, dry: bool) -> dict[str, dict[str, str]]:
    """The templates that products bring along, for the files that the role allows by name.

    They are in the releases, which are unpacked for it, unless `dry`: then only what is unpacked already is seen.
    """
    allowed = [file.source for file in role.table.file if file.release]
    if not allowed:
        return {}
    found = {}
    for use in render(role, assignment, node.place).releases:
        if not dry:
            node.releases.ensure(use, node.store.stream)
        found[use.product] = node.releases.templates(use, allowed)
    return found


def choose(node: Node, document: Document, plan: Plan, report: Report, *, resume: bool) -> Generation | None:
    """The rendered generation; or the one that an operator holds; or, while a failed one waits, the ready one."""
    wanted = plan.new
    report.generation = wanted.id
    report.changes = [{"action": one.action, "path": one.path, "note": one.note} for one in plan.changes]
    hold = node.notes.read("hold")
    if hold and (resume or hold.get("document") != document.sha256):
        node.notes.remove("hold")
    elif hold and (held := node.generations.load(hold.get("generation"))):
        report.warn(f"held at generation {held.id[:12]} by `rolecall rollback`, until the document changes or --resume")
        report.generation, report.changes = held.id, []
        return held
    unproven = wanted.id not in (node.generations.ready(), node.generations.current())
    if unproven and report.command != "boot" and not resume:
        failures, again = failures_of(node, wanted.id, document.sha256)
        if datetime.now(UTC) < again:
            times = "once" if failures == 1 else f"{failures} times"
            fault = HostFault(
                f"generation {wanted.id[:12]} has failed {times}; the next try is at {again:%H:%M:%S} UTC",
                "correct the document; `rolecall refresh --resume` tries at once",
            )
            report.failed(fault, "waiting")
            report.changes = []
            return node.generations.load(node.generations.ready())
    return wanted


def failures_of(node: Node, generation: str, document: str) -> tuple[int, datetime]:
    """How often a generation has failed with this document, and when it may be tried again."""
    mine = [one for one in node.reports.last(node.settings.keep.reports)
            if (one.get("generation"), one.get("document")) == (generation, document)]  # fmt: skip
    # A store that is out (75) is no fault of the generation, and waiting is no try.
    failed = [one for one in mine if one.get("exit_code") in (1, 78) and one.get("outcome") != "waiting"]
    if not failed:
        return 0, datetime.min.replace(tzinfo=UTC)
    pause = timedelta(minutes=min(2 ** (len(failed) - 1), 60))
    return len(failed), datetime.fromisoformat(failed[0]["started"]) + pause


def earlier(node: Node, wanted: str | None) -> Generation:
    """The generation that an operator means: by its id's start, or the one that was ready before. Raises HostFault."""
    current = node.generations.current()
    others = [node.generations.load(one) for one in node.generations.ids() if one != current]
    ids = [one.id for one in others if one and not one.empty]
    if wanted:
        found = [one for one in ids if one.startswith(wanted)]
    else:
        proven = [one.get("generation") for one in node.reports.last(node.settings.keep.reports)
                  if one.get("outcome") == "ready"]  # fmt: skip
        found = [one for one in proven if one in ids][:1]
    generation = node.generations.load(found[0]) if len(found) == 1 else None
    if generation is None:
        problem = (
            f"{len(found)} generations start with {wanted!r}" if wanted else "no earlier generation was ever ready"
        )
        raise HostFault(problem, f"on disk: {', '.join(one[:12] for one in ids) or 'none but the current one'}")
    return generation
