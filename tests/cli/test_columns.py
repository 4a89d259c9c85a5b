"""Columns and paragraphs: folded at words on a terminal, a line a row in a pipe."""

import io

import pytest
from rich.console import Console

from box import Box
from rolecall.cli.tables import plain, print_faults, print_paragraph, print_table
from terminals import each_on_a_terminal

WORDS = "a page that does not answer as it should is worth a sentence of its own"
URL = "https://mirror.example.com/a/path/that/is/longer/than/any/terminal/of/sixty/columns/can/show"
COMMANDS = (
    "status", "history", "history 2", "doctor", "blame", "selftest", "plan --summary", "why apache/50-blog.conf:5",
    "refresh --resume",
)  # fmt: skip


class Screen(io.StringIO):
    """A terminal, as far as a stream is one."""

    def isatty(self) -> bool:
        return True


def shown(width: int, *rows: tuple[str, ...], stream: type[io.StringIO] = Screen) -> list[str]:
    """The lines of a table on a terminal of this width, or on another stream."""
    out = Console(file=stream(), width=width, highlight=False, markup=False, soft_wrap=True, color_system=None)
    print_table(out, [plain(*row) for row in rows])
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue().splitlines()


def test_the_last_column_is_folded_at_words_below_itself() -> None:
    assert shown(40, ("name", WORDS)) == [
        "name  a page that does not answer as it",
        "      should is worth a sentence of its",
        "      own",
    ]


def test_a_last_column_that_has_hardly_any_room_goes_below_its_row() -> None:
    assert shown(40, ("a long first column", "and a second", WORDS)) == [
        "a long first column  and a second",
        "    a page that does not answer as it",
        "    should is worth a sentence of its",
        "    own",
    ]


def test_where_the_other_columns_alone_are_too_wide_a_row_is_a_paragraph() -> None:
    assert shown(30, ("a long first column", "and a second", "short")) == [
        "a long first column  and a",
        "    second  short",
    ]


def test_a_url_stays_whole() -> None:
    assert any(line.endswith(URL) for line in shown(60, ("name", f"see {URL}")))


@pytest.mark.parametrize("rows", [[("name", WORDS * 20)], [("a", ""), ("longer", "b")]])
def test_a_pipe_gets_a_line_a_row_without_a_blank_at_its_end(rows: list[tuple[str, str]]) -> None:
    lines = shown(1000, *rows, stream=io.StringIO)
    assert len(lines) == len(rows)
    assert lines == [line.rstrip() for line in lines]


def test_a_remedy_stands_once_below_all_that_it_is_for() -> None:
    out = Console(file=io.StringIO(), width=80, highlight=False)
    print_faults(out, ["one is missing", "two is missing"], "lay them")
    print_paragraph(out, "and so on")
    assert isinstance(out.file, io.StringIO)
    assert out.file.getvalue() == "✗ one is missing\n✗ two is missing\n  remedy: lay them\nand so on\n"


@pytest.fixture(scope="module")
def ailing(module_box: Box) -> Box:
    """A node whose last release was rolled back: there is something to say about it."""
    module_box.product("blog")
    module_box.publish()
    module_box.boot()
    module_box.product("blog", "2", health="a page that is ill " * 8)
    module_box.document["products"]["blog"]["checks"][0]["contains"] = "a page that is well " * 5
    module_box.publish()
    module_box.rolecall("refresh", ok=1)
    return module_box


def test_no_command_of_a_node_prints_a_line_that_a_terminal_of_60_columns_has_to_fold(ailing: Box) -> None:
    config = str(ailing.machine.config)
    screens = each_on_a_terminal(60, [[*words.split(), "--config", config] for words in COMMANDS], ailing.env)
    for words, screen in zip(COMMANDS, screens, strict=True):
        lines = screen.partition("\n---")[0].splitlines()  # evidence is shown as it was
        wide = [line for line in lines if len(line.rpartition("\r")[2]) > 60 and " " in line.strip()[2:]]
        assert lines, words
        assert [line for line in wide if not line.split()[-1].startswith("file:")] == [], words


def test_no_command_of_a_node_pads_its_lines_in_a_pipe(ailing: Box) -> None:
    for words in COMMANDS[:-1]:
        lines = ailing.rolecall(*words.split(), ok=False).stdout.partition("\n---")[0].splitlines()
        assert lines, words
        assert [line for line in lines if line != line.rstrip()] == [], words


def test_doctor_gives_each_remedy_once(ailing: Box) -> None:
    ailing.rolecall("image", "detach")
    lines = ailing.rolecall("doctor", ok=1).stdout.splitlines()
    assert sum(line.startswith("✗ attachment: ") for line in lines) > 1
    remedies = [line for line in lines if line.startswith("  remedy: ")]
    assert "  remedy: rolecall image attach" in remedies
    assert len(remedies) == len(set(remedies))
