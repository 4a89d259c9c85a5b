"""Releases on disk: fetched, checked, unpacked once, shared by generations, kept as they were."""

from collections.abc import Callable, Iterable
from pathlib import Path

from rolecall.errors import ConfigFault, FetchFault, MachineFault
from rolecall.host import archive, files, integrity, manifest, selinux, space, state_files
from rolecall.host.archive_rules import USUAL
from rolecall.host.fetching import Stream, fetch
from rolecall.host.generations import owner_id
from rolecall.host.links import own_links
from rolecall.host.space import Room
from rolecall.render.contents import DeployedRelease
from rolecall.render.generation import Generation

_FREE_SPACE = "free space on that file system, or keep fewer generations; nothing was changed"
_WATCHED = 256  # paths of a release among the stamps of a refresh


class Releases:
    """The folder `releases/<product>/<sha256>/`."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.folder = state / "releases"
        self._given_up: set[Path] = set()  # damaged, and their archive cannot be had: asked for once in a run

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
        if not folder.is_dir() or folder in self._given_up:
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
            self._given_up.add(folder)
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

    def shortage(self, releases: Iterable[DeployedRelease], kept: Iterable[Generation] = ()) -> str:
        """In words, what the disk lacks for those that are not unpacked yet; '' where there is enough.

        Each unpacks to its archive's size at least, and one archive lies beside them. With `kept`, as a plan sees it:
        what a run removes before is free, and a release has as many files as the product's last one.
        """
        missing = [release for release in releases if not (self.state / release.folder).is_dir()]
        if not missing:
            return ""
        kept = list(kept)
        products = {release.product for release in missing}
        candidates = [release for generation in kept for release in generation.releases if release.product in products]
        unpacked = [release for release in candidates if release not in missing]
        last = {release.product: space.taken([self.state / release.folder]).inodes for release in unpacked}
        inodes = [last.get(release.product) or 1 for release in missing]
        sizes = [release.size for release in missing]
        needed = Room(sum(sizes) + max(sizes), sum(inodes) + 1)
        names = ", ".join(f"{release.product} {release.version}" for release in missing)
        free = space.free(self.folder) + space.taken(self._unused(kept) if kept else ())
        return space.shortage(self.folder, f"the releases {names}", needed, free)

    def require_space(self, releases: Iterable[DeployedRelease]) -> None:
        """Raise MachineFault before anything is fetched that the disk has no room for."""
        if words := self.shortage(releases):
            raise MachineFault(words, _FREE_SPACE)

    def _require_inodes(self, release: DeployedRelease, archive_file: Path) -> None:
        """Raise MachineFault before an archive is unpacked that has more in it than the disk has inodes for."""
        free = space.free(self.folder)
        if free.inodes < USUAL.entries:  # else there are enough for any
            needed = Room(0, archive.count(archive_file, release.artifact, skip=release.writable))
            subject = f"the files of {release.product} {release.version}"
            if words := space.shortage(self.folder, subject, needed, free):
                raise MachineFault(words, _FREE_SPACE)

    def _unpack(self, release: DeployedRelease, stream: Stream, tell: Callable[[], None] = lambda: None) -> None:
        final = self.state / release.folder
        files.make_folders(final.parent)
        fetched, unpacked = final.parent / f".fetch-{final.name}", final.parent / f".unpack-{final.name}"
        files.remove(fetched)
        files.remove_tree(unpacked)
        try:
            fetch(release, stream, fetched)
            self._require_inodes(release, fetched)
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
        for path in self._unused(generations):
            _discard(path)
        for product in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            if not product.is_dir() or not any(product.iterdir()):
                _discard(product)

    def _unused(self, generations: Iterable[Generation]) -> list[Path]:
        used = {self.state / release.folder for generation in generations for release in generation.releases}
        products = [path for path in self.folder.iterdir() if path.is_dir()] if self.folder.is_dir() else []
        paths = [path for product in products for path in product.iterdir()]
        return sorted(path for path in paths if path.parent / path.name.partition(".")[0] not in used)


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


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        files.discard(path)
    else:
        files.remove(path)
