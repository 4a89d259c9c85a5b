"""Runs the program `rolecall` hundreds of times without paying for a Python that starts and imports each time.

One process a test process has everything imported, and forks itself for each command: the child gets the command's own
arguments, environment, folder and standard streams, and is the program from `main()` to the end of the interpreter.
What is measured of an interpreter's start, or has to be seen by strace, is run by `box.ROLECALL` instead.
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

SUPPORT = Path(__file__).parent
_servers: dict[int, socket.socket] = {}  # by the process that has started it: a fork of this one needs its own


_one_at_a_time = threading.Lock()


def rolecall(
    words: Sequence[str], env: Mapping[str, str] | None = None, timeout: float = 120, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `rolecall WORDS` to its end, with nothing on standard input. Raises subprocess.TimeoutExpired."""
    argv = ["rolecall", *map(str, words)]
    env = dict(os.environ if env is None else env)
    if any(os.environ.get(name) != value for name, value in env.items() if name.startswith("PYTHON")):
        run = [sys.executable, "-m", *argv]  # such as another place of modules: an interpreter reads it at its start
        return subprocess.run(
            run, env=env, cwd=cwd, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL
        )
    request = {"argv": argv, "env": env, "cwd": str(cwd or Path.cwd()), "umask": _umask()}
    answer, theirs = socket.socketpair()
    with answer, theirs, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        body = json.dumps(request).encode()
        with _one_at_a_time:
            ours = _server()
            socket.send_fds(ours, [len(body).to_bytes(4, "big")], [theirs.fileno(), out.fileno(), err.fileno()])
            ours.sendall(body)
        theirs.close()
        with answer.makefile("r") as lines:
            pid = int(lines.readline())
            answer.settimeout(timeout)
            try:
                status = int(lines.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(argv, timeout) from None
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode())
    return subprocess.CompletedProcess(argv, os.waitstatus_to_exitcode(status), *texts)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _server() -> socket.socket:
    me = os.getpid()
    if me not in _servers:
        ours, theirs = socket.socketpair()
        argv = [sys.executable, str(SUPPORT / "program_server.py"), str(theirs.fileno())]
        process = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        _servers[me] = ours
        atexit.register(_end, me, process)
    return _servers[me]


def _end(starter: int, process: "subprocess.Popen[bytes]") -> None:
    if starter == os.getpid():
        _servers.pop(starter).close()
        process.wait(10)
