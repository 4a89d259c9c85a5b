"""Telling others how a run ended. A reporter that fails is a warning: the node is what it is.

To add a reporter: a module with a class of one method, `tell`, its name in KINDS and a `case` in `open_reporter`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rolecall.errors import ConfigFault
from rolecall.report import Report

KINDS = ("store", "systemd", "textfile")


class Reporter(Protocol):
    """Somebody who wants to know. Raises a Fault if it cannot be told."""

    def tell(self, report: Report) -> None:
        """How the run ended; the same news twice does no harm. With `report.leaving`: nobody is to be sent here."""


class Put(Protocol):
    """What the store reporter needs of a store."""

    def put(self, key: str, data: bytes) -> object:
        """Write an object."""


@dataclass(frozen=True)
class Metrics:
    """What the textfile reporter needs of the node: where figures are written, and since when it has the document."""

    write: Callable[[str, bytes], None]
    fetched: str = ""


def open_reporter(kind: str, store: Put, metrics: Metrics) -> Reporter:
    """The reporter that agent.toml names. Raises ConfigFault for one that there is not."""
    match kind:
        case "store":
            from rolecall.readiness.store import StoreReporter

            return StoreReporter(store)
        case "systemd":
            from rolecall.readiness.systemd import SystemdReporter

            return SystemdReporter()
        case "textfile":
            from rolecall.readiness.textfile import TextfileReporter

            return TextfileReporter(metrics)
        case _:
            raise ConfigFault(f"there is no readiness reporter {kind!r}", f"one of: {', '.join(KINDS)}")
