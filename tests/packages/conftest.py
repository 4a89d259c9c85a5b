"""What the tests of packages share: the packages, built while the first tests run."""

import shutil
from collections.abc import Iterator

import pytest

from packages.builds import Builds, scratch


@pytest.fixture(scope="session")
def builds() -> Iterator[Builds]:
    folder = scratch()
    made = Builds(folder)
    for platform in ("debian-12", "centos-10"):
        for where in ("first", "second-and-longer", "newer"):
            made.start(platform, where)
    made.start("centos-9")
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder)
