"""May this document be believed? Size, signature, form, fleet, serial, expiry, then all the rest, in that order."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import rolecall
from rolecall.causes import skewed
from rolecall.errors import ConfigFault
from rolecall.fleet.identity import Identity
from rolecall.fleet.schema import Fleet, Header, parse_fleet, parse_header
from rolecall.node.node import Node
from rolecall.node.owner import own_verified
from rolecall.node.verified import Verified
from rolecall.report import Report
from rolecall.trust import signatures
from rolecall.trust.envelope import NAMESPACE
from rolecall.trust.signatures import Signer

UNSIGNED = Signer("nobody in particular", "unsigned")


@dataclass(frozen=True)
class Document:
    """A document as it was read, and where; `degraded` says why it is not the newest one."""

    raw: bytes  # as the store has it: an envelope, or the payload itself
    source: str
    payload: bytes
    signature: str = ""
    store: str = ""  # the URL of the store that it came from
    etag: str = ""
    date: datetime | None = None  # the store's own time
    degraded: str = ""
    revalidation: str | None = None  # the request that asks whether it has changed: '' its stamp does, None not cheaply

    @property
    def sha256(self) -> str:
        """The digest of what was signed."""
        return hashlib.sha256(self.payload).hexdigest()


def verify(node: Node, document: Document, report: Report, identity: Identity | None = None) -> tuple[Fleet, Signer]:
    """What the document says, and who says so. Raises ConfigFault with the cause; nothing is remembered here.

    `identity`: who this machine is, where that is known better than from an earlier run.
    """
    now = clock(document)
    earlier = own_verified(node, identity)
    signer = _signer(node, document, now)
    header = parse_header(document.payload, document.source)
    _same_fleet(node, document, header, earlier)
    _not_older(node, document, header, earlier)
    if header.not_after < now:
        _expired(node, document, header, earlier, report)
    fleet = parse_fleet(document.payload, document.source)
    _not_older_epochs(node, document, fleet, earlier)
    return fleet, signer


def clock(document: Document) -> datetime:
    """The latest time that this machine, the store or the image tells: a clock that stands still hides no expiry."""
    built = datetime.fromtimestamp(Path(rolecall.__file__).stat().st_mtime, UTC)
    return max(datetime.now(UTC), built, document.date or built)


def _signer(node: Node, document: Document, now: datetime) -> Signer:
    trust = node.settings.trust
    if trust.signers is None:
        return UNSIGNED
    if not document.signature:
        raise ConfigFault(
            f"{document.source} is not signed, and this image accepts signed documents only",
            "publish it with `rolecall fleet publish --key`",
            "signature",
        )
    try:
        return signatures.signer_of(
            document.payload,
            document.signature,
            signers=trust.signers,
            revoked=trust.revoked,
            namespace=NAMESPACE,
            when=now,
        )
    except ConfigFault as fault:
        raise ConfigFault(f"{document.source}: {fault.message}", fault.hint, fault.cause) from None


def _same_fleet(node: Node, document: Document, header: Header, earlier: Verified) -> None:
    trust, claim = node.settings.trust, f"{document.source} is the document of the fleet {header.fleet!r}"
    if trust.fleet is not None and header.fleet != trust.fleet:
        raise ConfigFault(f"{claim}, not of {trust.fleet!r}", "check the store's address in agent.toml", "other-fleet")
    if earlier.fleet not in ("", header.fleet):
        raise ConfigFault(
            f"{claim}; this node is of {earlier.fleet!r}",
            f"check the store's address; to move the node, remove {node.settings.state}/fleet",
            "other-fleet",
        )


def _not_older(node: Node, document: Document, header: Header, earlier: Verified) -> None:
    """No serial below the highest of any key that is still believed: a leaked key's cannot outlive the key."""
    believed = _believed(node, document)
    highest = max((serial for key, serial in earlier.serials.items() if key in believed), default=0)
    if header.serial < highest:
        raise ConfigFault(
            f"{document.source} has serial {header.serial}, but {highest} was seen before",
            "bring a store that is behind up to date; to go back, publish the old content with a new serial",
            "old-serial",
        )
    if header.serial == highest and earlier.sha256 != document.sha256:
        raise ConfigFault(
            f"{document.source} was changed, but its serial is still {header.serial}",
            "raise the serial with every change: `rolecall fleet publish` does",
            "old-serial",
        )


def _not_older_epochs(node: Node, document: Document, fleet: Fleet, earlier: Verified) -> None:
    """A new master comes with a higher epoch: a document made from an old copy must not bring the old one back."""
    believed, mistakes = _believed(node, document), []
    for name, database in fleet.databases.items():
        claims = [masters[name] for key, masters in earlier.masters.items() if key in believed and name in masters]
        epoch, master = max(claims, default=(0, database.master))
        if database.epoch < epoch:
            mistakes.append(f"databases.{name}.epoch is {database.epoch}, but {epoch} was seen before")
        elif database.epoch == epoch and database.master != master:
            mistakes.append(f"databases.{name}.master is {database.master}, but in epoch {epoch} it is {master}")
    if mistakes:
        raise ConfigFault(
            f"{document.source}: {'; '.join(mistakes)}",
            "start from the published document; raise the epoch with every change of a master",
            "old-epoch",
        )


def _believed(node: Node, document: Document) -> Collection[str]:
    """The keys that are believed now."""
    trust = node.settings.trust
    return signatures.trusted(trust.signers, trust.revoked, clock(document)) if trust.signers else {UNSIGNED.key}


def _expired(node: Node, document: Document, header: Header, earlier: Verified, report: Report) -> None:
    """A running node keeps what it has; a new one, or one that sees it for the first time, refuses it."""
    when = f"{header.not_after:%Y-%m-%d %H:%M %Z}"
    if node.generations.ready() is None or earlier.sha256 != document.sha256:
        words = f"{document.source} expired on {when}"
        if document.date and document.date <= header.not_after:
            words += f"; or {skewed('tell', document.date).message.partition(': ')[2]}"
        raise ConfigFault(words, "publish it again; check this machine's clock", "expired")
    report.warn(f"the document expired on {when}: it is kept, but publish it again")
