"""A real Munin node with the plugins and the configuration of a node in a folder; only root can start one."""

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from box import Box
from patience import on_this_machine

# munin-node knows one folder of plugins, and one of what they run as.
_BESIDE = """for part in plugins plugin-conf.d; do
  [ ! -d "$1/$part" ] || mount --bind "$1/$part" "/etc/munin/$part"
done
exec munin-node --foreground --config "$1/munin-node.conf"
"""


@contextmanager
def munin_node(box: Box) -> Iterator[tuple[str, int]]:
    """It runs, and answers there."""
    folder = box.machine.root / "etc/munin"
    told: dict[str, Any] = dict(
        re.findall(r"^(host|port) (\S+)", (folder / "munin-node.conf").read_text(), re.MULTILINE)
    )
    where = ("127.0.0.1" if told["host"] == "*" else told["host"], int(told["port"]))
    argv = ["unshare", "--mount", "--", "sh", "-c", _BESIDE, "sh", str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as daemon:
        try:
            end = time.monotonic() + on_this_machine(30)
            while not _answers(where):
                assert time.monotonic() < end, "munin-node does not answer"
                time.sleep(0.1)
            yield where
        finally:
            daemon.terminate()


def _answers(where: tuple[str, int]) -> bool:
    try:
        socket.create_connection(where, 1).close()
    except OSError:
        return False
    return True


def ask(where: tuple[str, int], command: str, plugin: str) -> str:
    """What it says to `fetch` or `config`."""
    with socket.create_connection(where, 30) as connection:
        connection.sendall(f"cap multigraph\n{command} {plugin}\nquit\n".encode())
        _, _, answer = connection.makefile().read().partition("\n")
    return answer.partition("\n")[2].removesuffix(".\n")


def fetched(where: tuple[str, int], plugin: str) -> dict[str, float | None]:
    """`GRAPH.FIELD` → value, None for an unknown one. Every field has to be in the plugin's `config` too."""
    values = dict(_fields(ask(where, "fetch", plugin), plugin, "value"))
    assert values.keys() == dict(_fields(ask(where, "config", plugin), plugin, "label")).keys()
    return {name: None if value == "U" else float(value) for name, value in values.items()}


def _fields(text: str, plugin: str, attribute: str) -> Iterator[tuple[str, str]]:
    graph = plugin
    for line in text.splitlines():
        if line.startswith("multigraph "):
            graph = line.split()[1]
        elif at := re.fullmatch(rf"(\w+)\.{attribute} (.*)", line):
            yield f"{graph}.{at[1]}", at[2]
