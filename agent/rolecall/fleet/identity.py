"""Who this node is, wherever that was learnt from."""

from typing import Annotated

from pydantic import Field

from rolecall.forms.scalars import Address, Frozen, Name, Text, Word


class Identity(Frozen):
    """What a machine knows of itself before it has read anything of the fleet.

    A server of the fleet document is this machine if its `instance` is ours; where the document names no instance,
    if it has our `server` name or our `address`. Tags (`rolecall:role`, `rolecall:products`) speak for machines that
    the document does not name, such as those that Auto Scaling starts. `places` says where a tag stands that comes
    from elsewhere, such as user-data; `mistakes`, what was wrong there: it matters only where tags speak. `leaving`
    says in words that the provider is about to take the machine away; `lifecycle` is the state that Auto Scaling wants
    it in, such as InService.
    """

    instance: Word | None = None
    server: Name | None = None
    address: Address | None = None
    zone: Word | None = None
    region: Word | None = None
    tags: dict[Text, Text] = {}
    places: dict[Text, Text] = {}
    mistakes: Annotated[tuple[Text, ...], Field(strict=False)] = ()  # a note of an earlier run has a list
    leaving: Text | None = None
    lifecycle: Word | None = None
