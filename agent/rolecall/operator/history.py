"""The documents that a store had: each is kept beside the one in force, as `history/SERIAL.json`, the same bytes.

A document is kept as soon as it is in force, so that the history has nothing that never was; and once more, if need be,
before the next one replaces it: what a publication that was cut off has not kept, the next one does. Nothing that is
kept is written over.
"""

import re

from pydantic import ValidationError

from rolecall.causes import fault
from rolecall.errors import ConfigFault, ConflictFault, FetchFault
from rolecall.fleet.schema import Header
from rolecall.node.verified import MOST
from rolecall.store import DOCUMENT, Store
from rolecall.trust.envelope import unseal

FOLDER = "history/"
_LISTED = "`rolecall fleet history` lists those that are kept"
_KEY = re.compile(rf"{FOLDER}([1-9][0-9]*)\.json")


def key_of(serial: int) -> str:
    """Where the document with this serial is kept."""
    return f"{FOLDER}{serial}.json"


def kept_serials(store: Store) -> list[int]:
    """The serials of all documents that are kept, ascending. Raises FetchFault, also where there is no listing."""
    matches = (_KEY.fullmatch(entry.key) for entry in store.list(FOLDER))
    return sorted(int(match[1]) for match in matches if match)


def stored(store: Store, key: str) -> bytes | None:
    """An object as large as a document can be, or None where there is none. Raises FetchFault."""
    try:
        return store.get(key, MOST).data
    except FetchFault as fault:
        if fault.cause == "no-key":
            return None
        raise


def keep_document(store: Store, serial: int, data: bytes, *, alone: bool) -> None:
    """Keep a document that is in force. Raises FetchFault: also where another one is kept in its place.

    `alone`: the store need not keep to conditions.
    """
    key = key_of(serial)
    kept = stored(store, key)
    if kept is None:
        try:
            store.put(key, data, None if alone else "")
            kept = data
        except ConflictFault:  # whoever has published since keeps it too; or DAV without the folder calls it so
            kept = stored(store, key)
    if kept is None:
        raise fault(f"write {store.location(key)}", f"is there no folder {FOLDER} on the server?", "no-folder")
    if kept != data:
        raise FetchFault(
            f"{store.location(key)} is another document with that serial",
            "`rolecall fleet history` tells which one the others confirm; remove the wrong one",
            "conflict",
        )


def prune_history(store: Store, keep: int) -> None:
    """Remove the oldest documents, so that so many are left. Raises FetchFault."""
    for serial in kept_serials(store)[:-keep]:
        store.delete(key_of(serial))


def past_payload(store: Store, serial: int) -> bytes:
    """The document that had a serial, as its author wrote it. Raises FetchFault where it is not kept, ConfigFault."""
    for key in (key_of(serial), DOCUMENT):  # the one in force need not be kept yet
        raw = stored(store, key)
        payload = unseal(raw, store.location(key)).payload if raw else b""
        if _serial_in(payload) == serial:
            return payload
        if raw and key != DOCUMENT:
            raise ConfigFault(f"{store.location(key)} is not the document with that serial", _LISTED)
    raise FetchFault(f"there is no {store.location(key_of(serial))}", _LISTED, "no-key")


def _serial_in(payload: bytes) -> int:
    try:
        return Header.model_validate_json(payload).serial
    except ValidationError:
        return 0
