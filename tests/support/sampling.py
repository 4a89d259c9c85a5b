"""Of many places at which a run can break, each test run tries some, others each time; `make long` tries them all."""

import os
import random
from collections.abc import Sequence
from typing import TypeVar

import pytest

T = TypeVar("T")
LONG = "ROLECALL_LONG" in os.environ


def some_of(places: Sequence[T], share: int) -> Sequence[T]:
    """One place in `share`, evenly spread, the first of them by chance. A failure names its place itself."""
    return places if LONG else places[random.randrange(min(share, len(places))) :: share]


def some_cases(cases: Sequence[T], share: int, name: str) -> list[object]:
    """Cases of a parametrized test: those that this run leaves out have the mark `long`.

    All processes of a run have to leave out the same ones: chance is made of the name of the folder that they share.
    """
    kept = random.Random(f"{os.environ.get('ROLECALL_TEST_RUN')} {name}").randrange(share)
    marks = {True: (), False: (pytest.mark.long,)}
    return [pytest.param(case, marks=marks[at % share == kept]) for at, case in enumerate(cases)]
