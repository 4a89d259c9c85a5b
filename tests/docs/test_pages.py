"""What pages say of this repository is there: commands, options, settings, targets of make, files, headings."""

import argparse
import contextlib
import io
import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from box import ROOT
from pages import blocks, codes, commands, pages, prose, sections
from rolecall.cli.parser import parser
from rolecall.fleet.schema import parse_fleet
from rolecall.render.role import RoleFile
from rolecall.settings import Settings
from schemas import has_key

PAGES = [pytest.param(page, id=page.relative_to(ROOT).as_posix()) for page in pages()]
PARTS = re.compile(r"\|\||&&|;|\||<|>")
TARGETS = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text()))


def parts(line: str) -> Iterator[list[str]]:
    """The words of each command of a line of the shell."""
    for part in PARTS.split(re.sub(r"(^|\s)#.*", "", re.sub(r"\$\([^()]*\)", "X", line))):
        with contextlib.suppress(ValueError):  # half of a quoted text, no command
            words = shlex.split(part)
            while words and (words[0] in ("command", "sudo", "$") or words[0].startswith("on") or "=" in words[0]):
                words = words[2 if words[0] == "on" else 1 :]
            if words:
                yield words


def accepted(words: list[str]) -> str:
    """Why the parser refuses the words of a command line; '' if it does not."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            parser().parse_args(words)
    except SystemExit as end:
        return said.getvalue() if end.code else ""
    return ""


def lines(page: Path) -> Iterator[tuple[str, list[str]]]:
    """The commands that a page tells to type: place and words. Synopses, with brackets, are none."""
    for block in blocks(page):
        if block.kind not in ("sh", ""):
            continue
        for line in commands(block):
            if not re.search(r"\[--|\(--|…", line):
                yield from ((f"{page.name}:{block.line}", words) for words in parts(line))


@pytest.mark.parametrize("page", PAGES)
def test_every_line_of_rolecall_is_one_that_it_takes(page: Path) -> None:
    refused = [
        f"{where}: {shlex.join(words)}: {reason}"
        for where, words in lines(page)
        if words[0].endswith("rolecall") and "/" not in words[0].replace(".venv/bin/", "")
        if (reason := accepted(words[1:]))
    ]
    assert refused == []


def unknown_words(code: str) -> list[str]:
    """The commands and options of a command line in a sentence that do not exist; values and `…` are passed over."""
    at, unknown = parser(), list[str]()
    for word in code.split()[1:]:
        groups = [action.choices for action in at._actions if isinstance(action, argparse._SubParsersAction)]
        if word.startswith("-"):
            options = {option for action in at._actions for option in action.option_strings}
            unknown += {word.partition("=")[0]} - options - {"--json"}
        elif groups and re.fullmatch(r"[a-z]+", word):
            unknown += {word} - set(groups[0])
            at = groups[0].get(word, at)
    return unknown


@pytest.mark.parametrize("page", PAGES)
def test_a_command_that_is_named_in_a_sentence_exists_with_its_options(page: Path) -> None:
    named = [code for code in codes(prose(page)) if code.startswith("rolecall ")]
    assert [code for code in named if unknown_words(code)] == []


def test_what_does_not_exist_is_seen() -> None:
    assert "unrecognized arguments: --as-if" in accepted(["plan", "--as-if", "web1"])
    assert accepted(["plan", "--fleet", "fleet.json", "--as", "web1"]) == ""
    assert unknown_words("rolecall fleet chek --json FILE") == ["chek"]
    assert unknown_words("rolecall refresh --resumed") == ["--resumed"]
    assert unknown_words("rolecall plan --as") == []


@pytest.mark.parametrize("page", PAGES)
def test_every_target_of_make_that_is_named_exists(page: Path) -> None:
    named = [words for _, words in lines(page)] + [code.split() for code in codes(prose(page))]
    targets = {word for words in named if words[0] == "make" for word in words[1:] if re.fullmatch(r"[a-z-]+", word)}
    assert targets <= TARGETS


@pytest.mark.parametrize("page", PAGES)
def test_every_block_for_the_shell_is_one(page: Path) -> None:
    for block in blocks(page):
        if block.kind == "sh":
            shell = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
            assert shell.returncode == 0, f"{page.name}:{block.line}: {shell.stderr}"


@pytest.mark.parametrize("page", PAGES)
def test_an_image_build_takes_the_options_that_a_page_gives_it(page: Path) -> None:
    source = (ROOT / "image-build/build").read_text()
    for where, words in lines(page):
        if words[0].endswith("image-build/build"):
            own = words[: words.index("--")] if "--" in words else words
            options = {word for word in own if word.startswith("--")}
            assert {option for option in options if option not in source} == set(), where
            assert (ROOT / f"image-build/roles/{words[1]}.sh").exists() or words[1] == "baseline", where


# Settings, roles and documents


def paths(data: Any, path: str = "") -> Iterator[str]:
    """The paths of all keys, without the indices of lists."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield f"{path}{key}"
            yield from paths(value, f"{path}{key}.")
    elif isinstance(data, list):
        for value in data:
            yield from paths(value, path)


