"""What a reporter is given, for tests of a single one."""

from datetime import datetime
from typing import Any

from rolecall.node.providers import Providers
from rolecall.readiness import Notice
from rolecall.report import Report
from rolecall.settings import Access, Reporters


def notice(
    report: Report, store: Any = None, figures: dict[str, bytes] | None = None, document_read: datetime | None = None
) -> Notice:
    """A notice of this report; files of figures go to `figures`."""
    files = {} if figures is None else figures
    return Notice(report, Reporters(), Providers(Access()), store, files.__setitem__, document_read)
