"""A machine that has too little for the agent: each command ends with words, and never with a traceback."""

import resource
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from box import ROLECALL, Box

MEMORY = range(20_000_000, 70_000_001, 10_000_000)  # bytes of address space: from too little to enough


@pytest.fixture(scope="module")
def node(module_box: Box) -> Box:
    module_box.product("blog", runtime="static")
    module_box.publish()
    module_box.boot()
    return module_box


def limited(kind: int, most: int, *argv: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    limit: Callable[[], None] = lambda: resource.setrlimit(kind, (most, most))  # noqa: E731
    return subprocess.run(argv, preexec_fn=limit, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("command", ["refresh", "status", "doctor", "history", "plan"])
def test_a_command_that_may_open_few_files_ends_with_words(node: Box, command: str) -> None:
    for most in (5, 8):
        argv = (*ROLECALL, command, "--config", str(node.machine.config))
        done = limited(resource.RLIMIT_NOFILE, most, *argv, env=node.env)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode in (0, 1, 75), (most, done.stderr)


@pytest.mark.parametrize("command", ["refresh", "status"])
def test_a_command_that_lacks_memory_ends_with_words_and_1(node: Box, command: str) -> None:
    for most in MEMORY:
        if limited(resource.RLIMIT_AS, most, sys.executable, "-c", "import typing", env=node.env).returncode:
            continue  # Python itself does not start
        argv = (*ROLECALL, command, "--config", str(node.machine.config))
        done = limited(resource.RLIMIT_AS, most, *argv, env=node.env)
        assert "Traceback" not in done.stderr, done.stderr
        # A library that is not written in Python says so itself, as does an interpreter in the midst of an error.
        is_aborted = done.returncode == -signal.SIGABRT and "memory" in done.stderr.lower()
        assert is_aborted or done.returncode in (0, 1, 75), (most, done.stderr)
