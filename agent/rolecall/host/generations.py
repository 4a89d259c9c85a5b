"""Generations on disk, and the two links. A folder of a generation is complete from the moment it has its name."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from rolecall.errors import HostFault
from rolecall.host import files, selinux
from rolecall.render.generation import Generation, ManagedFile, from_json, sealed

MANIFEST = "generation.json"


class Generations:
    """The folder `generations/` and the links `current` and `ready` beside it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.folder = state / "generations"

    def current(self) -> str | None:
        """The id that daemons read, if there is one and it is there."""
        return self._linked("current")

    def ready(self) -> str | None:
        """The id that last passed its self-tests."""
        return self._linked("ready")

    def _linked(self, name: str) -> str | None:
        target = files.read_link(self.state / name)
        generation = target.rpartition("/")[2] if target else ""
        return generation if generation and (self.folder / generation / MANIFEST).is_file() else None

    def ids(self) -> list[str]:
        """All complete generations, the newest first."""
        try:
            entries = [one for one in os.scandir(self.folder) if not one.name.startswith(".") and one.is_dir()]
        except FileNotFoundError:
            return []
        return [one.name for one in sorted(entries, key=lambda one: one.stat().st_mtime_ns, reverse=True)]

    def load(self, generation: str | None) -> Generation | None:
        """A generation by its id, or None. Raises HostFault for one whose manifest cannot be read."""
        raw = files.read(self.folder / generation / MANIFEST) if generation else None
        if raw is None:
            return None
        try:
            return from_json(raw.decode("utf-8"))
        except (ValueError, KeyError, TypeError) as error:
            raise HostFault(
                f"{self.folder / str(generation) / MANIFEST} is damaged: {error}",
                "remove that generation's folder; the next run stages it anew",
            ) from None

    def ensure_current(self) -> Generation:
        """What `current` points to; a node that has nothing yet gets the empty generation, so that there is a place."""
        files.make_folders(self.folder)
        current = self.load(self.current())
        if current is None:
            current = self.load(self.ready()) or sealed(Generation("", "", ""))
            self.stage(current, {})
            self.commit(current.id)
        return current

    def stage(self, generation: Generation, values: Mapping[str, str]) -> None:
        """Write a generation beside the others. Nothing reads it yet; a failure leaves a dot folder at most."""
        final = self.folder / generation.id
        if (final / MANIFEST).is_file():
            return
        new = self.folder / f".stage-{generation.id}"
        files.remove_tree(new)
        files.make_folders(self.folder)
        files.make_folder(new)
        for file in generation.files:
            target = new / file.path
            files.make_folders(target.parent)
            self._write(target, file, generation, values)
        files.create(new / MANIFEST, generation.to_json().encode(), 0o600)
        selinux.restore(new)
        files.sync_tree(new)
        if final.exists():
            files.discard(final)  # it lacks its manifest, so it is no generation, and rename(2) would not replace it
        files.rename(new, final)

    def _write(self, target: Path, file: ManagedFile, generation: Generation, values: Mapping[str, str]) -> None:
        text = generation.text_of(file, values)
        files.create(target, text.encode("utf-8"), file.mode, owner_id(file.owner), group_id(file.group))

    def damage(self, generation: Generation, values: Mapping[str, str]) -> list[str]:
        """The files that are not as they were staged, byte by byte, with mode and owner; and files too many."""
        folder = self.folder / generation.id
        wrong = [
            file.path
            for file in generation.files
            if not _as_staged(folder / file.path, file, generation.text_of(file, values))
        ]
        expected = {file.path for file in generation.files} | {MANIFEST}
        for base, _, names in os.walk(folder):
            found = (os.path.relpath(os.path.join(base, name), folder) for name in names)
            wrong.extend(name for name in found if name not in expected)
        return sorted(wrong)

    def repair(self, generation: Generation, values: Mapping[str, str], paths: list[str]) -> None:
        """Put single files back as they were staged, each in one rename."""
        folder = self.folder / generation.id
        for path in paths:
            file = generation.file(path)
            if file is None:
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
        selinux.restore(folder)

    def commit(self, generation: str) -> None:
        """The switch: one rename of the link `current`. Daemons read through it only once they are told."""
        files.point(self.state / "current", f"generations/{generation}")
        selinux.restore(self.state / "current")

    def prove(self, generation: str) -> None:
        """This generation passed its self-tests."""
        files.point(self.state / "ready", f"generations/{generation}")
        selinux.restore(self.state / "ready")

    def prune(self, keep: int) -> list[Generation]:
        """Remove old generations and left-over dot folders, never current or ready; returns those that stay."""
        needed = {self.current(), self.ready()}
        ids = self.ids()
        kept = [one for one in ids if one in needed]
        kept += [one for one in ids if one not in needed][: max(0, keep - len(kept))]
        for entry in sorted(os.scandir(self.folder), key=lambda one: one.name):
            if entry.name not in kept:
                files.discard(Path(entry.path))
        return [loaded for loaded in map(self.load, kept) if loaded]


def owner_id(name: str) -> int:
    """A user's number; "" means: whoever runs the agent. Raises HostFault."""
    import pwd

    try:
        return pwd.getpwnam(name).pw_uid if name else -1
    except KeyError:
        raise HostFault(f"there is no user {name!r}", "the role's sysusers file should have made it") from None


def group_id(name: str) -> int:
    """A group's number; "" means: that of whoever runs the agent. Raises HostFault."""
    import grp

    try:
        return grp.getgrnam(name).gr_gid if name else -1
    except KeyError:
        raise HostFault(f"there is no group {name!r}", "the role's sysusers file should have made it") from None


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
