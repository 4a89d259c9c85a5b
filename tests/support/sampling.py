"""Of many places at which a run can break, each test run tries some, others each time; `make long` tries them all."""

import os
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
LONG = "ROLECALL_LONG" in os.environ


def some_of(places: Sequence[T], share: int) -> Sequence[T]:
    """One place in `share`, evenly spread, the first of them by chance. A failure names its place itself."""
    return places if LONG else places[random.randrange(min(share, len(places))) :: share]
