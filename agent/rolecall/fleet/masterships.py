"""Who may have writes that others lack: what a document has to say of the one that it replaces.

A server cannot know by itself whether it has every write that was acknowledged: while it was cut off, a document may
have had its master go on without it. Whoever takes a duty away records that in the new document, and the server that is
to become the master reads it there. See docs/decisions/0049-who-has-every-write.md.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from rolecall.fleet.databases import Database, Mastership, Succession
from rolecall.fleet.schema import Fleet


def successions(before: Any, after: Fleet, serial: int, opened: Mapping[str, int]) -> dict[str, Succession]:
    """What `databases.NAME.succession` has to be in the document that gets this serial, for each database.

    `before`: raw data of the document that is replaced, as wrong as it likes. `opened`: the epochs of the masterships
    that the masters of that document have reported to be open in, by database.
    """
    former = dict(_databases(before))
    return {
        name: _succession(former.get(name), database, serial, opened.get(name))
        for name, database in after.databases.items()
    }


def unconfirmed_masters(before: Any) -> dict[str, str]:
    """The masters of a document of which it does not say yet that they were open, by database."""
    return {
        name: database.master
        for name, database in _databases(before)
        if not (database.succession and database.succession.opened)
    }


def _databases(document: Any) -> Iterator[tuple[str, Database]]:
    """The databases that can be understood; about others nothing is known."""
    databases = document.get("databases") if isinstance(document, dict) else None
    for name, data in databases.items() if isinstance(databases, dict) else ():
        try:
            yield name, Database.model_validate_json(to_json(data))
        except ValidationError:
            continue


def _succession(before: Database | None, after: Database, serial: int, opened: int | None) -> Succession:
    if before is None:
        return Succession(epoch=after.epoch, since=serial)
    last = before.succession or Succession(epoch=before.epoch, since=serial)
    last = last.model_copy(update={"opened": last.opened or opened == last.epoch})
    if after.master != before.master:
        if last.former and not last.opened:
            # Whoever was master before it may still have writes that nobody else has.
            between = dict.fromkeys((*last.between, before.master))
            return Succession(epoch=after.epoch, since=serial, former=last.former, between=tuple(between))
        former = Mastership(
            epoch=last.epoch,
            master=before.master,
            candidate=before.candidate,
            since=last.since if before.succession else None,
            relieved=last.relieved,
            opened=last.opened,
        )
        return Succession(epoch=after.epoch, since=serial, former=former)
    if after.candidate == before.candidate:
        return last
    relieved = dict.fromkeys((*last.relieved, before.candidate))
    return last.model_copy(
        update={
            "since": serial,
            "relieved": tuple(name for name in relieved if name not in (None, after.candidate)),
        }
    )
