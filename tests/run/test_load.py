"""The issue's promise under load: through refreshes, deploys and a roll-back no request fails, none sees two releases.

Every answer tells its configuration and its release, in the headers by Apache and in the page by the code on disk and
by its environment. They must agree, and together be one of the generations that were ever committed.
"""

import http.client
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from box import Box
from rolecall.host.generations import Generations
from rolecall.render.generation import Generation
from sampling import LONG

REQUESTS, PAUSE = (20_000, 0.003) if LONG else (5_000, 0.01)  # at least so many, by each client so often
PAGE = """<?php
header('Content-Type: text/plain');
usleep(%d);
echo 'release=', trim(file_get_contents(__DIR__ . '/../VERSION')), ' config=', $_SERVER['ROLECALL_CONFIG'],
  ' master=', $_SERVER['DATABASE_BLOG_MASTER_NAME'], ' round=', $_SERVER['ROUND'] ?? '', "\\n";
"""
# Works until a file is there, and for two seconds at least; then it needs one more file of its release.
SLOW = """<?php
$least = microtime(true) + 2;
require 'index.php';
touch(ini_get('session.save_path') . '/begun');
while (microtime(true) < $least || !file_exists($_GET['until'])) { clearstatcache(); usleep(10000); }
require '../late.php';
"""
BIG = 8 * 2**20
EVENTS = "promote round promote deploy round deploy promote fail round promote deploy promote round round"


class Client:
    """Somebody who asks a site for a page again and again; every second client keeps its connections."""

    def __init__(self, port: int, host: str, *, keep: bool, pause: float = 0.0) -> None:
        self.port, self.host, self.keep, self.pause = port, host, keep, pause
        self.answers: Counter[tuple[str, int, str, str, str]] = Counter()
        self.failures: list[str] = []
        self.reconnected, self.longest = 0, 0.0
        self.connection: http.client.HTTPConnection | None = None

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            began = time.monotonic()
            try:
                self.ask()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{self.host}: {error!r}")
                self.close()
            self.longest = max(self.longest, time.monotonic() - began)
            time.sleep(self.pause)
        self.close()

    def ask(self) -> None:
        reused = self.connection is not None
        try:
            self.once()
        except (ConnectionError, http.client.BadStatusLine):
            if not reused:
                raise
            # A server may close an idle connection at any time (RFC 9112, 9.5): that is no failed request.
            self.close()
            self.reconnected += 1
            self.once()

    def once(self) -> None:
        connection = self.connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        self.connection = connection
        connection.request("GET", "/", headers={"Host": self.host})
        answer = connection.getresponse()
        text = answer.read().decode()
        config, release = (answer.headers.get(f"X-Rolecall-{name}", "") for name in ("Config", "Release"))
        self.answers[self.host, answer.status, config, release, text] += 1
        if not self.keep or answer.will_close:
            self.close()

    def close(self) -> None:
        if self.connection:
            self.connection.close()
        self.connection = None


class Load:
    """All clients together, for as long as the block goes on."""

    def __init__(self, clients: list[Client]) -> None:
        self.clients, self.began, self.seconds = clients, time.monotonic(), 0.0

    @property
    def answers(self) -> Counter[tuple[str, int, str, str, str]]:
        return sum((client.answers.copy() for client in self.clients), Counter())

    @property
    def failures(self) -> list[str]:
        """Everything that was no answer, and every answer that was not 200."""
        bad = [f"{count} times {key}" for key, count in self.answers.items() if key[1] != 200]
        return [failure for client in self.clients for failure in client.failures] + bad

    def figures(self) -> dict[str, float]:
        requests = self.answers.total()
        return {
            "requests": requests, "requests/s": round(requests / self.seconds), "failed": len(self.failures),
            "reconnected when idle": sum(client.reconnected for client in self.clients),
            "longest wait in ms": round(max(client.longest for client in self.clients) * 1000),
        }  # fmt: skip


