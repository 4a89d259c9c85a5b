"""Operators with OpenSSH keys, and a node that believes some of them: in a folder, without a daemon.

Envelopes are put together here, not by the agent: what the agent would never write is what the tests are about.
"""

import json
import shutil
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from box import document
from rolecall import run
from rolecall.node.node import Node, open_node
from rolecall.report import Report
from rolecall.settings import load_settings
from rolecall.store import DOCUMENT

NAMESPACE = "rolecall-fleet"
FOR_FLEETS = f'namespaces="{NAMESPACE}"'
Picture = dict[str, tuple[object, ...]]


def stamp(when: datetime) -> str:
    """As the document writes a time."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_now(**parts: float) -> datetime:
    """A time, so many days or hours from now."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(**parts)


def envelope(payload: bytes, signature: object, **more: object) -> bytes:
    """Document and signature as one object; any signature, any further keys."""
    made = {"rolecall": "signed document", "payload": payload.decode(), "signature": signature, **more}
    return json.dumps(made).encode()


class Keys:
    """A folder of keys, each named by whom it belongs to. A key is made when it is asked for the first time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, name: str) -> Path:
        """The private key; the name may begin with another kind: `rsa-zoe`."""
        path = self.folder / name
        if not path.exists():
            kind = name.partition("-")[0] if name.startswith(("rsa-", "ecdsa-")) else "ed25519"
            subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", name, "-f", path], check=True)
        return path

    def public(self, name: str) -> str:
        """`ssh-ed25519 AAAA…`"""
        return " ".join(self.file(name).with_suffix(".pub").read_text().split()[:2])

    def line(self, name: str, options: str = FOR_FLEETS, principal: str = "") -> str:
        """A line of allowed_signers."""
        return " ".join(filter(None, (principal or f"{name}@example.com", options, self.public(name))))

    def sign(self, name: str, data: bytes, namespace: str = NAMESPACE) -> str:
        """What `ssh-keygen -Y sign` says."""
        argv = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(self.file(name)), "-n", namespace]
        return subprocess.run(argv, input=data, capture_output=True, check=True).stdout.decode()

    def seal(self, name: str, payload: bytes) -> bytes:
        """An envelope, signed by this key."""
        return envelope(payload, self.sign(name, payload))


ROLE = """description = "One file that nobody has to be told of"
[packages]
[platform.test]
[[file]]
source = "zone.j2"
path = "zone"
owner = ""
group = ""
"""


class Member:
    """A node below `root` with any number of stores. Whole runs of it take place in this process."""

    def __init__(self, root: Path, keys: Keys, *stores: str, trust: str = "", more: str = "") -> None:
        self.root, self.keys, self.state = root, keys, root / "state"
        self.store, self.second = root / "store", root / "second"
        self.signers, self.revoked = root / "allowed_signers", root / "revoked"
        self.config, self.identity = root / "agent.toml", root / "identity.json"
        self.store.mkdir(parents=True)
        self.second.mkdir()
        for role in ("bare", "other"):
            (root / "roles" / role).mkdir(parents=True)
            (root / "roles" / role / "role.toml").write_text(ROLE)
            (root / "roles" / role / "zone.j2").write_text("{{ assignment.zone | word }}\n")
        self.identity.write_text('{"server": "web1"}')
        self.allow("ops")
        self.settle(*stores, trust=trust, more=more)

    def settle(self, *stores: str, trust: str = "", more: str = "", role: str = "bare") -> None:
        """Write agent.toml. By default there is one store, and allowed_signers is believed."""
        urls = ", ".join(f'"{url}"' for url in stores or (f"file://{self.store}",))
        trust = trust or f'signers = "{self.signers}"'
        self.config.write_text(f"""role = "{role}"
platform = "test"
identity = ["file:{self.identity}"]
store = [{urls}]
readiness = ["store"]
service_manager = "direct"
accounts = "none"
[trust]
{trust}
[paths]
root = "{self.root}"
state = "{self.state}"
run = "{self.root}/run"
templates = "{self.root}/roles"
[boot]
metadata_timeout = "10ms"
{more}
""")

    def allow(self, *names: str) -> None:
        """Whose keys are believed from now on, and no others."""
        self.signers.write_text("".join(f"{self.keys.line(name)}\n" for name in names))

    def revoke(self, *names: str) -> None:
        """Whose keys are not believed, wherever else they are."""
        self.revoked.write_text("".join(f"{self.keys.public(name)}\n" for name in names))
        self.settle(trust=f'signers = "{self.signers}"\nrevoked = "{self.revoked}"')

    def fleet(self, serial: object = 1, zone: str = "a", **parts: Any) -> dict[str, Any]:
        """A document. The zone of web1 is what the node's only file says."""
        server = {"address": "10.0.0.11", "zone": zone, "products": []}
        servers = {"web1": {"role": "bare", **server}, "web2": {"role": "bare", **server, "address": "10.0.0.12"}}
        blog = {"hostnames": ["blog.example.com"], "user": "p-blog", "runtime": "static", "release":
                {"version": "1", "artifact": "blog/1.tar.gz", "sha256": "0" * 64, "size": 1}}  # fmt: skip
        made = document(serial=serial, products={"blog": blog}, servers=servers, databases={}, caches={})
        return {**made, **parts}

    def payload(self, serial: object = 1, zone: str = "a", **parts: Any) -> bytes:
        """The document's text."""
        return json.dumps(self.fleet(serial, zone, **parts), indent=1).encode()

    def put(self, raw: bytes, folder: Path | None = None) -> None:
        """Whatever it is: in the store it is the document."""
        ((folder or self.store) / DOCUMENT).write_bytes(raw)

    def publish(self, serial: int, zone: str = "a", by: str = "ops", folder: Path | None = None, **parts: Any) -> bytes:
        """An honest document in the store; returns it as it is there."""
        raw = self.keys.seal(by, self.payload(serial, zone, **parts))
        self.put(raw, folder)
        return raw

    def node(self) -> Node:
        """The node, opened anew."""
        return open_node(load_settings(self.config))

    def run(self, command: str = "refresh") -> Report:
        """A whole run."""
        return run.converge(self.node(), command, config=self.config)

    def reboot(self) -> Report:
        """The run folder is empty after it."""
        shutil.rmtree(self.root / "run")
        return self.run("boot")

    @property
    def zone(self) -> str:
        """What the node has become."""
        return (self.state / "current/zone").read_text().strip()

    @property
    def serials(self) -> dict[str, int]:
        """What the node remembers."""
        note = json.loads((self.state / "fleet/verified.json").read_text())
        return dict(note["serials"])

    def picture(self) -> Picture:
        """All that a refused document must not touch: links, generations, what was verified, with times of change."""
        return picture(self.state)


def picture(state: Path) -> Picture:
    """A state folder without its reports and their number, and without what waits to be written into a store."""
    found: Picture = {}
    for path in sorted(state.rglob("*")):
        name, status = path.relative_to(state).as_posix(), path.lstat()
        if name.startswith(("reports", "runs.json", "outbox.json")):
            continue
        content = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[name] = (stat.S_IMODE(status.st_mode), status.st_mtime_ns, content)
    return found
