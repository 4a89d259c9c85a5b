"""A fake instance metadata service of EC2, version 2: what a machine may ask about itself.

As a program: `python -m servers.imds --address 127.0.0.1 --port 8169 --facts facts.json`.
"""

import argparse
import json
import re
import secrets
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from servers.http import Answer, Request, Server

VERSIONS = ("2021-07-15", "2024-04-11", "latest")
TTL = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
DAY_OF_START = "2026-01-02T03:04:05Z"

# What is a dict in the facts, but one page of JSON to who asks; every other dict is a folder.
PAGE = re.compile(
    "dynamic/instance-identity/document"
    "|meta-data/(iam/info|iam/security-credentials/[^/]+|spot/instance-action|events/recommendations/rebalance)"
)


def facts() -> dict[str, Any]:
    """What a machine in an auto scaling group knows about itself, without a role and without tags."""
    name, zone, region = "i-0123456789abcdef0", "eu-central-1a", "eu-central-1"
    image, kind, address = "ami-0123456789abcdef0", "m7i.large", "10.0.1.11"
    return {
        "meta-data": {
            "ami-id": image,
            "autoscaling": {"target-lifecycle-state": "InService"},
            "hostname": "ip-10-0-1-11.eu-central-1.compute.internal",
            "instance-id": name,
            "instance-life-cycle": "on-demand",
            "instance-type": kind,
            "ipv6": "2001:db8::11",
            "local-ipv4": address,
            "mac": "02:00:0a:00:01:0b",
            "placement": {"availability-zone": zone, "availability-zone-id": "euc1-az2", "region": region},
            "public-ipv4": "203.0.113.11",
            "services": {"domain": "amazonaws.com", "partition": "aws"},
        },
        "dynamic": {
            "instance-identity": {
                "document": {
                    "accountId": "123456789012",
                    "architecture": "x86_64",
                    "availabilityZone": zone,
                    "billingProducts": None,
                    "devpayProductCodes": None,
                    "imageId": image,
                    "instanceId": name,
                    "instanceType": kind,
                    "kernelId": None,
                    "marketplaceProductCodes": None,
                    "pendingTime": DAY_OF_START,
                    "privateIp": address,
                    "ramdiskId": None,
                    "region": region,
                    "version": "2017-09-30",
                }
            }
        },
        "user-data": "",
    }


