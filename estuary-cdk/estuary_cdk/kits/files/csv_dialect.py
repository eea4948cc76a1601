"""How a CSV file tells its cells apart: delimiter, quote and escape, as set or as its rows show.

The delimiter is the one that cuts the first rows most evenly. Quotes are double and doubled inside
a cell, as almost everywhere, unless the first rows prove otherwise, for a wrong guess would change
values:

- a backslash escapes if rows can only be read so;
- single quotes are quotes if there are no double ones, the rows can be read with them, and either
  only they make the rows even, or all cells of the first row are in them.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice
from typing import Any, Final

from estuary_cdk.kits.files.options import CsvOptions

DELIMITERS: Final = (",", "\t", ";", "|", "\x1f", "\x01", "\x0b", " ")
DETECTION_ROWS: Final = 20
DETECTION_CHARS: Final = 1 << 16
OPEN_RECORD: Final = "unexpected end of data"
"""What csv.reader says of a quote that isn't closed."""

Reader = Callable[..., Any]
"""csv.reader, its dialect applied."""

_ESCAPED: Final = re.compile(r"\\.", re.DOTALL)


def dialect(options: CsvOptions, text: str) -> Reader:
    """Return csv.reader as `options` say; what they leave open is detected in `text`."""
    sample = text[:DETECTION_CHARS]
    quote = '"' if options.quote is None else options.quote
    usual = _escaped_or_not(options, quote, sample)
    if options.quote is None and '"' not in sample and "'" in sample:
        single = _escaped_or_not(options, "'", sample)
        if _is_read(single, sample, whole=True) and _is_single(usual, single, sample):
            return single
    return usual


def _escaped_or_not(options: CsvOptions, quote: str, sample: str) -> Reader:
    """Return the reader of a quote: doubled, unless rows can only be read with backslashes."""
    if options.escape is not None:
        return _delimited(options, quote, options.escape, sample)
    doubled = _delimited(options, quote, '"', sample)
    if "\\" in sample and not _is_read(doubled, sample):
        # csv.reader isn't strict about what a backslash dialect may not have: doubled quotes.
        plain = _ESCAPED.sub("__", sample)
        if _is_read(doubled, plain) and not any(quote in cell for cell in _cells(doubled, plain)):
            return _delimited(options, quote, "\\", sample)
    return doubled


def _delimited(options: CsvOptions, quote: str, escape: str, sample: str) -> Reader:
    read = partial(
        csv.reader,
        strict=True,
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        doublequote=escape == '"',
        escapechar="\\" if escape == "\\" else None,
    )
    return partial(read, delimiter=options.delimiter or _delimiter(read, sample))


def _delimiter(read: Reader, sample: str) -> str:
    """Return the candidate that cuts the first rows most evenly, then into most cells."""
    best, best_score = DELIMITERS[0], (False, 1)
    for candidate in DELIMITERS:
        widths = _widths(partial(read, delimiter=candidate), sample)
        score = (len(widths) == 1, min(widths, default=0))
        if score[1] > 1 and score > best_score:
            best, best_score = candidate, score
    return best


def _widths(read: Reader, sample: str) -> set[int]:
    rows = read(io.StringIO(sample, ""), strict=False)
    return {len(row) for row in islice(rows, DETECTION_ROWS) if row}


def _cells(read: Reader, sample: str) -> Iterator[str]:
    return chain.from_iterable(read(io.StringIO(sample, ""), strict=False))


def _is_read(read: Reader, sample: str, *, whole: bool = False) -> bool:
    """Whether the sample has no malformed row; unless `whole`, its end may be that of no row."""
    try:
        list(read(io.StringIO(sample, "")))
    except csv.Error as error:
        return str(error) == OPEN_RECORD and not whole
    return True


def _is_single(usual: Reader, single: Reader, sample: str) -> bool:
    """Whether it is single quotes that hold cells together, rather than apostrophes in them."""
    if len(_widths(usual, sample)) > 1 and len(_widths(single, sample)) == 1:
        return True
    first: list[str] = next(usual(io.StringIO(sample, ""), strict=False), [])
    return all(len(cell) > 1 and cell[0] == cell[-1] == "'" for cell in first)
