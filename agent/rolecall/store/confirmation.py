"""A write whose answer was lost, or refused in doubt: what is in the store now tells whether it was made."""

from collections.abc import Callable

from rolecall.errors import ConflictFault, FetchFault
from rolecall.store import Stored

_PASSING = ("unreachable", "broken-answer", "server-error")  # the write may have been made all the same


def confirmed(put: Callable[[], str], look: Callable[[], Stored], data: bytes, replacing: str | None) -> str:
    """Put `data` in place of the object with the tag `replacing` ('' for none, None for any); returns the new tag.

    Where it is not known how the first try ended, a look tells; while nothing has changed, there is a second one.
    Raises ConflictFault where somebody else's object is there, FetchFault where the store is out.
    """
    for last in (False, True):
        try:
            return put()
        except FetchFault as fault:
            doubtful = fault.doubtful if isinstance(fault, ConflictFault) else fault.cause in _PASSING
            doubtful = doubtful or (replacing is not None and fault.cause == "too-slow")  # else the deadline is over
            if last or not doubtful:
                raise
            if replacing is not None:
                stored = _stored(look, fault)
                if stored and stored.data == data:
                    return stored.etag
                if (stored.etag if stored else "") != replacing:
                    raise
    raise AssertionError


def _stored(look: Callable[[], Stored], first: FetchFault) -> Stored | None:
    try:
        return look()
    except FetchFault as fault:
        if fault.cause == "no-key":
            return None
        raise first from None
