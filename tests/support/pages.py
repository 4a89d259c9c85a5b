"""The pages of this repository: their blocks, tables, headings and words in backticks."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from box import ROOT

DECISIONS = ROOT / "docs/decisions"  # what was so on their day; they are not kept up to date


def pages() -> list[Path]:
    """Every page that is kept up to date."""
    argv = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.md"]
    names = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    paths = [ROOT / name for name in sorted(set(names)) if name and name != "CHANGELOG.md"]
    return [path for path in paths if path.is_file() and not path.is_relative_to(DECISIONS)]


@dataclass
class Block:
    """What stands between two fences; `kind` is the word behind the first one, such as sh, text or toml."""

    page: Path
    line: int
    kind: str
    text: str


@dataclass
class Section:
    """A heading, and what is below it up to the next heading."""

    title: str
    blocks: list[Block] = field(default_factory=list)
    rows: dict[str, list[str]] = field(default_factory=dict)
    """Header of a table's first column → the first cells of all such tables."""


def sections(page: Path) -> list[Section]:
    """The page, cut at its headings."""
    parts, block, header = [Section("")], None, ""
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if block is not None:
            if line.startswith("```"):
                block = None
            else:
                block.text += f"{line}\n"
        elif line.startswith("```"):
            block = Block(page, number, line[3:].strip(), "")
            parts[-1].blocks.append(block)
        elif heading := re.match(r"#+ (.+)", line):
            parts.append(Section(heading[1]))
        elif line.startswith("|"):
            cell = line.split("|")[1].strip()
            if not header:
                header = cell or "-"
            elif not re.fullmatch(r":?-+:?", cell):
                parts[-1].rows.setdefault(header, []).append(cell)
        if not line.startswith("|"):
            header = ""
    return parts


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in their order."""
    return [block for section in sections(page) for block in section.blocks]


def codes(text: str) -> list[str]:
    """The words in backticks, of a line or of a page without its blocks."""
    return re.findall(r"`([^`\n]+)`", text)


def prose(page: Path) -> str:
    """The page without its blocks."""
    return re.sub(r"(?ms)^```.*?^```$", "", page.read_text())


def commands(block: Block) -> Iterator[str]:
    """The lines of a block of commands, with those that were continued put together."""
    text = re.sub(r"(?ms)<<'?(\w+)'?(.*?)\n\1$", r"\2", block.text)  # without here-documents
    yield from (line.strip() for line in text.replace("\\\n", " ").splitlines())
