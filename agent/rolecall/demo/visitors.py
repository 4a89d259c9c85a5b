"""Those who look at the demo's sites."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rolecall.demo import site
from rolecall.demo.folder_node import FolderNode


def get(node: FolderNode, host: str, path: str = "/") -> tuple[int, str]:
    """GET a page of the node."""
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


_PAUSE = 0.02  # seconds between two pages of a visitor, who shares this machine with the demo


@dataclass
class Answers:
    """What the visitors got: how many answers, and what became of those that were lost."""

    count: int = 0
    lost: list[str] = field(default_factory=list)


@contextmanager
def traffic(node: FolderNode) -> Iterator[Answers]:
    """Two visitors who keep asking, one for each site."""
    answers, over, lock = Answers(), threading.Event(), threading.Lock()

    def visit(host: str) -> None:
        while not over.is_set():
            try:
                status, _ = get(node, host)
                problem = "" if status == 200 else f"{host} answered {status}"
            except (OSError, http.client.HTTPException) as error:
                problem = f"{host}: {error!r}"
            with lock:
                answers.count += 1
                answers.lost.extend([problem] if problem else [])
            over.wait(_PAUSE)

    visitors = [threading.Thread(target=visit, args=(host,)) for host in (site.BLOG, site.VIDEO)]
    for visitor in visitors:
        visitor.start()
    try:
        yield answers
    finally:
        over.set()
        for visitor in visitors:
            visitor.join()
