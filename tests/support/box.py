"""A machine in a folder for tests: the real agent, as a program, on a node below a scratch root.

`Box` lays out the machine, writes the store (document and releases) and runs `rolecall` commands on it.
"""

import copy
import gzip
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import program
from patience import on_this_machine
from rolecall.demo import folder_node

ROOT = Path(__file__).parents[2]
ROLECALL = (sys.executable, "-m", "rolecall")


def archive(files: Mapping[str, str | bytes], mtime: int = 1_700_000_000) -> bytes:
    """A .tar.gz with these files; equal files, equal bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(data), mtime
            tar.addfile(entry, io.BytesIO(data))
    return gzip.compress(packed.getvalue(), compresslevel=1, mtime=0)


def document(**parts: Any) -> dict[str, Any]:
    """A small fleet: web1, four databases, one cache; no products yet. Valid for a week from now."""
    now = datetime.now(UTC).replace(microsecond=0)
    made = {
        "format": 1, "fleet": "test", "serial": 1,
        "issued": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "not_after": (now + timedelta(days=7)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "products": {},
        "servers": {
            "web1": {"role": "web", "address": "10.0.0.11", "zone": "a", "products": []},
            **{f"db{n}": {"role": "database", "address": f"10.0.0.2{n}", "zone": "ab"[n % 2]} for n in (1, 2, 3, 4)},
            "mc1": {"role": "memcached", "address": "10.0.0.31", "zone": "a"},
            "mon1": {"role": "monitor", "address": "10.0.0.90", "zone": "a"},
        },
        "databases": {
            "blog": {"epoch": 1, "master": "db1", "candidate": "db2", "replicas": ["db3"], "snapshot": "db4"}
        },
        "caches": {"sessions": {"servers": ["mc1"]}},
    }  # fmt: skip
    return {**made, **parts}


PHP_INDEX = """<?php
header('Content-Type: text/plain');
$release = trim(file_get_contents(__DIR__ . '/../VERSION'));
echo "release=$release config=", $_SERVER['ROLECALL_CONFIG'], " master=", $_SERVER['DATABASE_BLOG_MASTER_NAME'], "\\n";
"""


def alive(pid: int) -> bool:
    """Whether a process runs. One that has ended may stay as a zombie, where nobody reaps orphans."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Box:
    """One node and its store."""

    def __init__(self, folder: Path, settings: str = "", platform: str = "debian", server: str = "web1") -> None:
        # Not always the same port first: other tests may run beside this one.
        port = folder_node.free_port(random.randrange(20000, 32000))
        self.machine = folder_node.build(folder, settings=settings, platform=platform, server=server, port=port)
        self.document = document()
        self.env = {**os.environ, **self.machine.environment(), "NO_COLOR": "1"}

    @property
    def state(self) -> Path:
        return self.machine.state

    def release(self, product: str, version: str, files: Mapping[str, str | bytes]) -> dict[str, Any]:
        """Put a release into the store; returns its entry of the document."""
        data = archive(files)
        artifact = f"releases/{product}/{version}.tar.gz"
        path = self.machine.store / artifact
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return {"version": version, "artifact": artifact, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}

    def product(self, name: str, version: str = "1", *, runtime: str = "php", health: str = "ok", **parts: Any) -> None:
        """Give the document a product that web1 serves, with a release that tells its version on every page."""
        files = {"public/health": health, "VERSION": f"{version}\n"}
        files |= {"public/index.php": PHP_INDEX} if runtime == "php" else {"public/index.html": f"release={version}\n"}
        self.document["products"][name] = {
            "hostnames": [f"{name}.example.com"], "user": f"p-{name}", "runtime": runtime,
            "release": self.release(name, version, files), "checks": [{"http": "/health", "contains": "ok"}],
            **({"databases": ["blog"], "caches": ["sessions"]} if runtime == "php" else {}), **parts,
        }  # fmt: skip
        products = self.document["servers"]["web1"]["products"]
        if name not in products:
            products.append(name)

    def publish(self, data: Mapping[str, Any] | bytes | None = None, *, raise_serial: bool = True) -> None:
        """Write the document into the store, with the next serial."""
        if raise_serial:
            self.document["serial"] += 1
        raw = data if isinstance(data, bytes) else json.dumps(data or self.document, indent=1).encode()
        new = self.machine.store / ".fleet.json.new"
        new.write_bytes(raw)
        new.rename(self.machine.store / "fleet.json")

    def rolecall(self, *words: str, ok: bool | int = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run `rolecall WORDS --config …` and check its exit code: True is 0, False is anything, a number is itself."""
        done = program.rolecall([*words, "--config", str(self.machine.config)], self.env, timeout)
        if ok is not False:
            assert done.returncode == int(ok is not True and ok), (
                f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done

    def boot(self, ok: bool | int = True) -> subprocess.CompletedProcess[str]:
        """Lay the attachments, as an image build does, and boot."""
        self.rolecall("image", "attach")
        return self.rolecall("boot", ok=ok)

    def json(self, *words: str, ok: bool | int = False) -> Any:
        """The answer of a command with --json."""
        return json.loads(self.rolecall(*words, "--json", ok=ok).stdout)

    def get(self, host: str, path: str = "/", timeout: float = 10) -> tuple[int, dict[str, str], str]:
        """GET from the node's Apache: status, headers, text."""
        url = f"http://127.0.0.1:{self.machine.port}{path}"
        request = urllib.request.Request(url, headers={"Host": host})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=timeout) as answer:
                return answer.status, dict(answer.headers), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read().decode()

    def pids(self) -> list[int]:
        """The daemons of this node, by their pid files."""
        files = [*self.machine.root.glob("run/*/*.pid")]
        return [int(text) for path in files if (text := path.read_text().strip()).isdigit()]

    def stop(self) -> None:
        """Stop this node's daemons and wait until they are gone."""
        pids = self.pids()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + on_this_machine(20)
        while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.02)

    def snapshot(self) -> dict[str, Any]:
        """The document, to come back to."""
        return copy.deepcopy(self.document)
