"""Generations on disk, and the two links.

A folder with a manifest that can be read is a complete generation. One without is none, but daemons may be reading it:
it stays where it is, and is completed in its place.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from rolecall.errors import HostFault
from rolecall.host import files, selinux, state_files
from rolecall.host.new_tree import NewTree
from rolecall.render.generation import Generation, ManagedFile, from_json, sealed

MANIFEST = "generation.json"
MOST = 64 * 1024 * 1024  # bytes of a manifest


class Generations:
    """The folder `generations/` and the links `current` and `ready` beside it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.folder = state / "generations"
        self._read: dict[str, tuple[object, Generation]] = {}

    def current(self) -> str | None:
        """The id that daemons read, if its folder is there."""
        return self._linked("current")

    def ready(self) -> str | None:
        """The id that last passed its self-tests."""
        return self._linked("ready")

    def _linked(self, name: str) -> str | None:
        target = files.read_link(self.state / name)
        generation = target.rpartition("/")[2] if target else ""
        return generation if generation and (self.folder / generation).is_dir() else None

    def ids(self) -> list[str]:
        """The names of all folders of generations, the newest first."""
        try:
            entries = [
                entry
                for entry in os.scandir(self.folder)
                if entry.name[0] != "." and entry.is_dir(follow_symlinks=False)
            ]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [entry.name for entry in sorted(entries, key=lambda entry: entry.stat().st_mtime_ns, reverse=True)]

    def manifest(self, generation: str) -> Path:
        """Where a generation's manifest stands."""
        return self.folder / generation / MANIFEST

    def load(self, generation: str | None) -> Generation | None:
        """A generation by its id, or None: without a manifest that can be read, a folder is no generation."""
        try:
            return self.read(generation) if generation else None
        except ValueError:
            return None

    def read(self, generation: str) -> Generation | None:
        """A generation, or None where there is no manifest. Raises ValueError, which says why it cannot be read.

        A manifest is parsed once, as long as nobody writes it: that of a monitor of 10,000 servers is large.
        """
        path = self.manifest(generation)
        stamp = state_files.stamp(path)
        if generation in self._read and self._read[generation][0] == stamp:
            return self._read[generation][1]
        raw = state_files.read(path, MOST)
        if raw is None:
            return None
        loaded = from_json(raw)
        if loaded.id != generation:
            raise ValueError(f"it is the manifest of {loaded.id!r}")
        self._read[generation] = (stamp, loaded)
        return loaded

    def ensure_current(self) -> Generation:
        """What `current` points to; a node that has nothing yet gets the empty generation, so that there is a place.

        Of a folder whose manifest cannot be read nothing is known but its id.
        """
        files.make_folders(self.folder)
        if current := self.current():
            return self.load(current) or Generation("", "", "", id=current)
        generation = self.load(self.ready()) or sealed(Generation("", "", ""))
        self.stage(generation, {})
        self.commit(generation.id)
        return generation

    def stage(self, generation: Generation, values: Mapping[str, str]) -> None:
        """Write a generation beside the others. Nothing reads it yet; a failure leaves a dot folder at most."""
        if self.load(generation.id):
            self._remove_unstaged(generation)
            return
        final = self.folder / generation.id
        if final.is_dir() and not final.is_symlink():
            self._complete(generation, values)
            return
        new = self.folder / f".stage-{generation.id}"
        files.remove_tree(new)
        files.make_folders(self.folder)
        files.make_folder(new)
        with NewTree(new) as tree:
            for file in generation.staged_files:
                text, owner = generation.text_of(file, values), (owner_id(file.owner), group_id(file.group))
                tree.file(file.path, (text.encode("utf-8"),), file.mode, owner)
            tree.file(MANIFEST, (generation.to_json().encode(),), 0o600)
        selinux.relabel(new)
        files.sync_all(new)
        if final.is_symlink() or final.exists():
            files.remove(final)
        files.rename(new, final)

    def _complete(self, generation: Generation, values: Mapping[str, str]) -> None:
        """Make a folder whole that has no manifest to be read, each file in one rename, the manifest last."""
        self.repair(generation, values, self.damage(generation, values))
        files.sync_all(self.folder / generation.id)
        manifest = self.manifest(generation.id)
        if manifest.is_dir() and not manifest.is_symlink():
            files.remove_tree(manifest)
        files.replace(manifest, generation.to_json().encode(), 0o600)
        selinux.relabel(manifest)

    def damage(self, generation: Generation, values: Mapping[str, str]) -> list[str]:
        """The files that are not as they were staged, byte by byte, with mode and owner; and files too many."""
        folder = self.folder / generation.id
        wrong = [
            file.path
            for file in generation.staged_files
            if not _as_staged(folder / file.path, file, generation.text_of(file, values))
        ]
        expected = {file.path for file in generation.staged_files} | {MANIFEST}
        for base, _, names in os.walk(folder):
            paths = (os.path.relpath(os.path.join(base, name), folder) for name in names)
            wrong.extend(path for path in paths if path not in expected)
        return sorted(wrong)

    def repair(self, generation: Generation, values: Mapping[str, str], paths: list[str]) -> None:
        """Put single files back as they were staged, each in one rename."""
        folder = self.folder / generation.id
        for path in paths:
            file = generation.file(path)
            if file is None or path in generation.unstaged:
                files.remove(folder / path)
                continue
            files.make_folders((folder / path).parent)
            if (folder / path).is_dir() and not (folder / path).is_symlink():
                files.remove_tree(folder / path)
            files.replace(
                folder / path,
                generation.text_of(file, values).encode("utf-8"),
                file.mode,
                owner_id(file.owner),
                group_id(file.group),
            )
        selinux.relabel(folder)

    def commit(self, generation: str) -> None:
        """The switch: one rename of the link `current`. Daemons read through it only once they are told."""
        files.point(self.state / "current", f"generations/{generation}")
        selinux.relabel(self.state / "current")

    def prove(self, generation: str) -> None:
        """This generation passed its self-tests."""
        files.point(self.state / "ready", f"generations/{generation}")
        selinux.relabel(self.state / "ready")

    def prune(self, keep: int, recent: Sequence[str] = ()) -> list[Generation]:
        """Remove old generations and what is none, never current or ready; returns those that stay.

        `recent`: those that were live, the last one first: the times of folders go by the clock, which may jump.
        """
        needed = {self.current(), self.ready()}
        ids = [generation for generation in self.ids() if generation in needed or self.load(generation)]
        ids.sort(key=lambda generation: recent.index(generation) if generation in recent else len(recent))
        staying = [generation for generation in ids if generation in needed]
        staying += [generation for generation in ids if generation not in needed][: max(0, keep - len(staying))]
        for entry in sorted(os.scandir(self.folder), key=lambda entry: entry.name):
            if entry.name not in staying:
                files.discard(Path(entry.path))
        generations = [generation for generation in map(self.load, staying) if generation]
        for generation in generations:
            self._remove_unstaged(generation)
        return generations

    def _remove_unstaged(self, generation: Generation) -> None:
        """Earlier versions of the agent wrote these files too."""
        for path in generation.unstaged:
            files.remove(self.folder / generation.id / path)


def owner_id(name: str) -> int:
    """A user's number; "" means: whoever runs the agent. Raises HostFault."""
    import pwd

    try:
        return pwd.getpwnam(name).pw_uid if name else -1
    except KeyError:
        raise HostFault(f"there is no user {name!r}", "the role's sysusers file should have created it") from None


def group_id(name: str) -> int:
    """A group's number; "" means: that of whoever runs the agent. Raises HostFault."""
    import grp

    try:
        return grp.getgrnam(name).gr_gid if name else -1
    except KeyError:
        raise HostFault(f"there is no group {name!r}", "the role's sysusers file should have created it") from None


def _as_staged(path: Path, file: ManagedFile, text: str) -> bool:
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) != file.mode:
            return False
        if file.owner and (status.st_uid, status.st_gid) != (owner_id(file.owner), group_id(file.group)):
            return False
        return path.read_bytes() == text.encode("utf-8")
    except OSError:
        return False
