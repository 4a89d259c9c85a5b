"""The images that tests of images look at."""

from pathlib import Path

import pytest

from baked import Images, shared_images
from sampling import LONG

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(1800))  # images, on a machine that does other things too


@pytest.fixture(scope="session")
def images(pytestconfig: pytest.Config) -> Images:
    made = shared_images(pytestconfig)
    made.begin("web", "database", *(("memcached", "monitor") if LONG else ()))  # two at the same time
    return made