@contextmanager
def load(box: Box, sites: str, *, pause: float = 0.0) -> Iterator[Load]:
    """Clients of these sites, one each, by turns with a new connection a request and with one that is kept."""
    hosts = [f"{name}.example.com" for name in sites.split()]
    clients = [Client(box.machine.port, host, keep=bool(n % 2), pause=pause) for n, host in enumerate(hosts)]
    stop, load = threading.Event(), Load(clients)
    threads = [threading.Thread(target=client.run, args=(stop,)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        load.seconds = time.monotonic() - load.began


def deploy(box: Box, name: str, version: str, *, health: str = "ok", pause: int = 0) -> None:
    """Give a product another release, and leave the rest of it as it was."""
    php = {
        "public/index.php": PAGE % pause,
        "public/slow.php": SLOW,
        "late.php": "<?php echo 'late=', trim(file_get_contents(__DIR__ . '/VERSION')), \"\\n\";",
    }
    static = {"public/index.html": f"release={version}\n", "public/big.bin": f"{version:>8}" * (BIG // 8)}
    product = box.document["products"].get(name)
    if product is None:
        box.product(name, runtime="static" if name == "video" else "php")
        product = box.document["products"][name]
    own = php if product["runtime"] == "php" else static
    product["release"] = box.release(name, version, {"public/health": health, "VERSION": f"{version}\n", **own})


def promote(box: Box) -> None:
    """The database's master and its candidate change places."""
    database = box.document["databases"]["blog"]
    database["epoch"] += 1
    database["master"], database["candidate"] = database["candidate"], database["master"]


def publish(box: Box, ok: bool | int = True) -> str:
    box.publish()
    return box.rolecall("refresh", ok=ok).stdout


def truth(generation: Generation) -> dict[str, tuple[str, ...]]:
    """What each site has to answer in a generation: configuration, release and page."""
    tag = next(unit.tag for unit in generation.units if unit.name == "apache")
    versions = {use.product: use.version for use in generation.releases}
    vhost = generation.file("apache/50-blog.conf")
    assert vhost
    variables = dict(re.findall(r'SetEnv "?([A-Z_]+)"? "?([^"\n]*)"?', vhost.text))
    page = (f"release={versions['blog']} config={tag} master={variables['DATABASE_BLOG_MASTER_NAME']} "
            f"round={variables.get('ROUND', '')}\n")  # fmt: skip
    return {
        "blog.example.com": (tag, f"blog/{versions['blog']}", page),
        "video.example.com": (tag, f"video/{versions['video']}", f"release={versions['video']}\n"),
    }


class Published:
    """Every generation that was ever committed, read from disk before it is pruned."""

    def __init__(self, state: Path) -> None:
        self.generations, self.known = Generations(state), dict[str, Mapping[str, tuple[str, ...]]]()

    def look(self) -> None:
        for name in self.generations.ids():
            generation = self.generations.load(name)
            if generation and not generation.empty:
                self.known[name] = truth(generation)

    def strangers(self, answers: Counter[tuple[str, int, str, str, str]]) -> list[str]:
        """The answers that no generation gives."""
        expected = {(host, *answer) for sites in self.known.values() for host, answer in sites.items()}
        return [f"{count} times {key}" for key, count in answers.items() if (key[0], *key[2:]) not in expected]


def test_no_request_fails_and_none_is_a_mix_through_refreshes_deploys_and_a_roll_back(
    box: Box, record_property: Callable[[str, object], None]
) -> None:
    deploy(box, "blog", "1")
    deploy(box, "video", "1")
    box.publish()
    box.boot()
    published = Published(box.state)
    published.look()
    version, counts = 1, Counter[str]()
    with load(box, "blog blog video video blog blog", pause=PAUSE) as clients:
        for event in EVENTS.split():
            counts[event] += 1
            if event == "promote":
                promote(box)
            elif event == "round":
                box.document["products"]["blog"]["environment"] = {"ROUND": str(counts[event])}
            elif event == "deploy":
                version += 1
                deploy(box, "blog", str(version))
                deploy(box, "video", str(version))
            else:
                before = box.snapshot()
                deploy(box, "blog", "bad", health="down")
            output = publish(box, ok=1 if event == "fail" else True)
            assert output.startswith("rolled back: " if event == "fail" else "ready: ")
            published.look()
            if event == "fail":
                box.document = {**before, "serial": box.document["serial"]}
        while clients.answers.total() < REQUESTS:
            time.sleep(0.1)
    events = {
        "refreshes": counts["promote"] + counts["round"],
        "deploys": counts["deploy"],
        "roll-backs": counts["fail"],
    }
    figures = {**events, "generations": len(published.known), **clients.figures()}
    print(f"\nunder load: {figures}")
    for name, figure in figures.items():
        record_property(f"load: {name}", figure)
    assert events == {"refreshes": 10, "deploys": 3, "roll-backs": 1}
    assert {"failed": clients.failures, "mixed": published.strangers(clients.answers)} == {"failed": [], "mixed": []}
    configurations = {key[2] for key in clients.answers}
    assert len(configurations) > 10, "the load was there while the generations came and went"
    assert "round=5\n" in box.get("blog.example.com")[2]
    assert box.json("status")["healthy"]


def test_a_request_that_began_before_a_deploy_ends_with_the_old_release_whole(box: Box) -> None:
    deploy(box, "blog", "1")
    deploy(box, "video", "1")
    box.publish()
    box.boot()
    config = box.get("blog.example.com")[1]["X-Rolecall-Config"]
    deployed, begun = box.machine.root / "srv/deployed", box.state / "private/blog/begun"
    page = begin(box, "blog.example.com", f"/slow.php?until={deployed}")
    film = begin(box, "video.example.com", "/big.bin").getresponse()
    wait_for(begun)
    deploy(box, "blog", "2")
    deploy(box, "video", "2")
    assert publish(box).startswith("ready: ")
    assert box.get("blog.example.com")[2].startswith("release=2 ")
    assert box.get("video.example.com")[2] == "release=2\n"
    deployed.touch()
    answer = page.getresponse()
    assert (answer.status, answer.headers["X-Rolecall-Release"]) == (200, "blog/1")
    assert answer.read().decode() == f"release=1 config={config} master=db1 round=\nlate=1\n"
    assert (film.status, film.headers["X-Rolecall-Release"]) == (200, "video/1")
    assert film.read() == f"{1:>8}".encode() * (BIG // 8)


def begin(box: Box, host: str, path: str) -> http.client.HTTPConnection:
    """Send a request. What comes back waits in a small buffer, so that a large answer waits in Apache."""
    connection = http.client.HTTPConnection("127.0.0.1", box.machine.port, timeout=60)
    connection.connect()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
    connection.request("GET", path, headers={"Host": host})
    return connection


def wait_for(path: Path, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.01)


def test_a_product_that_comes_or_goes_costs_the_others_no_request(
    box: Box, record_property: Callable[[str, object], None]
) -> None:
    deploy(box, "blog", "1", pause=4000)
    deploy(box, "video", "1")
    box.publish()
    box.boot()
    with load(box, "blog blog video blog blog video", pause=0.01) as clients:
        for _ in range(2):
            box.product("shop", checks=[{"http": "/", "contains": "release=1"}])
            publish(box)
            assert box.get("shop.example.com")[0] == 200
            del box.document["products"]["shop"]
            box.document["servers"]["web1"]["products"].remove("shop")
            publish(box)
            assert box.get("shop.example.com")[0] == 404
    figures = {"php-fpm reloads": 4, **clients.figures()}
    print(f"\nproducts come and go: {figures}")
    for name, figure in figures.items():
        record_property(f"products come and go: {name}", figure)
    assert not clients.failures
    log = (box.machine.root / "var/log/php8.2-fpm.log").read_text()
    assert log.count("reloading: execvp") == 4
