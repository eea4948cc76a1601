"""SQLite as a dialect: what it calls types, which values they keep, how one becomes another.

A column's type is a word for people; what SQLite goes by is the affinity it finds in it. TEXT
affinity keeps text as it is, so whatever must keep its spelling has TEXT in the name of its type:
`JSON TEXT` holds JSON, `NUMERIC TEXT` holds numbers too long or too exact for INTEGER and REAL.
"""

from dataclasses import replace
from typing import Final

from estuary_cdk.kits.sql import ANSI, ColumnType, Kind, Target, TypeTable, readings

_INTEGER: Final = ColumnType("INTEGER", readings.INT64)
_REAL: Final = ColumnType("REAL", readings.DOUBLE)
_BOOLEAN: Final = ColumnType("BOOLEAN", readings.BOOLEAN)
_TEXT: Final = ColumnType("TEXT", readings.TEXT)
_BLOB: Final = ColumnType("BLOB", readings.BYTES)
_JSON: Final = ColumnType("JSON TEXT", readings.JSON_TEXT)
_LONG_INTEGER: Final = ColumnType("NUMERIC TEXT", readings.INTEGER_TEXT)
_DECIMAL: Final = ColumnType("NUMERIC TEXT", readings.PLAIN_TEXT)

BASE64_FUNCTION: Final = "flow_base64"
DOUBLE_TEXT_FUNCTION: Final = "flow_double_text"
TEXT_FUNCTION: Final = "flow_text"
UTF8_FUNCTION: Final = "flow_utf8"

# How the bytes of a document go into a column of text, and how they are had back.
_CASTS: Final = ("CAST({} AS TEXT)", "CAST({} AS BLOB)")
_CONVERSIONS: Final = (f"{TEXT_FUNCTION}({{}})", f"{UTF8_FUNCTION}({{}})")

# CAST gives 15 digits and printf not always the nearest: neither reads back as the same double.
_SHORTEST: Final = f"{DOUBLE_TEXT_FUNCTION}({{}})"
_TRUTH: Final = "CASE {} WHEN 0 THEN 'false' WHEN 1 THEN 'true' END"

SQLITE: Final = replace(
    ANSI,
    name="SQLite",
    types=TypeTable(
        kinds={
            Kind.ARRAY: _JSON,
            Kind.BINARY: _BLOB,
            Kind.BOOLEAN: _BOOLEAN,
            Kind.INTEGER: _INTEGER,
            Kind.BIG_INTEGER: _LONG_INTEGER,
            Kind.MULTIPLE: _JSON,
            Kind.NUMBER: _REAL,
            Kind.OBJECT: _JSON,
            Kind.STRING: _TEXT,
            Kind.STRING_INTEGER: _DECIMAL,
            Kind.STRING_NUMBER: _DECIMAL,
        },
        # Two spellings of the same bytes are two keys.
        key_kinds={Kind.BINARY: _TEXT},
        as_text=ColumnType("TEXT", readings.PLAIN_TEXT),
    ),
    migrations={
        ("INTEGER", "REAL"): "CAST({} AS REAL)",
        ("INTEGER", "NUMERIC TEXT"): "CAST({} AS TEXT)",
        ("INTEGER", "TEXT"): "CAST({} AS TEXT)",
        ("INTEGER", "JSON TEXT"): "CAST({} AS TEXT)",
        ("NUMERIC TEXT", "TEXT"): "{}",
        ("REAL", "NUMERIC TEXT"): _SHORTEST,
        ("REAL", "TEXT"): _SHORTEST,
        ("REAL", "JSON TEXT"): _SHORTEST,
        ("BOOLEAN", "TEXT"): _TRUTH,
        ("BOOLEAN", "JSON TEXT"): _TRUTH,
        ("BLOB", "TEXT"): f"{BASE64_FUNCTION}({{}})",
        (
            "BLOB",
            "JSON TEXT",
        ): f"CASE WHEN {{}} IS NOT NULL THEN json_quote({BASE64_FUNCTION}({{}})) END",
        ("TEXT", "NUMERIC TEXT"): "{}",
        ("TEXT", "JSON TEXT"): "CASE WHEN {} IS NOT NULL THEN json_quote({}) END",
        ("JSON TEXT", "TEXT"): "{}",
    },
    holds={
        ("NUMERIC TEXT", "INTEGER"): _LONG_INTEGER,
        ("NUMERIC TEXT", "REAL"): _DECIMAL,
    },
    drop_not_null=None,
    lookup_join="CROSS JOIN",
    integer="INTEGER",
    case_insensitive=True,
)
"""The dialect of SQLite."""

WIDER: Final = {"INTEGER": _LONG_INTEGER, "REAL": _DECIMAL}
"""The type that holds what is beyond the range of another."""


def with_plain_documents(into: Target, encoding: str) -> Target:
    """Return a table whose documents come and go as bytes, which the driver needn't decode.

    `encoding` is how the file keeps text. Where it isn't UTF-8, CAST would take the bytes for it.
    """
    if into.document is None:
        return into
    bind, fetch = _CASTS if encoding == "UTF-8" else _CONVERSIONS
    kind = replace(into.document.type, bind=bind, fetch=fetch)
    return replace(into, document=replace(into.document, type=kind))
