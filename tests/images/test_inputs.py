"""What an image build is given is judged before it begins, all of it at once; and a build says what it is doing."""

import json
import os
import pty
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from baked import SETTINGS, given, make_deb, seed
from box import ROOT
from machine.world import OPERATOR
from rolecall.image.inputs import judge
from signed import Keys

BUILD = ROOT / "image-build"
PROGRAMS = ("mmdebstrap", "apt-get", "dnf", "systemctl", "mkfs.ext4")


class Inputs:
    """What a build of the role web is given, all of it good; programs that would change something say that they ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "keys").mkdir()
        self.keys = Keys(folder / "keys")
        self.settings = SETTINGS
        self.options = list(given(folder, self.keys))
        self.package = make_deb(folder, "rolecall", "all")
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in PROGRAMS:
            self.program(name, f"touch {folder}/ran\n")

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{text}")
        (self.bin / name).chmod(0o755)

    def seed(self, by: str = OPERATOR, **parts: object) -> None:
        self.keys.file(by)
        (self.folder / "seed.json").write_bytes(self.keys.seal(by, json.dumps(seed() | parts).encode()))

    def build(self, *words: str | Path) -> str:
        """What a build says that has to refuse them."""
        (self.folder / "agent.toml").write_text(self.settings)
        where = words or ("--output", self.folder / "image")
        return self.run(BUILD / "build", "web", "--platform", "debian", *where, "--package", self.package,
                        "--settings", self.folder / "agent.toml", *self.options)  # fmt: skip

    def run(self, *argv: str | Path) -> str:
        env = {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}"}
        done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)  # fmt: skip
        assert done.returncode == 1, done.stdout
        assert not (self.folder / "ran").exists(), "nothing was begun"
        return done.stdout


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return Inputs(tmp_path)


def unsigned(inputs: Inputs) -> None:
    (inputs.folder / "seed.json").write_text(json.dumps(seed()))


def of_another_fleet(inputs: Inputs) -> None:
    inputs.settings = inputs.settings.replace('fleet = "test"', 'fleet = "other"')


def mistyped(inputs: Inputs) -> None:
    inputs.settings = inputs.settings.replace("[trust]", "[turst]")


WRONG: dict[str, Callable[[Inputs], object]] = {
    "seed.json is not signed, and this image accepts signed documents only": unsigned,
    "seed.json: the signature is refused": lambda inputs: inputs.seed(by="stranger"),
    "seed.json expired on 2020-01-01": lambda inputs: inputs.seed(
        issued="2019-12-01T00:00:00Z", not_after="2020-01-01T00:00:00Z"
    ),
    "seed.json is of the fleet 'test', this image is of 'other'": of_another_fleet,
    "the envelope of": lambda inputs: (inputs.folder / "seed.json").write_text('{"rolecall": "signed document"'),
    "names /etc/rolecall/seed.json, which is not given": lambda inputs: (inputs.folder / "seed.json").unlink(),
    "has no key that is valid now": lambda inputs: (inputs.folder / "allowed_signers").write_text("# nobody yet\n"),
    "did you mean 'trust'?": mistyped,
}


@pytest.mark.parametrize("words", WRONG)
def test_the_agent_judges_what_a_build_is_given(words: str, inputs: Inputs) -> None:
    WRONG[words](inputs)
    root = inputs.folder / "root"
    (root / "etc/rolecall").mkdir(parents=True)
    (root / "etc/rolecall/agent.toml").write_text(f'role = "web"\nplatform = "debian"\n{inputs.settings}')
    for name in ("allowed_signers", "seed.json"):
        if (inputs.folder / name).exists():
            shutil.copy(inputs.folder / name, root / "etc/rolecall")
    found = judge(root, Path("/etc/rolecall/agent.toml"))
    assert any(words in finding.what for finding in found), found


@pytest.mark.parametrize(
    ("name", "architecture", "told"),
    [
        ("rolecall", "amd64", ""),
        ("rolecall", "all", ""),
        ("rolecall", "arm64", "no package is for this machine: it is amd64, they are for arm64"),
        ("other", "amd64", "is no deb of the agent"),
    ],
)
def test_a_package_that_cannot_be_installed_is_refused(name: str, architecture: str, told: str, tmp_path: Path) -> None:
    package = make_deb(tmp_path, name, architecture)
    given = f"PLATFORM=debian PACKAGES=({package})"
    script = f"source {BUILD}/inputs.sh; {given}; check_packages amd64; " + "echo ${MISTAKES[@]}"
    said = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True).stdout.strip()
    assert told in said
    assert bool(told) == bool(said)


def test_all_mistakes_are_told_at_once_by_the_names_that_were_given(inputs: Inputs) -> None:
    inputs.settings = inputs.settings.replace("\n[trust]", "\nstores = 1\n[trust]")
    line = 1 + inputs.settings.split("\n").index("stores = 1")
    unsigned(inputs)
    inputs.package.unlink()
    said = inputs.build("--output", "/proc/image")
    assert f"{inputs.folder}/agent.toml:{line}:1: stores: unknown key" in said, "lines are counted as the file has them"
    for words in (f"there is no file {inputs.package}", f"the seed {inputs.folder}/seed.json is not signed", "/proc"):
        assert words in said


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    places = f"check_place {tmp_path}/file/image.img 1; check_place /proc/x 1500"
    script = f"source {BUILD}/inputs.sh; {places}; " + "echo ${MISTAKES[@]}"
    said = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True).stdout
    assert f"{tmp_path}/file is no folder that this user may write to" in said
    assert "/proc has 0 MB free, and about 1500 MB are written there" in said


def test_a_kit_for_packer_is_not_made_of_a_wrong_input_and_bake_refuses_one_itself(inputs: Inputs) -> None:
    unsigned(inputs)
    kit = inputs.folder / "kit"
    assert "is not signed" in inputs.build("--packer", kit)
    assert not kit.exists()
    shutil.copytree(BUILD, kit)
    (kit / "etc").mkdir()
    (kit / "packages").mkdir()
    shutil.copy(inputs.package, kit / "packages")
    for name in ("agent.toml", "allowed_signers", "seed.json"):
        shutil.copy(inputs.folder / name, kit / "etc")
    inputs.program("rolecall", f'exec {ROOT}/.venv/bin/python -m rolecall "$@"\n')
    if os.geteuid() == 0:
        assert "is not signed" in inputs.run(kit / "bake", "web", "--platform", "debian", "--image")


SMALLEST = """for word; do case $word in {folder}/*) root=$word ;; esac; done
mkdir -p "$root/etc" "$root/usr/share/rolecall/image"
touch "$root/usr/share/rolecall/image/manifest.json" "$root/usr/share/rolecall/image/sbom.cdx.json"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="not run: only root makes images")
def test_good_inputs_are_built_and_what_an_earlier_build_has_left_is_no_obstacle(inputs: Inputs) -> None:
    inputs.program("mmdebstrap", SMALLEST.format(folder=inputs.folder))
    inputs.program("unshare", "exit 0\n")
    (inputs.folder / "agent.toml").write_text(inputs.settings)
    env = {**os.environ, "PATH": f"{inputs.bin}:{os.environ['PATH']}"}
    for n in (1, 2):
        argv = [BUILD / "build", "web", "--platform", "debian", "--output", inputs.folder / f"image{n}",
                "--base", inputs.folder / "base", "--package", inputs.package,
                "--settings", inputs.folder / "agent.toml", *inputs.options]  # fmt: skip
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert f"copy {inputs.folder}/base" in done.stderr
        assert ("make the smallest system" in done.stderr) == (n == 1)


# Progress

SCRIPT = """set -euo pipefail
source {build}/lib.sh; source {build}/progress.sh
DRY_RUN='' PLATFORM=debian DISTRIBUTION=debian VERBOSE={verbose} BEGAN=$EPOCHSECONDS
packages <<END
nagios nagios4 why
END
"""


def installing(inputs: Inputs, text: str, *, verbose: str = "''", terminal: bool = False) -> tuple[int, str]:
    """The exit code and the standard error of a script line that installs a package by this `apt-get`."""
    inputs.program("apt-get", text)
    env = {**os.environ, "PATH": f"{inputs.bin}:{os.environ['PATH']}", "TERM": "dumb"}
    script = SCRIPT.format(build=BUILD, verbose=verbose)
    reader, writer = pty.openpty() if terminal else os.pipe()
    with os.fdopen(reader, "rb") as stream:
        done = subprocess.Popen(["bash", "-c", script], env=env, stdout=subprocess.DEVNULL, stderr=writer)
        os.close(writer)
        said = b""
        try:
            while part := os.read(stream.fileno(), 65536):
                said += part
        except OSError:  # a terminal that nobody writes to any more
            pass
        return done.wait(), said.decode()


def test_a_step_is_told_when_it_begins_with_the_time_since_the_build_began(inputs: Inputs) -> None:
    code, said = installing(inputs, "echo much that nobody reads\n")
    assert (code, said.count("\n")) == (0, 1)
    assert said.startswith("[ 0:0")
    assert "install_packages nagios4" in said


def test_a_terminal_has_one_line_that_says_how_far_the_step_is(inputs: Inputs) -> None:
    code, said = installing(inputs, "echo Setting up nagios4\nsleep 2\n", terminal=True)
    assert (code, "\n" in said) == (0, False)
    assert "Setting up nagios4" in said
    assert said.endswith("\r\x1b[K"), "nothing of it stays"


def test_what_the_programs_print_is_shown_with_verbose(inputs: Inputs) -> None:
    assert "Setting up nagios4" in installing(inputs, "echo Setting up nagios4\n", verbose="1")[1]


def test_a_step_that_fails_shows_the_last_lines_of_what_it_said(inputs: Inputs) -> None:
    code, said = installing(inputs, "seq 1 500\necho E: no such package\nexit 100\n")
    assert code == 1
    assert "bake: failed: install_packages nagios4" in said
    assert said.endswith("499\n500\nE: no such package\n")
    assert "\n400\n" not in said
