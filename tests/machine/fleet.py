"""A whole fleet in one world, from one document: each server a machine of its own, with its role's image and address.

The world's metadata service knows each machine by the address that asks. Their timers come every ten seconds instead
of every minute, each at a second of its own; and what differs from an operator's settings is said in NAMES.
"""

import copy
import itertools
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from machine.container import READY, TIMER, Machine, machine_in
from machine.world import NODE, REGION, World
from sampling import LONG
from servers.http import Answer, Request
from servers.imds import Imds, facts
from servers.s3 import AccessKey
from signed import Keys

Layers = Callable[[str], Path]  # role → the image

ADDRESSES = {
    "web1": "10.77.0.11", "web2": "10.77.0.12", "db1": "10.77.0.21", "db2": "10.77.0.22", "db3": "10.77.0.23",
    "db4": "10.77.0.24", "cache1": "10.77.0.31", "mon1": "10.77.0.90",
}  # fmt: skip
# A short run has no snapshot server, no cache and no monitor: images and boots are what it takes longest to make.
BOOTED = tuple(ADDRESSES) if LONG else ("web1", "web2", "db1", "db2", "db3")
ROLES = {"web": "web", "db": "database", "cache": "memcached", "mon": "monitor"}
DATABASES = tuple(name for name in BOOTED if name.startswith("db"))
SECRETS = {"replication": "repl'\\ \"1", "blog-db": "s3cret'\\"}
# A container sees the memory of its host; and nobody wants to wait for a minute.
PARAMETERS = {"database": {"buffer_pool_mb": 24}, "monitor": {"check_interval": 8, "retry_interval": 2}}
SLOW = {"db1": 20, "web2": 20}  # seconds: the first master hears of everything last, and who writes to it
TIMES = "[Timer]\nOnCalendar=\nOnCalendar=*:*:{first}/{every}\nRandomizedDelaySec=0\n"
HOST = "blog.example.com"
APPLICATION = (Path(__file__).parent / "products/guestbook.php").read_text()


class FleetImds(Imds):
    """Tells each machine who it is, by the address that asks."""

    def __init__(self, address: str) -> None:
        super().__init__(address=address, port=80)
        self.machines: dict[str, Imds] = {}

    def answer(self, request: Request) -> Answer:
        return self.machines[request.asker].answer(request)


