"""Counts and sizes as people read them."""

from typing import Final

_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")
STEP: Final = 1000


def sized(count: float) -> str:
    """Spell a number of bytes: "0 B", "999 B", "1.2 MB"."""
    size = float(count)
    for unit in _UNITS[:-1]:
        if size < STEP:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= STEP
    return f"{size:.1f} {_UNITS[-1]}"
