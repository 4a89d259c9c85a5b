"""Clients of a database while its servers fail: what was confirmed to them, when, and by whom."""

import select
import subprocess
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

from database_fleet import ADMIN, WRITER, Fleet
from patience import wait_until


@dataclass(frozen=True)
class Confirmation:
    """A write that a server has confirmed."""

    key: str
    server: str
    begin: float  # by the monotonic clock, in seconds
    end: float


class Session:
    """A connection to one server."""

    def __init__(self, fleet: Fleet, server: str, user: str) -> None:
        argv = [*ADMIN, f"--user={user}", f"--socket={fleet.socket(server)}"]
        self.server = server
        self.client = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
        )

    def send(self, statement: str) -> None:
        """Its answer may come or not."""
        assert self.client.stdin
        try:
            self.client.stdin.write(f"{statement};\n")
        except BrokenPipeError:
            return

    def answer(self, seconds: float) -> str | None:
        """A line of what it answers, '' if it is gone; None if it has not answered yet."""
        assert self.client.stdout
        if not select.select([self.client.stdout], [], [], seconds)[0]:
            return None
        return self.client.stdout.readline().strip()

    def end(self) -> None:
        self.client.kill()
        self.client.wait()
        for stream in (self.client.stdin, self.client.stdout):
            assert stream
            try:
                stream.close()
            except BrokenPipeError:
                continue


@dataclass
class Traffic:
    """Writers that follow the document, as products do, and one that stays at the server where it began; each key is
    written once. A watcher sees who is open; `both` is what it saw of two servers that were so at the same time.
    """

    fleet: Fleet
    target: str  # the server that writers turn to
    label: str  # of its keys
    writers: int = 2
    confirmations: list[Confirmation] = field(default_factory=list)
    both: list[tuple[str, ...]] = field(default_factory=list)
    over: bool = False

    def __enter__(self) -> Self:
        self._unanswered: list[tuple[Session, str, float]] = []
        self._threads = [threading.Thread(target=self._write, args=(n,)) for n in range(self.writers + 1)]
        self._threads.append(threading.Thread(target=self._watch))
        for thread in self._threads:
            thread.start()
        wait_until(lambda: len(self.confirmations) > 20, "writes are confirmed")
        return self

    def __exit__(self, *_: object) -> None:
        self.over = True
        for thread in self._threads:
            thread.join()
        for session, key, begin in self._unanswered:
            if session.answer(0.2) == key:
                self.confirmations.append(Confirmation(key, session.server, begin, time.monotonic()))
            session.end()

    def _write(self, writer: int) -> None:
        stays, number = writer == self.writers, 0
        first = self.target
        while not self.over:
            server = first if stays else self.target
            session, key, begin = Session(self.fleet, server, WRITER), "", 0.0
            answer: str | None = ""
            while not self.over and (stays or server == self.target):
                number += 1
                key, begin = f"{self.label}-{writer}-{number}", time.monotonic()
                session.send(f"INSERT INTO blog.t (k) VALUES ('{key}'); SELECT '{key}'")
                while (answer := session.answer(0.2)) is None and not self.over and (stays or server == self.target):
                    pass
                if answer != key:
                    break
                self.confirmations.append(Confirmation(key, server, begin, time.monotonic()))
                time.sleep(0.05)
            if answer is None:
                self._unanswered.append((session, key, begin))  # it may be confirmed yet
            else:
                session.end()
                time.sleep(0.1)

    def _watch(self) -> None:
        sessions: dict[str, Session] = {}
        while not self.over:
            takers = [name for name in self.fleet.nodes if self._takes_writes(sessions, name)]
            if len(takers) > 1 and all(self._takes_writes(sessions, name) for name in takers):
                self.both.append(tuple(takers))
            time.sleep(0.05)
        for session in sessions.values():
            session.end()

    def _takes_writes(self, sessions: dict[str, Session], name: str) -> bool:
        if name not in sessions:
            if not self.fleet.socket(name).exists():
                return False
            sessions[name] = Session(self.fleet, name, "root")
        sessions[name].send("SELECT @@read_only")
        answer = sessions[name].answer(0.5)
        if not answer:
            sessions.pop(name).end()
        return answer == "0"

    def since(self, moment: float) -> list[Confirmation]:
        """Writes that began after it, and were confirmed."""
        return [item for item in self.confirmations.copy() if item.begin > moment]

    def outage(self, moment: float) -> float:
        """Seconds from a moment to the end of the longest time after it in which nothing was confirmed."""
        ends = [moment, *sorted(item.end for item in self.confirmations if item.end > moment)]
        gaps = [(end - begin, end) for begin, end in pairwise(ends)]
        return max(gaps)[1] - moment if gaps else float("inf")

    def two_writers(self) -> list[Confirmation]:
        """Writes that a server has confirmed although they began after a later one had confirmed its first."""
        items = sorted(self.confirmations, key=lambda item: item.end)
        order = list(dict.fromkeys(item.server for item in items))
        firsts = {name: next(item.end for item in items if item.server == name) for name in order}
        return [
            item for item in items if any(item.begin > firsts[later] for later in order[order.index(item.server) + 1 :])
        ]
