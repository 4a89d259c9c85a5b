"""What one document says otherwise than another, as paths: for whoever asks what has changed, and when.

The documents are raw data: those of other versions can be compared too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_DEPTH = 3  # parts of a path, such as products.blog.release
_OF_EVERY_PUBLICATION = {("serial",), ("issued",), ("not_after",), ("history", "previous")}


@dataclass(frozen=True)
class Difference:
    """A member that was added, removed or changed."""

    action: str  # add | remove | change
    path: str  # products.blog.release


def differences(before: Any, after: Any) -> tuple[Difference, ...]:
    """All that an author has changed, but for what each publication sets, sorted by path."""
    return tuple(_differences(before, after, ()))


def _differences(before: Any, after: Any, path: tuple[str, ...]) -> Iterator[Difference]:
    if before == after or path in _OF_EVERY_PUBLICATION:
        return
    if len(path) == _DEPTH or not (isinstance(before, dict) and isinstance(after, dict)):
        yield Difference("change", ".".join(path))
        return
    for key in sorted(before.keys() | after.keys()):
        inner = (*path, key)
        if key in before and key in after:
            yield from _differences(before[key], after[key], inner)
        elif inner not in _OF_EVERY_PUBLICATION:
            yield Difference("add" if key in after else "remove", ".".join(inner))
