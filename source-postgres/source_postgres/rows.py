"""Rows of a table turned into documents: what COPY sends, a block of many lines at a time.

COPY's text format separates fields by tabs and rows by line breaks, and escapes with a backslash
both of them, itself, and nulls. So a block is taken apart by splitting it, whatever it holds.
"""

from collections.abc import Sequence
from typing import Final

from source_postgres.values import NULL, Column, Converter

_ESCAPED_BACKSLASH: Final = b"\xfd"
_BOUNDARY: Final = b"\xfc"
_ESCAPES: Final = (
    (b"\\n", b"\n"),
    (b"\\t", b"\t"),
    (b"\\r", b"\r"),
    (b"\\b", b"\b"),
    (b"\\f", b"\f"),
    (b"\\v", b"\v"),
)


def columns_of(block: bytes, width: int) -> list[Column]:
    """Take a block of whole lines of COPY's text format apart, into columns."""
    block = block.replace(b"\n", b"\t")
    if b"\\" in block:
        block = block.replace(b"\\\\", _ESCAPED_BACKSLASH).replace(b"\\N", NULL)
        if b"\\" in block:
            block = block.replace(b"\t", _BOUNDARY)
            for escape, raw in _ESCAPES:
                block = block.replace(escape, raw)
            fields = block.replace(_ESCAPED_BACKSLASH, b"\\").split(_BOUNDARY)
        else:
            fields = block.replace(_ESCAPED_BACKSLASH, b"\\").split(b"\t")
    else:
        fields = block.split(b"\t")
    fields.pop()
    return [fields[index::width] for index in range(width)]


def member(name: str) -> bytes:
    """Return a property's name and colon, ready for a `%` template."""
    from estuary_cdk.protocol.codec import encode_json

    return encode_json(name).replace(b"%", b"%%") + b":"


def template(meta: bytes, names: Sequence[str]) -> bytes:
    """Return a `%` template of a document from `meta`, itself a template, and columns' names."""
    members = b"".join(b",%b%%b" % member(name) for name in names)
    return b'{"_meta":%b%b}' % (meta, members)


def converted(columns: Sequence[Column], converters: Sequence[Converter]) -> list[Column]:
    """Turn columns of text into columns of JSON."""
    return [convert(column) for convert, column in zip(converters, columns, strict=True)]
