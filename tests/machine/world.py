"""What is around machines: a network with an IMDS, an S3 and an operator who signs and publishes documents.

A network namespace with a bridge, and one for each machine, joined to it by a cable. The first machine has 10.77.0.11
and each a route to 169.254.169.254; the world has that address, where the IMDS listens, and 10.77.0.1 with the S3.
The servers run in threads of the test, which have entered the world's namespace: faults are set on them as in any other
test.
"""

import ctypes
import hashlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, TypeVar

from box import PHP_INDEX, archive, document
from rolecall.deadline import within
from rolecall.operator import offline
from rolecall.operator.publish import Signing, publish_file
from roots import sh, write
from servers.imds import Imds, facts
from servers.s3 import AccessKey, S3Server
from signed import Keys

T = TypeVar("T")

IMDS, GATE, NODE = "169.254.169.254", "10.77.0.1", "10.77.0.11"
S3_PORT, REGION, BUCKET, PREFIX = 8333, "us-east-1", "fleet", "prod"
INSTANCE = str(facts()["meta-data"]["instance-id"])
DOCUMENT = f"{PREFIX}/fleet.json"
NODE_KEY = AccessKey("secret-of-the-node", token="session-of-the-node")
OPERATOR_KEY = AccessKey("secret-of-the-operator")
OPERATOR = "ops"
CLONE_NEWNET = 0x40000000

AGENT_TOML = f"""role = "web"
platform = "{{platform}}"
identity = ["ec2"]
store = ["s3://{BUCKET}/{PREFIX}"]

[trust]
signers = "/etc/rolecall/allowed_signers"
fleet = "test"

[aws]
endpoints = {{{{ s3 = "http://{GATE}:{S3_PORT}" }}}}

[boot]
metadata_timeout = "40s"
selftest_deadline = "10s"
"""
OPERATOR_TOML = f"""role = "web"
platform = "debian"
store = ["s3://{BUCKET}/{PREFIX}"]
[trust]
unsigned = true
[aws]
region = "{REGION}"
credentials = "file:{{folder}}/credentials"
endpoints = {{{{ s3 = "http://{GATE}:{S3_PORT}" }}}}
"""


def one_machine(address: str) -> Imds:
    """A metadata service that tells whoever asks that it is the first machine."""
    return Imds(facts(), address, 80)


