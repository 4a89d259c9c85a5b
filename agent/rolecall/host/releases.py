"""Releases on disk: fetched, checked, unpacked once, shared by generations, kept as they were."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from rolecall.causes import HINTS
from rolecall.errors import ConfigFault, FetchFault, MachineFault
from rolecall.host import archive, files, integrity, manifest, selinux, state_files
from rolecall.host.generations import owner_id
from rolecall.host.links import own_links
from rolecall.render.contents import DeployedRelease
from rolecall.render.generation import Generation

_WATCHED = 256  # paths of a release among the stamps of a refresh
Stream = Callable[[str], Iterator[bytes]]


class Releases:
    """The folder `releases/<product>/<sha256>/`."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.folder = state / "releases"

    def ensure(self, release: DeployedRelease, stream: Stream) -> bool:
        """Have a release unpacked. Returns False if it was there already; then it may be damaged, see `keep_whole`.

        Raises ConfigFault for an archive that is not what the document says, or that breaks the rules of unpacking;
        FetchFault and HostFault pass through. Whatever fails, only dot files are left, and the next run removes them.
        """
        fresh = not (self.state / release.folder).is_dir()
        if fresh:
            self._unpack(release, stream)
        if not self._has_document_root(release) and (fresh or integrity.damage(self.state / release.folder) == []):
            raise ConfigFault(
                f"the release {release.version} of {release.product} has no folder {release.document_root!r}",
                f"pack one, or set products.{release.product}.document_root to the folder that it has",
            )
        return fresh

    def _has_document_root(self, release: DeployedRelease) -> bool:
        return (self.state / release.folder / release.document_root).is_dir()

    def keep_whole(self, release: DeployedRelease, stream: Stream, tell: Callable[[], None]) -> str:
        """Unpack what is damaged anew, and put that in its place in one step; returns a note of what was done.

        `tell` is called right before that. A release without a manifest, which a version before this one has left, is
        taken as it lies there. Raises what `ensure` does.
        """
        folder, name = self.state / release.folder, f"release {release.product} {release.version}"
        if not folder.is_dir():
            return ""
        damage = integrity.damage(folder)
        if damage is None and self._has_document_root(release):
            integrity.adopt(folder)
            return f"{name} had no manifest: from now on it is compared with what it is now"
        if damage is None:  # no more is known of it than that it needs this
            damage = [release.document_root]
        if not damage:
            return ""
        try:
            self._unpack(release, stream, tell)
        except FetchFault as fault:
            message = f"{name} is damaged ({integrity.shown(damage)}), and {fault.message}"
            raise FetchFault(message, fault.hint, fault.cause) from fault
        return f"repaired {name}: {integrity.shown(damage)}"

    def watched_paths(self, release: DeployedRelease) -> list[str]:
        """The folder, the document root and what lies in it, then all other folders from the top; 256 at most.

        No links: of these a stamp also has what they lead to, which the product may write.
        """
        folder = self.state / release.folder
        root = folder / release.document_root
        with files.naming(folder, "read"):
            paths = [folder, root, *sorted(root.iterdir()), *_folders(folder)]
            return [str(path) for path in dict.fromkeys(paths) if not path.is_symlink()][:_WATCHED]

    def shortage(self, releases: Iterable[DeployedRelease]) -> str:
        """In words, what the disk lacks for those that are not unpacked yet: each unpacks to its archive's size at
        least, and one archive lies beside them. '' where there is enough."""
        missing = [release for release in releases if not (self.state / release.folder).is_dir()]
        sizes = [release.size for release in missing]
        with files.naming(self.folder, "look at"):
            status = os.statvfs(next(path for path in (self.folder, *self.folder.parents) if path.is_dir()))
        free, needed = status.f_bavail * status.f_frsize, sum(sizes) + max(sizes, default=0)
        if needed <= free:
            return ""
        names = ", ".join(f"{release.product} {release.version}" for release in missing)
        return (
            f"{self.folder} has {_mib(free)} MiB left, and the releases {names} need {_mib(needed)} MiB at least: "
            f"{_mib(needed - free)} MiB are missing"
        )

    def require_space(self, releases: Iterable[DeployedRelease]) -> None:
        """Raise MachineFault before anything is fetched that the disk has no room for."""
        if words := self.shortage(releases):
            raise MachineFault(words, "free space on that file system, or keep fewer generations; nothing was changed")

    def _unpack(self, release: DeployedRelease, stream: Stream, tell: Callable[[], None] = lambda: None) -> None:
        final = self.state / release.folder
        files.make_folders(final.parent)
        fetched, unpacked = final.parent / f".fetch-{final.name}", final.parent / f".unpack-{final.name}"
        files.remove(fetched)
        files.remove_tree(unpacked)
        try:
            self._fetch(release, stream, fetched)
            digests = archive.unpack(fetched, unpacked, release.artifact, skip=release.writable)
            self._lay_writable(release, unpacked)
            selinux.relabel(unpacked)
            files.remove(fetched)
            if final.is_dir():  # what takes its place serves at once
                self._own_links(release, unpacked)
            integrity.write_manifest(final, manifest.read_tree(unpacked, digests))
            files.sync_all(unpacked)
            tell()
            _put_in_place(unpacked, final)
            integrity.note_compared(final, manifest.stamp(final))
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
        self._own_links(release, self.state / release.folder)

    def _own_links(self, release: DeployedRelease, folder: Path) -> None:
        if release.user:
            own_links(folder, release.writable, owner_id(release.user))

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
                if product / path.name.partition(".")[0] not in used:
                    _discard(path)
            if not product.is_dir() or not any(product.iterdir()):
                _discard(product)


def _put_in_place(new: Path, final: Path) -> None:
    """Rename the new folder; a damaged one changes places with it, for its caller to remove."""
    if final.is_dir() and not final.is_symlink():
        files.exchange(new, final)
        return
    if final.is_symlink() or final.exists():
        files.remove(final)
    files.rename(new, final)


def _folders(top: Path) -> list[Path]:
    """Folders below one, from the top, as many as a refresh looks at."""
    folders = [top]
    for folder in folders:  # grows as it goes
        if len(folders) <= _WATCHED:
            folders += [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.is_symlink()]
    return folders[1:]


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f}"


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
