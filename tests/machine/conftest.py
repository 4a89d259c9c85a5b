"""Real machines: where containers cannot run, every test of this folder is skipped and says why."""

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from machine import centos, layers
from machine.container import Machine, machine
from machine.world import AGENT_TOML

HERE = Path(__file__).parent
_numbers = itertools.count(1)
figures = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mine = [item for item in items if item.path.is_relative_to(HERE)]
    if mine and (reason := layers.why_not()):
        for item in mine:
            item.add_marker(pytest.mark.skip(reason=f"not run: {reason}"))
    for item in mine:
        item.add_marker(pytest.mark.timeout(900))  # the first one may have to make the images


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash.get(figures, []):
        terminalreporter.section("machines")
        terminalreporter.write("\n".join((*lines, "")))


@pytest.fixture(scope="session")
def figure(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Notes a line of measurements for the end of the run."""
    return pytestconfig.stash.setdefault(figures, []).append


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    """A folder in memory for what the machines write."""
    with tempfile.TemporaryDirectory(prefix="rc-machine-") as folder:
        layers.sh("mount", "-t", "tmpfs", "-o", "size=4g,mode=755", "tmpfs", folder)
        try:
            yield Path(folder)
        finally:
            layers.sh("umount", folder)


@pytest.fixture(scope="session")
def lower(memory: Path) -> list[Path]:
    """What all images have in common: the distribution, and the agent's libraries above it."""
    system = layers.debian(memory)
    return [system] if layers.PACKAGE else [layers.libraries(memory, system), system]


@pytest.fixture(scope="session")
def image(memory: Path, lower: list[Path]) -> list[Path]:
    """A Debian image of the role web."""
    return layers.bake(memory / "debian", AGENT_TOML.format(platform="debian"), *lower)


@pytest.fixture(scope="session")
def centos_image(memory: Path, lower: list[Path]) -> list[Path]:
    """The same with the paths, units and programs that a CentOS has."""
    return layers.bake(memory / "centos", AGENT_TOML.format(platform="centos"), *lower, shape=centos.shape)


@pytest.fixture
def new(memory: Path) -> Iterator[Callable[[list[Path]], Machine]]:
    """Makes machines that were never booted, each with a world of its own."""
    with ExitStack() as ends:

        def make(image: list[Path]) -> Machine:
            name = f"rc{os.getpid()}-{next(_numbers)}"
            return ends.enter_context(machine(name, image, memory / name))

        yield make


@pytest.fixture
def node(new: Callable[[list[Path]], Machine], image: list[Path]) -> Machine:
    """A machine that was never booted; its document names it, without a product."""
    return new(image)


@pytest.fixture
def ready(node: Machine) -> Machine:
    """A machine that runs and serves release 1 of the product blog."""
    node.world.product("blog")
    node.world.publish()
    node.boot()
    assert node.failed() == [], node.log()
    return node
