"""Where values come from: texts and numbers that know their place in the document, and remember being read.

Such a value is equal to the plain one, so that all that is done with it comes out the same.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from rolecall.forms.mistakes import Path, dotted
from rolecall.forms.scalars import Frozen

T = TypeVar("T")

DOCUMENT, ROLE, SETTINGS, MACHINE = "document", "role", "settings", "machine"


@dataclass(frozen=True)
class Origin:
    """A key and what it says; of a secret that is the reference. `source`: document, role, settings or machine."""

    key: str
    value: str
    source: str


class Reads:
    """The origins that were read: of an expression of a template, and of all of it."""

    def __init__(self) -> None:
        self.of_expression: dict[Origin, None] = {}
        self.of_template: dict[Origin, None] = {}

    def note(self, value: object) -> None:
        """A value was read; one without an origin leaves no trace."""
        if isinstance(value, Sourced):
            origins = dict.fromkeys(value.origins)
            self.of_expression |= origins
            self.of_template |= origins

    def noted(self, values: Iterable[T]) -> Iterator[tuple[T, tuple[Origin, ...]]]:
        """Each value with the origins that were read while it was made."""
        iterator = iter(values)
        while True:
            self.of_expression = {}
            try:
                value = next(iterator)
            except StopIteration:
                return
            yield value, tuple(self.of_expression)


class Sourced:
    """A value that came from somewhere."""

    origins: tuple[Origin, ...]
    reads: Reads

    def from_origins(self, origins: tuple[Origin, ...], reads: Reads) -> Self:
        """Tell a new value where it came from, and whom to tell when it is read."""
        self.origins, self.reads = origins, reads
        return self


class SourcedText(Sourced, str):  # noqa: SLOT000 - it has the fields of Sourced
    """A text that came from somewhere."""

    def __str__(self) -> str:
        """The plain text, which is what others make of it."""
        self.reads.note(self)
        return str.__str__(self)

    def __format__(self, form: str) -> str:
        """As a part of another text."""
        self.reads.note(self)
        return str.__format__(self, form)

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """As bytes, such as a digest is made of."""
        self.reads.note(self)
        return str.encode(self, encoding, errors)


class SourcedNumber(Sourced, int):
    """A number that came from somewhere."""

    def __str__(self) -> str:
        """Its digits."""
        self.reads.note(self)
        return int.__repr__(self)

    def __format__(self, form: str) -> str:
        """As a part of a text."""
        self.reads.note(self)
        return int.__format__(self, form)


def derived(value: Any, origins: tuple[Origin, ...], reads: Reads) -> Any:
    """The same text or number, which was made of others that came from there; anything else as it is."""
    match value:
        case bool() | Sourced():
            return value
        case str():
            return SourcedText(value).from_origins(origins, reads)
        case int():
            return SourcedNumber(value).from_origins(origins, reads)
    return value


def sourced(value: Any, reads: Reads, path: Path = (), source: str = DOCUMENT) -> Any:
    """The same data, in which every text and number, and every name of an entry, knows its path."""
    match value:
        case Frozen():
            names = type(value).model_fields
            fields = {name: sourced(getattr(value, name), reads, (*path, name), source) for name in names}
            return value.model_copy(update=fields)
        case Mapping():
            return {
                derived(str(name), (_origin((*path, name), entry, source),), reads): sourced(
                    entry, reads, (*path, name), source
                )
                for name, entry in value.items()
            }
        case tuple():
            return tuple(sourced(element, reads, (*path, i), source) for i, element in enumerate(value))
    return derived(value, (_origin(path, value, source),), reads)


def _origin(path: Path, value: object, source: str) -> Origin:
    """An entry that has entries itself is told by its name."""
    return Origin(dotted(path), str(value if isinstance(value, str | int) else path[-1] if path else ""), source)
