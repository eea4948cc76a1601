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
from operator import add
from typing import Final

import msgspec

from estuary_cdk.kits.sql.rows import row_reader
from estuary_cdk.kits.sql.tables import TargetColumn

CsvOf = Callable[[Sequence[bytes], Sequence[bytes] | None], bytes]

# No byte of UTF-8 text is this one.
_GUARD: Final = b"\xff"
_ESCAPES: Final = (
    (b"\\n", b"\n"),
    (b"\\r", b"\r"),
    (b"\\t", b"\t"),
    (b"\\b", b"\b"),
    (b"\\f", b"\f"),
)
_STARTS: Final = (*(escape for escape, _ in _ESCAPES), b"\\u")
_CONTROL: Final = re.compile(rb"\\u00([0-9a-f]{2})")
_REPLACEMENT: Final = "\ufffd".encode()
_ENCODER: Final = msgspec.json.Encoder()


def csv_rows(table: str, columns: Sequence[TargetColumn]) -> CsvOf:
    """Return a function from JSON arrays, and the documents beside them, to lines of CSV.

    An array has a value per column; documents, where given, are one more column that holds them
    byte for byte. It raises DataError that names table, column and value for what a column can't
    hold.
    """
    rows_of = row_reader(table, columns)

    def csv_of(arrays: Sequence[bytes], documents: Sequence[bytes] | None) -> bytes:
        if not arrays:
            return b""
        rows = rows_of(arrays)
        if documents is not None:
            rows = list(map(add, rows, zip(map(bytes.decode, documents), strict=True)))
        # Line feeds end rows and nothing else here, for JSON escapes them.
        lines = _ENCODER.encode_lines(rows)
        return unescaped(lines[1:-2].replace(b"]\n[", b"\n") + b"\n")

    return csv_of


def unescaped(block: bytes) -> bytes:
    r"""Return text with control characters in place of their escapes; `\\` and `\"` stay."""
    if not any(map(block.__contains__, _STARTS)):
        return block
    guarded = b"\\\\" in block
    if guarded:
        block = block.replace(b"\\\\", _GUARD)
    for escape, character in _ESCAPES:
        if escape in block:
            block = block.replace(escape, character)
    if b"\\u" in block:
        block = _CONTROL.sub(_control, block)
    return block.replace(_GUARD, b"\\\\") if guarded else block


def _control(found: re.Match[bytes]) -> bytes:
    code = int(found[1], 16)
    return bytes([code]) if code else _REPLACEMENT