class Fleet:
    """The machines by name, and their document."""

    def __init__(self, world: World, images: Layers, folder: Path) -> None:
        self.world, self.images, self.folder = world, images, folder
        self.machines: dict[str, Machine] = {}
        self.ends = ExitStack()
        # systemd-nspawn dies with the thread that started it: these stay until the end.
        self.hands = self.ends.enter_context(ThreadPoolExecutor(16))
        document = world.document
        database = document["databases"]["blog"]
        known = dict(ADDRESSES)
        if database["snapshot"] not in BOOTED:
            del known[database.pop("snapshot")]
        document["servers"] = {name: server(name, address) for name, address in known.items()}
        database["replication_password"] = "file:/etc/rolecall/secrets/replication"
        document["roles"] = copy.deepcopy(PARAMETERS)
        document["caches"] = {"sessions": {"servers": ["cache1"], "memory_mb": 16}}
        files = {"public/index.php": APPLICATION, "public/health": "ok", "VERSION": "1\n"}
        document["products"]["blog"] = {
            "hostnames": [HOST], "user": "p-blog", "release": world.release("blog", "1", files),
            "databases": ["blog"], "caches": ["sessions"], "checks": [{"http": "/health", "contains": "ok"}],
            "secrets": {"DB_PASSWORD": "file:/etc/rolecall/secrets/blog-db"},
        }  # fmt: skip
        for name in ("web1", "web2"):
            document["servers"][name]["products"] = ["blog"]

    def introduce(self, name: str, address: str, **parts: Any) -> None:
        """A machine of the cloud that was never booted, and its entry in the document, which is not published yet."""
        self.world.document["servers"][name] = {**server(name, address), **parts}
        self.add(name, address)

    def introduce_outside(self, name: str, address: str) -> None:
        """The same of a machine elsewhere: nothing tells it who it is but a file, nor gives it credentials."""
        here = {"role": role_of(name), "address": address, "zone": "office"}
        self.world.document["servers"][name] = here
        made = self._make(name, self.world.plug_in_elsewhere(f"{self.world.inside}-{name}", address))
        self.world.document["roles"]["monitor"]["outside"] = [name]
        made.setting('["ec2"]', '["file:/etc/rolecall/identity.json"]')
        made.setting("[aws]\n", f'[aws]\nregion = "{REGION}"\ncredentials = "file:/etc/rolecall/credentials"\n')
        made.write("/etc/rolecall/identity.json", json.dumps({"server": name, "address": address}))
        key = "aws_access_key_id = AKIAOFFICE\naws_secret_access_key = of-the-office\n"
        made.write("/etc/rolecall/credentials", f"[default]\n{key}", 0o600)
        self.world.s3.keys["AKIAOFFICE"] = AccessKey("of-the-office")

    def add(self, name: str, address: str) -> None:
        """A machine of the cloud that was never booted."""
        imds = self.world.imds
        assert isinstance(imds, FleetImds)
        imds.machines[address] = instance(name, address, imds)
        self._make(
            name, self.world.inside if address == NODE else self.world.plug_in(f"{self.world.inside}-{name}", address)
        )

    def _make(self, name: str, space: str) -> Machine:
        role = role_of(name)
        folder = self.folder / name
        folder.mkdir()
        images = [self.images(role)]
        made = self.ends.enter_context(machine_in(self.world, f"{self.world.inside}-{name}", images, folder, space))
        for secret, value in SECRETS.items():
            made.write(f"/etc/rolecall/secrets/{secret}", value, 0o600)
        every = SLOW.get(name, 10)
        made.drop_in(TIMER, TIMES.format(first=0 if name in SLOW else len(self.machines) % every, every=every))
        self.machines[name] = made
        return made

    def boot(self, *names: str) -> dict[str, float]:
        """Switch these on at the same time; returns when each was ready, in seconds from then."""
        began = time.monotonic()

        def ready(name: str) -> float:
            node = self.machines[name]
            node.boot()
            node.until(lambda: node.states(READY) == ["active"], 120)
            return time.monotonic() - began

        return dict(zip(names, self.hands.map(ready, names), strict=True))

    def each(self, names: Sequence[str], what: Callable[[str, Machine], Any]) -> dict[str, Any]:
        """Do something with several machines at the same time."""
        return dict(zip(names, self.hands.map(lambda name: what(name, self.machines[name]), names), strict=True))

    def sql(self, name: str, statement: str) -> str:
        """As the administrator of that server."""
        return self.machines[name].run(f"mariadb --batch --skip-column-names <<'END'\n{statement}\nEND").strip()

    def followed(self, *names: str, seconds: float = 60) -> None:
        """Wait until these have reported the document's serial, without logging in: their reports are in S3."""
        wanted, until = self.world.document["serial"], time.monotonic() + seconds
        for name in names:
            while (told := self.world.reported(name))["serial"] != wanted or told["exit_code"] != 0:
                assert time.monotonic() < until, f"{name}: {told}"
                time.sleep(0.1)

    # What visitors do

    def ask(self, name: str, path: str, data: str | None = None) -> tuple[int, str]:
        """A page of the product on a web server; `data` is posted."""
        return self.world.within(lambda: page(self.address(name), path, data))

    def address(self, name: str) -> str:
        """Of a server of the document."""
        return str(self.world.document["servers"][name]["address"])


def role_of(name: str) -> str:
    return ROLES[name.rstrip("0123456789")]


def server(name: str, address: str) -> dict[str, Any]:
    """An entry of the document: those with odd numbers are in zone a."""
    number = int(name.lstrip("abcdefghijklmnopqrstuvwxyz"))
    return {"role": role_of(name), "instance": instance_id(address), "address": address, "zone": "ba"[number % 2]}


def instance_id(address: str) -> str:
    return f"i-{int(address.rpartition('.')[2]):017x}"


