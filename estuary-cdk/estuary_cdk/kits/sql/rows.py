"""Rows for a driver from the JSON arrays of a batch: decoded in bulk, in compiled code.

One decoder per table reads a whole chunk of arrays at once. Only columns whose reading asks for it
pass through Python. A chunk the decoder refuses is read again value by value, which finds either
a patient reading for each or the field to name in the error.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from estuary_cdk.errors import DataError, shortened
from estuary_cdk.kits.sql.tables import TargetColumn

Row = tuple[Any, ...]
RowsOf = Callable[[Sequence[bytes]], Sequence[Row]]

_ITEMS: msgspec.json.Decoder[list[Raw]] = msgspec.json.Decoder(list[Raw])


def row_reader(table: str, columns: Sequence[TargetColumn]) -> RowsOf:
    """Return a function from JSON arrays, one value per column, to rows in the same order.

    It raises DataError that names table, column and value for what a column can't hold.
    """
    readings = [column.type.reading for column in columns]
    row_type: Any = tuple[tuple(reading.wire for reading in readings)]  # type: ignore[misc]  # built
    decoder: msgspec.json.Decoder[list[Row]] = msgspec.json.Decoder(list[row_type])
    converted = [
        (index, reading.convert) for index, reading in enumerate(readings) if reading.convert
    ]

    def rows_of(arrays: Sequence[bytes]) -> Sequence[Row]:
        try:
            rows = decoder.decode(b"[" + b",".join(arrays) + b"]")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return [patient_row(table, columns, array) for array in arrays]
        if not converted or not rows:
            return rows
        by_column: list[Sequence[Any]] = list(zip(*rows, strict=True))
        try:
            for index, convert in converted:
                by_column[index] = list(map(convert, by_column[index]))
        except ValueError:
            return [patient_row(table, columns, array) for array in arrays]
        return list(zip(*by_column, strict=True))

    return rows_of


def patient_row(table: str, columns: Sequence[TargetColumn], array: bytes) -> Row:
    """Read one JSON array value by value; raises DataError for one that its column can't hold."""
    return tuple(_patient_values(table, columns, array))


def _patient_values(table: str, columns: Sequence[TargetColumn], array: bytes) -> Iterator[Any]:
    try:
        items = list(map(bytes, _ITEMS.decode(array)))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(
            f"can't store row of table {table!r}: can't read {shortened(array, 100)}: {error}"
        ) from error
    if len(items) != len(columns):
        raise DataError(
            f"can't store row of table {table!r}: it has {len(items)} values for "
            f"{len(columns)} columns"
        )
    for column, text in zip(columns, items, strict=True):
        try:
            yield None if text == b"null" else column.type.reading.patient(text)
        except ValueError as error:
            raise DataError(
                f"can't store column {column.name!r} of table {table!r}: "
                f"{shortened(text.decode(errors='replace'), 100)} {error}",
                table=table,
                column=column.name,
            ) from error
