"""Thousands of runs in one process: a template is the same code each time, and compiling it is half of a run's time."""

from collections.abc import Callable
from typing import Any

import jinja2

_compile: Callable[..., Any] = jinja2.Environment.compile
_code: dict[object, Any] = {}


def compiled_once(self: jinja2.Environment, source: Any, *rest: Any, **named: Any) -> Any:
    """In the place of `jinja2.Environment.compile`."""
    key = (type(self), self.finalize, source, rest, tuple(sorted(named.items())))
    if key not in _code:
        _code[key] = _compile(self, source, *rest, **named)
    return _code[key]


def templates_are_compiled_once() -> None:
    """From here on, in this process and its forks."""
    jinja2.Environment.compile = compiled_once  # type: ignore[method-assign]
