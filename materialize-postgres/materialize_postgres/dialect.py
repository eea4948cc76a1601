"""PostgreSQL as a dialect: its types, which values they keep, how one becomes another.

Types are spelled as `format_type` spells them, in capitals. Every name is quoted, so none is
reserved and case counts; a name of more than 63 bytes is cut and gets a hash of the whole.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from estuary_cdk.kits.sql import ANSI, ColumnType, Dialect, Kind, TypeTable, quoted
from estuary_cdk.kits.sql import readings as kit
from estuary_cdk.kits.sql.enumerations import ENUM, spelled
from materialize_postgres import readings

NAME_BYTES_MAX: Final = 63
LABELS_MAX: Final = 1000
_HASH_DIGITS: Final = 8

quote = quoted('"')


def folded(name: str) -> str:
    """Return a name as PostgreSQL can have it; two long names that differ stay different."""
    name = name.replace("\x00", "\ufffd")
    encoded = name.encode(errors="replace")
    if len(encoded) <= NAME_BYTES_MAX:
        return encoded.decode()
    kept = encoded[: NAME_BYTES_MAX - _HASH_DIGITS - 1].decode(errors="ignore")
    return f"{kept}_{hashlib.sha256(encoded).hexdigest()[:_HASH_DIGITS]}"


def literal(text: str) -> str:
    """Spell text as a literal, whatever `standard_conforming_strings` says."""
    text = text.replace("\x00", "\ufffd").replace("'", "''")
    return f"E'{text.replace(chr(92), chr(92) * 2)}'" if "\\" in text else f"'{text}'"


def parameter(position: int) -> str:
    """Spell a parameter as the server does."""
    return f"${position}"


def comment(table: str, column: str, told: str) -> str:
    """Say what a column holds."""
    return f"COMMENT ON COLUMN {table}.{quote(column)} IS {literal(told)}"


BIGINT: Final = ColumnType("BIGINT", kit.INT64)
DOUBLE: Final = ColumnType("DOUBLE PRECISION", kit.DOUBLE)
NUMERIC: Final = ColumnType("NUMERIC", readings.NUMERIC)
TEXT: Final = ColumnType("TEXT", readings.TEXT)
PLAIN: Final = ColumnType("TEXT", readings.PLAIN_TEXT)
BYTEA: Final = ColumnType("BYTEA", readings.BYTEA)
JSONB: Final = ColumnType("JSONB", readings.JSONB)
JSON: Final = ColumnType("JSON", readings.JSON)
DATE: Final = ColumnType("DATE", readings.DATE)
TIMESTAMPTZ: Final = ColumnType("TIMESTAMP WITH TIME ZONE", readings.TIMESTAMPTZ)
TIMETZ: Final = ColumnType("TIME WITH TIME ZONE", readings.TIMETZ)
INTERVAL: Final = ColumnType("INTERVAL", readings.AS_SPELLED)
INET: Final = ColumnType("INET", readings.AS_SPELLED)


def enumerated(labels: tuple[str, ...]) -> ColumnType | None:
    """Return the enumeration of labels, None where one of them can't be a label."""
    encoded = [label.encode(errors="replace") for label in labels]
    fitting = all(len(each) <= NAME_BYTES_MAX and b"\x00" not in each for each in encoded)
    whole = [each.decode() for each in encoded] == list(labels)
    if not (fitting and whole and len(labels) <= LABELS_MAX):
        return None
    return ColumnType(spelled(labels), readings.AS_SPELLED)


_FORMATS: Final = {
    "date": DATE,
    "date-time": TIMESTAMPTZ,
    "time": TIMETZ,
    "duration": INTERVAL,
    "ipv4": INET,
    "ipv6": INET,
    "macaddr": ColumnType("MACADDR", readings.AS_SPELLED),
    "macaddr8": ColumnType("MACADDR8", readings.AS_SPELLED),
    "uuid": ColumnType("UUID", readings.AS_SPELLED),
    "integer": NUMERIC,
    "number": NUMERIC,
}

ISO_DATE: Final = (
    "CASE WHEN {} < '0001-01-01' THEN lpad((1 + extract(year FROM {}))::text, 4, '0') || "
    "to_char({}, '-MM-DD') ELSE to_char({}, 'YYYY-MM-DD') END"
)
_UTC: Final = "({} AT TIME ZONE 'UTC')"
ISO_MOMENT: Final = (
    "regexp_replace(CASE WHEN {} < '0001-01-01 00:00:00Z' "
    f"THEN lpad((1 + extract(year FROM {_UTC}))::text, 4, '0') || "
    f'to_char({_UTC}, \'-MM-DD"T"HH24:MI:SS.US"Z"\') '
    f"ELSE to_char({_UTC}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') END, '\\.?0*Z$', 'Z')"
)
ISO_TIME: Final = "regexp_replace({}::text, '([+-]\\d\\d)$', '\\1:00')"
BASE64: Final = "translate(encode({}, 'base64'), E'\\n', '')"
SAME: Final = "{}::text"

AS_TEXT: Final[Mapping[str, str]] = {
    "SMALLINT": SAME,
    "INTEGER": SAME,
    "REAL": SAME,
    "BIGINT": SAME,
    "NUMERIC": SAME,
    "DOUBLE PRECISION": SAME,
    "BOOLEAN": SAME,
    "DATE": ISO_DATE,
    "TIMESTAMP WITH TIME ZONE": ISO_MOMENT,
    "TIME WITH TIME ZONE": ISO_TIME,
    "INTERVAL": SAME,
    "INET": "host({})",
    "MACADDR": SAME,
    "MACADDR8": SAME,
    "UUID": SAME,
    "BYTEA": BASE64,
    "JSON": SAME,
    "JSONB": SAME,
    ENUM: SAME,
}
"""How the values of each type are spelled in a document, as the text of a string or a number."""

