"""Notes: what one run leaves for the next. Each kind is one frozen dataclass, and one small JSON file.

A file has the fields of its kind and `format`, the number of that set of fields; 0.1.0 wrote none. What cannot be read
is no note: a reader gets the blank one, whose fields are all at their defaults, and the next run that holds the lock
sets the file aside (`unreadable.py`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from rolecall.fleet.identity import Identity
from rolecall.forms.stored import json_object, plain, typed
from rolecall.host import files, hardware, state_files
from rolecall.render.contents import Unit

MOST = 64 * 1024 * 1024  # bytes of a note: one of 0.1.0 could hold a whole fleet document


@dataclass(frozen=True)
class Note:
    """A kind of note. `twice`: it stands in a second file too, for what a node cannot learn again."""

    name: ClassVar[str]
    format: ClassVar[int] = 1
    twice: ClassVar[bool] = False
    loss: ClassVar[str] = ""  # what follows when it is lost, in words

    @classmethod
    def of_0_1_0(cls, data: dict[str, Any]) -> dict[str, Any]:
        """The fields, from a note without `format`. Raises KeyError, TypeError or AttributeError on anything else."""
        return data

    @classmethod
    def of_format_1(cls, data: dict[str, Any]) -> dict[str, Any]:
        """The fields, from a note of format 1, for a kind that has a later one."""
        return data


@dataclass(frozen=True)
class InstalledRole(Note):
    """Which role a baseline image has installed."""

    name = "role"
    twice = True
    role: str = ""


@dataclass(frozen=True)
class Hold(Note):
    """An operator's roll-back: the generation to stay at, as long as the document has this digest."""

    name = "hold"
    loss = "an operator's roll-back is no longer held"
    generation: str = ""
    document: str = ""


@dataclass(frozen=True)
class Instances(Note):
    """The daemons that this node has several of. It is never shorter than the truth."""

    name = "instances"
    loss = "a daemon such as memcached@NAME that the document no longer names runs until somebody stops it"
    units: tuple[Unit, ...] = ()


@dataclass(frozen=True)
class DatabaseNote:
    """What a server remembers of its part in one database."""

    duty: str = ""  # what it was told last
    master: tuple[str, int] | None = None  # address and port, once it had done all that it was told
    joining: bool = False  # a restore was begun
    candidate: str | None = None  # whose acknowledgement this master has waited for
    login: str | None = None  # fingerprint of what it follows with
    accounts: str | None = None  # fingerprint of the SQL that has made the accounts
    created_accounts: tuple[str, ...] = ()  # their names, as SQL
    passwords: Mapping[str, str] = field(default_factory=dict)  # fingerprints of what it has set as the master, by key
    closing: int = 0  # runs that have tried in vain to make this former master read-only
    opened: int = 0  # the epoch of the mastership in which it was opened last
    acknowledged_since: int = 0  # serial of the document whose master was seen to wait for this server alone


@dataclass(frozen=True)
class Databases(Note):
    """What a server remembers of each of its databases."""

    name = "databases"
    twice = True
    loss = "this server does not know its former master, nor whether a restore was cut off: see docs/reference/state.md"
    databases: Mapping[str, DatabaseNote] = field(default_factory=dict)

    @classmethod
    def of_0_1_0(cls, data: dict[str, Any]) -> dict[str, Any]:
        """The databases stood at the top, and their accounts in `made`."""
        return {"databases": {name: {**note, "created_accounts": note.get("made", ())} for name, note in data.items()}}

    def of(self, database: str) -> DatabaseNote:
        """The part about one database; the blank one where there is none."""
        return self.databases.get(database, DatabaseNote())


@dataclass(frozen=True)
class Waiting(Note):
    """What waits for stores that were out: store → key → object, in Base64."""

    name = "outbox"
    loss = "stores that were out miss a report"
    stores: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def of_0_1_0(cls, data: dict[str, Any]) -> dict[str, Any]:
        """The stores stood at the top."""
        return {"stores": data}


