"""A new tree of files, made as a whole: no step in it follows a link, and nothing in it is synced by itself."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from rolecall.host.files import FOLDER, NEW, OURS, Owner, naming, write_new


class NewTree:
    """A folder that is being filled. Names are relative to it; folders that a name implies are made, 0755.

    The caller checks the names: no part of one may be '..'. `files.sync_all` makes the tree durable.
    """

    def __init__(self, top: Path) -> None:
        self.top = top
        with naming(top, "open"):
            self._top = os.open(top, FOLDER)
        self._name, self._fd = "", os.dup(self._top)  # the folder opened last: mostly, the next file lies there too

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        os.close(self._top)

    def folder(self, name: str) -> None:
        """Make a folder; it may be there already, but no link may."""
        with naming(f"{self.top}/{name}", "make"):
            self._open(name)

    def file(
        self, name: str, pieces: Iterable[bytes], mode: int, owner: Owner = OURS, mtime: int | None = None
    ) -> None:
        """Create a file. Mode and owner are final before its first byte; `mtime` is its time of change in seconds."""
        with naming(f"{self.top}/{name}", "write"):
            above, _, last = name.rpartition("/")
            fd = os.open(last, NEW, mode & 0o700, dir_fd=self._open(above))
            write_new(fd, pieces, mode, owner, mtime, sync=False)

    def link(self, name: str, target: str) -> None:
        """symlink(2); the link must not exist."""
        with naming(f"{self.top}/{name}", "link"):
            above, _, last = name.rpartition("/")
            os.symlink(target, last, dir_fd=self._open(above))

    def _open(self, name: str) -> int:
        """A descriptor of a folder, which stays open until another folder is asked for."""
        if name != self._name:
            if not name.startswith(f"{self._name}/"):
                self._move_to(os.dup(self._top), "")
            for part in filter(None, name[len(self._name) :].split("/")):
                self._move_to(_open_or_make(part, self._fd), f"{self._name}/{part}".lstrip("/"))
        return self._fd

    def _move_to(self, fd: int, name: str) -> None:
        os.close(self._fd)
        self._fd, self._name = fd, name


def _open_or_make(name: str, parent: int) -> int:
    try:
        return os.open(name, FOLDER, dir_fd=parent)
    except FileNotFoundError:
        os.mkdir(name, 0o755, dir_fd=parent)
        fd = os.open(name, FOLDER, dir_fd=parent)
        os.fchmod(fd, 0o755)
        return fd
