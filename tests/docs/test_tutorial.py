"""The tutorial, typed as it stands: every block of commands is run, and says what the page says."""

import re
import shutil
import subprocess
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest

from box import ROOT
from pages import Block, blocks

PAGE = ROOT / "docs/tutorial.md"
FOLDER = "/tmp/tutorial"  # the page's own; another one in its place is nobody else's
VARIES = {
    r"\b[0-9a-f]{12,64}\b": "ID",
    r"\d+(\.\d)? +(ms|s|min)\b": "TIME",
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|\d\d:\d\d:\d\d UTC": "MOMENT",
    r"█+": "BAR",
    r"\d+\.\d+ %": "SHARE",
    r"[ \t]+": " ",
}
SHOWN = [
    pytest.param(block, answer, id=f"line-{block.line}")
    for block, answer in pairwise(blocks(PAGE))
    if (block.kind, answer.kind) == ("sh", "text")
]


@pytest.fixture(scope="module")
def outputs() -> dict[int, str]:
    """What each block of commands prints, by its line in the page: one shell runs them all, as the page has it."""
    folder = Path(tempfile.mkdtemp(prefix="rc-"))
    folder.chmod(0o755)
    first, *others = [f"echo '@@ {block.line}'\n{block.text}" for block in blocks(PAGE) if block.kind == "sh"]
    guard = '[ "$(type -t rolecall)" = function ] || exit\n'  # else it would be the node that this machine may be
    script = "".join(["exec 2>&1\n", first, guard, *others])
    script = script.replace(f"mkdir {FOLDER}\n", "").replace(FOLDER, str(folder))
    try:
        shell = subprocess.run(
            ["bash", "-c", script], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        assert not folder.exists(), f"the last step of the page removes its folder\n{shell.stdout}"
    finally:
        if (folder / "node/stop.sh").exists():
            subprocess.run(["sh", folder / "node/stop.sh"])
        shutil.rmtree(folder, ignore_errors=True)
    _, *parts = re.split(r"(?m)^@@ (\d+)\n", shell.stdout.replace(str(folder), FOLDER))
    return {int(line): output for line, output in zip(parts[::2], parts[1::2], strict=True)}


def lines(text: str) -> str:
    """The lines, each with its end, without what differs from run to run."""
    for pattern, word in VARIES.items():
        text = re.sub(pattern, word, text)
    return "".join(f"{line.strip()}\n" for line in text.splitlines())


def fits(output: str, shown: str) -> bool:
    """Whether this is what the page shows, where a line `…` stands for any lines."""
    pattern = "".join(r"(.*\n)*" if line == "…" else re.escape(f"{line}\n") for line in lines(shown).splitlines())
    return bool(re.fullmatch(pattern, lines(output)))


def test_every_command_exists_and_none_ends_with_a_traceback(outputs: dict[int, str]) -> None:
    for line, output in outputs.items():
        assert not re.search(r"command not found|No such file|syntax error|Traceback", output), f"line {line}: {output}"


@pytest.mark.parametrize(("block", "answer"), SHOWN)
def test_a_block_of_commands_prints_what_the_page_shows(outputs: dict[int, str], block: Block, answer: Block) -> None:
    shown = fits(outputs[block.line], answer.text)
    assert shown, f"{PAGE.name}:{answer.line} shows something else than this:\n{outputs[block.line]}"


@pytest.mark.parametrize(
    ("output", "shown", "same"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\nx\nb\n", "a\nb\n", False),
        ("a\nx\ny\nb\n", "a\n…\nb\n", True),
        ("x\na\n", "a\n", False),
        ("x\na\n", "…\na\n", True),
        ("commit 3.5 s\n", "commit   12 ms\n", True),
        ("19 changes\n", "18 changes\n", False),
    ],
)
def test_a_difference_is_seen(output: str, shown: str, same: bool) -> None:
    assert fits(output, shown) is same