@pytest.mark.parametrize("page", PAGES)
def test_a_block_of_toml_has_keys_of_the_settings_or_of_a_role(page: Path) -> None:
    for block in blocks(page):
        if block.kind == "toml" and "…" not in block.text:
            data = tomllib.loads(block.text)
            unknown = [[path for path in paths(data) if not has_key(model, path)] for model in (Settings, RoleFile)]
            assert [] in unknown, f"{page.name}:{block.line}: {min(unknown, key=len)}"


@pytest.mark.parametrize("page", PAGES)
def test_a_setting_that_is_named_in_a_sentence_exists(page: Path) -> None:
    tables = [name for name, field in Settings.model_fields.items() if hasattr(field.annotation, "model_fields")]
    form = re.compile(rf"({'|'.join(tables)})\.(?!json)[a-z_]+")
    named = [code.partition(" ")[0] for code in codes(prose(page))]
    assert [code for code in named if form.fullmatch(code) and not has_key(Settings, code)] == []


def test_the_whole_document_of_the_reference_passes() -> None:
    *_, whole = blocks(ROOT / "docs/reference/document.md")
    assert parse_fleet(whole.text.encode()).fleet == "heavy"
    for page in pages():
        for block in blocks(page):
            if block.kind == "json" and "…" not in block.text and block.text.startswith(("{", "[")):
                json.loads(block.text)


# Files and headings


def slug(title: str) -> str:
    """The anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", title).lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_page_and_a_heading(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in {slug(section.title) for section in sections(file)}):
            broken.append(target)
    assert broken == []


FILE = re.compile(r"[\w.-]+(/[\w.-]+)*(/|\.(py|toml|md|sh|j2|txt|service|timer|target|json|hcl))")
PLACEHOLDER = re.compile(r"[A-Z]{4}")  # templates/ROLE/
HOMES = [ROOT, ROOT / "agent/rolecall", ROOT / "tests"]
TOPS = {path.name for home in HOMES[:2] for path in home.iterdir()}
OF_A_NODE = [ROOT / "docs/tutorial.md", ROOT / "docs/reference/state.md"]  # their paths are a node's own


@pytest.mark.parametrize("page", [page for page in PAGES if page.values[0] not in OF_A_NODE])
def test_every_path_of_the_repository_in_backticks_exists(page: Path) -> None:
    missing = [
        code
        for code in codes(prose(page))
        if FILE.fullmatch(code)
        and (code.split("/")[0] in TOPS or code.endswith(".py"))
        and not PLACEHOLDER.search(code)
        if not any((home / code).exists() for home in [page.parent, *HOMES])
    ]
    assert missing == []
