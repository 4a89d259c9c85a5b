"""Releases on disk: fetched, checked, unpacked once, shared by generations, never written again."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from rolecall.causes import HINTS
from rolecall.errors import ConfigFault, FetchFault
from rolecall.host import archive, files, selinux, state_files
from rolecall.host.generations import owner_id
from rolecall.host.links import own_links
from rolecall.render.contents import DeployedRelease
from rolecall.render.generation import Generation


class Releases:
    """The folder `releases/<product>/<sha256>/`."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.folder = state / "releases"

    def ensure(self, release: DeployedRelease, stream: Callable[[str], Iterator[bytes]]) -> bool:
        """Have a release unpacked. Returns False if it was there already.

        Raises ConfigFault for an archive that is not what the document says, or that breaks the rules of unpacking;
        FetchFault and HostFault pass through. Whatever fails, only dot files are left, and the next run removes them.
        """
        fresh = not (self.state / release.folder).is_dir()
        if fresh:
            self._unpack(release, stream)
        if not (self.state / release.folder / release.document_root).is_dir():
            raise ConfigFault(
                f"the release {release.version} of {release.product} has no folder {release.document_root!r}",
                f"pack one, or set products.{release.product}.document_root to the folder that it has",
            )
        return fresh

    def _unpack(self, release: DeployedRelease, stream: Callable[[str], Iterator[bytes]]) -> None:
        final = self.state / release.folder
        files.make_folders(final.parent)
        fetched, unpacked = final.parent / f".fetch-{final.name}", final.parent / f".unpack-{final.name}"
        files.remove(fetched)
        files.remove_tree(unpacked)
        try:
            self._fetch(release, stream, fetched)
            archive.unpack(fetched, unpacked, release.artifact, skip=release.writable)
            self._lay_writable(release, unpacked)
            selinux.relabel(unpacked)
            files.remove(fetched)
            files.sync_all(unpacked)
            if final.is_symlink() or final.exists():
                files.remove(final)
            files.rename(unpacked, final)
        finally:
            files.remove(fetched)
            files.remove_tree(unpacked)

    def _fetch(self, release: DeployedRelease, stream: Callable[[str], Iterator[bytes]], target: Path) -> None:
        """Download an archive. One that is not what the document says is fetched once more, whole: the way may be at
        fault. Raises ConfigFault where both are the same, FetchFault where they differ."""
        first = _download(release, stream(release.artifact), target)
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

    def _lay_writable(self, release: DeployedRelease, unpacked: Path) -> None:
        """Links from the release's writable folders to those that outlive releases."""
        for folder in release.writable:
            link = unpacked / folder
            files.make_folders(link.parent)
            files.make_link(link, str(self.state / "shared" / release.product / folder))

    def own_links(self, release: DeployedRelease) -> None:
        """Give the links that lead into what the product writes to its user, who has an account by now."""
        if release.user:
            own_links(self.state / release.folder, release.writable, owner_id(release.user))

    def templates(self, release: DeployedRelease, names: Iterable[str]) -> dict[str, str]:
        """The templates of an unpacked release that the role allows by name."""
        texts = {}
        for name in names:
            text = state_files.read_below(self.state / release.folder, name)
            if text is not None:
                try:
                    texts[name] = text.decode()
                except UnicodeDecodeError as error:
                    raise ConfigFault(f"{release.product}: cannot read the release's {name}: {error}") from None
        return texts

    def prune(self, generations: Iterable[Generation]) -> None:
        """Remove every release that none of these generations uses, and what an interrupted run left behind."""
        used = {self.state / release.folder for generation in generations for release in generation.releases}
        if not self.folder.is_dir():
            return
        for product in sorted(self.folder.iterdir()):
            for path in sorted(product.iterdir()) if product.is_dir() else ():
                if path not in used:
                    _discard(path)
            if not product.is_dir() or not any(product.iterdir()):
                _discard(product)


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

    files.create_passing(target, counted(), 0o600)
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


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        files.discard(path)
    else:
        files.remove(path)
