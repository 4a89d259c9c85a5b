"""Fixtures that several folders of tests use."""

import gc
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from box import Box
from builds import share_a_folder
from sampling import LONG as LONG_TOO

HERE = Path(__file__).parent
pytest_plugins = ["database_fleet"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A scratch folder with a short name (a socket's path has 107 characters) that Apache's workers may enter."""
    made = Path(tempfile.mkdtemp(prefix="rc-"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made)


@pytest.fixture
def box(folder: Path) -> Iterator[Box]:
    """A node in a folder, stopped at the end."""
    made = Box(folder)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def module_box() -> Iterator[Box]:
    """A node in a folder that the tests of one module share."""
    made = Path(tempfile.mkdtemp(prefix="rc-"))
    made.chmod(0o755)
    shared = Box(made)
    try:
        yield shared
    finally:
        shared.stop()
        shutil.rmtree(made)


# What takes longest is begun first, so that no process is still at work when the others have nothing left to do.
LONG = """
roles/test_database_role.py machine/test_platform.py images/ machine/ packages/ faults/test_stops.py faults/
host/test_units.py steps/test_drain.py roles/test_monitor_role.py bench/ run/ readers/ operators/ roles/
docs/test_tutorial.py
""".split()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest first; of the others, and within a module, the order stays as it is.

    Tests with the mark `long` are left out, and counted as such, unless all are asked for.
    """
    if not LONG_TOO:
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("long")])
        items[:] = [item for item in items if not item.get_closest_marker("long")]

    def place(item: pytest.Item) -> int:
        name = item.path.relative_to(HERE).as_posix()
        return next((n for n, start in enumerate(LONG) if name.startswith(start)), len(LONG))

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are processors: many tests wait for a daemon, a deadline or a boot."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose what all processes of this run have in common: a folder, and the seed of the examples.

    It comes first, before Hypothesis looks for a seed and before xdist starts the other processes.
    """
    share_a_folder(config)
    keep_bytecode()
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(random.SystemRandom().randrange(1_000_000))


def keep_bytecode() -> None:
    """Programs that the tests start compile nothing that another one has compiled, as where a package is installed."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def pytest_collection_finish() -> None:
    """The collected tests stay: the garbage collector need not look at them, nor copy their pages in forks."""
    gc.collect()
    gc.freeze()


def pytest_report_header(config: pytest.Config) -> str:
    return f"examples: --hypothesis-seed={config.option.hypothesis_seed}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Beside a failure of generated examples stands how to have the same ones again."""
    report = yield
    if report.failed and item.get_closest_marker("hypothesis"):
        seed = item.config.option.hypothesis_seed
        report.sections.append(("the same examples again", f"pytest --hypothesis-seed={seed} '{item.nodeid}'"))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests have measured: this folder's conftest is read by the process that prints, whoever runs them."""
    found = [one for all_ in terminalreporter.stats.values() for one in all_ if isinstance(one, pytest.TestReport)]
    lines = dict.fromkeys(str(line) for one in found for name, line in one.user_properties if name == "figure")
    if lines:
        terminalreporter.section("machines")
        terminalreporter.write("\n".join((*lines, "")))
