"""What a document that is to be published says of the masters of the one that it replaces, and their candidates."""

from collections.abc import Iterable
from typing import Any

from pydantic_core import from_json

from rolecall.errors import FetchFault
from rolecall.fleet.masterships import successions, unconfirmed_masters
from rolecall.fleet.schema import Fleet
from rolecall.forms.editing import Edit
from rolecall.node.verified import MOST
from rolecall.store import Store


def succession_edits(before: Any, fleet: Fleet, serial: int, store: Store) -> list[Edit]:
    """The changes of the document's text. `before`: the document that is replaced, as raw data."""
    masters = unconfirmed_masters(before)
    opened = {name: epoch for name, server in masters.items() for epoch in _opened(store, name, server)}
    return [
        Edit("add", ("databases", name, "succession"), succession.model_dump(exclude_defaults=True))
        for name, succession in successions(before, fleet, serial, opened).items()
        if succession != fleet.databases[name].succession
    ]


def _opened(store: Store, database: str, server: str) -> Iterable[int]:
    """The epoch in which a server has reported to be the open master; none where no report tells it.

    A report that is old is as good: what was open once has been. One that cannot be read only makes the next promotion
    more careful.
    """
    try:
        report = from_json(store.get(f"reports/{server}.json", MOST).data)
        status = report["databases"][database]
        if status["duty"] == "master" and isinstance(status["opened"], int):
            yield status["opened"]
    except (FetchFault, ValueError, KeyError, TypeError):
        return
