"""Secrets by reference: read on the node only, told apart by a keyed fingerprint, never logged."""

import hashlib
import hmac
import json
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from rolecall.errors import FetchFault, HostFault
from rolecall.fleet.topology import Secret
from rolecall.host import files

_KEY = "fingerprint.key"
_KEPT = "secrets.json"
# What the store refuses is not handed out from the disk: only what it cannot tell just now.
_OUT = ("unreachable", "too-slow", "throttled", "server-error", "broken-answer", "tls", "clock-skew",
        "imds-unreachable", "imds-hop-limit", "imds-off", "imds-busy", "imds-error", "no-role", "role-broken",
        "credentials-pending", "credentials-expired")  # fmt: skip


class Secrets:
    """The values that references stand for. `keep`: the last good ones stay on disk, for when their store is out.

    `fetch` reads those that are in a provider's store.
    """

    def __init__(self, state: Path, fetch: Callable[[list[str]], dict[str, str]], *, keep: bool) -> None:
        self.state, self.fetch, self.keep = state, fetch, keep
        self._read: dict[str, str] = {}

    def read(self, secrets: Iterable[Secret], warn: Callable[[str], None]) -> dict[str, str]:
        """The value of each secret by its key. Raises HostFault, ConfigFault, FetchFault; no message holds a value."""
        wanted = list(secrets)
        found = {one.key: _of_file(one) for one in wanted if one.reference.startswith("file:")}
        stored = {one.reference: one for one in wanted if one.key not in found}
        if stored:
            values = self._read = self._stored(list(stored), warn)
            found |= {one.key: values[one.reference] for one in wanted if one.key not in found}
        return found

    def keep_values(self) -> None:
        """Keep the values that were read last, or none: for a run that ended well, never for a mere look."""
        if not self.keep or not self._read:
            files.remove(self.state / _KEPT)
        elif self._read != self._kept():
            files.replace(self.state / _KEPT, json.dumps(self._read).encode(), 0o600)

    def _stored(self, references: list[str], warn: Callable[[str], None]) -> dict[str, str]:
        try:
            return self.fetch(references)
        except FetchFault as fault:
            kept = self._kept()
            if not self.keep or fault.cause not in _OUT or not kept.keys() >= set(references):
                raise
            warn(f"{fault.message}; the secrets' last known values are used (secrets.keep)")
            return {reference: kept[reference] for reference in references}

    def _kept(self) -> dict[str, str]:
        try:
            kept = json.loads(files.read(self.state / _KEPT) or b"{}")
        except ValueError:
            return {}
        good = isinstance(kept, dict) and all(isinstance(value, str) for value in kept.values())
        return kept if good else {}


def paths_of(secrets: Iterable[Secret]) -> list[str]:
    """The files that hold secrets: when one of them changes, so does the node."""
    return sorted({one.reference.removeprefix("file:") for one in secrets if one.reference.startswith("file:")})


def _of_file(secret: Secret) -> str:
    where = secret.reference.removeprefix("file:")
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
