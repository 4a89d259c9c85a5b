"""Fixtures of the fault tests."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jinja2
import pytest

from compiled import compiled_once
from faults.tiny import Nodes, Tiny

MEMORY = Path("/dev/shm")


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    """Makes small nodes, on a file system in memory where there is one; their processes end with the test."""
    monkeypatch.setattr(jinja2.Environment, "compile", compiled_once)
    umask = os.umask(0o022)
    with ExitStack() as ends:
        ends.callback(os.umask, umask)

        def make(**options: Any) -> Tiny:
            within = str(MEMORY) if os.access(MEMORY, os.W_OK) else None
            tiny = Tiny(Path(tempfile.mkdtemp(prefix="rc-", dir=within)), **options)
            ends.callback(tiny.close)
            return tiny

        yield make
