"""What the tests of packages share: the packages, built while the first tests run."""

import pytest

from builds import Builds, shared_builds


@pytest.fixture(scope="session")
def builds(pytestconfig: pytest.Config) -> Builds:
    made = shared_builds(pytestconfig)
    made.start_all()
    return made
