"""The archive of a release, downloaded and compared with what the document says of it."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from rolecall.causes import HINTS
from rolecall.errors import ConfigFault, FetchFault
from rolecall.host import files
from rolecall.render.contents import DeployedRelease

Stream = Callable[[str], Iterator[bytes]]


def fetch(release: DeployedRelease, stream: Stream, target: Path) -> None:
    """Download an archive. One that is not what the document says is fetched once more, whole: the way may be at
    fault, or it is being replaced. Raises ConfigFault where both are the same, FetchFault where they differ."""
    first = _first_download(release, stream, target)
    if first == (release.size, release.sha256):
        return
    files.remove(target)
    second = _download(release, stream(release.artifact), target)
    if second == (release.size, release.sha256):
        return
    if first != second:
        raise FetchFault(
            f"cannot read {release.artifact}: it was downloaded twice, and was another one each time",
            HINTS["broken-answer"],
            "broken-answer",
        )
    _refuse(release, *second)


def _first_download(release: DeployedRelease, stream: Stream, target: Path) -> tuple[int, str] | None:
    """What a download has brought; None if the archive was replaced meanwhile."""
    try:
        return _download(release, stream(release.artifact), target)
    except FetchFault as fault:
        if fault.cause != "conflict":
            raise
        return None


def _download(release: DeployedRelease, pieces: Iterator[bytes], target: Path) -> tuple[int, str]:
    """Write an archive's bytes; returns how many there are, and their SHA-256. It ends once there are too many."""
    digest, size = hashlib.sha256(), 0

    def counted() -> Iterator[bytes]:
        nonlocal size
        for piece in pieces:
            size += len(piece)
            digest.update(piece)
            if size > release.size:
                break
            yield piece

    try:
        files.create_passing(target, counted(), 0o600)
    except FetchFault as fault:
        remedy = f"put the archive there, or name another release in products.{release.product}.release of the document"
        fault.hint = remedy if fault.cause == "no-key" else fault.hint
        raise
    return size, digest.hexdigest()


def _refuse(release: DeployedRelease, size: int, digest: str) -> NoReturn:
    """Say what an archive has that the document does not. Raises ConfigFault."""
    if size != release.size:
        difference = "more than" if size > release.size else f"{size} bytes, not"
        raise ConfigFault(
            f"{release.artifact} has {difference} the {release.size} bytes that the document says",
            "publish the archive again, or correct size and sha256 in the document",
        )
    raise ConfigFault(
        f"{release.artifact} has the SHA-256 {digest}, the document says {release.sha256}",
        "the archive was changed after the document was written, or the wrong one was uploaded",
    )
