"""The process behind program.py: it imports everything once, and becomes the program for each command that it is told.

For a command three processes matter: this one, which goes on listening; its child, which waits for the program and
tells its number and how it ended; and the program.
"""

import atexit
import ctypes
import gc
import grp
import importlib
import io
import json
import os
import pkgutil
import pwd
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).parent / "data/fleet.json"
CLONE_NEWNET = 0x40000000
LIBRARIES = ("boto3", "botocore.session", "jinja2", "psutil", "requests", "rich.console", "rich.table", "rich.progress")


def prepare() -> None:
    """Import all that a command could import, and compile the templates of the roles."""
    import rolecall

    for name in (*LIBRARIES, *(module.name for module in pkgutil.walk_packages(rolecall.__path__, "rolecall."))):
        importlib.import_module(name)
    from compiled import templates_are_compiled_once
    from rolecall.operator import offline

    templates_are_compiled_once()
    fleet = offline.read_fleet(EXAMPLE)
    for server in fleet.servers:
        offline.generation(fleet, server, "debian", None)
    gc.collect()
    gc.freeze()


def next_program(orders: socket.socket) -> dict[str, Any]:
    """Serve until this is the process that has to become the program; returns what it is told to be."""
    while True:
        size, descriptors, _, _ = socket.recv_fds(orders, 4, 3)
        if not size:
            os._exit(0)
        body = b""
        while missing := int.from_bytes(size, "big") - len(body):
            body += orders.recv(missing) or os._exit(0)  # nobody is there any more
        if os.fork() == 0:
            orders.close()
            answer, out, err = descriptors
            pid = os.fork()
            if pid == 0:
                os.close(answer)
                os.dup2(out, 1)
                os.dup2(err, 2)
                os.close(out)
                os.close(err)
                return dict(json.loads(body))
            os.write(answer, f"{pid}\n".encode())
            os.write(answer, f"{os.waitpid(pid, 0)[1]}\n".encode())
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)
        reap()


def reap() -> None:
    """Children that have told all."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def become(request: dict[str, Any]) -> None:
    """What an interpreter has at its start."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which whoever started this process may have had ignored
    os.chdir(request["cwd"])
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    if network := os.environ.pop("ROLECALL_TEST_NETWORK", ""):  # the namespace of a machine of its own
        with open(network) as space:
            if ctypes.CDLL(None, use_errno=True).setns(space.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"setns {network}")
    if "NSS_WRAPPER_PASSWD" in os.environ:
        wrap_names()
    sys.argv = request["argv"]
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8", write_through=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8", "backslashreplace", write_through=True)


def wrap_names() -> None:
    """What libnss_wrapper.so does, which has to be there when a process begins: names are those of two files."""

    def entries(variable: str, numbers: tuple[int, ...]) -> list[tuple[Any, ...]]:
        rows = [line.split(":") for line in Path(os.environ[variable]).read_text().splitlines()]
        return [tuple(int(text) if at in numbers else text for at, text in enumerate(row)) for row in rows]

    def users() -> list[pwd.struct_passwd]:
        return [pwd.struct_passwd(row) for row in entries("NSS_WRAPPER_PASSWD", (2, 3))]

    def groups() -> list[grp.struct_group]:
        rows = entries("NSS_WRAPPER_GROUP", (2,))
        return [grp.struct_group((*row[:3], row[3].split(",") if row[3] else [])) for row in rows]

    def by(read: Callable[[], list[Any]], at: int) -> Any:
        def lookup(wanted: object) -> Any:
            for entry in read():
                if entry[at] == wanted:
                    return entry
            raise KeyError(f"not found: {wanted!r}")

        return lookup

    def group_list(user: str, group: int) -> list[int]:
        return [group, *(entry.gr_gid for entry in groups() if user in entry.gr_mem and entry.gr_gid != group)]

    pwd.getpwall, pwd.getpwnam, pwd.getpwuid = users, by(users, 0), by(users, 2)
    grp.getgrall, grp.getgrnam, grp.getgrgid = groups, by(groups, 0), by(groups, 2)
    os.getgrouplist = group_list
    os.initgroups = lambda user, group: os.setgroups(group_list(user, group))


def end(main: Callable[[], int]) -> None:
    """Run the program to its end, but leave out what an interpreter does last: to free every object there is."""
    status = 0
    try:
        sys.exit(main())
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - as an interpreter does with whatever is left
        sys.excepthook(*sys.exc_info())
        status = 1
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    os._exit(status)


if __name__ == "__main__":
    prepare()
    become(next_program(socket.socket(fileno=int(sys.argv[1]))))
    from rolecall.__main__ import main

    end(main)
