"""Real machines: where containers cannot run, every test of this folder is skipped and says why."""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from baked import Images, shared_images
from builds import Builds, shared_builds
from machine import centos
from machine.container import Machine, machine, why_not
from roots import mounted, tops

HERE = Path(__file__).parent
_numbers = itertools.count(1)
figures = pytest.StashKey[list[str]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    mine = [item for item in items if item.path.is_relative_to(HERE)]
    if mine and (reason := why_not()):
        for item in mine:
            item.add_marker(pytest.mark.skip(reason=f"not run: {reason}"))
    for item in mine:
        item.add_marker(pytest.mark.timeout(1800))  # the first one may have to wait for the images


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> None:
    """Figures go with the test's report: it may be another process that prints them."""
    lines = item.config.stash.get(figures, [])
    item.user_properties.extend(("figure", line) for line in lines)
    lines.clear()


@pytest.fixture(scope="session")
def figure(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Notes a line of measurements for the end of the run."""
    return pytestconfig.stash.setdefault(figures, []).append


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    """A folder in memory for what the machines write."""
    with tops() as folder:
        yield folder


@pytest.fixture(scope="session")
def builds(pytestconfig: pytest.Config) -> Builds:
    return shared_builds(pytestconfig)


@pytest.fixture(scope="session")
def images(request: pytest.FixtureRequest, builds: Builds) -> Images:
    """The image of the role web is there. While its machines wait for this and that, packages can be built."""
    made = shared_images(request.config)
    made.root("web")
    if any("centos_image" in getattr(item, "fixturenames", ()) for item in request.session.items):
        builds.start("centos-10")
    if any("packages" in item.path.relative_to(HERE.parent).parts for item in request.session.items):
        builds.start_all()
    return made


@pytest.fixture(scope="session")
def image(images: Images) -> list[Path]:
    """The image of the role web for Debian, as it was baked."""
    return [images.root("web")]


@pytest.fixture(scope="session")
def centos_image(memory: Path, image: list[Path], builds: Builds) -> list[Path]:
    """The same with the paths, units and programs that a CentOS has, its Python, and the agent of our RPM."""
    top = memory / "centos/layer"
    with mounted(memory / "centos/root", top, *image) as root:
        centos.bake(root, builds.package("centos-10"))
    return [top, *image]


@pytest.fixture
def new(memory: Path, images: Images) -> Iterator[Callable[[list[Path]], Machine]]:
    """Makes machines that were never booted, each with a world of its own."""
    with ExitStack() as ends:

        def make(image: list[Path]) -> Machine:
            name = f"rc{os.getpid()}-{next(_numbers)}"
            return ends.enter_context(machine(name, image, memory / name, images.keys))

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
