"""What the contract tests share: servers, and nodes that know these only. Nothing of this machine is asked."""

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, cast
from urllib.parse import urlencode

import botocore.loaders
import botocore.retries.standard
import botocore.session
import pytest

from rolecall import metadata
from rolecall.aws.imds import Imds as ImdsClient
from rolecall.fleet.identity import Identity
from rolecall.node.providers import Providers
from rolecall.settings import Access, Aws, Network
from rolecall.store import Store
from rolecall.store.chain import Chain
from servers.imds import Imds
from servers.mirror import Mirror
from servers.s3 import BUCKET, REGION, AccessKey, S3Server
from servers.tls import Authority

EVERY_STORE = ("file", "s3", "https", "s3 after one that is out", "file after https", "file after https that is out")
QUICK = Network(timeout=1.0, release_timeout=2.0)


@pytest.fixture(scope="session")
def models() -> Any:
    """What boto3 reads from its package; once is enough for all tests."""
    return botocore.loaders.create_loader()


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, models: Any) -> Iterator[None]:
    """Nothing of this machine's settings, and no way off this machine: least of all to the real metadata service."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.upper().endswith(("_PROXY", "_CA_BUNDLE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(botocore.session, "create_loader", lambda *_: models)
    monkeypatch.setattr(botocore.retries.standard.ExponentialBackoff, "delay_amount", lambda *_: 0.01)
    strayed: list[Any] = []
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not (address[0].startswith("127.") or address[0] in ("::1", "localhost")):
            strayed.append(address)
            raise ConnectionRefusedError(111, "Connection refused")
        connect(self, address)

    look_up = socket.getaddrinfo

    def looked_up(host: Any, *rest: Any, **more: Any) -> Any:
        host = host.decode() if isinstance(host, bytes) else host
        if host in ("localhost", "::1", None) or host.startswith("127."):
            return look_up(host, *rest, **more)
        if not host.endswith(".invalid"):
            strayed.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    monkeypatch.setattr(socket.socket, "connect", guarded)
    yield
    assert not strayed


def open_store(url: str) -> Store:
    """A store of a machine with no settings of its own."""
    return Providers(Access()).open_store(url)


def identify(sources: Iterable[str], imds: str, root: Path, seconds: float) -> Identity:
    """Who a machine below a folder is, with a metadata service at this address."""
    providers = Providers(Access(aws=Aws(imds=(imds,))))
    return metadata.identify(sources, providers.identify, time.monotonic() + seconds, str(root))


def chain(*stores: Store) -> Store:
    """Stores in order of preference, as one."""
    return cast("Store", Chain(list(stores)))


class Asked(Protocol):
    """A request that a server was asked."""

    method: str
    headers: Any
    status: int


class Cloud:
    """An S3, and the metadata service of an instance whose role may use it."""

    def __init__(self, s3: S3Server, imds: Imds) -> None:
        self.s3, self.imds = s3, imds
        s3.keys.clear()
        self.renew("1")

    def renew(self, number: str, *, known: bool = True) -> None:
        """The role has other credentials from now on; S3 knows them too, if they are `known`."""
        self.imds.role("node", f"ASIA{number}", f"secret-{number}", f"token-{number}")
        if known:
            self.s3.keys[f"ASIA{number}"] = AccessKey(f"secret-{number}", token=f"token-{number}")

    def providers(self, network: Network | None = None, **aws: Any) -> Providers:
        """A node's providers; `aws` is what agent.toml has below [aws]."""
        table = Aws(**{"imds": (self.imds.url,), **aws})
        return Providers(Access(network=network or Network(), aws=table))

    @staticmethod
    def nobody(network: Network) -> Providers:
        """The providers of a machine where there is nothing of AWS."""
        return Providers(Access(network=network, aws=Aws(imds=("http://127.0.0.1:9",))))

    def url(self, **options: str) -> str:
        """The URL of a store, with the options that the tests need, or others."""
        return f"s3://{BUCKET}/fleet?{urlencode({'region': REGION, 'endpoint': self.s3.url, **options})}"

    def store(self, network: Network | None = None, **options: str) -> Store:
        """A store in the S3."""
        return self.providers(network).open_store(self.url(**options))


