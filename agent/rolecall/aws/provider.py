"""AWS as the rest of the agent sees it: the methods of `Provider` in `node/providers.py`."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

from rolecall.aws import signer
from rolecall.aws.credentials import Credentials, parse_lines
from rolecall.aws.session import AwsSession
from rolecall.errors import Fault
from rolecall.fleet.identity import Identity
from rolecall.settings import Aws, Network
from rolecall.store import Store


class AwsProvider:
    """One session for everything that a run asks of AWS."""

    def __init__(self, settings: Aws, network: Network, run: Path | None = None) -> None:
        self.session = AwsSession(settings, network, _earlier_credentials(settings, run))
        self._stores = 0

    def open_store(self, url: str) -> Store:
        """`s3://bucket/prefix`."""
        from rolecall.aws.s3 import S3Store

        self._stores += 1
        return S3Store(url, self.session)

    def identify(self, until: float, root: str) -> Identity | None:
        """Who the metadata service of EC2 says we are."""
        from rolecall.aws import ec2

        return ec2.identify(self.session.imds, until, root)

    def read_secrets(self, references: list[str]) -> dict[str, str | Fault]:
        """From the Parameter Store and the Secrets Manager."""
        from rolecall.aws import secrets

        return secrets.fetch(references, self.session)

    def locate(self, region: str | None) -> None:
        """The region of the instance."""
        self.session.locate(region)

    def signing_files(self) -> dict[str, str]:
        """The credentials at hand; none are asked for only to be kept."""
        credentials = self.session.held()
        return {signer.CREDENTIALS: credentials.lines()} if credentials else {}

    def questions(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Credentials, where a store needs them: each store would tell the same cause once more."""
        if self._stores:
            yield f"AWS credentials ({self.session.settings.credentials})", self.session.credentials


def _earlier_credentials(settings: Aws, run: Path | None) -> Credentials | None:
    """Those of the instance's role that an earlier run of this boot has left; a file is read anew by every run."""
    if run is None or settings.credentials != "instance-role":
        return None
    try:
        text = (run / signer.CREDENTIALS).read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return None
    credentials = parse_lines(text)
    return credentials if credentials and credentials.expires < math.inf else None
