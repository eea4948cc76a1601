"""Columns of Arrow arrays from the JSON arrays of a batch: decoded, typed and checked in bulk.

One decoder per table reads a chunk of rows at once, Arrow's own kernels make dates, moments and
decimals of text. A column that has a value which needs patience (`1.0` for an integer, a leap
second) is read again value by value, alone. What even patience can't fit into a column's type is
told with a cause of BeyondRangeError, for the column then gets a wider one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Raw

from estuary_cdk.errors import DataError, shortened
from estuary_cdk.kits.sql import Reading, TargetColumn
from estuary_cdk.kits.sql import readings as kit
from estuary_cdk.kits.sql.readings import storable
from materialize_bigquery import readings

_RAWS: Final[msgspec.json.Decoder[list[list[Raw]]]] = msgspec.json.Decoder(list[list[Raw]])
_FIRST_DAY: Final = -719_162  # 0001-01-01
_FIRST_US: Final = _FIRST_DAY * 86_400_000_000
_LAST_US: Final = 253_402_300_800_000_000 - 1  # the end of 9999
_NUMERIC: Final = pa.decimal128(38, readings.NUMERIC_SCALE)
_BIGNUMERIC: Final = pa.decimal256(76, readings.BIG_SCALE)
_MOMENT: Final = pa.timestamp("us", "UTC")
_TIME: Final = pa.time64("us")

Values = Sequence[Any]
Gather = Callable[[Values], Any]


@dataclass(frozen=True, slots=True)
class Form:
    """How a column travels: its type in Arrow and in the staged table, and how it is gathered.

    `gather` makes an array of decoded values; it raises ValueError if any of them needs patience.
    """

    arrow: Any
    staged: str
    gather: Gather


def _typed(arrow: Any) -> Gather:
    return lambda values: pa.array(values, arrow)


def _texts(values: Values) -> Any:
    return pa.array(values, pa.string())


def _raw(values: Values) -> Any:
    """Return the bytes of raw values, None for null, as checked text."""
    found = list(map(bytes, values))
    if b"null" in found:
        return pa.array([None if each == b"null" else each for each in found], pa.string())
    return pa.array(found, pa.string())


def _json(values: Values) -> Any:
    if b"\\u" in b"".join(values):
        raise ValueError("escapes")
    return _raw(values)


def _plain(values: Values) -> Any:
    """Return raw values as text: strings without escapes lose their quotes."""
    joined = b"".join(values)
    if b'"' in joined or b"\\" in joined:
        raise ValueError("strings")
    return _raw(values)


def _unquoted(values: Values) -> Any:
    return pc.utf8_trim(_raw(values), '"')


def _decimals(values: Values) -> Any:
    return _unquoted(values).cast(_NUMERIC)


def _big_decimals(values: Values) -> Any:
    """Return decimals as text, once they are known to fit."""
    texts = _unquoted(values)
    texts.cast(_BIGNUMERIC)
    if pc.any(pc.match_substring_regex(texts, "[^0-9.-]")).as_py():
        raise ValueError("not all are plain digits")
    return texts


def _big_integers(values: Values) -> Any:
    texts = _unquoted(values)
    plain = pc.match_substring_regex(texts, r"^(0|-?[1-9][0-9]{0,37})$")
    if pc.all(plain).as_py() is False:
        raise ValueError("not all are plain integers")
    return texts


def _words(values: Values) -> Any:
    if any(isinstance(value, str) for value in values):
        raise ValueError("strings")
    return pa.array(values, pa.float64())


def _dates(values: Values) -> Any:
    found = pa.array(values, pa.string()).cast(pa.date32())
    _require_least(found.cast(pa.int32()), _FIRST_DAY)
    return found


def _moments(values: Values) -> Any:
    texts = pa.array(values, pa.string())
    try:
        found = texts.cast(_MOMENT)
    except pa.ArrowInvalid:
        found = pc.replace_substring_regex(texts, r"(\.\d{6})\d+", r"\1").cast(_MOMENT)
    numbers = found.cast(pa.int64())
    _require_least(numbers, _FIRST_US)
    if (most := pc.max(numbers).as_py()) is not None and most > _LAST_US:
        raise ValueError("a moment after the year 9999")
    return found


def _require_least(numbers: Any, least: int) -> None:
    found = pc.min(numbers).as_py()
    if found is not None and found < least:
        raise ValueError("before the year 1")


def _times(values: Values) -> Any:
    texts = pa.array(values, pa.string())
    return pc.replace_substring_regex(texts, r"([zZ]|[+-]00:?00)$", "").cast(_TIME)


FORMS: Final[dict[Reading, Form]] = {
    kit.INT64: Form(pa.int64(), "INT64", _typed(pa.int64())),
    kit.BOOLEAN: Form(pa.bool_(), "BOOL", _typed(pa.bool_())),
    kit.BYTES: Form(pa.binary(), "BYTES", _typed(pa.binary())),
    readings.TEXT: Form(pa.string(), "STRING", _texts),
    readings.PLAIN_TEXT: Form(pa.string(), "STRING", _plain),
    readings.JSON_TEXT: Form(pa.string(), "STRING", _raw),
    readings.JSON: Form(pa.string(), "STRING", _json),
    readings.DOUBLE: Form(pa.float64(), "FLOAT64", _typed(pa.float64())),
    readings.DOUBLE_OR_WORD: Form(pa.float64(), "FLOAT64", _words),
    readings.NUMERIC: Form(_NUMERIC, "NUMERIC", _decimals),
    readings.BIGNUMERIC: Form(pa.string(), "STRING", _big_decimals),
    readings.BIG_INTEGER: Form(pa.string(), "STRING", _big_integers),
    readings.DATE: Form(pa.date32(), "DATE", _dates),
    readings.TIMESTAMP: Form(_MOMENT, "TIMESTAMP", _moments),
    readings.TIME: Form(_TIME, "TIME", _times),
}


def form(column: TargetColumn) -> Form:
    """Return how a column travels."""
    return FORMS[column.type.reading]


class Columns:
    """Reads rows of the columns of one table."""

    def __init__(self, table: str, columns: Sequence[TargetColumn]) -> None:
        self._table = table
        self._columns = columns
        self._forms = [form(column) for column in columns]
        wires = [column.type.reading.wire for column in columns]
        row: Any = tuple[tuple(wires)] if wires else tuple[()]  # type: ignore[misc]  # built
        self._rows: msgspec.json.Decoder[list[tuple[Any, ...]]] = msgspec.json.Decoder(list[row])
        self._one = [_list_decoder(wire) for wire in wires]

    def arrays(self, rows: Sequence[bytes]) -> list[Any]:
        """Return an Arrow array per column from JSON arrays, one value per column.

        Raises DataError that names table, column and value for what a column can't hold.
        """
        if not self._columns or not rows:
            return [pa.array([], each.arrow) for each in self._forms]
        block = b"[" + b",".join(rows) + b"]"
        try:
            decoded = self._rows.decode(block)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return self._by_column(block)
        return [
            self._gathered(index, values, rows)
            for index, values in enumerate(zip(*decoded, strict=True))
        ]

    def _gathered(self, index: int, values: Values, rows: Sequence[bytes]) -> Any:
        try:
            return self._forms[index].gather(values)
        except (ValueError, OverflowError, pa.ArrowException):
            texts = [array[index] for array in self._raws(b"[" + b",".join(rows) + b"]")]
            return self._patient(index, texts)

    def _by_column(self, block: bytes) -> list[Any]:
        raws = self._raws(block)
        for row in raws:
            if len(row) != len(self._columns):
                raise DataError(
                    f"can't store row of table {self._table!r}: it has {len(row)} values for "
                    f"{len(self._columns)} columns"
                )
        found = []
        for index, texts in enumerate(zip(*raws, strict=True)):
            try:
                values = self._one[index].decode(b"[" + b",".join(texts) + b"]")
                found.append(self._forms[index].gather(values))
            except (ValueError, OverflowError, msgspec.MsgspecError, pa.ArrowException):
                found.append(self._patient(index, texts))
        return found

    def _raws(self, block: bytes) -> list[list[Raw]]:
        try:
            return _RAWS.decode(block)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass
        try:
            # Half of a surrogate pair is no text, wherever it is.
            return _RAWS.decode(storable(block))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DataError(f"can't store rows of table {self._table!r}: {error}") from error

    def _patient(self, index: int, texts: Sequence[Raw]) -> Any:
        """Read a column value by value; raises DataError for one that it can't hold."""
        column = self._columns[index]
        read = column.type.reading.patient
        values = []
        for raw in texts:
            text = bytes(raw)
            try:
                values.append(None if text == b"null" else read(text))
            except ValueError as error:
                raise DataError(
                    f"can't store column {column.name!r} of table {self._table!r}: "
                    f"{shortened(text.decode(errors='replace'), 100)} {error}",
                    table=self._table,
                    column=column.name,
                ) from error
        return pa.array(values, self._forms[index].arrow)


def _list_decoder(wire: Any) -> msgspec.json.Decoder[list[Any]]:
    return msgspec.json.Decoder(list[wire])


def documents_array(documents: Sequence[bytes]) -> Any:
    """Return whole documents as an array of text, which is checked."""
    return pa.array(documents, pa.string())
