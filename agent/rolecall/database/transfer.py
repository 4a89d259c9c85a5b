"""How far a restore is: bytes, their rate, and the time that is left where the whole is known."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rolecall.forms.quantities import duration, size_in_words


@dataclass
class Transfer:
    """Data on its way. `total`: bytes, as far as they can be estimated; 0 is unknown. `watch`: is told in words."""

    total: int
    watch: Callable[[str], None]
    began: float = field(default_factory=time.monotonic)

    def moved(self, size: int) -> None:
        """So many bytes have arrived by now."""
        self.watch(progress_in_words(size, self.total, time.monotonic() - self.began))


def progress_in_words(size: int, total: int, seconds: float) -> str:
    """`40.0 MiB of about 200.0 MiB, 10.0 MiB/s, 16 s left`; `40.0 MiB, 10.0 MiB/s` where the total is not known."""
    rate = size / max(seconds, 0.001)
    words = f"{size_in_words(size)}{f' of about {size_in_words(total)}' if total > size else ''}"
    words += f", {size_in_words(round(rate))}/s"
    return f"{words}, {duration((total - size) / rate)} left" if total > size and rate else words
