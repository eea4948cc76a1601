"""Values through readings: exact, in bulk and one by one, or refused with a reason."""

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.errors import DataError
from estuary_cdk.kits.sql import ANSI, Reading, TargetColumn, readings, row_reader
from estuary_cdk.kits.sql.dialect import ColumnType


def read(reading: Reading, *texts: bytes):
    columns = [TargetColumn("c", ColumnType("X", reading))]
    return [row for (row,) in row_reader("t", columns)([b"[%b]" % text for text in texts])]


@pytest.mark.parametrize(
    ("reading", "text", "value"),
    [
        (readings.INT64, b"9223372036854775807", 2**63 - 1),
        (readings.INT64, b"-9223372036854775808", -(2**63)),
        (readings.INT64, b"1.0", 1),
        (readings.INT64, b"1e3", 1000),
        (readings.INT64, b"null", None),
        (readings.INTEGER_TEXT, b"18446744073709551616", "18446744073709551616"),
        (readings.INTEGER_TEXT, b"2e20", "200000000000000000000"),
        (readings.INTEGER_TEXT, b"7", "7"),
        (readings.INTEGER_TEXT, b"null", None),
        (readings.DOUBLE, b"1", 1.0),
        (readings.DOUBLE, b"0.1", 0.1),
        (readings.BOOLEAN, b"true", True),
        (readings.TEXT, rb'"a\u0000\"\u2603"', 'a\x00"☃'),
        (readings.TEXT, b"null", None),
        (readings.BYTES, b'"AP8="', b"\x00\xff"),
        (readings.BYTES, b'"AP8"', b"\x00\xff"),
        (readings.BYTES, rb'"AP\n8="', b"\x00\xff"),
        (readings.BYTES, b'"_-8="', b"\xff\xef"),
        (readings.PLAIN_TEXT, b"1.10", "1.10"),
        (readings.PLAIN_TEXT, b'"1.10"', "1.10"),
        (readings.PLAIN_TEXT, b'"NaN"', "NaN"),
        (
            readings.PLAIN_TEXT,
            b"123456789012345678901234567890.5",
            "123456789012345678901234567890.5",
        ),
        (readings.PLAIN_TEXT, b"null", None),
        (readings.JSON_TEXT, b'{"a": [1.0, 1e3]}', '{"a": [1.0, 1e3]}'),
        (readings.JSON_TEXT, b'"null"', '"null"'),
        (readings.JSON_TEXT, b"null", None),
    ],
)
def test_a_value_is_kept_exactly(reading: Reading, text: bytes, value: object):
    [found] = read(reading, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("reading", "text", "reason"),
    [
        (readings.INT64, b"9223372036854775808", "beyond 64 bits"),
        (readings.INT64, b"1.5", "isn't an integer"),
        (readings.INT64, b'"1"', "isn't an integer"),
        (readings.INTEGER_TEXT, b"1e5000", "more than 4300 digits"),
        (readings.DOUBLE, b"1e400", "range of a double"),
        (readings.BOOLEAN, b"1", "no boolean"),
        (readings.TEXT, b"5", "no string"),
        (readings.BYTES, b'"A?"', "isn't base64"),
    ],
)
def test_a_value_that_cannot_be_kept_is_refused_by_name(reading, text, reason):
    with pytest.raises(DataError, match=reason) as refused:
        read(reading, b"null", text)
    assert "column 'c' of table 't'" in str(refused.value)


def test_text_that_is_no_unicode_is_refused():
    with pytest.raises(DataError, match="table 't'"):
        read(readings.PLAIN_TEXT, rb'"\ud800"')


def test_one_patient_value_leaves_the_rest_of_its_batch_alone():
    assert read(readings.INT64, b"1", b"2.0", b"null", b"3") == [1, 2, None, 3]


def test_rows_have_their_columns_in_order():
    kinds = ANSI.types.kinds.items()
    columns = [TargetColumn(kind, column) for kind, column in kinds]
    values = {
        "array": b"[1.0]", "binary": b'"AA=="', "boolean": b"true", "integer": b"1",
        "big integer": b"2", "multiple": b'"m"', "number": b"3", "object": b'{"o": 1}',
        "string": b'"s"', "string or integer": b'"4"', "string or number": b"5.50",
    }  # fmt: skip
    array = b"[" + b",".join(values[kind] for kind, _ in kinds) + b"]"
    expected = ("[1.0]", b"\x00", True, 1, "2", '"m"', 3.0, '{"o": 1}', "s", "4", "5.50")
    assert list(row_reader("t", columns)([array, array])) == [expected, expected]


def test_rows_without_columns_are_empty():
    assert list(row_reader("t", [])([b"[]", b"[]"])) == [(), ()]


def test_a_row_of_another_width_is_refused():
    columns = [TargetColumn("c", ColumnType("X", readings.TEXT))]
    with pytest.raises(DataError, match="2 values for 1 columns"):
        row_reader("t", columns)([b'["a","b"]'])


@given(st.lists(st.integers()))
def test_integers_of_any_size_keep_their_digits(numbers: list[int]):
    assert read(readings.INTEGER_TEXT, *map(msgspec.json.encode, numbers)) == list(
        map(str, numbers)
    )


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_doubles_are_doubles(numbers: list[float]):
    assert read(readings.DOUBLE, *map(msgspec.json.encode, numbers)) == numbers


@given(st.lists(st.text(st.characters(blacklist_categories=["Cs"]))))
def test_strings_are_their_text(texts: list[str]):
    assert read(readings.TEXT, *map(msgspec.json.encode, texts)) == texts
    assert read(readings.PLAIN_TEXT, *map(msgspec.json.encode, texts)) == texts


@given(st.lists(st.binary()))
def test_bytes_are_what_base64_spells(blobs: list[bytes]):
    assert read(readings.BYTES, *(b'"%b"' % base64.b64encode(blob) for blob in blobs)) == blobs
