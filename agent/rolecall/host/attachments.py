"""The few fixed places where daemons look: laid once when an image is baked, only checked from then on."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rolecall.host import files
from rolecall.render.contents import Attachment
from rolecall.render.generation import Generation

MARK = "# Laid by `rolecall image attach`."


def path_of(attachment: Attachment, root: str) -> Path:
    """Where it lies on this node."""
    return Path(f"{root}{attachment.path}")


def problems(generation: Generation, state: Path, root: str) -> list[str]:
    """A line for each attachment that is not in place, with what becomes of that which is there instead."""
    lines = []
    for attachment in generation.attachments:
        path = path_of(attachment, root)
        if _in_place(attachment, state, root):
            continue
        target = _target(attachment, state)
        if not target and not os.path.lexists(path):
            lines.append(f"{path} is missing")
            continue
        problem = f"{path} is not a link to {target}" if target else f"{path} has other content"
        if os.path.lexists(path) and not _is_ours(attachment, (), state, root):
            problem += f"; what stands there would be kept as {_free_original(path).name}"
        lines.append(problem)
    return lines


def attach(
    generation: Generation, state: Path, root: str, known: Iterable[Attachment] = ()
) -> Mapping[Path, Path | None]:
    """Put every attachment in place; returns those that were not, with where that is kept which stood there.

    `known`: those that the agent may have laid here before. What this generation has no more of them is taken away, and
    what stood in its place before comes back.
    """
    known = tuple(known)
    places = {attachment.path for attachment in generation.attachments}
    withdrawn = tuple(attachment for attachment in known if attachment.path not in places)
    detach(replace(generation, attachments=withdrawn), state, root)
    return {
        path_of(attachment, root): _lay(attachment, known, state, root)
        for attachment in generation.attachments
        if not _in_place(attachment, state, root)
    }


def renew(generation: Generation, live: Generation, state: Path, root: str) -> list[Path]:
    """Put in place what another version of the role has beside those of the live generation, or has changed of them.

    Nothing is replaced but what was laid for the live generation; and nothing is done on a machine that is detached.
    """
    if live.empty or problems(live, state, root):
        return []
    laid = []
    for attachment in generation.attachments:
        path = path_of(attachment, root)
        if _in_place(attachment, state, root):
            continue
        if not os.path.lexists(path) or _is_ours(attachment, live.attachments, state, root):
            _lay(attachment, live.attachments, state, root)
            laid.append(path)
    return laid


def detach(generation: Generation, state: Path, root: str) -> list[Path]:
    """Remove every attachment that is in place, and put back what stood there before; returns their paths."""
    detached = []
    for attachment in generation.attachments:
        path = path_of(attachment, root)
        if not _in_place(attachment, state, root):
            continue
        original = _original(path)
        if os.path.lexists(original):
            files.rename(original, path)
        else:
            files.remove(path)
        detached.append(path)
    return detached


def _lay(attachment: Attachment, known: Sequence[Attachment], state: Path, root: str) -> Path | None:
    """Put one in place; returns where that is kept which stood there."""
    path, original = path_of(attachment, root), None
    files.make_folders(path.parent)
    if os.path.lexists(path) and not _is_ours(attachment, known, state, root):
        original = _free_original(path)
        files.rename(path, original)
    if target := _target(attachment, state):
        files.point(path, target)
    else:
        files.replace(path, (attachment.content or "").encode(), 0o644)
    return original


def _in_place(attachment: Attachment, state: Path, root: str) -> bool:
    path = path_of(attachment, root)
    if target := _target(attachment, state):
        return files.read_link(path) == target
    return not path.is_symlink() and files.read(path) == (attachment.content or "").encode()


def _is_ours(attachment: Attachment, known: Sequence[Attachment], state: Path, root: str) -> bool:
    """Whether what stands in its place was laid by the agent: it is one that is `known`, or says so itself."""
    path = path_of(attachment, root)
    if (target := files.read_link(path)) is not None:
        return target.startswith(f"{state}/")
    laid = [other for other in known if other.path == attachment.path]
    return any(_in_place(other, state, root) for other in laid) or (files.read(path) or b"").startswith(MARK.encode())


def _target(attachment: Attachment, state: Path) -> str | None:
    """Where it leads, if it is a link."""
    return f"{state}/current/{attachment.link}" if attachment.link is not None else attachment.to


def _original(path: Path) -> Path:
    """Where that is kept which stood in an attachment's place."""
    return path.with_name(f"{path.name}.orig")


def _free_original(path: Path) -> Path:
    """The same, or a name beside it that is free: the first is of what a person had before there was an agent."""
    original, number = _original(path), 1
    while os.path.lexists(original):
        original, number = path.with_name(f"{path.name}.orig.{number}"), number + 1
    return original
