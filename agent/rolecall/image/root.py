"""The root folder of an image, or of a machine, and what is wrong with it."""

import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rolecall.host import files
from rolecall.settings import Settings

_MOST_LINKS = 20  # that are followed one after the other


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, and what to do about it.

    `paths` are as the image's machines would see them. `fix` does what the remedy says; None: a person has to decide.
    """

    name: str
    what: str
    remedy: str
    paths: tuple[str, ...] = ()
    fix: Callable[[], object] | None = None

    def data(self) -> dict[str, Any]:
        """As JSON: `fix` is whether `--fix` would do it."""
        return {
            "name": self.name,
            "what": self.what,
            "remedy": self.remedy,
            "paths": list(self.paths),
            "fix": self.fix is not None,
        }


@dataclass(frozen=True)
class Image:
    """A root folder with a machine's files in it, and its settings, if they are good."""

    root: Path
    settings: Settings | None = None

    @property
    def flag(self) -> str:
        """The option by which `rolecall image check`, and systemctl, are told which root is meant."""
        return "" if self.root == Path("/") else f" --root={self.root}"

    def locate(self, path: str) -> Path:
        """Where a path of the image lies on the machine that looks at it."""
        return self.root / path.lstrip("/")

    def name(self, path: Path) -> str:
        """The reverse of `locate`: what the image calls a path."""
        return f"/{path.relative_to(self.root).as_posix()}"

    def find(self, patterns: str) -> Iterator[Path]:
        """The paths that match, with `~` in every home; not what a link would show of the world outside the root."""
        homes = {word: ("root", "home/*") if word.startswith("~") else ("",) for word in patterns.split()}
        words = {word.replace("~", home) for word, folders in homes.items() for home in folders}
        is_inside = functools.cache(lambda folder: folder.resolve().is_relative_to(self.root.resolve()))
        for path in sorted({path for word in words for path in self._matching(word)}):
            if is_inside(path.parent):
                yield path

    def _matching(self, pattern: str) -> Iterator[Path]:
        """As `glob`, but a link matches whether or not its target exists: here that is another root's."""
        folder, _, name = pattern.rpartition("/")
        if "*" in name:
            yield from self.root.glob(pattern)
        else:
            yield from (parent / name for parent in self.root.glob(folder) if os.path.lexists(parent / name))

    def real(self, path: Path) -> Path | None:
        """The file behind a path, its links followed as on the image's machines; None where there is none."""
        for _ in range(_MOST_LINKS):
            target = files.read_link(path)
            if target is None:
                return path if path.exists() else None
            path = self.locate(target) if target.startswith("/") else path.parent / target
        return None
