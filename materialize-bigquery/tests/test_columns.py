"""What each type of column makes of JSON, in bulk and value by value, and what it refuses."""

import math
from datetime import UTC, date, datetime, time
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estuary_cdk.errors import DataError
from estuary_cdk.kits.sql import BeyondRangeError, ColumnType, TargetColumn
from materialize_bigquery import dialect
from materialize_bigquery.columns import Columns


def read(kind: ColumnType, *values: bytes) -> list:
    rows = [b"[" + value + b"]" for value in values]
    [array] = Columns("t", [TargetColumn("c", kind)]).arrays(rows)
    return array.to_pylist()


def moment(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


# Values as JSON, and what stands in the staged column. Read alone and together with the others.
VALUES = {
    "integers": (
        dialect.INT64,
        {b"1": 1, b"1.0": 1, b"1e3": 1000, b"null": None, b"-9223372036854775808": -(2**63)},
    ),
    "big integers": (
        dialect.BIG_INTEGER,
        {b'"1"': "1", b"-5": "-5", b"1.0": "1", b'"007"': "7", b"9" * 38: "9" * 38, b"null": None},
    ),
    "decimals": (
        dialect.NUMERIC,
        {
            b'"1.5"': Decimal("1.5"),
            b"1e3": Decimal(1000),
            b"-0.000000001": Decimal("-1E-9"),
            b'"99999999999999999999999999999.999999999"': Decimal("9" * 29 + "." + "9" * 9),
            b"null": None,
        },
    ),
    "big decimals": (
        dialect.BIGNUMERIC,
        {b'"1.5"': "1.5", b"1e3": "1000", b'"0.%b"' % (b"1" * 38): "0." + "1" * 38, b"null": None},
    ),
    "doubles": (dialect.FLOAT64, {b"1": 1.0, b"1e300": 1e300, b"5e-324": 5e-324, b"null": None}),
    "doubles and words": (
        dialect.FLOAT64_WORDS,
        {b'"Infinity"': math.inf, b'"-inf"': -math.inf, b'"2.50"': 2.5, b"1": 1.0, b"null": None},
    ),
    "booleans": (dialect.BOOL, {b"true": True, b"false": False, b"null": None}),
    "strings": (
        dialect.STRING,
        {b'"a"': "a", b'""': "", b'"\\u0000"': "\0", b'"\\ud83d\\ude00"': "😀", b"null": None},
    ),
    "any as text": (
        dialect.PLAIN,
        {b'"a\\n"': "a\n", b"1.0": "1.0", b"1e3": "1e3", b'{"a":[1]}': '{"a":[1]}', b"null": None},
    ),
    "json": (
        dialect.JSON,
        {b'{"a":1.50}': '{"a":1.50}', b'"x"': '"x"', b"null": None, b"[null]": "[null]"},
    ),
    "bytes": (
        dialect.BYTES,
        {b'"AP8="': b"\0\xff", b'"AP8"': b"\0\xff", b'""': b"", b"null": None},
    ),
    "dates": (
        dialect.DATE,
        {
            b'"0001-01-01"': date(1, 1, 1),
            b'"9999-12-31"': date(9999, 12, 31),
            b'"2024-02-29"': date(2024, 2, 29),
            b"null": None,
        },
    ),
    "moments": (
        dialect.TIMESTAMP,
        {
            b'"2024-02-29T23:59:60Z"': moment(2024, 3, 1),
            b'"2024-01-01t00:00:00.123456999z"': moment(2024, 1, 1, 0, 0, 0, 123456),
            b'"2024-01-01T00:00:00.9999999+02:00"': moment(2023, 12, 31, 22, 0, 0, 999999),
            b'"0001-01-01T00:00:00Z"': moment(1, 1, 1),
            b'"9999-12-31T23:59:59.999999Z"': moment(9999, 12, 31, 23, 59, 59, 999999),
            b'"2024-01-01 00:00:00-01:30"': moment(2024, 1, 1, 1, 30),
            b"null": None,
        },
    ),
    "times": (
        dialect.TIME,
        {
            b'"14:30:00Z"': time(14, 30),
            b'"14:30:00"': time(14, 30),
            b'"14:30:00.5+00:00"': time(14, 30, 0, 500_000),
            b"null": None,
        },
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_values_are_the_same_alone_and_in_bulk(name):
    kind, values = VALUES[name]
    assert read(kind, *values) == list(values.values())
    assert [read(kind, value)[0] for value in values] == list(values.values())


def test_halves_of_surrogate_pairs_are_replaced_and_nothing_else_is():
    assert read(dialect.STRING, b'"a\\ud800"', b'"b"') == ["a\ufffd", "b"]
    assert read(dialect.JSON, b'{"k":"\\udc00x"}', b"1") == ['{"k":"\ufffdx"}', "1"]


# What a wider column holds, so that the column becomes that.
WIDER = {
    "an integer beyond 64 bits": (dialect.INT64, b"9223372036854775808"),
    "an integer of 39 digits": (dialect.BIG_INTEGER, b"1" * 39),
    "a fraction among integers": (dialect.BIG_INTEGER, b"1.5"),
    "ten digits behind the point": (dialect.NUMERIC, b'"1.0000000001"'),
    "thirty digits before the point": (dialect.NUMERIC, b"1" * 30),
    "a word among decimals": (dialect.NUMERIC, b'"NaN"'),
    "39 digits behind the point": (dialect.BIGNUMERIC, b'"0.%b"' % (b"1" * 39)),
    "a number beyond doubles": (dialect.FLOAT64, b"1e400"),
    "a string no double has": (dialect.FLOAT64_WORDS, b'"0.12345678901234567890123"'),
    "a date before the year 1": (dialect.DATE, b'"0000-12-31"'),
    "a moment before the year 1": (dialect.TIMESTAMP, b'"0001-01-01T00:00:00+14:00"'),
    "a moment after the year 9999": (dialect.TIMESTAMP, b'"9999-12-31T23:59:60Z"'),
    "a time with an offset": (dialect.TIME, b'"14:30:00+02:00"'),
    "a time with nanoseconds": (dialect.TIME, b'"14:30:00.123456789Z"'),
}


@pytest.mark.parametrize("name", WIDER)
def test_what_a_wider_column_holds_is_told_apart(name):
    kind, value = WIDER[name]
    for values in ([value], [b"null", value]):
        with pytest.raises(DataError, match="can't store column 'c' of table 't'") as caught:
            read(kind, *values)
        assert isinstance(caught.value.__cause__, BeyondRangeError)
        assert caught.value.context["column"] == "c"
    assert kind.sql in dialect.WIDER


WRONG = {
    "text for an integer": (dialect.INT64, b'"1"'),
    "text for a number": (dialect.NUMERIC, b'"x"'),
    "no day of the calendar": (dialect.DATE, b'"2023-02-29"'),
    "a moment without a zone": (dialect.TIMESTAMP, b'"2024-01-01T00:00:00"'),
    "no base64": (dialect.BYTES, b'"?"'),
    "a number for a string": (dialect.STRING, b"1"),
    "a string for a boolean": (dialect.BOOL, b'"true"'),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_no_column_holds_is_refused_with_its_name(name):
    kind, value = WRONG[name]
    with pytest.raises(DataError, match="can't store column 'c' of table 't'") as caught:
        read(kind, value)
    assert not isinstance(caught.value.__cause__, BeyondRangeError)


def test_a_row_of_another_width_is_refused():
    columns = [TargetColumn(name, dialect.INT64) for name in "ab"]
    with pytest.raises(DataError, match="it has 1 values for 2 columns"):
        Columns("t", columns).arrays([b"[1]"])


# Patience that one column needs must not reach the others, nor the order of rows.
@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1) | st.none(),
            st.text(st.characters(exclude_categories=["Cs"])) | st.none(),
            st.decimals(-(10**20), 10**20, places=9) | st.none(),
            st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)) | st.none(),
            st.floats(allow_nan=False, allow_infinity=False),
        ),
        min_size=1,
    )
)
def test_rows_of_any_values_come_back(rows):
    kinds = [
        dialect.INT64, dialect.STRING, dialect.NUMERIC, dialect.TIMESTAMP, dialect.FLOAT64
    ]  # fmt: skip
    columns = [TargetColumn(f"c{i}", kind) for i, kind in enumerate(kinds)]
    texts = [
        msgspec.json.encode([i, s, None if n is None else str(n), m and f"{m.isoformat()}Z", f])
        for i, s, n, m, f in rows
    ]
    found = [array.to_pylist() for array in Columns("t", columns).arrays(texts)]
    utc = [(i, s, n, m and m.replace(tzinfo=UTC), f) for i, s, n, m, f in rows]
    assert list(zip(*found, strict=True)) == utc
