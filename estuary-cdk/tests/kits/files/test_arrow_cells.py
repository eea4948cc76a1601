"""Every Arrow type has one spelling in JSON, the one that captures of databases have."""

import math
from datetime import date, timedelta
from decimal import Decimal
from uuid import UUID

import jsonschema
import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estuary_cdk.kits.files.arrow_cells import texts
from estuary_cdk.kits.files.arrow_rows import record_schema

YEAR = 31_556_952_000_000  # microseconds
UUID_TEXT = "2eb8aa08-aa98-11ea-b4aa-73b441d16380"
PAIRS = pa.map_(pa.string(), pa.int32())

CASES = {
    "int64": (pa.array([-(2**63), 2**63 - 1, None]), f"{-(2**63)} {2**63 - 1} null"),
    "uint64": (pa.array([2**64 - 1], pa.uint64()), f"{2**64 - 1}"),
    "bool": (pa.array([True, False, None]), "true false null"),
    "null": (pa.nulls(2), "null null"),
    "float": (
        pa.array([0.1, 1.5, -2.0, math.nan, math.inf, -math.inf, None]),
        '0.1 1.5 -2 "NaN" "Infinity" "-Infinity" null',
    ),
    "float32": (pa.array([0.1, math.inf], pa.float32()), '0.1 "Infinity"'),
    "float16": (pa.array([0.5, None], pa.float16()), "0.5 null"),
    "string": (pa.array(['a"b', "c\\d", "e\nf\x00", "ü", None]), None),
    "large_string": (pa.array(['a"b', None], pa.large_string()), '"a\\"b" null'),
    "string_view": (pa.array(["a", None], pa.string_view()), '"a" null'),
    "decimal": (pa.array([Decimal("-123.4500"), None]), '"-123.4500" null'),
    "small decimal": (
        pa.array([Decimal("0.00000001"), Decimal("12.00000000"), None]),
        '"0.00000001" "12.00000000" null',
    ),
    "negative scale": (pa.array([Decimal("12E2")], pa.decimal128(5, -2)), '"1200"'),
    "decimal256": (pa.array([10**60], pa.decimal256(76, 2)), f'"{10**60}.00"'),
    "date": (
        pa.array([date(2024, 2, 29), None, date(1, 1, 1)]),
        '"2024-02-29" null "0001-01-01"',
    ),
    "date64": (pa.array([date(2024, 2, 29)], pa.date64()), '"2024-02-29"'),
    "dates beyond": (
        pa.array([10**7, -(10**6)], pa.int32()).cast(pa.date32()),
        '"9999-12-31" "0001-01-01"',
    ),
    "timestamp": (
        pa.array([0, 1_500_000, None], pa.timestamp("us")),
        '"1970-01-01T00:00:00Z" "1970-01-01T00:00:01.5Z" null',
    ),
    "zoned": (pa.array([0], pa.timestamp("ms", "Asia/Tokyo")), '"1970-01-01T00:00:00Z"'),
    "nanoseconds": (
        pa.array([1, -1], pa.timestamp("ns")),
        '"1970-01-01T00:00:00.000000001Z" "1969-12-31T23:59:59.999999999Z"',
    ),
    "timestamps beyond": (
        pa.array([9000 * YEAR, -3000 * YEAR], pa.timestamp("us")),
        '"9999-12-31T23:59:59Z" "0001-01-01T00:00:00Z"',
    ),
    "time": (pa.array([0, 3_600_000_001], pa.time64("us")), '"00:00:00Z" "01:00:00.000001Z"'),
    "time32": (pa.array([61], pa.time32("s")), '"00:01:01Z"'),
    "duration": (
        pa.array([timedelta(days=1, seconds=90), timedelta(0), None, timedelta(seconds=-1.5)]),
        '"PT24H1M30S" "PT0S" null "PT-1.5S"',
    ),
    "interval": (
        pa.array([(14, -3, 5_000_000_001), None], pa.month_day_nano_interval()),
        '"P1Y2M-3DT5.000000001S" null',
    ),
    "binary": (pa.array([b"\x00\xff", b"", None]), '"AP8=" "" null'),
    "fixed binary": (pa.array([b"abcd", None], pa.binary(4)), '"YWJjZA==" null'),
    "uuid": (
        pa.array([None, UUID(UUID_TEXT).bytes, None], pa.uuid()).slice(1),
        f'"{UUID_TEXT}" null',
    ),
    "json": (pa.array(['{"a": 1.0}', None], pa.json_()), None),
    "dictionary": (pa.array(["x", None, "x"]).dictionary_encode(), '"x" null "x"'),
    "large dictionary": (
        pa.DictionaryArray.from_arrays(pa.array([1, None]), pa.array([1, 2, 3])),
        "2 null",
    ),
    "list": (pa.array([[1, None], None, []]), "[1,null] null []"),
    "list of strings": (pa.array([["a,b", "c"], ["d"]]), '["a,b","c"] ["d"]'),
    "list view": (pa.array([[1], None], pa.list_view(pa.int8())), "[1] null"),
    "fixed list": (pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)), "[1,2] null [3,4]"),
    "struct": (pa.array([{"a": 1, "b": [None]}, None]), '{"a":1,"b":[null]} null'),
    "empty struct": (pa.array([{}, None], pa.struct([])), "{} null"),
    "map": (pa.array([[("k", 1), ("l", None)], None, []], PAIRS), '{"k":1,"l":null} null {}'),
    "map by number": (pa.array([[(7, "x")]], pa.map_(pa.int32(), pa.string())), '{"7":"x"}'),
    "map by float": (
        pa.array([[(math.nan, 1), (0.5, 2)]], pa.map_(pa.float64(), pa.int8())),
        '{"NaN":1,"0.5":2}',
    ),
    "run ends": (pa.RunEndEncodedArray.from_arrays([2, 3], ["a", None]), '"a" "a" null'),
    "union": (
        pa.UnionArray.from_sparse(
            pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]
        ),
        '1 "b"',
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("cut", [0, 1])
def test_each_type_has_its_spelling(name, cut):
    array, expected = CASES[name]
    if expected is None:
        values = [None if v is None else str(v) for v in array.to_pylist()]
        expected = [
            "null" if v is None else v if name == "json" else msgspec.json.encode(v).decode()
            for v in values
        ]
    else:
        expected = expected.split(" ")
    assert texts(array.slice(cut)).to_pylist() == expected[cut:]


