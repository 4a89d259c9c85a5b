"""Those who look at the demo's sites."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rolecall.demo import site
from rolecall.demo.machine import Machine


def get(machine: Machine, host: str, path: str = "/") -> tuple[int, str]:
    """GET a page of the node."""
    connection = http.client.HTTPConnection("127.0.0.1", machine.port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@dataclass
class Seen:
    """What the visitors saw."""

    answered: int = 0
    lost: list[str] = field(default_factory=list)


@contextmanager
def traffic(machine: Machine) -> Iterator[Seen]:
    """Two visitors who go on asking for both sites."""
    seen, over, lock = Seen(), threading.Event(), threading.Lock()

    def visit(host: str) -> None:
        while not over.is_set():
            try:
                status, _ = get(machine, host)
                problem = "" if status == 200 else f"{host} answered {status}"
            except (OSError, http.client.HTTPException) as error:
                problem = f"{host}: {error!r}"
            with lock:
                seen.answered += 1
                seen.lost.extend([problem] if problem else [])

    visitors = [threading.Thread(target=visit, args=(host,)) for host in (site.BLOG, site.VIDEO)]
    for one in visitors:
        one.start()
    try:
        yield seen
    finally:
        over.set()
        for one in visitors:
            one.join()
