"""A certificate authority for tests, and servers that it vouches for: rightly, too long ago, or by another name."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

NAMES = ("localhost", "127.0.0.1", "::1")


class Authority:
    """An authority that only those trust who are given its `file`."""

    def __init__(self, folder: Path, name: str = "ca.pem") -> None:
        self.file = folder / name
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(self.file)

    def context(self, *names: str, not_after: datetime | None = None) -> ssl.SSLContext:
        """A server's side of TLS, for this machine if no names are given."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*(names or NAMES), not_after=not_after).configure_cert(made)
        return made

    def expired(self) -> ssl.SSLContext:
        """A server whose certificate ended yesterday."""
        return self.context(not_after=datetime.now(UTC) - timedelta(days=1))

    def misnamed(self) -> ssl.SSLContext:
        """A server with the certificate of another one."""
        return self.context("elsewhere.example.com")
