"""What a machine says of itself, by tags or user-data: what one is for that the document does not name."""

import difflib
from collections import Counter
from collections.abc import Collection, Iterator

from rolecall.fleet.identity import Identity
from rolecall.forms.mistakes import Mistake, suggest

ROLE, PRODUCTS = "rolecall:role", "rolecall:products"
_NAMES = (PRODUCTS, ROLE)


def concerns_us(tag: str) -> bool:
    """Whether a tag is ours, or was meant to be: `rolecall:anything`, `Rolecall:Role`, `rolecall-product`."""
    return tag.strip().lower().startswith(("rolecall:", "rolecall/")) or bool(_nearest(tag))


def _nearest(tag: str) -> str:
    return next(iter(difflib.get_close_matches(tag.strip().lower(), _NAMES, 1, 0.8)), "")


def tag_mistakes(identity: Identity, role: str = "", products: Collection[str] | None = None) -> list[str]:
    """All that is wrong in what the machine says of itself, each with its place and its remedy.

    `role` is that of its image, `products` are those of the document: '' and None where there is none to compare with.
    """
    mistakes = [*_names(identity), *_role(identity, role), *_products(identity, products)]
    return [*identity.mistakes, *map(str, mistakes)]


def product_names(identity: Identity) -> list[str]:
    """The products that the machine says are its own: none where it says nothing of them."""
    value = identity.tags.get(PRODUCTS, "").strip()
    return [name.strip() for name in value.split(",")] if value else []


def _place(identity: Identity, tag: str) -> tuple[str]:
    return (identity.places.get(tag, f"the tag {tag}"),)


def _names(identity: Identity) -> Iterator[Mistake]:
    for tag in filter(concerns_us, identity.tags):
        if tag not in _NAMES:
            nearest = _nearest(tag)
            hint = f"did you mean {nearest!r}?" if nearest else f"known here: {', '.join(_NAMES)}"
            yield Mistake(_place(identity, tag), "unknown tag", hint)


def _role(identity: Identity, role: str) -> Iterator[Mistake]:
    value, place = identity.tags.get(ROLE), _place(identity, ROLE)
    if value is None:
        return
    if not value.strip():
        yield Mistake(place, "is empty", "name the role of the machine's image, or remove it")
    elif role and value != role:
        hint = "correct it, or use an image of that role"
        yield Mistake(place, f"is {value!r}, but this machine's image is for {role!r}", hint)


def _products(identity: Identity, products: Collection[str] | None) -> Iterator[Mistake]:
    place = _place(identity, PRODUCTS)
    for name, count in Counter(product_names(identity)).items():
        if not name:
            yield Mistake(place, "has an empty name between its commas", "remove the comma that is too many")
            continue
        if products is not None and name not in products:
            hint = suggest(name, products, "correct it, or add the product to the document")
            yield Mistake(place, f"names {name!r}, which is not a product", hint)
        if count > 1:
            yield Mistake(place, f"names {name!r} {count} times", "once is enough")