class Imds(Server):
    """The service. `data` is what it knows, and may be changed while it runs."""

    def __init__(self, data: dict[str, Any] | None = None, address: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__(address, port)
        self.data = facts() if data is None else data
        self.tokens: dict[str, float] = {}

    @property
    def meta(self) -> dict[str, Any]:
        """The folder meta-data."""
        found: dict[str, Any] = self.data["meta-data"]
        return found

    def tags(self, tags: dict[str, str] | None) -> None:
        """Show these tags; None: tags are not enabled in the metadata."""
        self.meta.pop("tags", None)
        if tags is not None:
            self.meta["tags"] = {"instance": tags}

    def role(
        self, name: str | None, key: str = "", secret: str = "", token: str = "", expires: datetime | None = None
    ) -> None:
        """Give credentials of a role, for six hours if nothing else is said; None: the machine has no role."""
        if name is None:
            self.meta.pop("iam", None)
            return
        ends = expires or self.clock() + timedelta(hours=6)
        self._role(name, "Success", Type="AWS-HMAC", AccessKeyId=key, SecretAccessKey=secret, Token=token,
                   Expiration=f"{ends.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")  # fmt: skip

    def refuse_role(self, name: str, code: str = "AssumeRoleUnauthorizedAccess") -> None:
        """Answer 200 with a code and no keys, as when the role does not trust EC2."""
        self._role(name, code, Message=f"EC2 cannot assume the role {name}.")

    def _role(self, name: str, code: str, **fields: str) -> None:
        state = {"Code": code, "LastUpdated": f"{self.clock().astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"}
        arn = f"arn:aws:iam::123456789012:instance-profile/{name}"
        info = state | {"InstanceProfileArn": arn, "InstanceProfileId": "AIPAEXAMPLEEXAMPLE123"}
        self.meta["iam"] = {"info": info, "security-credentials": {name: state | fields}}

    def expire_tokens(self) -> None:
        """No token that was given so far is good any longer."""
        self.tokens = dict.fromkeys(self.tokens, 0.0)

    def fault(self, kind: int | str, **options: Any) -> None:
        """Also "off": the service is switched off; "hop-limit": PUT is not answered, as when a container asks."""
        if kind == "hop-limit":
            super().fault("hang", **options | {"method": "PUT"})
            super().fault(401, **options | {"method": "GET"})
            super().fault(401, **options | {"method": "HEAD"})
        else:
            super().fault(403 if kind == "off" else kind, **options)

    def answer(self, request: Request) -> Answer:
        if request.method == "PUT":
            return self._token(request)
        if request.method not in ("GET", "HEAD"):
            return failed(405, Allow="GET, HEAD, PUT")
        left = self.tokens.get(request.headers.get("X-aws-ec2-metadata-token", ""), 0.0) - time.monotonic()
        if left <= 0:
            return failed(401)
        page = self._page(request.path)
        return failed(404) if page is None else text(page, TTL, str(int(left) + 1))

    def _token(self, request: Request) -> Answer:
        version, _, path = request.path[1:].partition("/")
        if version not in VERSIONS or path != "api/token":
            return failed(404)
        if version != "latest" or "X-Forwarded-For" in request.headers:
            return failed(403)
        seconds = request.headers.get(TTL, "")
        if not re.fullmatch("[0-9]{1,5}", seconds) or not 1 <= int(seconds) <= 21600:
            return failed(400)
        token = secrets.token_urlsafe(40) + "=="
        self.tokens[token] = time.monotonic() + int(seconds)
        return text(token.encode(), TTL, str(int(seconds)))

    def _page(self, path: str) -> bytes | None:
        """What is at a path; None for nothing."""
        if path == "/":
            return "\n".join(VERSIONS).encode()
        version, _, below = path[1:].partition("/")
        folder = below.removesuffix("/")
        found: Any = self.data
        at: list[str] = []
        for part in folder.split("/") if folder else []:
            if not isinstance(found, dict) or PAGE.fullmatch("/".join(at)):
                return None
            found = found.get(part)
            at.append(part)
        if version not in VERSIONS or found is None:
            return None
        if isinstance(found, dict) and not PAGE.fullmatch(folder):
            return "\n".join(sorted(listed(folder, name, found[name]) for name in found)).encode()
        if below.endswith("/"):
            return None
        if isinstance(found, dict):
            return json.dumps(found, indent=2).encode()
        return found if isinstance(found, bytes) else str(found).encode()


def listed(folder: str, name: str, value: object) -> str:
    """A name as the list of its folder shows it."""
    return f"{name}/" if isinstance(value, dict) and not PAGE.fullmatch(f"{folder}/{name}") else name


def text(body: bytes, name: str, value: str) -> Answer:
    return Answer(200, body, {"Content-Type": "text/plain", "Server": "EC2ws", name: value})


def failed(status: int, **headers: str) -> Answer:
    page = f"<html><body><h1>{status}</h1></body></html>\n".encode()
    return Answer(status, page, {"Content-Type": "text/html", "Server": "EC2ws", **headers})


class FileImds(Imds):
    """A service that reads what it knows from a file, anew for every request."""

    file: Path | None = None

    def answer(self, request: Request) -> Answer:
        if self.file:
            self.data = json.loads(self.file.read_bytes())
        return super().answer(request)


def main() -> None:
    parser = argparse.ArgumentParser(description="A fake instance metadata service of EC2.")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--facts", type=Path, help="a JSON file with what it knows, read anew for every request")
    given = parser.parse_args()
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    server = FileImds(address=given.address, port=given.port)
    server.file = given.facts
    with server:
        print(server.url, flush=True)
        signal.sigwait(ends)


if __name__ == "__main__":
    main()
