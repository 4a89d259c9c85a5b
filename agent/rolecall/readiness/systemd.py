"""READY=1 and STATUS= for systemd (sd_notify(3)); outside of a Type=notify unit there is nobody to tell."""

import os
import socket

from rolecall.report import Report


class SystemdReporter:
    """Tells the service manager that started us."""

    def tell(self, report: Report) -> None:
        """The outcome as the unit's status line, and READY=1 once the node is ready."""
        leaving = "leaving, " if report.leaving else ""
        notify(f"STATUS={leaving}{report.outcome}: generation {report.current[:12]}, serial {report.serial}")
        if report.exit_code == 0:
            notify("READY=1")


def working(step: str, seconds: float) -> None:
    """The step that has begun as the unit's status line, and so much time for it before the unit counts as hung."""
    notify(f"STATUS={step}\nEXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")


def notify(state: str) -> None:
    """sd_notify(3), by systemd-python where it is installed, else by the same one datagram."""
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
