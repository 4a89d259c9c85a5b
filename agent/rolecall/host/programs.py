"""The one door to other programs: argv lists, never a shell; a deadline; the output kept for the message."""

import contextlib
import os
import shutil
import subprocess
import time
from dataclasses import dataclass

from rolecall.errors import HostFault


@dataclass(frozen=True)
class Done:
    """How a program ended: its exit status and what it said, standard output and error together."""

    argv: tuple[str, ...]
    status: int
    output: str

    @property
    def ok(self) -> bool:
        """Whether the program ended with exit status 0."""
        return self.status == 0

    @property
    def words(self) -> str:
        """What it said, short enough for a message: the last twelve lines."""
        return "\n".join(self.output.strip().splitlines()[-12:]) or f"exit status {self.status}, no output"


def run(
    argv: tuple[str, ...],
    timeout: float = 60.0,
    env: dict[str, str] | None = None,
    *,
    stdin: bytes = b"",
    fds: tuple[int, ...] = (),
    ask: bool = False,
) -> Done:
    """Run a program and wait at most `timeout` seconds. Raises HostFault if it is not installed or does not end.

    `fds`: files that it inherits. `ask`: it may talk to the person at the terminal, on standard error.
    """
    try:
        ended = subprocess.run(
            argv,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=None if ask else subprocess.STDOUT,
            pass_fds=fds,
            timeout=timeout,
            check=False,
            env={**_environment(), **(env or {})},
        )
    except FileNotFoundError as error:
        hint = "install the package that brings it (the role's README lists them)"
        raise HostFault(f"program not found: {argv[0]}", hint) from error
    except PermissionError as error:
        raise HostFault(f"not allowed to run {argv[0]}", "check its mode, and that this user may run it") from error
    except subprocess.TimeoutExpired as error:
        raise HostFault(f"{' '.join(argv)} did not end within {timeout:g} s") from error
    return Done(argv, ended.returncode, ended.stdout.decode("utf-8", "replace"))


def _environment() -> dict[str, str]:
    """For every program: words that do not depend on the machine, and no socket on which it could speak for us."""
    return {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"} | {"LC_ALL": "C.UTF-8"}


def pipe(source: tuple[str, ...], sink: tuple[str, ...], first: bytes, timeout: float) -> Done:
    """Have one program read what another writes, after `first`. Good only if both end well within `timeout` seconds."""
    env, until = _environment(), time.monotonic() + timeout
    try:
        with (
            os.fdopen(os.memfd_create("said"), "w+b") as said,
            subprocess.Popen(sink, stdin=subprocess.PIPE, stdout=said, stderr=said, env=env) as reader,
        ):
            assert reader.stdin
            reader.stdin.write(first)  # small enough for the pipe, whatever the reader does
            with contextlib.suppress(BrokenPipeError):
                reader.stdin.flush()
            read = reader.stdin
            with subprocess.Popen(source, stdin=subprocess.DEVNULL, stdout=read, stderr=said, env=env) as writer:
                try:
                    with contextlib.suppress(BrokenPipeError):
                        reader.stdin.close()
                    status = writer.wait(until - time.monotonic()) or reader.wait(until - time.monotonic())
                finally:
                    writer.kill()
                    reader.kill()
            said.seek(0)
            return Done((*source, "|", *sink), status, said.read().decode("utf-8", "replace"))
    except subprocess.TimeoutExpired as error:
        raise HostFault(f"{source[0]} did not end within {timeout:g} s") from error
    except FileNotFoundError as error:
        raise HostFault(f"program not found: {source[0]} or {sink[0]}", "install the package that brings it") from error


def must(argv: tuple[str, ...], timeout: float = 60.0, env: dict[str, str] | None = None) -> Done:
    """Run a program that has to succeed. Raises HostFault with its last words."""
    done = run(argv, timeout, env)
    if not done.ok:
        raise HostFault(f"{' '.join(argv)} failed with exit status {done.status}:\n{done.words}")
    return done


def installed(program: str) -> bool:
    """Whether a program can be found on PATH."""
    return shutil.which(program) is not None
