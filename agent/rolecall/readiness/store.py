"""The report as an object of the store: `reports/<server>.json`, so that people see the fleet in one place."""

import json

from rolecall.readiness import Notice


class StoreReporter:
    """Writes this node's last report."""

    def tell(self, notice: Notice) -> None:
        """Replace the node's report in every store, and try again what waits for those that were out."""
        report = notice.report
        if report.server:
            key = f"reports/{report.server}.json"
            notice.store.put(key, (json.dumps(report.data(), indent=1) + "\n").encode())
        notice.store.flush()
