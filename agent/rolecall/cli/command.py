"""A command of the command line: what makes its answer, and how a person sees that."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from rolecall.forms.answers import Answer

A = TypeVar("A", bound=Answer)


@dataclass(frozen=True)
class Command(Generic[A]):
    """`answer` does what the command line asks and returns what came of it; `view` prints that for a person."""

    answer: Callable[[argparse.Namespace], A]
    view: Callable[[A], object]
