"""Record batches as records, a slice of rows at a time, and the JSON schema of what they become."""

from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa

from estuary_cdk.kits.files.arrow_cells import object_texts, value_bytes
from estuary_cdk.kits.files.names import RESERVED_NAME, unique_names
from estuary_cdk.kits.files.schemas import Schema, is_open

SLICE_BYTES: Final = 1 << 20
SLICE_ROWS_MAX: Final = 4096
DEPTH_MAX: Final = 50


def column_names(schema: Any) -> tuple[str, ...]:
    """Return the names of an Arrow schema's columns as members of a document."""
    return unique_names(schema.names, reserved=(RESERVED_NAME,))


def bodies(batch: Any) -> Iterator[list[bytes]]:
    """Yield the rows of a record batch as records (`formats.Parser` says what those are).

    Raises ArrowInvalid for a value that can't be text though its type says so.
    """
    names = column_names(batch.schema)
    rows = max(1, min(SLICE_ROWS_MAX, SLICE_BYTES * batch.num_rows // max(batch.nbytes, 1)))
    for start in range(0, batch.num_rows, rows):
        part = batch.slice(start, rows)
        if not names:
            yield [b"}"] * part.num_rows
            continue
        texts = object_texts(names, part.columns, "", "}\n")
        # JSON escapes line breaks, so those between the rows are the only ones.
        yield value_bytes(texts).split(b"\n")[:-1]


def record_schema(schema: Any) -> dict[str, Schema]:
    """Return the JSON schemas of an Arrow schema's columns, without nulls.

    Columns that leave open what may stand in them, such as maps, aren't among them.
    """
    columns = zip(column_names(schema), schema, strict=True)
    found = {name: _schema(field.type, 0) for name, field in columns}
    return {name: each for name, each in found.items() if not is_open(each)}


def _nullable(kind: Any, depth: int) -> Schema:
    schema = dict(_schema(kind, depth))
    if "type" in schema:
        types = schema["type"]
        schema["type"] = [*([types] if isinstance(types, str) else types), "null"]
    return schema


def _schema(kind: Any, depth: int) -> Schema:
    if depth > DEPTH_MAX:
        return {}
    if isinstance(kind, pa.BaseExtensionType):
        special = _EXTENSIONS.get(kind.extension_name)
        return _schema(kind.storage_type, depth) if special is None else special
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _schema(kind.value_type, depth)
    if pa.types.is_struct(kind):
        names = unique_names([field.name for field in kind])
        members = zip(names, kind, strict=True)
        return {
            "type": "object",
            "properties": {name: _nullable(field.type, depth + 1) for name, field in members},
            "required": list(names),
            "additionalProperties": False,
        }
    for is_kind in _LISTS:
        if is_kind(kind):
            return {"type": "array", "items": _nullable(kind.value_type, depth + 1)}
    return next((schema for is_kind, schema in _SCALARS if is_kind(kind)), {})


_EXTENSIONS: Final[dict[str, Schema]] = {
    "arrow.uuid": {"type": "string", "format": "uuid"},
    "arrow.json": {},
}
_LISTS: Final = (
    pa.types.is_list,
    pa.types.is_large_list,
    pa.types.is_fixed_size_list,
    pa.types.is_list_view,
    pa.types.is_large_list_view,
)
_SCALARS: Final[tuple[tuple[Any, Schema], ...]] = (
    (pa.types.is_uint64, {"type": "integer", "minimum": 0, "maximum": 2**64 - 1}),
    (pa.types.is_integer, {"type": "integer"}),
    (pa.types.is_boolean, {"type": "boolean"}),
    (pa.types.is_floating, {"type": ["number", "string"], "format": "number"}),
    (pa.types.is_decimal, {"type": "string", "format": "number"}),
    (pa.types.is_timestamp, {"type": "string", "format": "date-time"}),
    (pa.types.is_date, {"type": "string", "format": "date"}),
    (pa.types.is_time, {"type": "string", "format": "time"}),
    (pa.types.is_duration, {"type": "string", "format": "duration"}),
    (pa.types.is_interval, {"type": "string", "format": "duration"}),
    (pa.types.is_string, {"type": "string"}),
    (pa.types.is_large_string, {"type": "string"}),
    (pa.types.is_string_view, {"type": "string"}),
    (pa.types.is_binary, {"type": "string", "contentEncoding": "base64"}),
    (pa.types.is_large_binary, {"type": "string", "contentEncoding": "base64"}),
    (pa.types.is_binary_view, {"type": "string", "contentEncoding": "base64"}),
    (pa.types.is_fixed_size_binary, {"type": "string", "contentEncoding": "base64"}),
)
