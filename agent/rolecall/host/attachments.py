"""The few fixed places where daemons look: laid once when an image is baked, only checked from then on."""

from dataclasses import replace
from pathlib import Path

from rolecall.host import files
from rolecall.render.generation import Generation
from rolecall.render.parts import AttachmentUse


def place_of(attachment: AttachmentUse, root: str) -> Path:
    """Where it lies on this node."""
    return Path(f"{root}{attachment.path}")


def _target(attachment: AttachmentUse, state: Path) -> str | None:
    """Where it leads, if it is a link."""
    return f"{state}/current/{attachment.link}" if attachment.link is not None else attachment.to


def missing(generation: Generation, state: Path, root: str) -> list[str]:
    """What is not in place, each in words."""
    found = []
    for one in generation.attachments:
        path = place_of(one, root)
        if (target := _target(one, state)) and files.read_link(path) != target:
            found.append(f"{path} is no link to {target}")
        if one.content is not None and files.read(path) != one.content.encode():
            found.append(f"{path} is missing" if not path.exists() else f"{path} has other content")
    return found


def lay(generation: Generation, state: Path, root: str) -> list[Path]:
    """Put every attachment in place; returns those that were not. A file that stood there is kept beside as .orig."""
    laid = []
    for one in generation.attachments:
        path = place_of(one, root)
        link = _target(one, state)
        if files.read_link(path) == link if link else files.read(path) == (one.content or "").encode():
            continue
        files.make_folders(path.parent)
        original = path.with_name(f"{path.name}.orig")
        if path.is_file() and not path.is_symlink() and not original.exists():
            files.rename(path, original)
        if link:
            files.point(path, link)
        else:
            files.replace(path, (one.content or "").encode(), 0o644)
        laid.append(path)
    return laid


def take(generation: Generation, state: Path, root: str) -> list[Path]:
    """Take away every attachment that is in place, and put back what stood there before; returns those."""
    taken = []
    for one in generation.attachments:
        path = place_of(one, root)
        if missing(replace(generation, attachments=(one,)), state, root):
            continue
        original = path.with_name(f"{path.name}.orig")
        if original.is_file():
            files.rename(original, path)
        else:
            files.remove(path)
        taken.append(path)
    return taken
