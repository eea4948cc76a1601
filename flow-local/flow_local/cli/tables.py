"""Tables and figures for people: plain columns, wide enough where no terminal bounds them."""

import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # Machines are shown no tables.
    from rich.console import Console
    from rich.table import Table

WIDTH_UNSEEN: Final = 160
STEP: Final = 1000
_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")


def stdout() -> "Console":
    """Return the console of stdout, which prints text as it is."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else WIDTH_UNSEEN
    return Console(markup=False, highlight=False, width=width)


def columns(*names: str, right: Collection[str] = ()) -> "Table":
    """Return a table with these columns; those in `right` hold figures."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in names:
        if name in right:
            table.add_column(name, justify="right", no_wrap=True)
        else:
            table.add_column(name, overflow="fold")
    return table


def lasting(seconds: float) -> str:
    """Spell how long something lasts: "0.2 s", "59 s", "2 min", "3 h", "4 d"."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1f} s"


def sized(count: float) -> str:
    """Spell a number of bytes: "0 B", "999 B", "1.2 MB"."""
    size = float(count)
    for unit in _UNITS[:-1]:
        if size < STEP:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= STEP
    return f"{size:.1f} {_UNITS[-1]}"
