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
from rolecall.fleet.tags import concerns_us
from rolecall.fleet.user_data import read_user_data
from rolecall.forms.mistakes import Mistakes, locate, mistakes_of

_DMI = "sys/class/dmi/id"


def identify(imds: Imds, until: float, root: str = "") -> Identity | None:
    """Who EC2 says we are; None only where the machine's own firmware says that this is no EC2.

    Raises FetchFault with the cause, Mistakes for what no machine has. What is wrong in tags and user-data is a part
    of the answer: it matters only where they speak for the machine.
    """
    if elsewhere(root):
        return None
    text = imds.get("dynamic/instance-identity/document", until)
    try:
        document = json.loads(text or "")
        fields: dict[str, Any] = {
            "instance": "" + document["instanceId"],
            "address": document.get("privateIp") or None,
            "zone": document.get("availabilityZone"),
            # As it is given: a zone's name less its last letter is not always the region (Local Zones).
            "region": document.get("region"),
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise FetchFault(
            f"{imds.endpoints[0]} has no instance identity document that can be read: {(text or 'none')[:60]!r}",
            "is something else answering at this address?",
            "imds-error",
        ) from None
    fields["address"] = fields["address"] or _ipv6_address(imds, until)
    # A tag can be seen and changed from outside; user-data is what the machine was started with.
    user_data, tags = read_user_data(imds.read("user-data", until) or b""), dict(_tags(imds, until))
    fields["tags"] = {**user_data.tags, **tags}
    fields["places"] = {tag: place for tag, place in user_data.places.items() if tag not in tags}
    fields["mistakes"] = user_data.mistakes
    fields["leaving"] = _leaving(imds, until)
    fields["lifecycle"] = (imds.get("meta-data/autoscaling/target-lifecycle-state", until) or "").strip() or None
    try:
        return Identity.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        raise Mistakes("instance metadata", locate(mistakes_of(error, Identity), {})) from None


def elsewhere(root: str = "") -> str:
    """Whose machine this is, if its firmware names somebody else than Amazon; '' on EC2, or where none can be asked."""
    words = []
    for name in ("sys_vendor", "board_vendor", "bios_vendor", "bios_version", "product_version", "chassis_asset_tag"):
        try:
            words.append(Path(root or "/", _DMI, name).read_text("utf-8", "replace").strip())
        except OSError:
            continue
    return "" if any("amazon" in word.lower() for word in words) else next(filter(None, words), "")


def _ipv6_address(imds: Imds, until: float) -> str | None:
    """The address of an instance whose subnet has IPv6 alone; its own one first, else the network interface's."""
    addresses = imds.get("meta-data/ipv6", until) or ""
    if not addresses.strip() and (mac := (imds.get("meta-data/mac", until) or "").strip()):
        addresses = imds.get(f"meta-data/network/interfaces/macs/{quote(mac, safe=':')}/ipv6s", until) or ""
    return next(iter(addresses.split()), None)


def _tags(imds: Imds, until: float) -> Iterator[tuple[str, str]]:
    """Tags are in the metadata only where the instance was started so (InstanceMetadataTags)."""
    names = (imds.get("meta-data/tags/instance", until) or "").split("\n")
    for name in filter(concerns_us, names):
        if (value := imds.get(f"meta-data/tags/instance/{quote(name)}", until)) is not None:
            yield name, value.strip()


def _leaving(imds: Imds, until: float) -> str | None:
    """What the provider is about to do with the instance; each item is there only once it is so."""
    for path, event, key in (
        ("meta-data/spot/instance-action", "the spot instance will be interrupted", "time"),
        (
            "meta-data/events/recommendations/rebalance",
            "the spot instance is at a higher risk of interruption",
            "noticeTime",
        ),
    ):
        text = imds.get(path, until)
        if text:
            try:
                notice = json.loads(text)
                return f"{event}: {notice.get('action', 'notice')} at {notice.get(key)}"
            except (ValueError, AttributeError, RecursionError):
                return event
    return None
