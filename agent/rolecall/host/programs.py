"""The one door to other programs: argv lists, never a shell; a deadline; the output kept for the message."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rolecall.errors import MACHINE_WORDS, HostFault, MachineFault, fault_of
from rolecall.forms.quantities import duration
from rolecall.host import files

_KILLED = (-signal.SIGKILL, -signal.SIGTERM)  # by the kernel for want of memory, or by a person
_PAUSE = 1.0  # seconds between two looks at a program that takes long
_UNLOADED = "error while loading shared libraries"  # of ld.so(8): the program has not even begun


class OverdueFault(HostFault):
    """A program has not ended in its time. What it was to do may yet be done, by whoever it has asked to."""


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

    def fault(self, message: str, hint: str = "") -> HostFault:
        """What it means that the program failed: a MachineFault, if the machine kept it from its work.

        `message`: what it said itself, and what its log says.
        """
        if self.status in _KILLED:
            message += f"\nit was killed ({signal.Signals(-self.status).name})"
            return MachineFault(message, "out of memory? The kernel log tells")
        words = next((words for words in (*MACHINE_WORDS, _UNLOADED) if words in message), "")
        return MachineFault(message, f"{words}: see to the machine") if words else HostFault(message, hint)

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
    """Run a program and wait at most `timeout` seconds. Raises MachineFault if it cannot be started,
    OverdueFault if it does not end.

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
    except OSError as error:
        raise _not_started(error, argv) from error
    except subprocess.TimeoutExpired as error:
        raise OverdueFault(f"{' '.join(argv)} did not end within {duration(timeout)}") from error
    return Result(argv, process.returncode, process.stdout.decode("utf-8", "replace"))


def _not_started(error: OSError, argv: tuple[str, ...]) -> MachineFault:
    """Whatever keeps a program from being started, no document is at fault."""
    if isinstance(error, FileNotFoundError):
        hint = "install the package that brings it (the role's README lists them)"
        return MachineFault(f"program not found: {argv[0]}", hint)
    if isinstance(error, PermissionError):
        return MachineFault(f"not allowed to run {argv[0]}", "check its mode, and that this user may run it")
    fault = fault_of(error, f"cannot run {argv[0]}: {error.strerror or error}", "", MachineFault)
    return MachineFault(fault.message, fault.hint)


def _environment() -> dict[str, str]:
    """Every program's environment: messages in English whatever the machine's locale is, and no NOTIFY_SOCKET, on which
    a program could tell systemd in the agent's name that the node is ready.
    """
    return {key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"} | {"LC_ALL": "C.UTF-8"}


def attended(argv: tuple[str, ...], stdin: bytes, patience: float, look: Callable[[], int]) -> Result:
    """Run a program for as long as it gets on. `look`: asked each second how far it is, as a number.

    Raises MachineFault if it cannot be started, OverdueFault if it gets no further for `patience` seconds.
    """
    try:
        with os.fdopen(os.memfd_create("output"), "w+b") as output, os.fdopen(os.memfd_create("input"), "w+b") as words:
            words.write(stdin)
            words.seek(0)
            with subprocess.Popen(argv, stdin=words, stdout=output, stderr=output, env=_environment()) as process:
                try:
                    status = _attend(process, patience, look)
                finally:
                    process.kill()
            output.seek(0)
            return Result(argv, status, output.read().decode("utf-8", "replace"))
    except subprocess.TimeoutExpired as error:
        raise OverdueFault(f"{argv[0]} has got no further for {duration(patience)}") from error
    except OSError as error:
        raise _not_started(error, argv) from error


def _attend(process: "subprocess.Popen[bytes]", patience: float, look: Callable[[], int]) -> int:
    """Wait for a program; returns its status. Raises TimeoutExpired if `look` says the same for `patience` seconds."""
    place, since = look(), time.monotonic()
    while True:
        try:
            return process.wait(_PAUSE)
        except subprocess.TimeoutExpired:
            if (now := look()) != place:
                place, since = now, time.monotonic()
            elif time.monotonic() - since >= patience:
                raise


def _written(process: "subprocess.Popen[bytes]") -> int:
    """How many bytes a process has written (proc_pid_io(5)); 0 where nobody tells."""
    try:
        with open(f"/proc/{process.pid}/io", encoding="ascii") as figures:
            return next((int(line.split()[1]) for line in figures if line.startswith("wchar")), 0)
    except OSError:
        return 0


def pipe(
    source: tuple[str, ...], sink: tuple[str, ...], preamble: bytes, patience: float, watch: Callable[[int], None]
) -> Result:
    """Have one program read what another writes, after `preamble`, which has to fit into the pipe (64 KiB: pipe(7)).

    Good only if both end with 0. `watch` is told each second how many bytes there were. Raises MachineFault if one
    cannot be started, OverdueFault if there are no more of them for `patience` seconds.
    """
    environment = _environment()

    def look() -> int:
        watch(size := _written(writer))
        return size

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
                    status = _attend(writer, patience, look) or reader.wait(patience)
                finally:
                    writer.kill()
                    reader.kill()
            output.seek(0)
            return Result((*source, "|", *sink), status, output.read().decode("utf-8", "replace"))
    except subprocess.TimeoutExpired as error:
        raise OverdueFault(f"{source[0]} has got no further for {duration(patience)}") from error
    except OSError as error:
        raise _not_started(error, (error.filename or source[0],)) from error


def run_checked(
    argv: tuple[str, ...], timeout: float = 60.0, env: dict[str, str] | None = None, *, stdin: bytes = b""
) -> Result:
    """Run a program that has to succeed. Raises HostFault with the end of its output."""
    result = run(argv, timeout, env, stdin=stdin)
    if not result.ok:
        raise result.fault(f"{' '.join(argv)} failed with exit status {result.status}:\n{result.tail}")
    return result


def installed(program: str) -> bool:
    """Whether a program can be found on PATH."""
    return shutil.which(program) is not None


def answer_as(user: str, question: Callable[[], object]) -> Any:
    """What `question` returns to a process that has this user's rights and groups, and no others; JSON has to hold it.

    Raises HostFault where there is no such user, or the process has died without an answer.
    """
    import json
    import pwd

    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise HostFault(f"there is no user {user!r}", "a run makes the products' accounts: rolecall refresh") from None
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.initgroups(user, account.pw_gid)
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
            files.write_all(writer, json.dumps(question()).encode())
        finally:
            os._exit(0)  # nothing of what this process has from its parent may be done twice, such as removing files
    os.close(writer)
    with os.fdopen(reader) as answers:
        text = answers.read()
    os.waitpid(pid, 0)
    if not text:
        raise HostFault(f"the process of {user!r} ended without an answer", "as root it can take another user's rights")
    return json.loads(text)