_BARE: Final = frozenset(
    {"SMALLINT", "INTEGER", "REAL", "BIGINT", "NUMERIC", "DOUBLE PRECISION", "BOOLEAN"}
    | {"JSON", "JSONB"}
)


def as_jsonb(sql: str) -> str:
    """Return the expression of a column's value as JSONB."""
    if sql in _BARE:
        return "to_jsonb({})" if sql != "JSON" else "{}::jsonb"
    return f"to_jsonb({AS_TEXT.get(sql, SAME)})"


MIGRATIONS: Final[Mapping[tuple[str, str], str]] = {
    ("BIGINT", "NUMERIC"): "{}::numeric",
    ("BIGINT", "DOUBLE PRECISION"): "{}::double precision",
    ("NUMERIC", "DOUBLE PRECISION"): "{}::double precision",
    # The text of a double has all its digits, the cast to numeric fifteen.
    ("DOUBLE PRECISION", "NUMERIC"): "{}::text::numeric",
    # Columns that somebody else made.
    ("SMALLINT", "BIGINT"): "{}::bigint",
    ("INTEGER", "BIGINT"): "{}::bigint",
    ("SMALLINT", "NUMERIC"): "{}::numeric",
    ("INTEGER", "NUMERIC"): "{}::numeric",
    ("SMALLINT", "DOUBLE PRECISION"): "{}::double precision",
    ("INTEGER", "DOUBLE PRECISION"): "{}::double precision",
    ("REAL", "DOUBLE PRECISION"): "{}::text::double precision",
    ("CIDR", "INET"): "{}::inet",
    ("TIME WITHOUT TIME ZONE", "TIME WITH TIME ZONE"): "({}::text || '+00')::timetz",
    ("TIMESTAMP WITHOUT TIME ZONE", "TIMESTAMP WITH TIME ZONE"): "{} AT TIME ZONE 'UTC'",
    ("TEXT", "BYTEA"): "decode({}, 'base64')",
    ("JSON", "JSONB"): "{}::jsonb",
    ("JSONB", "JSON"): "{}::text::json",
    **{(sql, "TEXT"): form for sql, form in AS_TEXT.items()},
    **{(sql, "JSONB"): as_jsonb(sql) for sql in (*AS_TEXT, "TEXT") if sql != "JSONB"},
}

HOLDS: Final[Mapping[tuple[str, str], ColumnType]] = {
    ("NUMERIC", "BIGINT"): NUMERIC,
    ("NUMERIC", "DOUBLE PRECISION"): NUMERIC,
    ("CHARACTER VARYING", "TEXT"): replace(TEXT, sql="CHARACTER VARYING"),
    # Text that people or an older schema had there stays text.
    **{("TEXT", each.sql): TEXT for each in _FORMATS.values() if each is not NUMERIC},
    ("TEXT", ENUM): TEXT,
    ("CHARACTER VARYING", ENUM): replace(TEXT, sql="CHARACTER VARYING"),
    ("TEXT", "NUMERIC"): PLAIN,
    ("JSON", "JSONB"): JSON,
}

POSTGRES: Final = replace(
    ANSI,
    name="PostgreSQL",
    quote=quote,
    placeholder=parameter,
    types=TypeTable(
        kinds={
            Kind.ARRAY: JSONB,
            Kind.BINARY: BYTEA,
            Kind.BOOLEAN: ColumnType("BOOLEAN", kit.BOOLEAN),
            Kind.INTEGER: BIGINT,
            Kind.BIG_INTEGER: NUMERIC,
            Kind.MULTIPLE: JSONB,
            Kind.NUMBER: DOUBLE,
            Kind.OBJECT: JSONB,
            Kind.STRING: TEXT,
            Kind.STRING_INTEGER: NUMERIC,
            Kind.STRING_NUMBER: NUMERIC,
        },
        as_text=PLAIN,
        document=JSON,
        formats=_FORMATS,
        enumerated=enumerated,
        # Two spellings of one value are two keys, so a key stays as it is spelled.
        key_kinds={Kind.BINARY: TEXT, Kind.STRING: TEXT},
        key_formats={"date": DATE, "uuid": ColumnType("UUID", readings.UUID_KEY)},
    ),
    migrations=MIGRATIONS,
    holds=HOLDS,
    alter_type="ALTER TABLE {table} ALTER COLUMN {column} TYPE {type} USING {value}",
    empty="TRUNCATE TABLE {table}",
    comment=comment,
    folded=folded,
    name_length_max=NAME_BYTES_MAX,
    name_length=lambda name: len(name.encode()),
)
"""The dialect of PostgreSQL 12 and later."""


def variant(*, rebuilding: bool, enum_types: bool) -> Dialect:
    """Return the dialect with its choices made.

    Where documents are made of columns, these tell `1` from `"1"`.
    """
    return replace(
        POSTGRES,
        types=replace(
            POSTGRES.types,
            either=JSONB if rebuilding else None,
            enumerated=enumerated if enum_types else None,
        ),
    )


WIDER: Final = {"BIGINT": NUMERIC, "DOUBLE PRECISION": NUMERIC}
"""The type that holds what is beyond the range of another."""
