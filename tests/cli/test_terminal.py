"""Times in words."""

import pytest

from rolecall.cli.terminal import ago, duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "never"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (3 * 86400, "3 d"), (-5, "-5 s")],
)
def test_how_long_ago_something_was_is_told_in_the_largest_unit_that_it_fills(
    seconds: float | None, words: str
) -> None:
    assert ago(seconds) == words


def test_a_moment_in_the_future_is_the_clock_s_fault() -> None:
    assert ago(-315_576_000) == "less than 0 s (this machine's clock was set back)"


@pytest.mark.parametrize(("seconds", "words"), [(0.068, "68 ms"), (1.24, "1.2 s"), (1200, "20 min")])
def test_durations_have_two_digits(seconds: float, words: str) -> None:
    assert duration(seconds) == words
