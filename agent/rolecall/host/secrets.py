"""Secrets by reference: read on the node only, told apart by a keyed fingerprint, never logged."""

import hashlib
import hmac
import json
import os
import stat
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from rolecall.causes import OUT, PROVIDER_BUSY, PROVIDER_OUT
from rolecall.errors import Fault, FetchFault, HostFault, MachineFault, fault_of
from rolecall.fleet.secrets import Secret
from rolecall.forms.stored import json_object
from rolecall.host import files, state_files

KEY = "fingerprint.key"
KEPT = "secrets.json"
_LARGEST = 64 * 1024 * 1024  # bytes of it
FORMAT = 1
# What the store refuses is not handed out from the disk: only what it cannot tell just now.
_OUT = OUT | PROVIDER_OUT | PROVIDER_BUSY | {"broken-answer"}


class Secrets:
    """The values that references stand for. `keep`: the last good ones stay on disk, for when their store is out.

    `fetch` reads those that are in a provider's store: each value, or why it alone cannot be had.
    """

    def __init__(self, state: Path, fetch: Callable[[list[str]], dict[str, str | Fault]], *, keep: bool) -> None:
        self.state, self.fetch, self.keep = state, fetch, keep
        self._read: dict[str, str] = {}
        self._known: set[str] = set()
        self._anew = False

    def require_anew(self) -> None:
        """From now on only what the stores themselves tell: the kept values stand in for nothing."""
        self._anew = True

    def read(self, secrets: Iterable[Secret], warn: Callable[[str], None]) -> tuple[dict[str, str], dict[str, Fault]]:
        """The value of each secret by its key, and why others cannot be had, by theirs.

        Raises MachineFault, and FetchFault where their store is out. No message holds a value.
        """
        references = {secret.key: secret for secret in secrets}
        answers = {key: _of_file(secret) for key, secret in references.items() if secret.reference.startswith("file:")}
        stored = {key: secret.reference for key, secret in references.items() if key not in answers}
        if stored:
            fetched = self._stored(list(dict.fromkeys(stored.values())), warn)
            self._read = {key: value for key, value in fetched.items() if isinstance(value, str)}
            answers |= {key: fetched[reference] for key, reference in stored.items()}
        values = {key: answer for key, answer in answers.items() if isinstance(answer, str)}
        self._known |= set(values.values())
        return values, {key: answer for key, answer in answers.items() if isinstance(answer, Fault)}

    def known(self) -> frozenset[str]:
        """Every value that was read so far, and those that are kept: what no text may show."""
        return frozenset({*self._known, *self._kept().values()})

    def keep_values(self, used: Collection[str]) -> None:
        """Keep the values that were read last, or none: for a run that ended well, never for a mere look.

        In the place of one that is not among those `used`, as no file can hold it, the one kept before stays.
        """
        kept = self._kept()
        values = {reference: kept[reference] for reference in self._read if reference in kept}
        values |= {reference: value for reference, value in self._read.items() if value in used}
        if not self.keep or not values:
            files.remove(self.state / KEPT)
        elif values != kept:
            content = {"format": FORMAT, "values": values}
            files.replace(self.state / KEPT, json.dumps(content).encode(), 0o600)

    def _stored(self, references: list[str], warn: Callable[[str], None]) -> dict[str, str | Fault]:
        try:
            return self.fetch(references)
        except FetchFault as fault:
            values = self._kept()
            if not self.keep or self._anew or fault.cause not in _OUT or not values.keys() >= set(references):
                raise
            warn(f"{fault.message}; the secrets' last known values are used (secrets.keep)")
            return {reference: values[reference] for reference in references}

    def _kept(self) -> dict[str, str]:
        try:
            return read_kept(self.state)
        except ValueError:
            return {}


def read_kept(state: Path) -> dict[str, str]:
    """The values on disk by their references. Raises ValueError, which says why they cannot be read."""
    raw = state_files.read(state / KEPT, _LARGEST)
    if raw is None:
        return {}
    data = json_object(raw)
    values = data.get("values") if "format" in data else data  # 0.1.0 wrote the values alone
    if data.get("format", FORMAT) != FORMAT:
        raise ValueError(f"it has format {data['format']!r}, this version reads {FORMAT}")
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise ValueError("it holds something other than text")
    return values


def paths_of(secrets: Iterable[Secret]) -> list[str]:
    """The files that hold secrets: when one of them changes, so does the node."""
    references = {secret.reference for secret in secrets}
    return sorted(reference.removeprefix("file:") for reference in references if reference.startswith("file:"))


def _of_file(secret: Secret) -> str | Fault:
    """The text of a file, or what is wrong with it. Raises MachineFault."""
    path = Path(secret.reference.removeprefix("file:"))
    try:
        status = path.stat()
        raw = path.read_bytes()
    except OSError as error:
        hint = "put the value there, root:root, mode 0600"
        message = f"cannot read the secret {secret.key} from {path}: {error.strerror}"
        fault = fault_of(error, message, hint, HostFault)
        if isinstance(fault, MachineFault):
            raise fault from None
        return fault
    if stat.S_IMODE(status.st_mode) & 0o007:
        return HostFault(f"the secret {secret.key} in {path} can be read by everybody", f"chmod 0600 {path}")
    try:
        return raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        return HostFault(f"the secret {secret.key} in {path} is not UTF-8", "write it there as text in UTF-8")


def fingerprints(values: dict[str, str], state: Path) -> dict[str, str]:
    """What tells one value from another without telling it: an HMAC under a key that never leaves the node."""
    if not values:
        return {}
    # Without a key nothing was ever staged here, so there is nothing to compare with.
    key = files.read(state / KEY) or b""
    return {name: hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:32] for name, value in values.items()}


def ensure_key(state: Path) -> None:
    """Make the node's key, once."""
    if len(files.read(state / KEY) or b"") != 32:
        files.make_folders(state)
        files.replace(state / KEY, os.urandom(32), 0o600)
