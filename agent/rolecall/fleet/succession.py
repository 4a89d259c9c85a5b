"""What a document may not change of the one that it replaces: epochs of databases, accounts of products."""

from collections.abc import Iterator
from typing import Any

from rolecall.fleet.schema import Fleet
from rolecall.forms.mistakes import Mistake, locate
from rolecall.forms.positions import json_positions
from rolecall.forms.system_accounts import why_reserved


def succession_mistakes(before: Any, after: Fleet, text: str) -> list[Mistake]:
    """What nodes would refuse, with its position in the new text. `before` is raw data, as wrong as it likes."""
    mistakes = [*_epoch_mistakes(_members(before, "databases"), after), *_account_mistakes(before, after)]
    return locate(mistakes, json_positions(text))


def _members(document: Any, key: str) -> dict[str, dict[str, Any]]:
    members = document.get(key) if isinstance(document, dict) else None
    return {
        name: member
        for name, member in (members.items() if isinstance(members, dict) else ())
        if isinstance(member, dict)
    }


def _epoch_mistakes(before: dict[str, dict[str, Any]], after: Fleet) -> Iterator[Mistake]:
    """Another master in the same epoch, or an older epoch."""
    for name, old in before.items():
        path, new = ("databases", name, "epoch"), after.databases.get(name)
        epoch, master = old.get("epoch"), old.get("master")
        if new is None or type(epoch) is not int:
            continue
        if new.epoch < epoch:
            message = f"is {new.epoch}, and {epoch} in the document that this one replaces"
            yield Mistake(path, message, f"set it to {epoch}; to {epoch + 1}, if the master changes")
        elif new.epoch == epoch and new.master != master:
            message = f"is still {epoch}, but the master was {master!r} and is {new.master!r} now"
            yield Mistake(path, message, f"raise it to {epoch + 1}: nodes refuse another master of the same epoch")


def _account_mistakes(document: Any, after: Fleet) -> Iterator[Mistake]:
    """Another account of a product, whose files would keep the old owner; or one that owns another product's files.

    An account that no product may have any more has to change.
    """
    users = {name: str(product.get("user")) for name, product in _members(document, "products").items()}
    owners = {user: name for name, user in users.items()}
    for name, product in after.products.items():
        path, user, owner = ("products", name, "user"), users.get(name), owners.get(product.user, name)
        if owner != name:
            message = f"{product.user!r} is the account of {owner!r} in the document that this one replaces"
            yield Mistake(path, message, f"choose another: the sessions and uploads of {owner!r} belong to it")
        elif user not in (None, product.user) and not why_reserved(str(user)):
            message = f"was {user!r} in the document that this one replaces, and is {product.user!r} now"
            yield Mistake(path, message, f"set it to {user!r}: the product's files belong to that account")
