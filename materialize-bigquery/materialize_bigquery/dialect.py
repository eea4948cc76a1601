"""BigQuery as a dialect: its types, which values they keep, how one becomes another.

Types are spelled as SQL spells them, without what says nothing: a NUMERIC of 38
digits is a NUMERIC, a BIGNUMERIC of 38 integer digits is `BIGNUMERIC(38)`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from estuary_cdk.kits.sql import ANSI, ColumnType, Dialect, Kind, TypeTable
from estuary_cdk.kits.sql import readings as kit
from materialize_bigquery import readings
from materialize_bigquery.names import COLUMN_CHARS_MAX, column_name, is_identifier


def quote(identifier: str) -> str:
    """Spell an identifier; `names` makes none that has what would end it."""
    if not is_identifier(identifier):
        raise ValueError(f"can't quote identifier {identifier!r}")
    return f"`{identifier}`"


_ESCAPED: Final = str.maketrans(
    {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\x00": "\\x00", "\u2028": "\\u2028"}
)


def literal(text: str) -> str:
    """Spell text as a string literal."""
    return f"'{text.translate(_ESCAPED)}'"


INT64: Final = ColumnType("INT64", kit.INT64)
FLOAT64: Final = ColumnType("FLOAT64", readings.DOUBLE)
FLOAT64_WORDS: Final = ColumnType("FLOAT64", readings.DOUBLE_OR_WORD)
NUMERIC: Final = ColumnType("NUMERIC", readings.NUMERIC)
BIGNUMERIC: Final = ColumnType("BIGNUMERIC", readings.BIGNUMERIC)
BIG_INTEGER: Final = ColumnType("BIGNUMERIC(38)", readings.BIG_INTEGER)
BOOL: Final = ColumnType("BOOL", kit.BOOLEAN)
STRING: Final = ColumnType("STRING", readings.TEXT)
PLAIN: Final = ColumnType("STRING", readings.PLAIN_TEXT)
DOCUMENT: Final = ColumnType("STRING", readings.JSON_TEXT)
BYTES: Final = ColumnType("BYTES", kit.BYTES)
DATE: Final = ColumnType("DATE", readings.DATE)
TIMESTAMP: Final = ColumnType("TIMESTAMP", readings.TIMESTAMP)
TIME: Final = ColumnType("TIME", readings.TIME)
JSON: Final = ColumnType("JSON", readings.JSON)

_PARAMETERS: Final = {
    "NUMERIC(38,9)": "NUMERIC",
    "BIGNUMERIC(76,38)": "BIGNUMERIC",
    "BIGNUMERIC(38,0)": "BIGNUMERIC(38)",
}
# What a new column is called, where that says more than the type's name.
_SPELLED: Final = {"NUMERIC": "NUMERIC(38, 9)"}
_SAME_AS: Final = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL"}


def known_type(sql: str) -> str:
    """Return a column's type as this module calls it."""
    bare = sql.upper().replace(" ", "")
    return _SAME_AS.get(bare) or _PARAMETERS.get(bare, bare)


def spelled(sql: str) -> str:
    """Return how a type is spelled in a statement."""
    return _SPELLED.get(sql, sql)


TEXT_OF: Final[Mapping[str, str]] = {
    "INT64": "CAST({} AS STRING)",
    "FLOAT64": "CAST({} AS STRING)",
    "NUMERIC": "CAST({} AS STRING)",
    "BIGNUMERIC": "CAST({} AS STRING)",
    "BIGNUMERIC(38)": "CAST({} AS STRING)",
    "BOOL": "CAST({} AS STRING)",
    "BYTES": "TO_BASE64({})",
    "DATE": "CAST({} AS STRING)",
    # It says `2024-01-31 10:00:00+00`.
    "TIMESTAMP": "REGEXP_REPLACE(REPLACE(CAST({} AS STRING), ' ', 'T'), r'\\+00$', 'Z')",
    "TIME": "CONCAT(CAST({} AS STRING), 'Z')",
    "JSON": "TO_JSON_STRING({})",
}
"""How the values of each type are spelled in a document, as the text of a string or a number."""

IN_PLACE: Final = frozenset(
    {
        ("INT64", "NUMERIC"),
        ("INT64", "BIGNUMERIC"),
        ("INT64", "BIGNUMERIC(38)"),
        ("INT64", "FLOAT64"),
        ("NUMERIC", "BIGNUMERIC"),
        ("NUMERIC", "FLOAT64"),
        ("BIGNUMERIC(38)", "BIGNUMERIC"),
        ("BIGNUMERIC(38)", "FLOAT64"),
        ("BIGNUMERIC", "FLOAT64"),
    }
)
"""What the service changes without touching a row: `ALTER COLUMN ... SET DATA TYPE`."""

