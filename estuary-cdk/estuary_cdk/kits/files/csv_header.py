"""Whether the first row of a CSV file names its columns or is a row like those below.

It names them unless the rows below prove otherwise: a row too few is worse than odd names, and a
header taken for a row spoils every type. The proof, in the first 100 rows, is that

- each of its cells is of the kind that all cells of its column are (of numbers, booleans, dates,
  UUIDs, e-mail addresses, web addresses or IP addresses; empty cells and text fit anything), and
- something in it is no name: one of these dates or addresses, above a column of them; or next to a
  number a text that its own column has again; or at least three numbers, not all of them whole,
  that neither rise nor fall throughout.

So years, numbers and positions along an axis stay names, as they are above pivoted tables; and so
does a first row that comes again as a whole, as in files that were put one behind the other.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import islice, pairwise, zip_longest
from typing import Final

from estuary_cdk.kits.files.csv_columns import A_NUMBER, BOOLEANS

ROWS: Final = 100
ROWS_MIN: Final = 2
_DAY: Final = r"(?:0?[1-9]|[12][0-9]|3[01])"
_MONTH: Final = r"(?:0?[1-9]|1[0-2])"
_CLOCK: Final = r"(?:[T ][0-2]?[0-9]:[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]+)?)?(?: ?[-+Z][0-9:]*)?)?"
_BYTE: Final = r"(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
VALUES: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"[0-9]{{4}}([-/]){_MONTH}\1{_DAY}{_CLOCK}",
        rf"(?:{_DAY}([-/.]){_MONTH}|{_MONTH}([-/.]){_DAY})(?:\1|\2)[0-9]{{4}}{_CLOCK}",
        r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}",
        r"[^@\s]+@[^@\s]+\.[a-zA-Z]{2,}",
        r"https?://\S+",
        rf"{_BYTE}(?:\.{_BYTE}){{3}}",
    )
)


def is_header(rows: Iterable[Sequence[str]]) -> bool:
    """Tell whether the first of a file's first rows, none of them empty, names its columns.

    More than one row is only taken where the first has a number, a date or an address.
    """
    found = islice(rows, ROWS)
    first = next(found, ())
    if not any(_is_number(cell) or _is_value(cell) for cell in map(str.strip, first)):
        return True
    below = list(found)
    if len(below) < ROWS_MIN or list(first) in map(list, below):
        return True
    columns = list(zip_longest(*below, fillvalue=""))[: len(first)]
    cells = [
        (cell.strip(), _distinct(column)) for cell, column in zip(first, columns, strict=False)
    ]
    if not all(_fits(cell, column) for cell, column in cells):
        return True
    numbers = [cell for cell, column in cells if _is_number(cell) and all(map(_is_number, column))]
    return not (
        any(_is_value(cell) and column and all(map(_is_value, column)) for cell, column in cells)
        or (numbers and any(cell in column and not _is_number(cell) for cell, column in cells))
        or _is_measured(numbers)
    )


def _distinct(column: Sequence[str]) -> set[str]:
    return {cell.strip() for cell in column} - {""}


def _fits(cell: str, column: set[str]) -> bool:
    """Whether a cell may stand above a column, if it is one of it."""
    if not cell or not column:
        return True
    for is_kind in (_is_number, _is_boolean, _is_value):
        if all(map(is_kind, column)):
            return is_kind(cell)
    return True


def _is_measured(numbers: Sequence[str]) -> bool:
    values = [float(number) for number in numbers]
    rises = all(one < other for one, other in pairwise(values))
    falls = all(one > other for one, other in pairwise(values))
    return len(values) >= 3 and not all(map(float.is_integer, values)) and not rises and not falls


def _is_number(cell: str) -> bool:
    return A_NUMBER.fullmatch(cell) is not None


def _is_boolean(cell: str) -> bool:
    return cell.lower() in BOOLEANS


def _is_value(cell: str) -> bool:
    return any(kind.fullmatch(cell) for kind in VALUES)
