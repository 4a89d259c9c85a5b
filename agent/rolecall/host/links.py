"""Whose the links of a release are. Apache follows a link only to what has the same owner, as it is told in the vhosts.

So a link that leads into a folder that the product writes belongs to the product: it shows what is the product's, and
nothing else that the product can lay a further link to. All others belong to the agent's user, as what they lead to.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from posixpath import normpath

from rolecall.host import files


def own_links(tree: Path, writable: Iterable[str], uid: int) -> None:
    """Give a release's links to its writable folders, and the archive's links that lead there, to the user `uid`.

    Raises HostFault, also where a link of the agent's own is gone.
    """
    laid = [tree / folder for folder in writable]
    with files.naming(tree, "look for the links in"):
        if all(os.lstat(link).st_uid == uid for link in laid):
            return
    for link in _links(tree):
        if link not in laid and _leads_to(link, laid):
            files.own_link(link, uid)
    for link in laid:  # the last: where they have their owner, the others have theirs
        files.own_link(link, uid)


def _links(tree: Path) -> Iterator[Path]:
    folders = [tree]
    for folder in folders:  # grows as it goes
        with files.naming(folder, "read"), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    yield Path(entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))


def _leads_to(link: Path, laid: list[Path]) -> bool:
    """Whether a link passes one of those that were laid. What lies behind these is the product's, and is not looked at;
    before them are an archive's links, which are relative and end somewhere."""
    at, left = link.parent, [link.name]
    while left:
        path = Path(normpath(at / left.pop()))
        if path in laid:
            return True
        if target := files.read_link(path):
            left += reversed(Path(target).parts)
        else:
            at = path
    return False
