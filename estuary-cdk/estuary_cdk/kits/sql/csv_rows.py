r"""Rows as CSV, from the JSON arrays of a batch: for databases that take text in bulk.

JSON and CSV are nearly one language: put `"` around strings, `\` before what needs it, a comma
between values, the bare word null for nothing. A row of decoded values is encoded as a JSON array
again, in compiled code; what is left of JSON are its brackets and its escapes of control
characters, and both go by replacing bytes in a whole block at once. So no code runs per value but
for columns whose reading asks for it.

The dialect of CSV: QUOTE '"', ESCAPE '\', NULL 'null', one line feed after each row. Values may
have line feeds. U+0000, which most databases can't hold, becomes U+FFFD.
"""

import re
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from typing import Any, Final

import msgspec

from estuary_cdk.kits.sql.readings import Reading, storable
from estuary_cdk.kits.sql.rows import Row, patient_row
from estuary_cdk.kits.sql.tables import TargetColumn

CsvOf = Callable[[Sequence[bytes], Sequence[bytes] | None], bytes]

# No byte of UTF-8 text is one of these.
_GUARD: Final = b"\xff"
_LINE_FEED: Final = b"\xfe"
_ESCAPES: Final = (
    (b"\\r", b"\r"),
    (b"\\t", b"\t"),
    (b"\\b", b"\b"),
    (b"\\f", b"\f"),
)
_STARTS: Final = re.compile(rb"\\[nrtbfu]")
_CONTROL: Final = re.compile(rb"\\u00([0-9a-f]{2})")
_REPLACEMENT: Final = "\ufffd".encode()
_ENCODER: Final = msgspec.json.Encoder()


def csv_rows(table: str, columns: Sequence[TargetColumn]) -> CsvOf:
    """Return a function from JSON arrays, and the documents beside them, to lines of CSV.

    An array has a value per column; documents, where given, are one more column that holds them
    byte for byte. It raises DataError that names table, column and value for what a column can't
    hold.
    """
    rows_of = _row_reader(table, columns)

    def csv_of(arrays: Sequence[bytes], documents: Sequence[bytes] | None) -> bytes:
        if not arrays:
            return b""
        # Line feeds end rows and nothing else here, for JSON escapes them.
        block = _ENCODER.encode_lines(rows_of(arrays))[1:-2].replace(b"]\n[", b"\n")
        if documents is None:
            return unescaped(block, b"\n") + b"\n"
        return _beside(unescaped(block, _LINE_FEED), documents)

    return csv_of


def _row_reader(table: str, columns: Sequence[TargetColumn]) -> Callable[[Sequence[bytes]], Any]:
    readings = [column.type.reading for column in columns]
    row_type: Any = tuple[tuple(reading.wire for reading in readings)]  # type: ignore[misc]  # built
    decoder: msgspec.json.Decoder[list[Row]] = msgspec.json.Decoder(list[row_type])
    converted = [(index, all_of) for index, each in enumerate(readings) if (all_of := _all(each))]

    def rows_of(arrays: Sequence[bytes]) -> Sequence[Row]:
        try:
            rows = decoder.decode(b"[" + b",".join(arrays) + b"]")
            if not converted:
                return rows
            by_column: list[Sequence[Any]] = list(zip(*rows, strict=True))
            for index, convert in converted:
                by_column[index] = convert(by_column[index])
        except (msgspec.MsgspecError, ValueError):
            return [patient_row(table, columns, storable(array)) for array in arrays]
        return list(zip(*by_column, strict=True))

    return rows_of


def _all(reading: Reading) -> Callable[[Sequence[Any]], Sequence[Any]] | None:
    """Return what is done to all values of a column."""
    if reading.convert_all is not None or reading.convert is None:
        return reading.convert_all
    convert = reading.convert
    return lambda values: list(map(convert, values))


def _beside(block: bytes, documents: Sequence[bytes]) -> bytes:
    """Put a document at the end of each line, as a value in quotes."""
    texts = b"\n".join(documents)
    if b"\\" in texts:
        texts = texts.replace(b"\\", b"\\\\")
    quoted = texts.replace(b'"', b'\\"').split(b"\n")
    parts = zip(block.split(b"\n"), repeat(b',"'), quoted, repeat(b'"\n'), strict=False)
    lines = b"".join(chain.from_iterable(parts))
    return lines.replace(_LINE_FEED, b"\n") if _LINE_FEED in lines else lines


def unescaped(block: bytes, line_feed: bytes) -> bytes:
    r"""Return text with control characters in place of their escapes; `\\` and `\"` stay."""
    if _STARTS.search(block) is None:
        return block
    guarded = b"\\\\" in block
    if guarded:
        block = block.replace(b"\\\\", _GUARD)
    for escape, character in ((b"\\n", line_feed), *_ESCAPES):
        if escape in block:
            block = block.replace(escape, character)
    if b"\\u" in block:
        block = _CONTROL.sub(_control, block)
    return block.replace(_GUARD, b"\\\\") if guarded else block


def _control(found: re.Match[bytes]) -> bytes:
    code = int(found[1], 16)
    return bytes([code]) if code else _REPLACEMENT
