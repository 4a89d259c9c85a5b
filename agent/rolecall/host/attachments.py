"""The few fixed places where daemons look: laid once when an image is baked, only checked from then on."""

from dataclasses import replace
from pathlib import Path

from rolecall.host import files
from rolecall.render.contents import Attachment
from rolecall.render.generation import Generation


def path_of(attachment: Attachment, root: str) -> Path:
    """Where it lies on this node."""
    return Path(f"{root}{attachment.path}")


def problems(generation: Generation, state: Path, root: str) -> list[str]:
    """A line for each attachment that is not in place."""
    lines = []
    for attachment in generation.attachments:
        path = path_of(attachment, root)
        if (target := _target(attachment, state)) and files.read_link(path) != target:
            lines.append(f"{path} is not a link to {target}")
        if attachment.content is not None and files.read(path) != attachment.content.encode():
            lines.append(f"{path} is missing" if not path.exists() else f"{path} has other content")
    return lines


def attach(generation: Generation, state: Path, root: str) -> list[Path]:
    """Put every attachment in place; returns those that were not. A file that stood there is kept beside as .orig."""
    attached = []
    for attachment in generation.attachments:
        path = path_of(attachment, root)
        target = _target(attachment, state)
        content = (attachment.content or "").encode()
        if files.read_link(path) == target if target else files.read(path) == content:
            continue
        files.make_folders(path.parent)
        original = _original(path)
        if path.is_file() and not path.is_symlink() and not original.exists():
            files.rename(path, original)
        if target:
            files.point(path, target)
        else:
            files.replace(path, content, 0o644)
        attached.append(path)
    return attached


def detach(generation: Generation, state: Path, root: str) -> list[Path]:
    """Remove every attachment that is in place, and put back what stood there before; returns their paths."""
    detached = []
    for attachment in generation.attachments:
        path = path_of(attachment, root)
        if problems(replace(generation, attachments=(attachment,)), state, root):
            continue
        original = _original(path)
        if original.is_file():
            files.rename(original, path)
        else:
            files.remove(path)
        detached.append(path)
    return detached


def _target(attachment: Attachment, state: Path) -> str | None:
    """Where it leads, if it is a link."""
    return f"{state}/current/{attachment.link}" if attachment.link is not None else attachment.to


def _original(path: Path) -> Path:
    """Where the file that stood in an attachment's place is kept."""
    return path.with_name(f"{path.name}.orig")