def instance(name: str, address: str, common: Imds) -> Imds:
    """What a machine may ask about itself; all have the same role."""
    known = Imds(facts())
    here = known.data["dynamic"]["instance-identity"]["document"]
    here |= {"region": REGION, "privateIp": address, "instanceId": instance_id(address)}
    known.meta["placement"]["region"] = REGION
    known.meta.update({"instance-id": instance_id(address), "local-ipv4": address, "hostname": name})
    known.meta["iam"] = copy.deepcopy(common.meta["iam"])
    return known


def nagios(node: Machine) -> dict[tuple[str, str], tuple[int, str]]:
    """What a Nagios has found: (host, service) → state and words; the host itself is the service ''."""
    found = {}
    for block in (node.root / "var/lib/nagios4/status.dat").read_text().split("\n\n"):
        kind, _, lines = block.partition(" {\n")
        told = dict(line.strip().split("=", 1) for line in lines.splitlines() if "=" in line)
        if kind.endswith(("hoststatus", "servicestatus")) and told["has_been_checked"] == "1":
            key = told["host_name"], told.get("service_description", "")
            found[key] = int(told["current_state"]), told["plugin_output"]
    return found


def problems(found: Mapping[tuple[str, str], tuple[int, str]], hosts: Iterable[str]) -> list[str]:
    """What is not well of these hosts, or not known yet.

    Without Munin: it is late until it has gathered, or the machine is young; and a container is as old as its host.
    """
    wanted = {(host, service) for host in hosts for service in ("", "node", "agent", "disk", "inodes", "load")}
    mine = {key: told for key, told in found.items() if key[0] in hosts and key[1] != "munin"}
    bad = [f"{key}: {words}" for key, (state, words) in mine.items() if state != 0]
    return bad + [f"{key}: not known" for key in wanted - found.keys()]


def page(address: str, path: str, data: str | None = None) -> tuple[int, str]:
    """Status and text; 0 where nobody answers. To be called in the world's network."""
    body = None if data is None else data.encode()
    request = urllib.request.Request(f"http://{address}{path}", data=body, headers={"Host": HOST})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


class Writers:
    """Visitors who write all the time, each word once; what was acknowledged is kept with the time and the server."""

    def __init__(self, fleet: Fleet, servers: Sequence[str], threads: int = 4) -> None:
        self.acknowledged: list[tuple[float, str, str]] = []  # time, word, database server
        self.refused: list[tuple[float, str, int, str]] = []
        self._over = threading.Event()
        addresses = itertools.cycle(fleet.address(name) for name in servers)
        work = [threading.Thread(target=self._write, args=(n, next(addresses))) for n in range(threads)]
        self._threads = work

        def start() -> None:  # threads stay in the network in which they are started
            for one in work:
                one.start()

        fleet.world.within(start)

    def _write(self, number: int, address: str) -> None:
        for n in itertools.count():
            if self._over.is_set():
                return
            word = f"w{number}-{n}"
            status, text = page(address, "/words", word)
            now = time.monotonic()
            if status == 200:
                self.acknowledged.append((now, word, text.split()[1]))
                time.sleep(0.02 if LONG else 0.1)  # all machines share two processors with them
            else:
                self.refused.append((now, word, status, text))
                time.sleep(0.05)

    def stop(self) -> None:
        """Let them finish what they have begun."""
        self._over.set()
        for one in self._threads:
            one.join()

    def until(self, what: Callable[[], object], seconds: float = 60) -> None:
        """Wait while they write."""
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, f"{len(self.acknowledged)} acknowledged; refused last: {self.refused[-3:]}"
            time.sleep(0.02)


@contextmanager
def fleet_of(names: Sequence[str], images: Layers, keys: Keys, folder: Path, name: str) -> Iterator[Fleet]:
    """A fleet of machines that were never booted; its document is not published yet."""
    folder.mkdir()
    with World(name, folder, keys, imds=FleetImds) as world:
        made = Fleet(world, images, folder)
        with made.ends:
            for one in names:
                made.add(one, ADDRESSES[one])
            yield made
