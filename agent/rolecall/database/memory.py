"""What a server remembers of its part in one database, from run to run."""

from dataclasses import replace
from typing import Any

from rolecall.node.notes import DatabaseNote, Databases, Notes


class Memory:
    """The note about one database. Each change is on the disk before what it is about is done."""

    def __init__(self, notes: Notes, database: str) -> None:
        self._notes, self._database = notes, database
        self.note: DatabaseNote = notes.read(Databases).of(database)

    def remember(self, **changes: Any) -> None:
        """Change fields of the note."""
        self.note = replace(self.note, **changes)
        self._notes.write(Databases({**self._notes.read(Databases).databases, self._database: self.note}))
