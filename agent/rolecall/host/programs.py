"""The one door to other programs: argv lists, never a shell; a deadline; the output kept for the message."""

import contextlib
import os
import shutil
import subprocess
import time
from dataclasses import dataclass

from rolecall.errors import HostFault


@dataclass(frozen=True)
class Result:
    """How a program ended: its exit status and its output, standard output and standard error together."""

    argv: tuple[str, ...]
    status: int
    output: str

    @property
    def ok(self) -> bool:
        """Whether the program ended with exit status 0."""
        return self.status == 0

    @property
    def tail(self) -> str:
        """The end of its output, short enough for a message: the last twelve lines."""
        return "\n".join(self.output.strip().splitlines()[-12:]) or f"exit status {self.status}, no output"


def run(
    argv: tuple[str, ...],
    timeout: float = 60.0,
    env: dict[str, str] | None = None,
    *,
    stdin: bytes = b"",
    fds: tuple[int, ...] = (),
    interactive: bool = False,
) -> Result:
    """Run a program and wait at most `timeout` seconds. Raises HostFault if it is not installed or does not end.

    `fds`: files that it inherits. `interactive`: it may talk to the person at the terminal, on standard error.
    """
    try:
        process = subprocess.run(
            argv,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=None if interactive else subprocess.STDOUT,
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
    return Result(argv, process.returncode, process.stdout.decode("utf-8", "replace"))


def _environment() -> dict[str, str]:
    """Every program's environment: messages in English whatever the machine's locale is, and no NOTIFY_SOCKET, on which
    a program could tell systemd in the agent's name that the node is ready.
    """
    return {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"} | {"LC_ALL": "C.UTF-8"}


def pipe(source: tuple[str, ...], sink: tuple[str, ...], preamble: bytes, timeout: float) -> Result:
    """Have one program read what another writes, after `preamble`, which has to fit into the pipe (64 KiB: pipe(7)).

    Good only if both end with 0 within `timeout` seconds. Raises HostFault if one is not installed or does not end.
    """
    environment, deadline = _environment(), time.monotonic() + timeout
    try:
        with (
            os.fdopen(os.memfd_create("output"), "w+b") as output,
            subprocess.Popen(sink, stdin=subprocess.PIPE, stdout=output, stderr=output, env=environment) as reader,
        ):
            assert reader.stdin
            reader.stdin.write(preamble)
            with contextlib.suppress(BrokenPipeError):
                reader.stdin.flush()
            with subprocess.Popen(
                source, stdin=subprocess.DEVNULL, stdout=reader.stdin, stderr=output, env=environment
            ) as writer:
                try:
                    with contextlib.suppress(BrokenPipeError):
                        reader.stdin.close()
                    status = writer.wait(deadline - time.monotonic()) or reader.wait(deadline - time.monotonic())
                finally:
                    writer.kill()
                    reader.kill()
            output.seek(0)
            return Result((*source, "|", *sink), status, output.read().decode("utf-8", "replace"))
    except subprocess.TimeoutExpired as error:
        raise HostFault(f"{source[0]} did not end within {timeout:g} s") from error
    except FileNotFoundError as error:
        raise HostFault(f"program not found: {source[0]} or {sink[0]}", "install the package that brings it") from error


def run_checked(argv: tuple[str, ...], timeout: float = 60.0, env: dict[str, str] | None = None) -> Result:
    """Run a program that has to succeed. Raises HostFault with the end of its output."""
    result = run(argv, timeout, env)
    if not result.ok:
        raise HostFault(f"{' '.join(argv)} failed with exit status {result.status}:\n{result.tail}")
    return result


def installed(program: str) -> bool:
    """Whether a program can be found on PATH."""
    return shutil.which(program) is not None