@dataclass
class Kept:
    """A kind of store at work: how a process opens it, and the server that answers it, if one does."""

    open: Callable[[], Store]
    server: S3Server | Mirror | None = None
    folder: Path | None = None

    def asked(self, method: str = "GET") -> list[Asked]:
        """What the server was asked by this method."""
        requests: list[Asked] = [*self.server.requests] if self.server else []
        return [request for request in requests if request.method == method]

    def unfinished(self) -> list[object]:
        """What a write that failed has left behind."""
        if isinstance(self.server, S3Server):
            return list(self.server.uploads)
        return list(self.folder.rglob(".*")) if self.folder else []

    def break_with(self, kind: int | str, below: str = "", **options: Any) -> None:
        """A fault of the server, for the paths that begin so; S3's have other names for the same."""
        assert self.server
        if isinstance(self.server, S3Server):
            more = {"part": "header"} if kind == "slow-head" else {}
            name = {"slow-head": "slow", "endless": "oversize"}.get(str(kind), kind)
            self.server.fault(name, key=f"{below}*", **options, **more)
        else:
            self.server.fault(kind, path_prefix=f"/{below}", **options)


class Raw:
    """A server that answers with bytes as they are, by the first folder of the path below /fleet, and hangs up."""

    def __init__(self, answers: dict[str, bytes], context: ssl.SSLContext | None = None) -> None:
        self.answers, self.context = answers, context
        self.asked: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=(self.listener.accept()[0],), daemon=True).start()

    def _answer(self, plain: socket.socket) -> None:
        with suppress(OSError), plain, self.context.wrap_socket(plain, True) if self.context else plain as sock:
            sock.settimeout(10)
            with sock.makefile("rb") as file:
                first = file.readline().decode()
                head = {}
                while line := file.readline().strip():
                    name, _, value = line.decode().partition(":")
                    head[name.lower()] = value.strip()
                file.read(int(head.get("content-length", 0)))
            self.asked.append(first)
            sock.sendall(next((data for name, data in self.answers.items() if f"/fleet/{name}" in first), b""))
            if self.context:
                sock.unwrap()  # type: ignore[attr-defined]


Make = Callable[..., Kept]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority of every https server."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def nobody() -> Iterator[str]:
    """The URL of a port of this machine at which nobody listens, and nobody can begin to."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def no_imds(nobody: str) -> ImdsClient:
    """A metadata service that is not there."""
    return ImdsClient((nobody,))


@pytest.fixture
def imds() -> Iterator[Imds]:
    """A metadata service."""
    with Imds() as server:
        yield server


@pytest.fixture
def cloud(imds: Imds) -> Iterator[Cloud]:
    """S3 and a metadata service."""
    with S3Server() as s3:
        yield Cloud(s3, imds)


@pytest.fixture
def mirror(authority: Authority) -> Iterator[Mirror]:
    """An empty mirror over TLS."""
    with Mirror(context=authority.context()) as server:
        yield server


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path, authority: Authority, nobody: str) -> Iterator[Make]:
    """Makes a store of EVERY_STORE; whatever it needs ends with the test."""
    with ExitStack() as ends:

        def made(name: str, network: Network | None = None) -> Kept:
            trusting = (network or Network()).model_copy(update={"ca": str(authority.file)})
            providers = Providers(Access(network=trusting, aws=Aws(imds=(nobody,))))
            out = f"https{nobody.removeprefix('http')}/fleet"
            (tmp_path / "store").mkdir(exist_ok=True)
            folder = f"file://{tmp_path}/store"
            match name:
                case "file":
                    return Kept(lambda: providers.open_store(folder), folder=tmp_path / "store")
                case "file after https that is out":
                    return Kept(lambda: chain(providers.open_store(out), providers.open_store(folder)))
                case "https" | "file after https":
                    mirror = ends.enter_context(Mirror(context=authority.context()))
                    url = f"{mirror.url}/fleet"
                    if name == "https":
                        return Kept(lambda: providers.open_store(url), mirror)
                    return Kept(lambda: chain(providers.open_store(url), providers.open_store(folder)), mirror)
                case "s3" | "s3 after one that is out":
                    cloud: Cloud = request.getfixturevalue("cloud")
                    providers = cloud.providers(trusting)
                    if name == "s3":
                        return Kept(lambda: providers.open_store(cloud.url()), cloud.s3)
                    stores = (out, cloud.url())
                    return Kept(lambda: chain(*(providers.open_store(url) for url in stores)), cloud.s3)
            raise ValueError(name)

        yield made
