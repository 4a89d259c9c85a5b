"""The numbers of products' accounts and groups: the same on every server, whatever else a server has.

A product's number is made from its name, so it belongs to the product, whatever its account is called. Numbers end
below 60000, where Debian's and systemd's reservations begin, and fit into 16 bits, which rootless containers map.
"""

import hashlib
from collections.abc import Iterator
from itertools import chain
from typing import Any

from rolecall.fleet.database_agreement import list_of
from rolecall.forms.mistakes import Mistake, Path, dotted

DERIVED_NUMBERS = range(20000, 60000)
OWN_NUMBERS = range(1000, 60000)  # that a document may name: no number of the system


def product_number(product: str, uid: int | None = None) -> int:
    """The number of a product's account and of the account's own group. `uid`: what the document says, if anything."""
    return _derived(f"product {product}") if uid is None else uid


def group_number(group: str) -> int:
    """The number of a group that products share."""
    return _derived(f"group {group}")


def _derived(text: str) -> int:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return DERIVED_NUMBERS[int(digest, 16) % len(DERIVED_NUMBERS)]


def number_mistakes(products: dict[str, Any]) -> Iterator[Mistake]:
    """Every number that two would have, as a mistake of the second one. Raw data, as in agreement.py."""
    numbers = list(_numbers(products))
    taken = {number for _, number in numbers}
    holders: dict[int, Path] = {}
    for path, number in numbers:
        holder = holders.setdefault(number, path)
        if holder == path:
            continue
        message = f"the number {number} is that of {dotted(holder)} too"
        if path[2] == "groups":
            yield Mistake(path, message, "call the group something else: its number is made from its name")
        else:
            free = free_number(number, taken)
            taken.add(free)
            yield Mistake((*path[:2], "uid"), message, f"set 'uid' of {dotted(path[:2])} to {free}, which is free")


def free_number(number: int, taken: set[int]) -> int:
    """The next number after one that is taken."""
    candidates = chain(range(max(number, DERIVED_NUMBERS.start), DERIVED_NUMBERS.stop), DERIVED_NUMBERS)
    return next(candidate for candidate in candidates if candidate not in taken)


def _numbers(products: dict[str, Any]) -> Iterator[tuple[Path, int]]:
    """What has which number, first what cannot have another: groups, then what documents say, then what is made."""
    groups: dict[str, Path] = {}
    for name, product in products.items():
        for i, group in enumerate(list_of(product.get("groups"))):
            if isinstance(group, str):
                groups.setdefault(group, ("products", name, "groups", i))
    yield from ((path, group_number(group)) for group, path in groups.items())
    said = {name: uid for name, product in products.items() if type(uid := product.get("uid")) is int}
    yield from ((("products", name, "uid"), uid) for name, uid in said.items())
    yield from ((("products", name, "user"), product_number(name)) for name in products if name not in said)