@pytest.mark.parametrize("name", CASES)
def test_each_value_is_what_the_schema_of_its_type_says(name):
    array, _ = CASES[name]
    promised = record_schema(pa.schema([("v", array.type)])).get("v", {})
    for text in texts(array).to_pylist():
        if text != "null":
            jsonschema.validate(msgspec.json.decode(text), promised)


def test_text_that_is_not_utf_8_is_refused():
    array = pa.array([b"ok", b"\xff"]).view(pa.string())
    with pytest.raises(pa.ArrowInvalid, match="UTF8"):
        texts(array)


kinds = st.recursive(
    st.sampled_from([pa.int64(), pa.string(), pa.bool_(), pa.large_string()]),
    lambda inner: (
        inner.map(pa.list_)
        | inner.map(lambda kind: pa.struct([("a", kind), ('b"', pa.int8())]))
        | inner.map(lambda kind: pa.map_(pa.string(), kind))
    ),
    max_leaves=4,
)


def values_of(kind):
    if pa.types.is_map(kind):
        return st.none() | st.dictionaries(
            st.text(max_size=3), values_of(kind.item_type), max_size=3
        )
    if pa.types.is_list(kind):
        return st.none() | st.lists(values_of(kind.value_type), max_size=3)
    if pa.types.is_struct(kind):
        members = {field.name: values_of(field.type) for field in kind}
        return st.none() | st.fixed_dictionaries(members)
    if pa.types.is_boolean(kind):
        return st.none() | st.booleans()
    if pa.types.is_integer(kind):
        width = kind.bit_width - 1
        return st.none() | st.integers(-(2**width), 2**width - 1)
    return st.none() | st.text(max_size=4)


def arrow_value(value, kind):
    if value is None:
        return None
    if pa.types.is_map(kind):
        return [(key, arrow_value(each, kind.item_type)) for key, each in value.items()]
    if pa.types.is_list(kind):
        return [arrow_value(each, kind.value_type) for each in value]
    if pa.types.is_struct(kind):
        return {field.name: arrow_value(value[field.name], field.type) for field in kind}
    return value


@settings(max_examples=100)
@given(data=st.data(), kind=kinds)
def test_what_is_written_reads_as_what_was_there(data, kind):
    values = data.draw(st.lists(values_of(kind), max_size=6))
    start = data.draw(st.integers(0, len(values)))
    array = pa.array([arrow_value(value, kind) for value in values], kind).slice(start)
    found = [msgspec.json.decode(text) for text in texts(array).to_pylist()]
    assert found == values[start:]
    promised = record_schema(pa.schema([("v", kind)])).get("v", {})
    for value in found:
        if value is not None:
            jsonschema.validate(value, promised)
