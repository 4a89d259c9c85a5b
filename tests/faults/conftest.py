"""Fixtures of the fault tests."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jinja2
import pytest

from faults.tiny import Nodes, Tiny

MEMORY = Path("/dev/shm")

_compile: Callable[..., Any] = jinja2.Environment.compile
_code: dict[object, Any] = {}


def compiled_once(self: jinja2.Environment, source: Any, *rest: Any, **named: Any) -> Any:
    """Thousands of runs in one process: a template is the same code each time, and half of a run's time."""
    key = (type(self), self.finalize, source, rest, tuple(sorted(named.items())))
    if key not in _code:
        _code[key] = _compile(self, source, *rest, **named)
    return _code[key]


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