class World:
    """A network with room for machines, and their document. `keys` has the operator's, whom their images trust."""

    def __init__(
        self, name: str, folder: Path, keys: Keys | None = None, imds: Callable[[str], Imds] = one_machine
    ) -> None:
        self.inside, self.outside, self.folder, self.keys = name, f"{name}-world", folder, keys or Keys(folder)
        self.document = document(fleet="test")
        self.document["servers"]["web1"] |= {"instance": INSTANCE, "address": NODE}
        self.imds = imds(IMDS)
        self.imds.meta["placement"]["region"] = REGION
        self.imds.data["dynamic"]["instance-identity"]["document"] |= {"region": REGION, "privateIp": NODE}
        self.imds.role("node", "ASIANODE", NODE_KEY.secret, NODE_KEY.token or "")
        access = {"ASIANODE": NODE_KEY, "AKIAOPERATOR": OPERATOR_KEY}
        self.s3 = S3Server({BUCKET: REGION}, access, region=REGION, host=GATE, port=S3_PORT)
        self._ends = ExitStack()
        self._plugs: dict[str, str] = {}

    def __enter__(self) -> Self:
        with ExitStack() as ends:
            self._space(self.outside, ends)
            sh("ip", "-n", self.outside, "link", "add", "bridge", "type", "bridge")
            for address in (f"{GATE}/24", IMDS):
                sh("ip", "-n", self.outside, "addr", "add", address, "dev", "bridge")
            sh("ip", "-n", self.outside, "link", "set", "bridge", "up")
            self.plug_in(self.inside, NODE, ends)
            for server in (self.imds, self.s3):
                self.start(server)
                ends.callback(server.stop)
            self._operator()
            self._ends = ends.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    @staticmethod
    def _space(name: str, ends: ExitStack) -> None:
        sh("ip", "netns", "add", name)
        ends.callback(sh, "ip", "netns", "del", name)
        sh("ip", "-n", name, "link", "set", "lo", "up")

    def plug_in(self, space: str, address: str, ends: ExitStack | None = None) -> str:
        """A network namespace for a machine, with a cable to the bridge, until the end of the world; its name."""
        plug = self._cable(space, address, ends or self._ends)
        sh("ip", "-n", self.outside, "link", "set", plug, "master", "bridge", "up")
        sh("ip", "-n", space, "route", "add", IMDS, "dev", "eth0")
        sh("ip", "-n", space, "route", "add", "192.168.0.0/16", "via", GATE)
        return space

    def plug_in_elsewhere(self, space: str, address: str) -> str:
        """The same for a machine in another network, without a metadata service: the world is the router between."""
        plug = self._cable(space, address, self._ends)
        gate = f"{address.rpartition('.')[0]}.1"
        sh("ip", "-n", self.outside, "addr", "add", f"{gate}/24", "dev", plug)
        sh("ip", "-n", self.outside, "link", "set", plug, "up")
        sh("ip", "-n", space, "route", "add", "default", "via", gate)
        self.within(lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1"))
        return space

    def _cable(self, space: str, address: str, ends: ExitStack) -> str:
        self._space(space, ends)
        plug = self._plugs[space] = f"to-{'.'.join(address.split('.')[2:])}"
        sh("ip", "-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", plug, "netns", self.outside)
        sh("ip", "-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
        sh("ip", "-n", space, "link", "set", "eth0", "up")
        return plug

    def cable(self, space: str, state: str) -> None:
        """Of a machine: `down` or `up`. Without power nothing answers; but a network namespace does by itself."""
        sh("ip", "-n", self.outside, "link", "set", self._plugs[space], state)

    def within(self, act: Callable[[], T]) -> T:
        """Do something in the world's network; threads that it starts stay there."""

        def entered() -> T:
            space = os.open(f"/run/netns/{self.outside}", os.O_RDONLY)
            failed = ctypes.CDLL(None, use_errno=True).setns(space, CLONE_NEWNET)
            assert not failed, os.strerror(ctypes.get_errno())
            os.close(space)
            return act()

        return within(60, entered)

    def start(self, server: Imds | S3Server) -> None:
        """A server that was stopped; what it knows and stores is as before."""
        self.within(server.start)

    def get(self, host: str, path: str = "/", *, at: str = NODE) -> tuple[int, dict[str, str], str]:
        """A page of a machine, asked from outside: status, headers, text. Raises OSError if nobody answers."""
        request = urllib.request.Request(f"http://{at}{path}", headers={"Host": host})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def ask() -> tuple[int, dict[str, str], str]:
            try:
                with opener.open(request, timeout=10) as answer:
                    return answer.status, dict(answer.headers), answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, dict(error.headers), error.read().decode()

        return self.within(ask)

    # The operator

    def _operator(self) -> None:
        write(self.folder / "allowed_signers", f"{self.keys.line(OPERATOR)}\n")
        write(self.folder / "operator.toml", OPERATOR_TOML.format(folder=self.folder))
        keys = f"aws_access_key_id = AKIAOPERATOR\naws_secret_access_key = {OPERATOR_KEY.secret}\n"
        write(self.folder / "credentials", f"[default]\n{keys}", 0o600)

    def product(self, name: str, version: str = "1", *, health: str = "ok", padding: int = 0, **parts: Any) -> None:
        """A product of web1, with a release in S3 that tells its version on every page."""
        files: dict[str, str | bytes] = {
            "public/health": health, "VERSION": f"{version}\n", "public/index.php": PHP_INDEX,
            "public/slow.php": "<?php sleep(60);", "padding": os.urandom(padding),
        }  # fmt: skip
        self.document["products"][name] = {
            "hostnames": [f"{name}.example.com"], "user": f"p-{name}", "runtime": "php",
            "release": self.release(name, version, files), "databases": ["blog"], "caches": ["sessions"],
            "checks": [{"http": "/health", "contains": "ok"}], **parts,
        }  # fmt: skip
        products = self.document["servers"]["web1"]["products"]
        if name not in products:
            products.append(name)

    def release(self, product: str, version: str, files: Mapping[str, str | bytes]) -> dict[str, Any]:
        """Put a release into S3; returns its entry of the document."""
        data, artifact = archive(files), f"releases/{product}/{version}.tar.gz"
        self.s3.put(BUCKET, f"{PREFIX}/{artifact}", data)
        return {"version": version, "artifact": artifact, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}

    def publish(self) -> None:
        """What `rolecall fleet publish` does, as an operator has it."""
        write(self.folder / "fleet.json", json.dumps(self.document, indent=1))
        signing = Signing(str(self.keys.file(OPERATOR)), str(self.folder / "allowed_signers"), 7 * 86400)

        def act() -> None:
            store = offline.store_at(f"s3://{BUCKET}/{PREFIX}", self.folder / "operator.toml")
            publish_file(self.folder / "fleet.json", (), store, signing)

        self.within(act)
        self.document = json.loads((self.folder / "fleet.json").read_text())

    def reported(self, server: str = "web1") -> Any:
        """The node's report in S3."""
        return json.loads(self.s3.get(BUCKET, f"{PREFIX}/reports/{server}.json"))
