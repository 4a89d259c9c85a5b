"""Fixtures of several tests of what operators do."""

import pytest

from signed import Keys


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Keys of operators, made when they are asked for."""
    return Keys(tmp_path_factory.mktemp("keys"))
