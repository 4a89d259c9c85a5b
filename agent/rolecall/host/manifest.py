"""What an unpacked release consists of, path by path, so that it can be told later whether it still does."""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rolecall.forms.stored import json_object, typed
from rolecall.host.files import naming

_FORMAT = 1
_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
MOST = 256 * 1024 * 1024  # bytes of a manifest: 200,000 paths, each as long as may be, are far below it


class Entry(NamedTuple):
    """What is at a path. `content`: of a file its SHA-256, of a link its target, and that alone."""

    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    content: str


Manifest = Mapping[str, Entry]  # by path below the folder; '.' is the folder itself


def read_tree(folder: Path, digests: Mapping[str, str] | None = None) -> Manifest:
    """All that is in a folder, to the byte; `digests`: those that are known already. Raises HostFault."""
    with naming(folder, "read"):
        return {path: _entry(folder / path, status, (digests or {}).get(path)) for path, status in _walk(folder)}


def stamp(folder: Path) -> str:
    """What changes with every change of any path in a folder, without reading it. Raises HostFault."""
    digest = hashlib.sha256()
    with naming(folder, "read"):
        for path, s in _walk(folder):
            mark = f"{s.st_mode},{s.st_uid},{s.st_gid},{s.st_size},{s.st_mtime_ns},{s.st_ctime_ns},{s.st_ino}"
            digest.update(f"{path}\0{mark}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def differences(one: Manifest, other: Manifest) -> list[str]:
    """The paths at which two trees differ."""
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


def to_json(manifest: Manifest) -> bytes:
    """A manifest as it is stored."""
    return json.dumps({"format": _FORMAT, "paths": manifest}, separators=(",", ":")).encode()


def from_json(raw: bytes) -> Manifest:
    """A stored manifest. Raises ValueError, which says why it cannot be read."""
    data = json_object(raw)
    if data.get("format") != _FORMAT:
        raise ValueError(f"it has format {data.get('format')}, not {_FORMAT}")
    return typed(_Stored, data).paths


@dataclass(frozen=True)
class _Stored:
    paths: dict[str, Entry]


def _walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Each path with what lstat(2) says, always in the same order; no recursion, as trees may be deep."""
    yield ".", os.lstat(folder)
    pending = [""]
    while pending:
        above = pending.pop()
        with os.scandir(folder / above) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path, status = f"{above}{entry.name}", entry.stat(follow_symlinks=False)
                yield path, status
                if stat.S_ISDIR(status.st_mode):
                    pending.append(f"{path}/")


def _entry(path: Path, status: os.stat_result, digest: str | None) -> Entry:
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "other")
    if kind == "link":
        return Entry(kind, 0, 0, 0, 0, os.readlink(path))  # whose it is decides `links.own_links`
    size, content = (status.st_size, digest or _digest(path)) if kind == "file" else (0, "")
    return Entry(kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, size, content)


def _digest(path: Path) -> str:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
