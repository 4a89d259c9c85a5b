"""The report as an object of the store: `reports/<server>.json`, so that people see the fleet in one place."""

import json

from rolecall.readiness import Put
from rolecall.report import Report


class StoreReporter:
    """Writes this node's last report."""

    def __init__(self, store: Put) -> None:
        self.store = store

    def tell(self, report: Report) -> None:
        """Replace the node's report in the store."""
        if report.server:
            self.store.put(f"reports/{report.server}.json", (json.dumps(report.data(), indent=1) + "\n").encode())
