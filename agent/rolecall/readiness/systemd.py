"""READY=1 and STATUS= for systemd (sd_notify(3)); outside of a Type=notify unit there is nobody to tell."""

import os
import socket
from contextlib import suppress

from rolecall.readiness import Notice
from rolecall.report import Report


class SystemdReporter:
    """Tells the service manager that started us."""

    def tell(self, notice: Notice) -> None:
        """The outcome as the unit's status line, and READY=1 once the node is ready."""
        notify(f"STATUS={status_line(notice.report)}")
        if notice.report.exit_code == 0:
            notify("READY=1")


def status_line(report: Report) -> str:
    """`rolled back, serving: generation 0123456789ab, serial 7`."""
    words = [report.outcome, "serving" if report.serving else "not serving"]
    if report.leaving:
        words.insert(0, "leaving")
    return f"{', '.join(words)}: generation {report.current[:12] or 'none'}, serial {report.serial}"


def working(step: str, seconds: float) -> None:
    """The step that has begun as the unit's status line, and so much time for it before the unit counts as hung.

    This is progress and nothing more: a service manager that cannot be told stops no run.
    """
    with suppress(OSError):
        notify(f"STATUS={step}\nEXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")


def notify(state: str) -> None:
    """sd_notify(3), by systemd-python where it is installed, else by the same one datagram. Raises OSError."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    try:
        from systemd import daemon
    except ImportError:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            # '@' stands for the zero byte of an abstract socket's name.
            sock.sendto(state.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
    else:
        daemon.notify(state)