_AS_JSON: Final = frozenset(
    {"INT64", "FLOAT64", "NUMERIC", "BIGNUMERIC", "BIGNUMERIC(38)", "BOOL", "STRING"}
)

MIGRATIONS: Final[Mapping[tuple[str, str], str]] = {
    **{(before, after): f"CAST({{}} AS {after})" for before, after in sorted(IN_PLACE)},
    **{(sql, "STRING"): form for sql, form in TEXT_OF.items()},
    ("STRING", "BYTES"): "FROM_BASE64({})",
    **{(sql, "JSON"): "TO_JSON({})" for sql in sorted(_AS_JSON)},
    **{
        (sql, "JSON"): f"TO_JSON({form})"
        for sql, form in TEXT_OF.items()
        if sql not in _AS_JSON and sql != "JSON"
    },
}

_TEXTUAL: Final = (DATE, TIMESTAMP, TIME)
_NUMERICAL: Final = (INT64, FLOAT64, NUMERIC, BIGNUMERIC, BIG_INTEGER)

HOLDS: Final[Mapping[tuple[str, str], ColumnType]] = {
    ("NUMERIC", "INT64"): NUMERIC,
    ("BIGNUMERIC(38)", "INT64"): BIG_INTEGER,
    ("BIGNUMERIC", "INT64"): BIGNUMERIC,
    ("BIGNUMERIC", "NUMERIC"): BIGNUMERIC,
    ("BIGNUMERIC", "BIGNUMERIC(38)"): BIGNUMERIC,
    **{("STRING", each.sql): STRING for each in _TEXTUAL},
    **{("STRING", each.sql): PLAIN for each in _NUMERICAL},
}

WIDER: Final[Mapping[str, ColumnType]] = {
    "INT64": BIG_INTEGER,
    "NUMERIC": BIGNUMERIC,
    "BIGNUMERIC(38)": PLAIN,
    "BIGNUMERIC": PLAIN,
    "FLOAT64": PLAIN,
    "DATE": STRING,
    "TIMESTAMP": STRING,
    "TIME": STRING,
}
"""The type that holds what one can't; it holds all that is there as well."""

CLUSTERABLE: Final = frozenset(
    {"INT64", "NUMERIC", "BIGNUMERIC", "BIGNUMERIC(38)", "BOOL", "STRING", "DATE", "TIMESTAMP"}
)

BIGQUERY: Final = replace(
    ANSI,
    name="BigQuery",
    quote=quote,
    types=TypeTable(
        kinds={
            Kind.ARRAY: JSON,
            Kind.BINARY: BYTES,
            Kind.BOOLEAN: BOOL,
            Kind.INTEGER: INT64,
            Kind.BIG_INTEGER: BIG_INTEGER,
            Kind.MULTIPLE: JSON,
            Kind.NUMBER: FLOAT64,
            Kind.OBJECT: JSON,
            Kind.STRING: STRING,
            Kind.STRING_INTEGER: BIG_INTEGER,
            Kind.STRING_NUMBER: NUMERIC,
        },
        as_text=PLAIN,
        document=DOCUMENT,
        mixed={Kind.STRING_NUMBER: FLOAT64_WORDS},
        formats={"date": DATE, "date-time": TIMESTAMP, "time": TIME},
        # Two spellings of one value are two keys, so a key stays as it is spelled.
        key_kinds={Kind.BINARY: STRING, Kind.MULTIPLE: DOCUMENT, Kind.STRING: STRING},
        key_formats={"date": DATE, "date-time": STRING, "time": STRING},
    ),
    migrations=MIGRATIONS,
    holds=HOLDS,
    drop_key=None,
    empty="TRUNCATE TABLE {table}",
    folded=column_name,
    name_length_max=COLUMN_CHARS_MAX,
    case_insensitive=True,
    text="STRING",
    key_text="STRING",
    integer="INT64",
)
"""The dialect of GoogleSQL."""


def dialect_of(*, rebuilding: bool) -> Dialect:
    """Return the dialect; where documents are made of columns, these tell `1` from `"1"`."""
    return replace(BIGQUERY, types=replace(BIGQUERY.types, either=JSON)) if rebuilding else BIGQUERY
