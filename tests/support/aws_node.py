"""A node on EC2 in a folder: the real agent, a metadata service, an S3 and an https mirror of the tests' own.

`AwsNode` is a Box whose document is signed. By default its role has files alone, so that a run in this process takes
milliseconds; with `daemons` it is the role web, for the program itself. No request ever leaves 127.0.0.1.
"""

import json
import os
import shutil
import subprocess
import tempfile
import threading
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self
from unittest import mock

import botocore.loaders
import botocore.retries.standard
import botocore.session

import program
from box import Box
from rolecall import run
from rolecall.cli import doctor
from rolecall.cli.answers import Diagnosis
from rolecall.node.node import Node, open_node
from rolecall.operator import offline, publish
from rolecall.operator.publish import Published
from rolecall.report import Report
from rolecall.settings import load_settings
from rolecall.trust import signatures
from rolecall.trust.envelope import NAMESPACE, seal
from servers.imds import Imds, facts
from servers.mirror import Mirror
from servers.s3 import AccessKey, S3Server
from servers.tls import Authority

KEY_ID, SECRET, TOKEN = "ASIATHENODE", "canary-of-the-key", "canary-of-the-session"
REGION, BUCKET, PREFIX = "us-east-1", "fleet", "prod"
S3 = f"s3://{BUCKET}/{PREFIX}"
DOCUMENT = f"{PREFIX}/fleet.json"

ROLE = {
    "role.toml": """description = "Files alone: nothing to start, nothing to wait for"
[packages]
any = []
[platform.test]
[[file]]
source = "node.conf.j2"
path = "node.conf"
[[file]]
source = "product.conf.j2"
path = "{{ product.name }}.conf"
each = "product"
mode = "0600"
""",
    "node.conf.j2": "server {{ assignment.server | word }}\n",
    "product.conf.j2": """release {{ code | word }}
{% for name, value in product.environment %}
{{ name | word }}={{ value | shell }}
{% endfor %}
""",
}


