"""Telling others how a run ended. A reporter that fails is a warning: the node is what it is.

To add a reporter: its table of settings in `Reporters` of settings.py, a module with a class that has `tell`, and a
`case` in `open_reporter`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from rolecall.errors import ConfigFault
from rolecall.report import Report
from rolecall.settings import Reporters

KINDS = tuple(Reporters.model_fields)


class ReportStore(Protocol):
    """The stores that reports go to, and what waits for those that are out."""

    def put(self, key: str, data: bytes) -> object:
        """Write an object to every store. Raises FetchFault if none takes it now."""

    def flush(self) -> None:
        """Try once more what waits."""


@dataclass(frozen=True)
class Notice:
    """What every reporter is given: how the run ended, and the means to pass it on.

    The report is a copy: a reporter that is left behind at its deadline reads no report that still changes. Its
    `server`, `address`, `serving` and `products` are the last known ones where this run did not get so far.
    """

    report: Report
    settings: Reporters  # each reporter reads its own table
    providers: Any  # node.providers.Providers, which is above this room: a reporter at a provider takes its own
    store: ReportStore
    write_metrics: Callable[[str, bytes], None]  # a file of figures by its name, in the folder that everybody may read
    document_read: datetime | None = None  # when this node first read the document that it goes by


class Reporter(Protocol):
    """Somebody who wants to know."""

    def tell(self, notice: Notice) -> None:
        """How the run ended; the same news twice does no harm. With `report.leaving`: nobody is to be sent here.

        Whatever it raises is a note in the report. It runs in a thread, which is left behind at its deadline.
        """


def open_reporter(kind: str) -> Reporter:
    """The reporter that agent.toml names. Raises ConfigFault for one that there is not."""
    match kind:
        case "store":
            from rolecall.readiness.store import StoreReporter

            return StoreReporter()
        case "systemd":
            from rolecall.readiness.systemd import SystemdReporter

            return SystemdReporter()
        case "textfile":
            from rolecall.readiness.textfile import TextfileReporter

            return TextfileReporter()
        case _:
            raise ConfigFault(f"there is no readiness reporter {kind!r}", f"one of: {', '.join(KINDS)}")
