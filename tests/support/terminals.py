"""What a person sees: the program on a terminal of a certain width."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence

from box import ROLECALL

# One interpreter imports everything, and forks itself for each command.
_EACH = """
import json, os, sys
from rolecall import __main__
from rolecall.cli import fleet_commands, node_commands
for words in json.loads(sys.argv[1]):
    print("\x1e", flush=True)
    if not (child := os.fork()):
        sys.argv[1:] = words
        sys.exit(__main__.main())
    os.waitpid(child, 0)
"""


def on_a_terminal(width: int, *words: str, **env: str) -> str:
    """What a terminal of this width shows of a command that ends well, with its escape sequences."""
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "FORCE_COLOR")}
    return _shown(width, [*ROLECALL, *words], {**plain, "TERM": "xterm-256color", **env})


def each_on_a_terminal(width: int, commands: Sequence[Sequence[str]], env: Mapping[str, str]) -> list[str]:
    """What a terminal of this width shows of each of these commands, without colours, however they end."""
    argv = [sys.executable, "-c", _EACH, json.dumps(list(commands))]
    environment = {**env, "TERM": "xterm-256color", "NO_COLOR": "1"}
    shown = _shown(width, argv, {name: value for name, value in environment.items() if name != "COLUMNS"})
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown).split("\x1e\n")[1:]


def _shown(width: int, argv: Sequence[str], env: Mapping[str, str]) -> str:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # nobody has the other end any more
                break
            if not part:
                break
            shown += part
    os.close(ours)
    assert process.returncode == 0, shown.decode()
    return shown.decode().replace("\r\n", "\n")