class AwsNode(Box):
    """A node, its servers, and its documents' signer."""

    def __init__(self, folder: Path, *, daemons: bool = False) -> None:
        super().__init__(folder)
        self.imds, self.s3 = Imds(), S3Server({BUCKET: REGION}, {"unknown": AccessKey()})
        self.authority = Authority(folder)
        self.mirror = Mirror({}, self.authority.context())
        self.key, self.signers = folder / "fleet-key", folder / "etc/rolecall/allowed_signers"
        self.signers.write_text(f'ops@example.com namespaces="{NAMESPACE}" {new_key(self.key)}\n')
        self._base = tomllib.loads(self.machine.config.read_text())
        self._base["trust"] = {"signers": str(self.signers)}
        self._base |= {"identity": ["ec2"], "store": [S3], "secrets": {"keep": False}}
        self._base["boot"]["metadata_timeout"] = "2s"
        if not daemons:
            self._base |= {"platform": "test", "accounts": "none", "names": {}}
            self._base["paths"]["templates"] = str(folder / "etc/roles")
            (folder / "etc/roles/web").mkdir(parents=True)
            for name, text in ROLE.items():
                (folder / "etc/roles/web" / name).write_text(text)
        self._ends = ExitStack()

    def __enter__(self) -> Self:
        self._ends.callback(self.stop)
        for server in (self.imds, self.s3, self.mirror):
            self._ends.enter_context(server)
        self._base["network"] = {"timeout": "10s", "release_timeout": "20s", "ca": str(self.authority.file)}
        self._base["aws"] = {"imds": [self.imds.url], "region": REGION, "endpoints": {"s3": self.s3.url}}
        self.document["servers"]["web1"]["instance"] = facts()["meta-data"]["instance-id"]
        self.heal()
        self.configure()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ends.close()

    # The world around it

    @property
    def mirror_url(self) -> str:
        """The mirror as a store."""
        return f"{self.mirror.url}/{PREFIX}"

    def heal(self) -> None:
        """All servers run and answer rightly; what is stored stays."""
        self.s3.buckets, self.s3.keys = {BUCKET: REGION}, {KEY_ID: AccessKey(SECRET, token=TOKEN)}
        self.s3.skew(0)
        self.imds.data, self.imds.clock = facts(), Mirror().clock
        self.imds.meta["placement"]["region"] = REGION
        self.imds.data["dynamic"]["instance-identity"]["document"]["region"] = REGION
        self.imds.role("node", KEY_ID, SECRET, TOKEN)
        self.mirror.redirects, self.mirror.read_only, self.mirror.authorization = {}, False, None
        self.mirror.clock = Mirror().clock
        self.s3.conditions = self.mirror.conditions = "kept"
        self.mirror.loses = ""
        for server in (self.imds, self.s3, self.mirror):
            server.heal()
            if server._listener is None:
                server.start()

    def cut(self) -> None:
        """End all requests that are under way, with the threads that ask: as if the program that asked had ended."""
        servers = (self.imds, self.s3, self.mirror)
        for server in servers:
            server.stop()
        for thread in threading.enumerate():
            if thread.name.endswith("(work)"):  # of rolecall.deadline
                thread.join(10)
        for server in servers:
            server.start()

    def sealed(self, document: Mapping[str, Any] | None = None, key: Path | None = None) -> bytes:
        """A document as a store has it, signed."""
        payload = json.dumps(document or self.document, indent=1).encode()
        return seal(payload, signatures.sign(payload, str(key or self.key), NAMESPACE))

    def publish(self, data: Mapping[str, Any] | bytes | None = None, *, raise_serial: bool = True) -> None:
        """The next document, signed, and the releases: in S3, in the mirror and in the folder."""
        if raise_serial:
            self.document["serial"] += 1
        raw = data if isinstance(data, bytes) else self.sealed(data)
        super().publish(raw, raise_serial=False)
        self.upload()

    def upload(self) -> None:
        """Copy the folder into S3 and the mirror."""
        assert isinstance(self.mirror.files, dict)
        for path in self.machine.store.rglob("*"):
            name = f"{PREFIX}/{path.relative_to(self.machine.store).as_posix()}"
            if path.is_file() and "/reports/" not in name:
                self.s3.put(BUCKET, name, path.read_bytes())
                self.mirror.files[name] = path.read_bytes()

    def reported(self) -> Any:
        """The node's report in S3."""
        return json.loads(self.s3.get(BUCKET, f"{PREFIX}/reports/web1.json"))

    # The node

    def configure(self, **changes: Any) -> None:
        """Write agent.toml anew: as it is by default, with these tables or values changed; None takes a key away."""
        made = dict(self._base)
        for name, value in changes.items():
            made[name] = {**made.get(name, {}), **value} if isinstance(value, dict) else value
        self.machine.config.write_text("\n".join(toml(made)) + "\n")

    def node(self) -> Node:
        """The node, opened anew."""
        return open_node(load_settings(self.machine.config))

    def run(self, command: str = "refresh", *, resume: bool = False) -> Report:
        """A run in this process."""
        return run.converge(self.node(), command, config=self.machine.config, resume=resume)

    def doctor(self) -> list[Diagnosis]:
        """What doctor finds, in this process."""
        return doctor.diagnose(self.machine.config)

    def fleet_publish(self, file: Path, url: str = S3) -> Published:
        """`rolecall fleet publish`, in this process."""
        store = offline.store_at(url, self.machine.config)
        return publish.publish_file(file, (), store, publish.Signing(str(self.key), str(self.signers), 86400))

    def fleet_publish_program(self, file: Path, url: str = S3) -> "subprocess.CompletedProcess[str]":
        """The same by the program itself, with --json."""
        key = ("--key", str(self.key), "--signers", str(self.signers))
        return self.program("fleet", "publish", str(file), "--store", url, *key)

    def program(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """A command that has no node, with this machine's settings and --json."""
        return program.rolecall([*words, "--config", str(self.machine.config), "--json"], self.env)

    def reboot(self) -> None:
        """Stop the daemons and empty the run folder."""
        self.stop()
        shutil.rmtree(self.machine.run, ignore_errors=True)

    def forget(self) -> None:
        """A machine that was never booted."""
        self.reboot()
        shutil.rmtree(self.state, ignore_errors=True)

    @property
    def links(self) -> tuple[str, str]:
        """What daemons read, and what was proven; '' for nothing."""
        current, ready = (
            os.readlink(path) if path.is_symlink() else "" for path in (self.state / "current", self.state / "ready")
        )
        return current, ready


@contextmanager
def aws_node(*, daemons: bool = False) -> Iterator[AwsNode]:
    """A node in a scratch folder with a short name, and its servers, until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="rc-"))
    folder.chmod(0o755)
    try:
        with AwsNode(folder, daemons=daemons) as made:
            yield made
    finally:
        shutil.rmtree(folder)


@contextmanager
def in_this_process() -> Iterator[None]:
    """For runs by the dozen in one process: boto3 reads its models once, and waits shortly between its tries."""
    models, backoff = botocore.loaders.create_loader(), botocore.retries.standard.ExponentialBackoff
    umask = os.umask(0o022)
    try:
        with (
            mock.patch.dict(os.environ, {"NO_PROXY": "*", "no_proxy": "*"}),
            mock.patch.object(botocore.session, "create_loader", return_value=models),
            mock.patch.object(backoff, "delay_amount", return_value=0.01),
        ):
            yield
    finally:
        os.umask(umask)


def new_key(path: Path) -> str:
    """Make a key to sign with; returns its public half."""
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return path.with_suffix(".pub").read_text().strip()


def toml(table: Mapping[str, Any], name: str = "") -> Iterator[str]:
    """A table and those in it; texts and lists are written as in JSON."""
    if name:
        yield f"\n[{name}]"
    for key, value in table.items():
        if value is not None and not isinstance(value, dict):
            yield f"{key} = {json.dumps(value)}"
    for key, value in table.items():
        if isinstance(value, dict):
            yield from toml(value, f"{name}.{key}".lstrip("."))
