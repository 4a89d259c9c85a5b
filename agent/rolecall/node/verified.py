"""The last document that was believed and could be followed: the facts in a note, its bytes in a file beside it.

The file's name has the digest of what is in it. It is written before the note that names it, and the one before it is
removed after that: whatever cuts this off, a note and a document that belong together are on the disk.
"""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime

from rolecall.fleet.schema import MAX_BYTES
from rolecall.forms.stored import json_object
from rolecall.host import files, state_files
from rolecall.node.notes import Note

MOST = 2 * MAX_BYTES  # of a document as stores have it: an envelope's text is longer than its payload's


@dataclass(frozen=True)
class Verified(Note):
    """What a node goes by: who it is in the fleet, and what no later document may fall behind."""

    name = "fleet/verified"
    twice = True
    loss = "an older document than the last one would be accepted once"
    fleet: str = ""
    serial: int = 0
    sha256: str = ""  # of what was signed
    document: str = ""  # SHA-256 of the file beside this note: the document as the store had it
    role: str = ""
    instance: str | None = None
    server: str = ""
    source: str = ""  # where it was read
    store: str = ""  # the URL of the store
    etag: str = ""
    signer: str = ""
    serials: Mapping[str, int] = field(default_factory=dict)  # the highest of each key, by its fingerprint
    # The highest epoch of each database and its master in it, by the key that said so.
    masters: Mapping[str, Mapping[str, tuple[int, str]]] = field(default_factory=dict)
    fetched: AwareDatetime | None = None  # when it was first read

    @classmethod
    def of_0_1_0(cls, data: dict[str, Any]) -> dict[str, Any]:
        """The document itself stood in `raw`."""
        raw = data.pop("raw").encode()
        return {"masters": {}, **data, "document": digest(raw)}


def digest(raw: bytes) -> str:
    """What names a document's bytes."""
    return hashlib.sha256(raw).hexdigest()


def path_of(state: Path, document: str) -> Path:
    """The file of a document with this digest."""
    return state / "fleet" / f"document-{document[:16]}.json"


def read_document(state: Path, document: str) -> bytes | None:
    """A document's bytes, or None where there are none. Raises ValueError where they are not those of the digest."""
    raw = state_files.read(path_of(state, document), MOST) if document else None
    if raw is not None and digest(raw) != document:
        raise ValueError("its content does not match its digest")
    return raw


def check_kept_document(path: Path) -> None:
    """Raises ValueError if a document's file does not have what its name says."""
    raw = state_files.read(path, MOST)
    if raw is not None and path != path_of(path.parent.parent, digest(raw)):
        raise ValueError("its content does not match its digest")


def keep_document_of_0_1_0(state: Path) -> None:
    """The note of 0.1.0 holds the document itself: write it beside it. The note is written anew by the caller."""
    with suppress(ValueError):
        note = json_object(state_files.read(state / f"{Verified.name}.json", 2 * MOST) or b"")
        if "format" not in note and isinstance(raw := note.get("raw"), str):
            write_document(state, raw.encode())


def write_document(state: Path, raw: bytes) -> str:
    """Have a document's bytes on disk; returns their digest."""
    name = digest(raw)
    path = path_of(state, name)
    if state_files.stamp(path) is None:
        files.make_folders(path.parent, 0o750)
        files.replace(path, raw, 0o600)
    return name


def prune_documents(state: Path, document: str) -> None:
    """Remove the documents that the note does not name."""
    for path in sorted((state / "fleet").glob("document-*.json")):
        if path != path_of(state, document):
            files.remove(path)
