"""Numbers, sizes and times as a person reads them, in messages and in tables alike."""

_LONGER = (("min", 60), ("h", 3600), ("d", 86400))  # seconds; a unit is used from two of it on


def count(number: int, noun: str) -> str:
    """`1 change`, `19 changes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def size_in_words(size: int) -> str:
    """`17 bytes`, `1.2 MiB`."""
    if size < 1024:
        return count(size, "byte")
    value = float(size)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"


def duration(seconds: float) -> str:
    """`68 ms`, `1.2 s`, `90 s`, `3.9 min`, `20 min`, `26 h`, `10 d`: with two digits, or a whole number."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    value, unit = seconds, "s"
    for name, size in _LONGER:
        if seconds >= 2 * size:
            value, unit = seconds / size, name
    number = f"{value:.0f}" if value >= 9.95 else f"{value:.1f}".removesuffix(".0")
    return f"{number} {unit}"


def ago(seconds: float) -> str:
    """`40 s ago`, `3.9 min ago`. What is more than a minute in the future is the fault of a clock."""
    if seconds < -60:
        return "less than 0 s ago (this machine's clock was set back)"
    return f"{duration(max(round(seconds), 1))} ago"
