"""The demo's fleet: two products, their releases and the document that names them."""

import hashlib
import io
import json
import tarfile
from datetime import UTC, datetime, timedelta
from typing import Any

from rolecall.demo.folder_node import FolderNode

BLOG, VIDEO = "blog.localhost", "video.localhost"

_PAGE = """<?php
header('Content-Type: text/plain');
echo 'blog, release ', trim(file_get_contents(__DIR__ . '/../VERSION')),
     ', writes go to ', $_SERVER['DATABASE_BLOG_MASTER_NAME'], ' at ', $_SERVER['DATABASE_BLOG_MASTER'],
     ', configuration ', $_SERVER['ROLECALL_CONFIG'], "\\n";
"""


def release(node: FolderNode, product: str, version: str, files: dict[str, str]) -> dict[str, Any]:
    """Pack a release into the store; returns what the document says of it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in files.items():
            entry, data = tarfile.TarInfo(name), text.encode()
            entry.size, entry.mtime = len(data), 1_700_000_000
            tar.addfile(entry, io.BytesIO(data))
    data, artifact = packed.getvalue(), f"releases/{product}/{version}.tar.gz"
    path = node.store / artifact
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return {"version": version, "artifact": artifact, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def blog(node: FolderNode, version: str, health: str = "ok") -> dict[str, Any]:
    """A release of the PHP product."""
    files = {"VERSION": version, "public/index.php": _PAGE, "public/health": health, "bin/digest.php": "<?php\n"}
    return release(node, "blog", version, files)


def document(node: FolderNode) -> dict[str, Any]:
    """A fleet of a web server, four databases and a cache; the web server has both products."""
    now = datetime.now(UTC).replace(microsecond=0)
    video = {"public/index.html": "video, release 7: a page without any program behind it\n"}
    databases = {f"db{n}": {"role": "database", "address": f"10.0.0.2{n}", "zone": "ab"[n % 2]} for n in (1, 2, 3, 4)}
    return {
        "format": 1,
        "fleet": "demo",
        "serial": 0,
        "issued": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "not_after": f"{now + timedelta(days=7):%Y-%m-%dT%H:%M:%SZ}",
        "products": {
            "blog": {
                "hostnames": [BLOG],
                "release": blog(node, "1"),
                "user": "blog",
                "writable": ["uploads"],
                "environment": {"APP_ENV": "demo"},
                "databases": ["blog"],
                "caches": ["sessions"],
                "cron": [{"name": "digest", "schedule": "*/15 * * * *", "command": ["php", "bin/digest.php", "100%"]}],
                "checks": [{"http": "/health", "contains": "ok"}],
            },
            "video": {
                "hostnames": [VIDEO],
                "release": release(node, "video", "7", video),
                "runtime": "static",
                "user": "clips",
            },
        },
        "servers": {
            "web1": {"role": "web", "address": "10.0.0.11", "zone": "a", "products": ["blog", "video"]},
            **databases,
            "mc1": {"role": "memcached", "address": "10.0.0.31", "zone": "a"},
        },
        "databases": {
            "blog": {"epoch": 1, "master": "db1", "candidate": "db2", "replicas": ["db3"], "snapshot": "db4"}
        },
        "caches": {"sessions": {"servers": ["mc1"], "memory_mb": 64}},
    }


def publish(node: FolderNode, content: dict[str, Any]) -> None:
    """Write the document into the store, with the next serial."""
    content["serial"] += 1
    new = node.store / ".fleet.json.new"
    new.write_text(json.dumps(content, indent=2) + "\n")
    new.rename(node.store / "fleet.json")
