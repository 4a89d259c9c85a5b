"""OpenSSH signatures (`ssh-keygen -Y`, PROTOCOL.sshsig): operators have the keys, and every image has the program."""

import base64
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rolecall.errors import ConfigFault, HostFault, fault_of
from rolecall.host import programs

_KEY = re.compile(r"(?:^|\s)((?:sk-)?(?:ssh|ecdsa)-[A-Za-z0-9@.-]+)\s+(AAAA[A-Za-z0-9+/]+=*)")
_FORMATS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}  # of valid-after and valid-before, ssh-keygen(1)
_VALID = re.compile(r'Good "[^"]*" signature with [A-Za-z0-9-]+ key (SHA256:[A-Za-z0-9+/]{43})')
_GOOD = re.compile(r'Good "[^"]*" signature for (?P<name>.+) with [A-Za-z0-9-]+ key (?P<key>SHA256:[A-Za-z0-9+/]{43})')


@dataclass(frozen=True)
class Signer:
    """Who signed: the name that allowed_signers gives the key, and the key's fingerprint."""

    name: str
    key: str


def signer_of(
    payload: bytes, signature: str, *, signers: str, revoked: str | None, namespace: str, when: datetime
) -> Signer:
    """Who signed this. Raises ConfigFault for a signature that must not be believed, HostFault if that cannot be told.

    `when`: the moment at which the key has to be valid (valid-after, valid-before of allowed_signers).
    """
    for path in filter(None, (signers, revoked)):
        keys_in(path)  # says what is wrong with the file itself
    time = f"-Overify-time={when.astimezone(UTC):%Y%m%d%H%M%SZ}"
    with _readable(signature.encode()) as file:
        argv: tuple[str, ...] = ("ssh-keygen", "-Y", "find-principals", "-s", f"/dev/fd/{file}", "-f", signers, time)
        principals = programs.run(argv, fds=(file,))
        # Among the names are remarks on lines that were passed over, such as "allowed_signers:2: key has expired".
        lines = principals.output.splitlines() if principals.ok else []
        names = [line for line in lines if not line.startswith(f"{signers}:")]
        if not names:
            raise _refused(_reason(principals.output) or "its key is not in allowed_signers")
    with _readable(signature.encode()) as file:
        argv = ("ssh-keygen", "-Y", "verify", "-s", f"/dev/fd/{file}", "-f", signers, time)
        argv = (*argv, "-n", namespace, "-I", names[0], *(("-r", revoked) if revoked else ()))
        verification = programs.run(argv, stdin=payload, fds=(file,))
    match = _GOOD.search(verification.output) if verification.ok else None
    if match is None:
        raise _refused(_reason(verification.output) or "it is revoked or damaged")
    return Signer(match["name"], match["key"])


def key_of(payload: bytes, signature: str, namespace: str) -> str:
    """The fingerprint of the key that signed this, whosever it is. Raises ConfigFault for a signature of other bytes,
    HostFault if that cannot be told."""
    with _readable(signature.encode()) as file:
        argv = ("ssh-keygen", "-Y", "check-novalidate", "-n", namespace, "-s", f"/dev/fd/{file}")
        check = programs.run(argv, stdin=payload, fds=(file,))
    match = _VALID.search(check.output) if check.ok else None
    if match is None:
        raise _refused(_reason(check.output) or "it is damaged")
    return match[1]


def sign(payload: bytes, key: str, namespace: str) -> str:
    """The signature of an operator's key file; a public key's file asks the agent for it. Raises HostFault."""
    if not Path(key).is_file():
        raise HostFault(f"there is no key {key}", "--key FILE names one; ssh-keygen -t ed25519 makes one")
    signing = programs.run(
        ("ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", namespace), timeout=300, stdin=payload, interactive=True
    )
    if not signing.ok or "BEGIN SSH SIGNATURE" not in signing.output:
        raise HostFault(f"{key} did not sign", "is its passphrase right? Is it in the SSH agent (ssh-add -l)?")
    return signing.output


def trusted(signers: str, revoked: str | None, when: datetime) -> set[str]:
    """The fingerprints of all keys that are believed at a moment."""
    return keys_in(signers, when) - (keys_in(revoked) if revoked else set())


def keys_in(path: str, when: datetime | None = None) -> set[str]:
    """The fingerprints of the keys in a file such as allowed_signers; with `when`, of those whose time it is.

    Raises ConfigFault, which names the file: ssh-keygen would call it a wrong signature.
    """
    try:
        lines = [line.strip() for line in Path(path).read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        fault = fault_of(error, f"cannot read the keys in {path}: {error}", "bake it into the image", ConfigFault)
        fault.cause = "signature" if isinstance(fault, ConfigFault) else ""
        raise fault from None
    fingerprints = set()
    for line in lines:
        if not line or line.startswith("#"):
            continue
        try:
            key = _KEY.search(line)
            blob = base64.b64decode(key[2], validate=True) if key and "cert-authority" not in line else b""
        except ValueError:
            blob = b""
        if not blob:
            raise ConfigFault(
                f"{path}: this line has no key of its own: {line[:80]}",
                'each line: NAME namespaces="rolecall-fleet" KEY; no authorities: serials are kept by key',
                "signature",
            )
        if when is None or (_begun(line, "after", when) and not _begun(line, "before", when)):
            fingerprints.add(f"SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip('=')}")
    return fingerprints


def _begun(line: str, which: str, when: datetime) -> bool:
    """Whether the moment of valid-after or valid-before has come; the first has if it is not there, the other not."""
    match = re.search(rf'valid-{which}="?([0-9]+)(Z?)', line)
    if not match or len(match[1]) not in _FORMATS:
        return which == "after"
    try:
        limit = datetime.strptime(match[1], _FORMATS[len(match[1])])  # noqa: DTZ007 - without Z in the machine's zone
        return when >= (limit.replace(tzinfo=UTC) if match[2] else limit.astimezone())
    except (ValueError, OverflowError):  # such as February 30th, in which ssh-keygen sees March: let it be the judge
        return which == "after"


@contextmanager
def _readable(signature: bytes) -> Iterator[int]:
    """A pipe from which a program reads a signature once, by its name in /dev/fd.

    No file is left behind, and nobody else can change it. An operator's macOS has pipes and /dev/fd, as Linux does, but
    no files in memory. A signature that a pipe does not hold (64 KiB; 16 KiB on macOS) is none.
    """
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        try:
            whole = os.write(writer, signature) == len(signature)
        except BlockingIOError:
            whole = False
        finally:
            os.close(writer)
        if not whole:
            raise _refused("it is too long")
        yield reader
    finally:
        os.close(reader)


def _reason(output: str) -> str:
    """ssh-keygen's own words, but for those that say nothing."""
    lines = [line for line in output.strip().splitlines() if line != "Could not verify signature."]
    return lines[0].removeprefix("Signature verification failed: ") if lines else ""


def _refused(why: str) -> ConfigFault:
    return ConfigFault(
        f"the signature is refused: {why}",
        "who published it? Publish it again with a key in allowed_signers: `rolecall fleet publish`",
        "signature",
    )
