"""What Parquet says of its columns and Arrow doesn't take over: enumerations, and intervals.

Arrow reads both as bytes. Enumerations are text, at any depth; an interval is months, days and
milliseconds, in a column of its own (inside others it stays bytes).
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

import pyarrow as pa

INTERVAL: Final = struct.Struct("<III")
NANOSECONDS: Final = 1_000_000

Change = Callable[[Any], Any]
"""Turns a record batch into one of the types that are meant."""


def meant(opened: Any) -> tuple[Any, Change | None]:
    """Return the Arrow schema that a Parquet file means, and what makes its batches so, if any."""
    schema = opened.schema_arrow
    said = [opened.schema.column(at).converted_type for at in range(len(opened.schema))]
    if not {"ENUM", "INTERVAL"} & set(said):
        return schema, None
    leaves = iter(said)
    fields = [field.with_type(_meant(field.type, leaves)) for field in schema]
    wanted = pa.schema(fields, schema.metadata)

    def change(batch: Any) -> Any:
        columns = [
            _changed(column, field.type)
            for column, field in zip(batch.columns, wanted, strict=True)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=wanted)

    return wanted, change


def _meant(kind: Any, leaves: Iterator[str], *, inside: bool = False) -> Any:
    """Return what is meant by a column; takes what Parquet says of each of its leaves, in order."""
    if isinstance(kind, pa.BaseExtensionType):
        _meant(kind.storage_type, leaves)
        return kind
    if pa.types.is_struct(kind):
        return pa.struct([each.with_type(_meant(each.type, leaves, inside=True)) for each in kind])
    if pa.types.is_map(kind):
        key = _meant(kind.key_type, leaves, inside=True)
        return pa.map_(key, kind.item_field.with_type(_meant(kind.item_type, leaves, inside=True)))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        element = kind.value_field.with_type(_meant(kind.value_type, leaves, inside=True))
        return pa.large_list(element) if pa.types.is_large_list(kind) else pa.list_(element)
    if pa.types.is_fixed_size_list(kind):
        element = kind.value_field.with_type(_meant(kind.value_type, leaves, inside=True))
        return pa.list_(element, kind.list_size)
    said = next(leaves, "")
    if said == "ENUM" and pa.types.is_binary(kind):
        return pa.string()
    if said == "INTERVAL" and not inside and kind == pa.binary(INTERVAL.size):
        return pa.month_day_nano_interval()
    return kind


def _changed(column: Any, kind: Any) -> Any:
    if column.type == kind:
        return column
    if pa.types.is_interval(kind):
        return pa.array([_interval(value) for value in column.to_pylist()], kind)
    return column.cast(kind)


def _interval(value: bytes | None) -> tuple[int, int, int] | None:
    if value is None:
        return None
    months, days, milliseconds = INTERVAL.unpack(value)
    return months, days, milliseconds * NANOSECONDS
