"""A daemon as daemons are: at its start, and again with every USR1, it reads all its files by their names.

usage: reader.py FOLDER OWN. It appends a line to OWN.log each time: what it was told (`start` or `reload`), the
editions of its files and of the releases that they name, and a checksum of all that it has read. OWN.pid is its pid
file; its start is over once that is there. It is a program of the tests, and knows nothing of the agent.
"""

import fcntl
import os
import signal
import sys
import time
import zlib


def files_of(folder: str) -> list[str]:
    """All files below a folder, by name."""
    found = []
    for name in sorted(os.listdir(folder)):
        path = f"{folder}/{name}"
        found += files_of(path) if os.path.isdir(path) else [path]
    return found


def everything(folder: str) -> str:
    """The editions and the checksum of all files, and of the releases that they name."""
    editions, sum_, pending = set(), 0, files_of(folder)
    for path in pending:  # grows as it goes
        with open(path, "rb") as file:
            text = file.read()
        sum_ = zlib.crc32(text, zlib.crc32(os.path.basename(path).encode(), sum_))
        for line in text.decode().splitlines():
            word, _, value = line.partition(" ")
            if word == "edition":
                editions.add(value)
            elif word == "release":
                pending += files_of(value)
    return f"{','.join(sorted(editions))} {len(pending)} files {sum_:08x}"


def log(own: str, event: str, folder: str) -> None:
    try:
        seen = everything(folder)
    except OSError as error:
        seen = f"cannot read {error.filename}: {error.strerror}"
    line = os.open(f"{own}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(line, f"{event} {seen}\n".encode())
    os.close(line)


def main() -> None:
    folder, own = sys.argv[1:]
    signals = {signal.SIGUSR1, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    lock = os.open(f"{own}.lock", os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        log(own, "start", folder)
        parent = os.fork() != 0
    except BlockingIOError:
        parent = True  # it is being started already: another start does no harm
    if parent:
        while not os.path.exists(f"{own}.pid"):
            time.sleep(0.001)
        return
    os.setsid()
    for fd in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), fd)
    with open(f"{own}.pid.new", "w", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    os.rename(f"{own}.pid.new", f"{own}.pid")
    while signal.sigwait(signals) == signal.SIGUSR1:
        log(own, "reload", folder)
    os.unlink(f"{own}.pid")


if __name__ == "__main__":
    main()