@dataclass(frozen=True)
class RunNumber(Note):
    """The number of the last run that has a report."""

    name = "runs"
    number: int = 0


@dataclass(frozen=True)
class MachineFaults(Note):
    """How many runs in a row the machine itself has kept from their work. In the run folder."""

    name = "machine-faults"
    runs: int = 0


@dataclass(frozen=True)
class BootIdentity(Note):
    """Who the machine was found to be in this boot. In the run folder, which need not be emptied by a reboot."""

    name = "identity"
    format = 2
    identity: Identity | None = None
    boot: str = ""  # the kernel's name for the boot; '': one that an earlier version has not noted

    @classmethod
    def of_0_1_0(cls, data: dict[str, Any]) -> dict[str, Any]:
        """The identity's own keys stood at the top."""
        return cls.of_format_1({"identity": data})

    @classmethod
    def of_format_1(cls, data: dict[str, Any]) -> dict[str, Any]:
        """It was about no boot in particular."""
        return {**data, "boot": ""}


@dataclass(frozen=True)
class Leaving(Note):
    """Why nobody is to be sent here until a reboot. In the run folder; written without the lock."""

    name = "leaving"
    why: str = ""


T = TypeVar("T", bound=Note)
_Stamp = tuple[int, int, int] | None


class Notes:
    """The notes of one folder, each replaced in one rename."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[type[Note], tuple[list[_Stamp], Note]] = {}

    def paths(self, kind: type[Note]) -> list[Path]:
        """The file of a kind of note, and its copy if it has one."""
        path = self.folder / f"{kind.name}.json"
        return [path, path.with_suffix(".copy.json")] if kind.twice else [path]

    def read(self, kind: type[T]) -> T:
        """A note, or the blank one. It is parsed once, as long as nobody writes it."""
        stamps = [state_files.stamp(path) for path in self.paths(kind)]
        stamps_read, note = self._read.get(kind, (None, None))
        if stamps_read != stamps or not isinstance(note, kind):
            note = self._parsed(kind)
            self._read[kind] = (stamps, note)
        return note

    def _parsed(self, kind: type[T]) -> T:
        for path in self.paths(kind):
            try:
                if note := read_note(kind, path):
                    return note
            except ValueError:
                continue
        return kind()

    def write(self, note: Note) -> None:
        """Replace a note. The copy goes first: it is never older than the note itself."""
        for path in reversed(self.paths(type(note))):
            # Daemons and products go through the folder itself: whoever makes it first leaves it open.
            files.make_folders(path.parent, 0o755 if path.parent == self.folder else 0o750)
            files.replace(path, serialized(note), 0o600)

    def remove(self, kind: type[Note]) -> None:
        """Take a note away."""
        for path in reversed(self.paths(kind)):
            files.remove(path)


def identity_in_this_boot(run_notes: Notes) -> Identity | None:
    """Who this machine was found to be earlier in this boot, or None."""
    note = run_notes.read(BootIdentity)
    return note.identity if note.boot in ("", hardware.boot_id()) else None


def read_note(kind: type[T], path: Path) -> T | None:
    """A note, or None where there is nothing. Raises ValueError, which says why it cannot be read."""
    raw = state_files.read(path, MOST)
    if raw is None:
        return None
    data = json_object(raw)
    number = data.get("format")
    if isinstance(number, int) and number not in (1, kind.format):
        raise ValueError(f"it has format {number}, this version reads {kind.format}")
    try:
        if not isinstance(number, int):
            values = kind.of_0_1_0(data)
        else:
            values = data if number == kind.format else kind.of_format_1(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is not a note of rolecall: {error!r}") from None
    if absent := {item.name for item in fields(kind)} - values.keys():
        raise ValueError(f"it lacks {', '.join(sorted(absent))}")
    return typed(kind, values)


def serialized(note: Note) -> bytes:
    """A note as it stands in its file."""
    return json.dumps({"format": note.format, **plain(note)}).encode()
