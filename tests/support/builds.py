"""The packages as `packaging/build` makes them in copies of this checkout: in the background, once a test run.

Tests of packages, of images and of machines share them, in all processes of the run: who asks first builds.
"""

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from roots import locked, roomy
from sampling import LONG

REPO = Path(__file__).parents[2]
EPOCH = 1_790_000_000
TOOL = {"debian-12": "dpkg-deb", "centos-9": "rpmbuild", "centos-10": "rpmbuild"}
PYTHON = {"debian-12": "3.11", "centos-9": "3.12", "centos-10": "3.12"}
VERSION = re.findall(r'^version = "(.+)"$', (REPO / "pyproject.toml").read_text(), re.MULTILINE)[0]
NEXT = f"{VERSION}.1"
# What the next version brings: a unit more.
NEW_UNIT = "[Unit]\nDescription=New\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
# Of what else is built, where: a second time, and in the next version.
AGAIN = {
    "second-and-longer": ("debian-12", "centos-10") if LONG else ("debian-12",),
    "newer": ("debian-12", "centos-10") if LONG else ("debian-12",),
}
RUN = "ROLECALL_TEST_RUN"
_shared = pytest.StashKey["Builds"]()


def shared_builds(config: pytest.Config) -> "Builds":
    """The packages of this test run, whichever folder's tests ask first."""
    if _shared not in config.stash:
        config.stash[_shared] = Builds(Path(os.environ[RUN]))
        config.add_cleanup(config.stash[_shared].close)
    return config.stash[_shared]


def share_a_folder(config: pytest.Config) -> None:
    """A folder's name for all processes of this run. The first one chooses it, and removes it at the end."""
    if RUN not in os.environ:
        folder = roomy() / f"rc-{secrets.token_hex(6)}"
        os.environ[RUN] = str(folder)
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


class Builds:
    """Asked in advance for what the tests will want, so that it is made while they do something else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(mode=0o755, exist_ok=True)
        self._pool = ThreadPoolExecutor(2)
        self._made: dict[tuple[str, str], Future[Path]] = {}
        for name in ("first", "second-and-longer", "newer"):
            self._once(name, checkout)

    def start(self, platform: str, where: str = "first") -> "Future[Path]":
        """Begin to build, unless that has begun."""
        key = platform, where
        if key not in self._made:
            self._made[key] = self._pool.submit(self._build, platform, where)
        return self._made[key]

    def start_all(self) -> None:
        """Begin with all that tests of packages want, in the order in which they do."""
        for platform in ("debian-12", "centos-9", "centos-10"):
            self.start(platform)
        for where, platforms in AGAIN.items():
            for platform in platforms:
                self.start(platform, where)

    def package(self, platform: str, where: str = "first") -> Path:
        """The finished package. Skips the test where this machine cannot build it."""
        if not shutil.which(TOOL[platform]):
            pytest.skip(f"not run: {TOOL[platform]} is not installed")
        return self.start(platform, where).result()

    def unpacked(self, platform: str) -> Path:
        """The files of a package in a folder."""
        package = self.package(platform)
        return self._once(platform, lambda folder: unpack(package, folder))

    def _once(self, name: str, make: Callable[[Path], object]) -> Path:
        """The folder of this name; whichever process needs it first makes it, and the others wait."""
        folder, finished = self.folder / name, self.folder / f"{name}.finished"
        with locked(self.folder / f"{name}.lock", fcntl.LOCK_EX):
            if not finished.exists():
                make(folder)
                finished.touch()
        return folder

    def close(self) -> None:
        """Let nothing begin any more, and wait for what has."""
        self._pool.shutdown(cancel_futures=True)

    def _build(self, platform: str, where: str) -> Path:
        if not shutil.which(TOOL[platform]):
            raise FileNotFoundError(TOOL[platform])

        def build(output: Path) -> None:
            env = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), "TMPDIR": str(self.folder)}
            argv = [str(self.folder / where / "packaging/build"), platform, "--output", str(output)]
            run = subprocess.run(argv, env=env, cwd=self.folder, capture_output=True, text=True)
            assert run.returncode == 0, run.stderr
            (package,) = output.iterdir()
            assert run.stderr.splitlines()[-1] == f"build: {package}"

        (package,) = self._once(f"{where}-{platform}", build).iterdir()
        return package


def checkout(folder: Path) -> None:
    """A copy of what a build reads, with the same virtual environment; one called `newer` is of the next version."""
    folder.mkdir()
    for name in ("agent", "packaging", "requirements", "templates"):
        shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml"):
        shutil.copy(REPO / name, folder)
    (folder / ".venv").symlink_to(REPO / ".venv")
    if folder.name == "newer":
        project = folder / "pyproject.toml"
        project.write_text(project.read_text().replace(f'version = "{VERSION}"', f'version = "{NEXT}"'))
        (folder / "packaging/systemd/rolecall-new.service").write_text(NEW_UNIT)


def unpack(package: Path, folder: Path) -> None:
    """Unpack a package."""
    folder.mkdir()
    if package.suffix == ".deb":
        subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    else:
        subprocess.run(f"rpm2cpio '{package}' | cpio -idm --quiet", shell=True, cwd=folder, check=True)


def digest(path: Path) -> str:
    """sha256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
