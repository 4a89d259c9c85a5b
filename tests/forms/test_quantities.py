"""Numbers, sizes and times in words."""

import pytest

from rolecall.forms.quantities import ago, duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 ms"),
        (0.068, "68 ms"),
        (0.9996, "1 s"),
        (1.24, "1.2 s"),
        (9.97, "10 s"),
        (20.0, "20 s"),
        (119.4, "119 s"),
        (235.2516, "3.9 min"),
        (1200, "20 min"),
        (7200, "2 h"),
        (93600, "26 h"),
        (3 * 86400, "3 d"),
        (315_576_000, "3652 d"),
    ],
)
def test_a_duration_has_two_digits_or_is_a_whole_number(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "1 s ago"), (-5, "1 s ago"), (59.7, "60 s ago"), (150, "2.5 min ago")]
)
def test_how_long_ago_something_was_is_told_in_whole_seconds_at_least(seconds: float, words: str) -> None:
    assert ago(seconds) == words


def test_a_moment_in_the_future_is_the_clock_s_fault() -> None:
    assert ago(-315_576_000) == "less than 0 s ago (this machine's clock was set back)"
