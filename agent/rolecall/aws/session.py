"""This node at AWS: which credentials, which region, and boto3 made of them. Clients are made anew where it matters."""

import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from rolecall.aws.credentials import Credentials, find
from rolecall.aws.errors import errors, fault_of
from rolecall.aws.imds import Imds
from rolecall.causes import HINTS, too_slow
from rolecall.deadline import within
from rolecall.errors import FetchFault
from rolecall.settings import Aws, Network

T = TypeVar("T")
_STALE = ("credentials-expired", "credentials-refused")


class AwsSession:
    """Credentials and clients of one run. `earlier`: credentials that an earlier run of this boot has left."""

    def __init__(self, settings: Aws, network: Network, earlier: Credentials | None = None) -> None:
        self.settings, self.network = settings, network
        self.imds = Imds(settings.imds)
        self._credentials = earlier
        self._region = settings.region or ""
        self._clients: dict[tuple[str, ...], Any] = {}

    def held(self) -> Credentials | None:
        """The credentials at hand, without asking for any."""
        return self._credentials

    def credentials(self) -> Credentials:
        """Good ones. Raises FetchFault with the cause."""
        if self._credentials is None or not self._credentials.good(time.time()):
            # A session that once found none keeps failing (boto/botocore#2304), so nothing of it is kept.
            self._clients.clear()
            self._credentials = find(self.settings.credentials, self.imds, self._until())
        return self._credentials

    def locate(self, region: str | None) -> None:
        """The instance's region, which counts where agent.toml names none."""
        self._region = self._region or region or ""

    def region(self) -> str:
        """The region of agent.toml, else the instance's own. Raises FetchFault."""
        if not self._region and self.settings.credentials == "instance-role":
            self._region = (self.imds.get("meta-data/placement/region", self._until()) or "").strip()
        if not self._region:
            import boto3

            self._region = boto3.Session().region_name or "" if self.settings.credentials == "boto3" else ""
        if not self._region:
            hint = 'set region = "us-east-1" below [aws], or ?region= in the URL'
            raise FetchFault("no AWS region is known", hint, "aws-settings")
        return self._region

    def client(self, service: str, region: str = "", endpoint: str = "", style: str = "auto") -> Any:
        """A boto3 client that knows these credentials and nothing of this machine's ~/.aws."""
        credentials = self.credentials()
        region = region or self.region()
        endpoint = endpoint or self.settings.endpoints.get(service, "")
        key = (service, region, endpoint, style, credentials.key_id, credentials.token)
        if key not in self._clients:
            self._clients[key] = _client(service, region, endpoint, style, credentials=credentials, ca=self.network.ca)
        return self._clients[key]

    def ask(self, action: str, seconds: float, client: Callable[[], Any], ask: Callable[[Any], T]) -> T:
        """What boto3 answers within `seconds` in all. Once more with new credentials where the old ones are refused.

        The client is made outside of that time: the metadata service, which may be asked for it, has a deadline and
        causes of its own. Raises FetchFault with its cause, or ConflictFault.
        """
        left = seconds
        for last in (False, True):
            ready, began = client(), time.monotonic()
            try:
                return within(left, partial(ask, ready))
            except errors() as error:
                fault = fault_of(error, action)
                if last or fault.cause not in _STALE:
                    fault.hint = self._renewal() if fault.cause == "credentials-expired" else fault.hint
                    raise fault from None
                self._credentials = None
                left -= time.monotonic() - began
            except TimeoutError:
                raise too_slow(action, seconds) from None
        raise AssertionError

    def _renewal(self) -> str:
        """What to do about credentials that have expired."""
        kind, _, path = self.settings.credentials.partition(":")
        own = {"boto3": "log in again, as with `aws sso login`", "file": f"write new ones into {path}"}
        return own.get(kind, HINTS["credentials-expired"])

    def _until(self) -> float:
        return time.monotonic() + self.network.timeout


def _client(service: str, region: str, endpoint: str, style: str, *, credentials: Credentials, ca: str | None) -> Any:
    import boto3
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    session = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
    for name in ("config_file", "credentials_file"):
        session.set_config_variable(name, os.devnull)
    config = Config(
        connect_timeout=3,
        read_timeout=5,
        retries={"mode": "standard", "total_max_attempts": 3},
        s3={"addressing_style": style},
        ignore_configured_endpoint_urls=True,
        # botocore looks for a checksum also in a 304, and fails on it; our own digests stand for the content.
        # And over TLS it would send even small objects in chunks with a trailer, which not every S3 takes.
        response_checksum_validation="when_required",
        request_checksum_calculation="when_required",
    )
    try:
        return boto3.Session(botocore_session=session).client(
            service,
            region_name=region,
            endpoint_url=endpoint or None,
            config=config,
            verify=ca or True,
            aws_access_key_id=credentials.key_id,
            aws_secret_access_key=credentials.secret,
            aws_session_token=credentials.token or None,
        )
    except (BotoCoreError, ValueError) as error:  # of a region or an endpoint that cannot be one
        hint = "correct the store's URL, or [aws] in agent.toml"
        raise FetchFault(f"cannot reach {service} in {region}: {error}", hint, "aws-settings") from None
