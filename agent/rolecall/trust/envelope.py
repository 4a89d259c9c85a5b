"""A signed document is one object, so that document and signature cannot be swapped for one another.

`{"rolecall": "signed document", "payload": "…", "signature": "-----BEGIN SSH SIGNATURE-----…"}`: the payload is the
document's text as it was signed, to the byte; `jq -r .payload` shows it.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from rolecall.errors import ConfigFault

KIND = "signed document"
NAMESPACE = "rolecall-fleet"  # what the operator's key signs for here; a signature for anything else is refused
_START = re.compile(rb'\s*\{\s*"rolecall"\s*:')  # no document begins so
_KEYS = {"rolecall", "payload", "signature"}


@dataclass(frozen=True)
class Envelope:
    """The document's bytes, and the signature over them; '' where there is none."""

    payload: bytes
    signature: str = ""


def seal(payload: bytes, signature: str) -> bytes:
    """One object of both."""
    envelope = {"rolecall": KIND, "payload": payload.decode("utf-8"), "signature": signature}
    return (json.dumps(envelope, ensure_ascii=False, indent=1) + "\n").encode("utf-8")


def unseal(raw: bytes, source: str) -> Envelope:
    """What `seal` made; what is no envelope is a payload without a signature. Raises ConfigFault if broken.

    Nobody has vouched for these bytes yet: they get a short answer, whatever they are.
    """
    if not _START.match(raw[:4096]):
        return Envelope(raw)
    try:
        data = json.loads(raw.decode("utf-8"), object_pairs_hook=_without_repetition)
    except UnicodeDecodeError:
        raise _broken(source, "is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise _broken(source, f"is not JSON ({str(error)[:80]})") from None
    if not isinstance(data, dict) or data.get("rolecall") != KIND:
        return Envelope(raw)
    if data.keys() != _KEYS or not all(isinstance(value, str) for value in data.values()):
        raise _broken(source, f"must have {', '.join(sorted(_KEYS))}, and nothing else")
    try:
        data["signature"].encode("ascii")
        return Envelope(data["payload"].encode("utf-8"), data["signature"])
    except UnicodeEncodeError:
        raise _broken(source, "contains characters that cannot be in a document or a signature") from None


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key occurs twice")
    return members


def _broken(source: str, why: str) -> ConfigFault:
    return ConfigFault(f"the envelope of {source} {why}", "publish it again with `rolecall fleet publish`", "signature")
