"""Credentials: by default those of the instance's role and no others, so that a stray file cannot stand in for it."""

import configparser
import json
import math
import os
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from rolecall.aws.imds import Imds
from rolecall.causes import is_skewed, skewed
from rolecall.errors import FetchFault

EARLY = 300.0  # seconds before their end at which credentials are no longer used: a run must be able to finish


@dataclass(frozen=True)
class Credentials:
    """A key, its secret and the session's token, good until `expires` (seconds since 1970)."""

    key_id: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    expires: float = math.inf

    def good(self, now: float) -> bool:
        """Whether there is time enough left to use them."""
        return now < self.expires - EARLY

    def lines(self) -> str:
        """For the file that the quick question of a refresh reads: four lines."""
        return "\n".join((self.key_id, self.secret, self.token, str(self.expires), ""))


def parse_lines(text: str) -> Credentials | None:
    """What `lines` wrote, or None."""
    lines = text.split("\n")
    try:
        return Credentials(lines[0], lines[1], lines[2], float(lines[3])) if len(lines) == 5 else None
    except ValueError:
        return None


def find(source: str, imds: Imds, until: float) -> Credentials:
    """The credentials that agent.toml's aws.credentials names. Raises FetchFault with the cause."""
    kind, _, where = source.partition(":")
    match kind:
        case "instance-role":
            return of_role(imds, until)
        case "file":
            return of_file(where)
        case _:
            return of_boto3()


def of_role(imds: Imds, until: float) -> Credentials:
    """Those of the role that is attached to the instance."""
    names = imds.get("meta-data/iam/security-credentials/", until)
    role = (names or "").strip().split("\n")[0]
    if not role:
        raise FetchFault(
            "no role is attached to this instance: the metadata service has no credentials",
            "attach an instance profile with the policy of packaging/iam/node.json; it takes effect within seconds",
            "no-role",
        )
    text = imds.get(f"meta-data/iam/security-credentials/{role}", until)
    if text is None:
        raise _pending(role, "the metadata service has no credentials for it")
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        raise _pending(role, "the metadata service's answer is not JSON") from None
    if not isinstance(answer, dict) or answer.get("Code") != "Success":
        code, why = (answer.get("Code"), answer.get("Message", "")) if isinstance(answer, dict) else ("?", "")
        raise FetchFault(
            f"the role {role} cannot be assumed by this instance: {code}: {why}".rstrip(": "),
            "let its trust policy allow ec2.amazonaws.com to assume it",
            "role-broken",
        )
    try:
        ends = datetime.fromisoformat(answer["Expiration"]).timestamp()
        key_id, secret, token = (_word(answer[name]) for name in ("AccessKeyId", "SecretAccessKey", "Token"))
    except (KeyError, TypeError, ValueError):
        raise _pending(role, "the metadata service's answer is incomplete") from None
    if time.time() >= ends:
        if is_skewed(imds.date):
            action = f"use the credentials of the role {role}"
            raise skewed(action, imds.date, "the metadata service's")
        raise FetchFault(
            f"the credentials of the role {role} expired on {answer['Expiration']}",
            "look at this machine's clock (chronyc tracking); the metadata service renews them by itself",
            "credentials-expired",
        )
    return Credentials(key_id, secret, token, ends)


def _word(value: object) -> str:
    """What can be in a header."""
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
        raise ValueError
    return value


def _pending(role: str, why: str) -> FetchFault:
    hint = "just after a start or a change of the role this passes within a minute; the agent asks again"
    return FetchFault(f"the credentials of the role {role} are not available yet: {why}", hint, "credentials-pending")


def of_file(path: str) -> Credentials:
    """Those of a file as the AWS tools keep it: [default], aws_access_key_id, aws_secret_access_key."""
    parser = configparser.RawConfigParser()
    hint = f"write [default], aws_access_key_id = … and aws_secret_access_key = … into {path}, root:root, mode 0600"
    try:
        if os.stat(path).st_mode & 0o007:
            raise FetchFault(
                f"the credentials in {path} can be read by everybody", f"chmod 0600 {path}", "no-credentials"
            )
        parser.read_string(Path(path).read_text("utf-8"))
        section = parser["default"]
        key_id, secret = section["aws_access_key_id"], section["aws_secret_access_key"]
        return Credentials(_word(key_id), _word(secret), section.get("aws_session_token", ""))
    except OSError as error:
        raise FetchFault(f"cannot read the credentials in {path}: {error.strerror}", hint, "no-credentials") from None
    except (configparser.Error, KeyError, ValueError):  # whose words would show lines of the file
        raise FetchFault(f"{path} is not an AWS credentials file", hint, "no-credentials") from None


def of_boto3() -> Credentials:
    """Those that the AWS tools would find for this user: environment, profile, single sign-on."""
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        credentials = boto3.Session().get_credentials()
        frozen = credentials.get_frozen_credentials() if credentials else None
    except BotoCoreError as error:
        raise FetchFault(f"no AWS credentials: {error}", "aws sts get-caller-identity", "no-credentials") from None
    if frozen is None or not frozen.access_key:
        raise FetchFault("no AWS credentials on this machine", "aws configure; or set AWS_PROFILE", "no-credentials")
    # Good for this process; what renews them is asked anew by the next one.
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token or "", time.time() + 2 * EARLY)
