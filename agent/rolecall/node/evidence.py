"""What a failure looked like, as it stands beside the report of its run."""

from dataclasses import dataclass
from typing import Any

from rolecall.forms.stored import json_object, typed

FORMAT = 1
MOST = 256 * 1024  # bytes of the file


@dataclass(frozen=True)
class Piece:
    """A part of a text without secrets, and how many bytes of it were cut off."""

    text: str
    cut: int


@dataclass(frozen=True)
class PageEvidence:
    """What a self-test of a page was answered with last: its head, with the status line, and the first of its body."""

    check: str
    product: str
    head: Piece
    body: Piece


@dataclass(frozen=True)
class LogEvidence:
    """The last of what a unit or a log file has had since the switch."""

    name: str
    lines: Piece


@dataclass(frozen=True)
class Evidence:
    """Of the generation that failed, against what was live; `missing` says what could not be had, and why."""

    generation: str
    live: str
    pages: tuple[PageEvidence, ...]
    logs: tuple[LogEvidence, ...]
    diff: Piece
    missing: tuple[str, ...] = ()


def parse_evidence(raw: bytes) -> Evidence:
    """From its file. Raises ValueError, which says why it is none."""
    data: dict[str, Any] = json_object(raw)
    if data.get("format") != FORMAT:
        raise ValueError(f"it has format {data.get('format')!r}, this version reads {FORMAT}")
    return typed(Evidence, data)
