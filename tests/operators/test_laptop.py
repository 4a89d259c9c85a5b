"""An operator's commands run from the wheel and its base dependencies alone, on a machine that lacks what Linux has.

The virtual environment has what `pipx install rolecall` would put into it: the wheel and, of the distributions that are
installed here, those that it needs without an extra. What macOS lacks of the standard library is taken away before
anything is run.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from box import document
from signed import Keys
from test_repo import REPO, program

# Names that Python has on Linux and not on macOS, of all modules that the agent uses.
WITHOUT_LINUX = """
import os, select, signal, socket
for module, names in {
    os: "memfd_create getrandom posix_fadvise posix_fallocate sched_getaffinity sched_setaffinity getxattr setxattr "
        "listxattr removexattr pidfd_open unshare setns splice copy_file_range eventfd O_PATH O_TMPFILE O_DIRECT "
        "fdatasync getresuid getresgid setresuid setresgid",
    select: "epoll",
    signal: "pidfd_send_signal SIGRTMIN SIGRTMAX sigtimedwait sigwaitinfo",
    socket: "AF_NETLINK AF_PACKET AF_VSOCK SO_PEERCRED SO_BINDTODEVICE SOCK_CLOEXEC SOCK_NONBLOCK",
}.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
"""
NODE_LIBRARIES = {"psutil", "systemd-python"}


def needed(distribution: importlib.metadata.Distribution, extra: str = "") -> Iterator[str]:
    """The distributions that this one requires on this machine."""
    for requirement in map(Requirement, distribution.requires or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement.name


def closure(distribution: importlib.metadata.Distribution) -> dict[str, importlib.metadata.Distribution]:
    """Everything that is installed with a distribution, by name."""
    installed: dict[str, importlib.metadata.Distribution] = {}
    names = list(needed(distribution))
    while names:
        name = re.sub(r"[-_.]+", "-", names.pop()).lower()
        if name not in installed:
            installed[name] = importlib.metadata.distribution(name)
            names += needed(installed[name])
    return installed


@dataclass(frozen=True)
class Laptop:
    """A virtual environment with the wheel in it, and a folder to work in."""

    venv: Path
    site: Path
    dependencies: frozenset[str]
    folder: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": f"{self.venv}/bin:/usr/bin:/bin", "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        return subprocess.run(
            [self.venv / "bin/rolecall", *words],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
        )

    def answer(self, *words: str) -> str:
        """Standard output of a command that ends well."""
        result = self.run(*words)
        assert (result.returncode, result.stderr) == (0, ""), result.stderr
        return result.stdout


def make_laptop(folder: Path) -> Laptop:
    built = program("python", "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    assert built.returncode == 0, built.stdout
    (wheel,) = folder.glob("*.whl")
    venv = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (site,) = venv.glob("lib/python*/site-packages")
    install = [
        "-m",
        "pip",
        "--python",
        str(venv / "bin/python"),
        "install",
        "-q",
        "--no-index",
        "--no-deps",
        str(wheel),
    ]
    installed = program("python", *install)
    assert installed.returncode == 0, installed.stdout
    (about,) = site.glob("rolecall-*.dist-info")
    dependencies = closure(importlib.metadata.PathDistribution(about))
    for distribution in dependencies.values():
        for name in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (site / name).exists():
                (site / name).symlink_to(str(distribution.locate_file(name)))
    (site / "without_linux.py").write_text(WITHOUT_LINUX)
    (site / "without_linux.pth").write_text("import without_linux\n")
    return Laptop(venv, site, frozenset(dependencies), folder)


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Laptop:
    """A laptop with two documents on its disk: in the second one web1 has the product `blog`."""
    laptop = make_laptop(tmp_path_factory.mktemp("laptop"))
    before = document()
    (laptop.folder / "old.json").write_text(json.dumps(before, indent=1))
    release = {"version": "1", "artifact": "blog.tar.gz", "sha256": "0" * 64, "size": 1}
    before["products"]["blog"] = {"hostnames": ["blog.example.com"], "user": "blog", "release": release}
    before["servers"]["web1"]["products"] = ["blog"]
    (laptop.folder / "fleet.json").write_text(json.dumps(before, indent=1))
    return laptop


def test_the_laptop_has_neither_a_node_s_libraries_nor_what_macos_lacks(laptop: Laptop) -> None:
    assert not laptop.dependencies & NODE_LIBRARIES
    lacks = (
        "import importlib.util as u, os; print(u.find_spec('psutil'), u.find_spec('systemd'), hasattr(os, 'O_PATH'))"
    )
    result = subprocess.run([laptop.venv / "bin/python", "-c", lacks], capture_output=True, text=True, check=True)
    assert result.stdout == "None None False\n"


def test_help_and_version_are_there(laptop: Laptop) -> None:
    assert laptop.answer("--version").startswith("rolecall ")
    assert "usage: rolecall" in laptop.answer("--help")
    assert "usage: rolecall fleet publish" in laptop.answer("fleet", "publish", "--help")


def test_a_document_is_checked_shown_and_compared(laptop: Laptop) -> None:
    assert "no mistakes" in laptop.run("fleet", "check", "fleet.json").stdout
    assert "products by server" in laptop.run("fleet", "show", "fleet.json").stdout
    assert "web1" in laptop.answer("fleet", "diff", "old.json", "fleet.json")
    assert "$defs" in json.loads(laptop.answer("fleet", "schema"))


def test_what_a_server_would_become_is_planned_with_the_roles_of_the_wheel(laptop: Laptop) -> None:
    plan = laptop.answer("plan", "--fleet", "fleet.json", "--as", "web1")
    assert "+++ b/apache/50-blog.conf" in plan


def test_a_document_is_signed_published_fetched_and_copied(laptop: Laptop) -> None:
    keys = Keys(laptop.folder)
    (laptop.folder / "allowed_signers").write_text(keys.line("ops") + "\n")
    (laptop.folder / "store").mkdir()
    store = f"file://{laptop.folder}/store"
    signing = ("--key", str(keys.file("ops")), "--signers", "allowed_signers")
    result = laptop.run("fleet", "publish", "old.json", "--store", store, *signing)
    assert result.returncode == 0, result.stderr
    assert "signed by ops@example.com" in result.stdout
    assert laptop.answer("fleet", "fetch", "--store", store) == (laptop.folder / "old.json").read_text()
    (laptop.folder / "copy").mkdir()
    result = laptop.run("store", "copy", store, f"file://{laptop.folder}/copy")
    assert "copied fleet.json" in result.stderr, result.stderr


@pytest.mark.parametrize("command", ["boot", "status", "doctor", "plan", "image check", "demo"])
def test_a_node_s_command_says_in_one_line_what_to_install(laptop: Laptop, command: str) -> None:
    result = laptop.run(*command.split())
    name = command.split(maxsplit=1)[0]
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"rolecall: `rolecall {name}` is a node's command, and this installation is an operator's: it lacks psutil\n"
        "  hint: on a node install the package for its distribution, or 'rolecall[node]' with pipx or pip\n"
    )


def test_a_module_of_the_operator_that_imports_what_only_nodes_have_is_found(tmp_path: Path) -> None:
    laptop = make_laptop(tmp_path)
    (tmp_path / "fleet.json").write_text(json.dumps(document()))
    module = laptop.site / "rolecall/operator/offline.py"
    text = module.read_text()
    assert laptop.run("fleet", "check", "fleet.json").returncode == 0
    for line in ("import psutil", "from systemd import journal", "from os import memfd_create"):
        module.write_text(f"{line}\n{text}")
        assert "ImportError" in laptop.run("fleet", "check", "fleet.json").stderr.replace("ModuleNotFoundE", "ImportE")


def test_the_extra_of_a_node_brings_the_rest_of_what_is_locked(laptop: Laptop) -> None:
    (folder,) = laptop.site.glob("rolecall-*.dist-info")
    about = importlib.metadata.PathDistribution(folder)
    assert set(needed(about, "node")) >= NODE_LIBRARIES
    locked = set(re.findall(r"^([a-z0-9-]+)==", (REPO / "requirements/agent.txt").read_text(), re.MULTILINE))
    assert closure(about).keys() | NODE_LIBRARIES == locked
