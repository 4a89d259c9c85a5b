"""What a failure looked like, kept before a roll-back takes it away: answers of pages, lines of logs, the diff.

Each part is bounded, and fails on its own; none keeps a run from going back.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from rolecall.checks.http import Answers
from rolecall.checks.probes import Ailing
from rolecall.errors import HostFault
from rolecall.host import logs
from rolecall.host.redaction import Redaction
from rolecall.node.evidence import Evidence, LogEvidence, PageEvidence, Piece
from rolecall.node.node import Node
from rolecall.node.redaction import redaction_for
from rolecall.render.generation import Generation
from rolecall.render.plan import make_plan
from rolecall.report import Report

_HEAD, _BODY, _LOG, _DIFF = 4 * 1024, 16 * 1024, 32 * 1024, 64 * 1024  # bytes of each, as JSON
_ALL = 224 * 1024  # bytes of all together, as JSON; the file's keys and names come on top
_LINES = 200  # of a unit, from the journal
_MOST_LOGS = 32
_SECRET_HEADER = re.compile(
    r"^((?:set-)?cookie|(?:proxy-)?authorization|[a-z-]*(?:token|secret|key)[a-z-]*):.*", re.IGNORECASE | re.MULTILINE
)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Before:
    """How things were before a switch, for telling what came of it; `answers` fills with those that are wrong after."""

    live: Generation
    ailing: Ailing = frozenset()  # checks that failed already
    cursor: str = ""  # where the journal ended
    positions: logs.Positions | None = None  # where log files ended; None: nothing is switched
    answers: Answers = field(default_factory=Answers)


def before_switch(node: Node, target: Generation, live: Generation, ailing: Ailing = frozenset()) -> Before:
    """Remember it. A journal that does not answer costs its lines, and nothing else."""
    try:
        cursor = node.manager.log_position()
    except HostFault:
        cursor = ""
    return Before(live, ailing, cursor, logs.positions(_patterns(live, target)))


def keep_evidence(node: Node, failed: Generation, report: Report, before: Before) -> None:
    """Write down what `failed` has come to, beside the run's report. A disk that is full is a warning."""
    try:
        evidence = collect(node, failed, before)
        node.reports.save_evidence(report.number, report.command, evidence)
    except HostFault as fault:
        report.warn(f"the evidence of the failure could not be kept: {fault.message}")


def collect(node: Node, failed: Generation, before: Before) -> Evidence:
    """All of it, without secrets, and not too large."""
    room, missing = _Room(redaction_for(node, failed, before.live), _ALL), list[str]()
    pages = tuple(
        PageEvidence(
            name,
            product,
            room.beginning(_SECRET_HEADER.sub(r"\1: <left out>", answer.head), _HEAD),
            room.beginning(answer.body, _BODY, beyond=answer.size - len(answer.body.encode())),
        )
        for (product, name), answer in before.answers.wrong.items()
    )
    entries = []
    for name, text, left_out in _log_texts(node, failed, before, missing):
        entries.append(LogEvidence(name, room.end(text, _LOG, left_out)))
    diff = room.beginning("\n".join(make_plan(before.live, failed).diff()), _DIFF)
    return Evidence(failed.id, before.live.id, pages, tuple(entries), diff, tuple(missing))


def _log_texts(node: Node, failed: Generation, before: Before, missing: list[str]) -> Iterator[tuple[str, str, int]]:
    """Name, text and the bytes left out, of each log that has had anything since; why not goes to `missing`."""
    if before.positions is None:
        return
    for unit in failed.units:
        if node.manager.manages(unit):
            try:
                if text := node.manager.log_since(unit, before.cursor, _LINES):
                    yield unit.service, text, 0
            except HostFault as fault:
                missing.append(fault.message.partition("\n")[0])
    now = logs.positions(_patterns(failed))
    grown = [path for path, position in now.items() if before.positions.get(path) != position]
    if grown[_MOST_LOGS:]:
        missing.append(f"{len(grown) - _MOST_LOGS} more logs have new lines")
    for path in grown[:_MOST_LOGS]:
        try:
            yield path, *logs.text_since(before.positions, path, 2 * _LOG)
        except HostFault as fault:
            missing.append(fault.message)


def _patterns(*generations: Generation) -> list[str]:
    return [pattern for generation in generations for unit in generation.units for pattern in unit.logs]


class _Room:
    """What is left of the space for evidence. Secrets are taken out before anything is cut, so that none is halved."""

    def __init__(self, redaction: Redaction, size: int) -> None:
        self.redaction, self.size = redaction, size

    def beginning(self, text: str, most: int, beyond: int = 0) -> Piece:
        """The first part of a text. `beyond`: how many bytes of it are missing already."""
        text = _visible(self.redaction.redacted(text, cut_off=beyond > 0))
        part = text[: _fitting(text, min(most, self.size))]
        return self._piece(part, beyond + _bytes(text) - _bytes(part))

    def end(self, text: str, most: int, before: int = 0) -> Piece:
        """The last part of a text, in whole lines. `before`: how many bytes of it are missing already."""
        text = _visible(self.redaction.redacted(text))
        length = _fitting(text[::-1], min(most, self.size))
        part = text[len(text) - length :]
        if length < len(text):
            part = part.partition("\n")[2]
        return self._piece(part, before + _bytes(text) - _bytes(part))

    def _piece(self, part: str, cut: int) -> Piece:
        self.size -= _as_json(part)
        return Piece(part, cut)


def _fitting(text: str, most: int) -> int:
    """How many characters of a text fit into so many bytes of JSON."""
    length = min(len(text), most)
    while (size := _as_json(text[:length])) > most:
        length = min(length - 1, length * most // size)
    return max(0, length)


def _as_json(text: str) -> int:
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2


def _bytes(text: str) -> int:
    return len(text.encode())


def _visible(text: str) -> str:
    """Control characters, but for the tab and the end of a line, as they are written in a program."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text.replace("\r\n", "\n"))
