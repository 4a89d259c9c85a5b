"""Secrets by reference: read on the node only, told apart by a keyed fingerprint, never logged."""

import hashlib
import hmac
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from rolecall.assignment import Secret
from rolecall.errors import ConfigFault, HostFault
from rolecall.host import files

_KEY = "fingerprint.key"


def read_secrets(secrets: Iterable[Secret]) -> dict[str, str]:
    """The value of each secret by its key. Raises HostFault or ConfigFault; no message holds a value."""
    return {secret.key: _value(secret) for secret in secrets}


def paths_of(secrets: Iterable[Secret]) -> list[str]:
    """The files that hold secrets: when one of them changes, so does the node."""
    return sorted({one.reference.removeprefix("file:") for one in secrets if one.reference.startswith("file:")})


def _value(secret: Secret) -> str:
    kind, _, where = secret.reference.partition(":")
    if kind != "file":
        raise ConfigFault(
            f"the secret {secret.key} refers to {kind}:, which this version cannot resolve",
            "put the value into a file on the node and use file:/path",
        )
    try:
        status = os.stat(where)
        raw = Path(where).read_bytes()
    except OSError as error:
        raise HostFault(
            f"cannot read the secret {secret.key} from {where}: {error.strerror}",
            "put the value there, root:root, mode 0600",
        ) from None
    if stat.S_IMODE(status.st_mode) & 0o007:
        raise HostFault(f"the secret {secret.key} in {where} can be read by everybody", f"chmod 0600 {where}")
    try:
        return raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise HostFault(f"the secret {secret.key} in {where} is not UTF-8") from None


def fingerprints(values: dict[str, str], state: Path) -> dict[str, str]:
    """What tells one value from another without telling it: an HMAC under a key that never leaves the node."""
    if not values:
        return {}
    # Without a key nothing was ever staged here, so there is nothing to compare with.
    key = files.read(state / _KEY) or b""
    return {name: hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:32] for name, value in values.items()}


def ensure_key(state: Path) -> None:
    """Make the node's key, once."""
    if len(files.read(state / _KEY) or b"") != 32:
        files.make_folders(state)
        files.replace(state / _KEY, os.urandom(32), 0o600)
