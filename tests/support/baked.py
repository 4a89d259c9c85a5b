"""Images that `image-build/build` really makes, of this test run's packages: some tests look at them, others boot them.

An image is kept until anything that it is made of changes. All trust the same operator, whose key is kept beside them,
and have the settings of the machines that are booted from them.
"""

import functools
import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from box import ROOT, document
from builds import Builds, shared_builds
from machine.world import AGENT_TOML, INSTANCE, NODE, OPERATOR
from roots import debian_sources, kept, scratch, sh, why_not, write
from signed import Keys

SEED = "/etc/rolecall/seed.json"
ROLE_AND_PLATFORM, _, REST = AGENT_TOML.format(platform="debian").partition("\nidentity")
SETTINGS = f'identity{REST}\n[paths]\nseed = "{SEED}"\n'  # the first two are the build's to write
_shared = pytest.StashKey["Images"]()


def shared_images(config: pytest.Config) -> "Images":
    """The images of this test run, whichever folder's tests ask first."""
    if _shared not in config.stash:
        config.stash[_shared] = Images(shared_builds(config))
        config.add_cleanup(config.stash[_shared].close)
    return config.stash[_shared]


class Images:
    """Each is made when it is asked for; after `begin`, meanwhile."""

    def __init__(self, builds: Builds) -> None:
        self._builds = builds
        self._pool = ThreadPoolExecutor(2)
        self._begun: dict[str, Future[Path]] = {}
        self._uses = ExitStack()

    @functools.cached_property
    def keys(self) -> Keys:
        """The operator's."""

        def make(folder: Path) -> None:
            Keys(folder).file(OPERATOR)

        return Keys(self._uses.enter_context(kept("keys", [OPERATOR], make)))

    def begin(self, *roles: str) -> None:
        """Make these, unless that has begun, or is not possible here."""
        for role in roles:
            if role not in self._begun and not why_not():
                self._begun[role] = self._pool.submit(self._obtain, role, self.keys)

    def root(self, role: str) -> Path:
        """The root folder of an image; nobody may write to it. Skips the test where none can be made."""
        if reason := why_not():
            pytest.skip(f"not run: {reason}")
        self.begin(role)
        return self._begun[role].result() / role

    def told(self, role: str, name: str = "manifest.json") -> Any:
        """What the build wrote beside the image."""
        return json.loads(Path(f"{self.root(role)}.{name}").read_text())

    def close(self) -> None:
        """Let nothing begin any more, and others remove what was used."""
        self._pool.shutdown(cancel_futures=True)
        self._uses.close()

    def _obtain(self, role: str, keys: Keys) -> Path:
        of = [role, SETTINGS, keys.line(OPERATOR), *debian_sources(), *self._sources(role)]
        return self._uses.enter_context(kept(f"image-{role}", of, lambda folder: self._bake(role, folder)))

    def _sources(self, role: str) -> Iterator[str]:
        """Every file that could make the image differ, with its digest."""
        for top in (self._builds.folder / "first", ROOT / "image-build"):
            for path in sorted(top.rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    yield f"{path.relative_to(top)} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        yield Path(__file__).read_text()

    def _bake(self, role: str, folder: Path) -> None:
        package, of = self._builds.package("debian-12"), [*debian_sources(), (ROOT / "image-build/build").read_text()]
        with kept("base", of, lambda _: None) as shared:
            bake(role, folder / role, package, self.keys, base=shared / "base")


def bake(
    role: str, output: Path, package: Path, keys: Keys, settings: str = SETTINGS, base: Path | None = None
) -> Path:
    """Make an image as an operator would; returns `output`, a folder or FILE.img."""
    with scratch() as folder:
        write(folder / "agent.toml", settings)
        more = ("--base", str(base)) if base else ()
        # The root of a disk is made in the folder for temporary files, and a root folder is made faster in memory.
        sh("env", f"TMPDIR={folder}", ROOT / "image-build/build", role, "--platform", "debian", "--output", output,
           "--package", package, "--settings", folder / "agent.toml", *given(folder, keys), *more,
           timeout=1500)  # fmt: skip
    return output


def given(folder: Path, keys: Keys | None = None) -> tuple[str | Path, ...]:
    """The options that give a build its signers and its seed, with these in a folder."""
    keys = keys or Keys(folder)
    keys.file(OPERATOR)
    (folder / "allowed_signers").write_text(f"{keys.line(OPERATOR)}\n")
    (folder / "seed.json").write_bytes(keys.seal(OPERATOR, json.dumps(seed()).encode()))
    return ("--signers", folder / "allowed_signers", "--seed", folder / "seed.json")


def make_deb(folder: Path, name: str, architecture: str) -> Path:
    """A package with nothing in it."""
    (folder / "deb/DEBIAN").mkdir(parents=True, exist_ok=True)
    control = f"Package: {name}\nVersion: 0.1.0\nArchitecture: {architecture}\nMaintainer: a <a@b>\nDescription: none\n"
    (folder / "deb/DEBIAN/control").write_text(control)
    package = folder / f"{name}_0.1.0_{architecture}.deb"
    sh("dpkg-deb", "--root-owner-group", "--build", folder / "deb", package)
    return package


def seed() -> dict[str, Any]:
    """The document on the day of the bake: it knows the machine, and has no product for it. It never expires."""
    made = document(fleet="test", not_after="2099-01-01T00:00:00Z")
    made["servers"]["web1"] |= {"instance": INSTANCE, "address": NODE}
    return made
