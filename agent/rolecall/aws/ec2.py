"""Identity from EC2: the instance identity document, tags, user-data and what is about to happen to the instance."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from rolecall.aws.imds import Imds
from rolecall.errors import FetchFault
from rolecall.fleet.identity import Identity
from rolecall.forms.mistakes import Mistakes, locate, mistakes_of

_TAGS = ("rolecall:role", "rolecall:products")
_DMI = "sys/class/dmi/id"


def identify(imds: Imds, until: float, root: str = "") -> Identity | None:
    """Who EC2 says we are; None only where the machine's own firmware says that this is no EC2.

    Raises FetchFault with the cause, Mistakes for tags or user-data that are wrong.
    """
    if elsewhere(root):
        return None
    text = imds.get("dynamic/instance-identity/document", until)
    try:
        known = json.loads(text or "")
        found: dict[str, Any] = {
            "instance": "" + known["instanceId"], "address": known.get("privateIp"),
            # The region as it is told: a zone's name less its last letter is not always one (Local Zones).
            "zone": known.get("availabilityZone"), "region": known.get("region"),
        }  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise FetchFault(
            f"{imds.endpoints[0]} has no instance identity document that can be read: {(text or 'none')[:60]!r}",
            "is something else answering at this address?",
            "imds-error",
        ) from None
    # A tag can be seen and changed from outside; user-data is what the machine was started with.
    found["tags"] = {**dict(_of_user_data(imds, until)), **dict(_of_tags(imds, until))}
    found["leaving"] = _leaving(imds, until)
    found["lifecycle"] = (imds.get("meta-data/autoscaling/target-lifecycle-state", until) or "").strip() or None
    try:
        return Identity.model_validate_json(json.dumps(found))
    except ValidationError as error:
        raise Mistakes("instance metadata", locate(mistakes_of(error, Identity), {})) from None


def elsewhere(root: str = "") -> str:
    """Whose machine this is, if its firmware names somebody else than Amazon; '' on EC2, or where none can be asked."""
    told = []
    for name in ("sys_vendor", "board_vendor", "bios_vendor", "bios_version", "product_version", "chassis_asset_tag"):
        try:
            told.append(Path(root or "/", _DMI, name).read_text("utf-8", "replace").strip())
        except OSError:
            continue
    return "" if any("amazon" in one.lower() for one in told) else next(filter(None, told), "")


def _of_tags(imds: Imds, until: float) -> Iterator[tuple[str, str]]:
    """Tags are in the metadata only where the instance was started so (InstanceMetadataTags)."""
    names = (imds.get("meta-data/tags/instance", until) or "").split("\n")
    for name in _TAGS:
        if name in names and (value := imds.get(f"meta-data/tags/instance/{quote(name)}", until)):
            yield name, value.strip()


def _of_user_data(imds: Imds, until: float) -> Iterator[tuple[str, str]]:
    """`{"rolecall": {"role": "web", "products": ["blog"]}}`; any other user-data is somebody else's."""
    try:
        data = json.loads(imds.get("user-data", until) or "")
        mine = data["rolecall"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    for key, value in mine.items() if isinstance(mine, dict) else ():
        words = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        yield f"rolecall:{key}", words


def _leaving(imds: Imds, until: float) -> str | None:
    """What the provider is about to do with the instance; each item is there only once it is so."""
    for path, what, key in (
        ("meta-data/spot/instance-action", "the spot instance will be taken away", "time"),
        ("meta-data/events/recommendations/rebalance", "EC2 expects to take the spot instance away soon", "noticeTime"),
    ):
        text = imds.get(path, until)
        if text:
            try:
                notice = json.loads(text)
                return f"{what}: {notice.get('action', 'notice')} at {notice.get(key)}"
            except (ValueError, AttributeError, RecursionError):
                return what
    return None
