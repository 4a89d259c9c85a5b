"""`adopt`: what products had written where this disk was before is theirs again, because a person says so."""

import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rolecall.errors import HostFault
from rolecall.forms.mistakes import suggest
from rolecall.host import accounts, files, selinux, trees
from rolecall.host.lock import locked
from rolecall.node.aside import PRODUCT_FOLDERS, Aside, lying_aside
from rolecall.node.node import Node
from rolecall.node.owner import foreign_owner

_Owner = tuple[int, int]  # numbers of user and group


@dataclass(frozen=True)
class SetAsideProduct:
    """What a product had written: bytes of its folders in `shared` and in `private`."""

    name: str
    shared: int
    private: int


@dataclass(frozen=True)
class AsideContent:
    """What an instance has left here, and what its products have written."""

    aside: Aside
    products: tuple[SetAsideProduct, ...]


@dataclass(frozen=True)
class Adopted:
    """What was moved, and where to."""

    product: str
    source: Path
    path: Path


def contents_aside(state: Path) -> Iterator[AsideContent]:
    """Everything that lies aside, and how much each product has written. Raises HostFault for what cannot be read."""
    for item in lying_aside(state):
        sizes = {name: [_size(item.path / part / name) for part in PRODUCT_FOLDERS] for name in item.products}
        yield AsideContent(item, tuple(SetAsideProduct(name, *bytes_) for name, bytes_ in sizes.items()))


def adopt(node: Node, name: str, products: Collection[str]) -> tuple[Adopted, ...]:
    """Move the folders of these products, or of all, from what lies aside by this name to where this machine has them.

    Raises HostFault with everything that is in the way, and then nothing was moved; BusyFault while a run goes on.
    """
    with locked(node.settings.run, "adopt"):
        item = _named(node, name)
        moves = list(_moves(node, item, products or item.products))
        if problems := [*_unknown(item, products), *(problem for move in moves for problem in _problems(move))]:
            raise HostFault(
                "\n  ".join([f"nothing was taken from {item.path}:", *problems]),
                "move away what is in the way (without sessions in private/ visitors log in again), or copy single "
                "files by hand; --product NAME takes one product alone",
            )
        for move in moves:
            _take(node, move)
    return tuple(moves)


def _named(node: Node, name: str) -> Aside:
    if owner := foreign_owner(node):
        raise HostFault(
            f"the state in use is that of another instance, {owner}",
            "it is set aside as soon as the document has a place for this machine: `rolecall refresh`",
        )
    items = {item.name: item for item in lying_aside(node.settings.state)}
    if name not in items:
        names, nearest = ", ".join(sorted(items)) or "nothing", suggest(name, items)
        raise HostFault(f"nothing of {name!r} lies aside", f"{nearest and f'{nearest} '}there is: {names}")
    return items[name]


def _unknown(item: Aside, products: Iterable[str]) -> Iterator[str]:
    names = ", ".join(item.products) or "none"
    yield from (
        f"the product {name!r} has written nothing there; {suggest(name, item.products, f'there is: {names}')}"
        for name in products
        if name not in item.products
    )


def _moves(node: Node, item: Aside, products: Iterable[str]) -> Iterator[Adopted]:
    for product in products:
        for part in PRODUCT_FOLDERS:
            source = item.path / part / product
            if trees.is_folder(source):
                yield Adopted(product, source, node.settings.state / part / product)


def _problems(move: Adopted) -> Iterator[str]:
    """What forbids a move."""
    entries = [path for path in trees.entries_below(move.path) if not trees.is_folder(path)]
    if entries:
        rest = f" and {len(entries) - 1} more" if len(entries) > 1 else ""
        yield f"{move.path} has something already: {entries[0].relative_to(move.path)}{rest}"
    elif os.path.lexists(move.path) and not trees.is_folder(move.path):
        yield f"{move.path} is no folder"
    elif trees.holds_mounts(move.path) or _disk_of(move.path) != _disk_of(move.source):
        yield f"{move.path} is on another disk than {move.source}: copy it, as with cp -a"


def _disk_of(path: Path) -> int:
    """The file system that a path is on, or would be on."""
    return next(parent for parent in (path, *path.parents) if parent.exists()).stat().st_dev


def _take(node: Node, move: Adopted) -> None:
    """Owners first, where nobody else can enter; then the place of an empty folder, in one rename."""
    account = _account(node, move.product)
    trees.give([move.source, *trees.entries_below(move.source)], partial(_owner_of, move, account))
    files.make_folders(move.path.parent)
    trees.remove_empty_folders(move.path)
    files.rename(move.source, move.path)
    files.sync_folder(move.source.parent)
    selinux.relabel(move.path)


def _account(node: Node, product: str) -> _Owner:
    """Whom a product's files belong to on this machine; -1 where nobody can tell."""
    home = node.settings.state / "private" / product
    if trees.is_folder(home):
        status = home.stat()
        return status.st_uid, status.st_gid
    account = accounts.account_of(product, node.settings.paths.root)
    return (account.uid, account.gid) if account else (-1, -1)


def _owner_of(move: Adopted, account: _Owner, path: Path, status: os.stat_result) -> _Owner:
    """What is root's stays root's. A group is that of the folder which this machine has there: Apache's for uploads."""
    uid, gid = account
    place = move.path / path.relative_to(move.source)
    folder = next((folder for folder in (place, *place.parents) if trees.is_folder(folder)), None)
    if folder and folder.is_relative_to(move.path) and (group := folder.stat().st_gid):
        gid = group
    return (uid if status.st_uid else -1), (gid if status.st_gid else -1)


def _size(folder: Path) -> int:
    """The bytes of the files below a folder."""
    return sum(path.lstat().st_size for path in trees.entries_below(folder) if not trees.is_folder(path))
