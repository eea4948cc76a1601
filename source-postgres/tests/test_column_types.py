"""A value gives the same JSON in a backfill and in a change, and the JSON that its schema says."""

import jsonschema_rs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from source_postgres.config import Config

VALUES = {
    "bool": [("true", True), ("false", False), (None, None)],
    "int2": [("-32768", -32768)],
    "int8": [("9223372036854775807", 9223372036854775807)],
    "oid": [("4294967295", 4294967295)],
    "numeric": [("123.4500", "123.4500"), ("NaN", "NaN"), ("Infinity", "Infinity"),
                ("-Infinity", "-Infinity"), ("1e-20", "0.00000000000000000001")],
    "numeric(30,5)": [("1234567890123456789012345.00001", "1234567890123456789012345.00001")],
    "float4": [("1.1", 1.1), ("NaN", "NaN")],
    "float8": [("1e300", 1e300), ("-Infinity", "-Infinity"), ("0.1", 0.1), (None, None)],
    "text": [('a\tb\nc\\d"e\v\x01\\N é😀', 'a\tb\nc\\d"e\v\x01\\N é😀'), ("", ""), (None, None)],
    "varchar(5)": [("abc", "abc")],
    "bpchar": [("ab  ", "ab  ")],
    "bytea": [("\\xdeadbeef", "3q2+7w=="), ("", ""), (None, None)],
    "bit(4)": [("1011", "1011")],
    "json": [('{"a":  1.0}', {"a": 1.0}), ("[1,\n 2]", [1, 2]), ("null", None),
             ('"\\ud800x\\ud83d\\ude00"', "\ufffdx\U0001f600"),
             ('{"a": "\\udc00", "b": "\\\\ud800"}', {"a": "\ufffd", "b": "\\ud800"})],
    "jsonb": [('{"a": 1e3, "b": "\\n\\""}', {"a": 1000, "b": '\n"'})],
    "date": [
        ("2024-02-29", "2024-02-29"),
        ("infinity", "9999-12-31"),
        ("-infinity", "0000-01-01"),
        ("12345-01-01", "9999-12-31"),
        ("0044-03-15 BC", "0001-01-01"),
        (None, None),
    ],
    "timestamp": [
        ("2024-01-15 14:30:00.25", "2024-01-15T14:30:00.25Z"),
        ("infinity", "9999-12-31T23:59:59Z"),
        ("-infinity", "0000-01-01T00:00:00Z"),
        ("20240-01-01 00:00:00", "9999-12-31T23:59:59Z"),
        (None, None),
    ],
    "timestamptz": [
        ("2024-01-15 14:30:00-08", "2024-01-15T22:30:00Z"),
        ("0044-03-15 00:00:00+00 BC", "0001-01-01T00:00:00Z"),
        ("294276-12-31 23:59:59.999999+00", "9999-12-31T23:59:59Z"),
        ("9999-12-31 23:59:59.999999+00", "9999-12-31T23:59:59.999999Z"),
        ("0001-01-01 00:00:00+00", "0001-01-01T00:00:00Z"),
        (None, None),
    ],
    "time": [("14:30:00", "14:30:00Z"), ("24:00:00", "24:00:00Z"), (None, None)],
    "timetz": [("14:30:00+05:30", "14:30:00+05:30"), ("14:30:00-08", "14:30:00-08:00")],
    "interval": [("1 year 2 mons 3 days 04:05:06", "P1Y2M3DT4H5M6S"), ("0", "PT0S"),
                 ("-178000000 years", "P-178000000Y"), ("-1.5 seconds", "PT-1.5S")],
    "uuid": [("b98e6d44-05ba-9c3d-6067-3e5fc9bc39be", "b98e6d44-05ba-9c3d-6067-3e5fc9bc39be")],
    "inet": [("192.168.1.1", "192.168.1.1"), ("10.0.0.0/8", "10.0.0.0/8")],
    "macaddr": [("08:00:2b:01:02:03", "08:00:2b:01:02:03")],
    "point": [("(1,2)", "(1,2)")],
    "tsvector": [("'a' 'b'", "'a' 'b'")],
    "int4range": [("[1,5)", "[1,5)"), ("empty", "empty")],
    "int4multirange": [("{[1,3),[5,8)}", "{[1,3),[5,8)}")],
    "tstzrange": [("[2024-01-01 01:00:00+01,)", '["2024-01-01 00:00:00+00",)')],
    "int4range[]": [('{"[1,5)",empty}', ["[1,5)", "empty"])],
    "date[]": [("{{infinity,2024-01-01},{NULL,0044-03-15 BC}}",
                [["9999-12-31", "2024-01-01"], [None, "0001-01-01"]])],
    "int4[]": [("{1,NULL,3}", [1, None, 3]), ("{{1,2},{3,4}}", [[1, 2], [3, 4]]), ("{}", [])],
    "text[]": [('{a,NULL,"NULL","q\\"\\\\,"}', ["a", None, "NULL", 'q"\\,']), (None, None)],
    "float8[]": [("[2:3]={1.5,NaN}", [1.5, "NaN"])],
    "bytea[]": [('{"\\\\x00ff"}', ["AP8="])],
    "timestamptz[]": [('{"2024-01-01 00:00:00+00",infinity}',
                       ["2024-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])],
    "jsonb[]": [('{"{\\"a\\": [1]}"}', [{"a": [1]}])],
    "box[]": [("{(1,1),(0,0)}", ["(1,1),(0,0)"])],
    "mood": [("happy", "happy"), (None, None)],
    "mood[]": [("{sad,NULL}", ["sad", None])],
    "positive": [("5", 5)],
    "pair": [('(1,"x, ""y"" \\\\")', {"n": 1, "t": 'x, "y" \\'}), ("(,)", {"n": None, "t": None})],
    "nested": [('("(1,""{x}"")","{""(2,y)"",NULL}")',
                {"p": {"n": 1, "t": "{x}"}, "all": [{"n": 2, "t": "y"}, None]})],
    "moods": [("{{sad},{happy}}", [["sad"], ["happy"]])],
    "pair[]": [('{"(1,a)",NULL}', [{"n": 1, "t": "a"}, None])],
    "money": [("12.34", "$12.34")],
}  # fmt: skip


def prepared(source) -> list[str]:
    source.run(
        "create type mood as enum ('sad', 'happy')",
        "create domain positive as int check (value > 0)",
        "create type pair as (n int, t text)",
        'create type nested as (p pair, "all" pair[])',
        "create domain moods as mood[]",
    )
    names = [f"c{index}" for index in range(len(VALUES))]
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(names, VALUES, strict=True))
    source.run(f"create table t (id int primary key, {columns})")
    return names


def insert(source, first: int) -> list[dict]:
    """Insert rows that between them hold every value; returns the documents to expect."""
    expected = []
    for row in range(max(map(len, VALUES.values()))):
        chosen = [each[row % len(each)] for each in VALUES.values()]
        marks = ", ".join(f"%s::{kind}" for kind in VALUES)
        source.connection.execute(
            f"insert into t values (%s, {marks})", [first + row, *(text for text, _ in chosen)]
        )
        expected.append(
            {"id": first + row} | {f"c{i}": value for i, (_, value) in enumerate(chosen)}
        )
    return expected


def without_meta(documents) -> list[dict]:
    return [{k: v for k, v in doc.items() if k != "_meta"} for doc in documents]


async def test_every_type_is_the_same_in_rows_and_in_changes(any_source):
    prepared(any_source)
    expected = insert(any_source, 0)
    built = await any_source.runtime.build(any_source.config)
    first = await any_source.caught_up(built)
    assert without_meta(first.of(0)) == expected
    more = insert(any_source, 1000)
    second = await any_source.caught_up(built, first.state)
    assert without_meta(second.of(0)) == more
    schema = msgspec.json.decode(built.bindings[0].collection.write_schema)
    validator = jsonschema_rs.validator_for(schema)
    for document in first.of(0) + second.of(0):
        assert [error.message for error in validator.iter_errors(document)] == []


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


async def test_any_values_are_the_same_in_rows_and_in_changes(source):
    source.run(
        "create table t (id int primary key, a text, b text[], c float8, d timestamptz, e bytea, "
        "f numeric, g jsonb, h interval, i date)"
    )
    rows = []

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.tuples(
            st.none() | TEXT,
            st.none() | st.lists(st.none() | TEXT, max_size=4),
            st.floats(allow_subnormal=False),
            st.datetimes().map(lambda moment: moment.isoformat() + "+00"),
            st.binary(max_size=20),
            st.decimals(places=3, allow_nan=False, allow_infinity=False).map(str),
            st.recursive(st.none() | TEXT | st.integers(), st.lists).map(
                lambda value: msgspec.json.encode(value).decode()
            ),
            st.integers(-(10**9), 10**9).map(lambda seconds: f"{seconds} seconds"),
            st.dates().map(str),
        )
    )
    def generate(row) -> None:
        rows.append(row)

    generate()
    casts = ["text", "text[]", "float8", "timestamptz", "bytea", "numeric", "jsonb", "interval",
             "date"]  # fmt: skip
    statement = f"insert into t values (%s, {', '.join(f'%s::{cast}' for cast in casts)})"

    def write(offset: int) -> None:
        for index, row in enumerate(rows):
            source.connection.execute(statement, [offset + index, *row])

    write(0)
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    write(10_000)
    second = await source.caught_up(built, first.state)
    strip = [{k: v for k, v in doc.items() if k not in {"_meta", "id"}} for doc in first.of(0)]
    assert strip == [
        {k: v for k, v in doc.items() if k not in {"_meta", "id"}} for doc in second.of(0)
    ]
    assert [doc["a"] for doc in first.of(0)] == [row[0] for row in rows]
    assert [doc["b"] for doc in first.of(0)] == [row[1] for row in rows]


async def test_contributed_types_are_objects_and_text(source_15):
    source_15.run(
        "create extension hstore",
        "create extension citext",
        "create table t (id int primary key, h hstore, c citext, x xml)",
        """insert into t values (1, '"a\\"b"=>"1", "n"=>NULL', 'Text', '<a/>')""",
    )
    built = await source_15.runtime.build(source_15.config)
    [document] = (await source_15.caught_up(built)).of(0)
    assert document["h"] == {'a"b': "1", "n": None}
    assert document["c"] == "Text"
    assert document["x"] == "<a/>"


async def test_vectors_are_arrays_of_numbers(source):
    source.run(
        "create extension vector",
        "create table t (id int primary key, v vector(3))",
        "insert into t values (1, '[1,2.5,3]')",
    )
    built = await source.runtime.build(source.config)
    [document] = (await source.caught_up(built)).of(0)
    assert document["v"] == [1, 2.5, 3]


@pytest.mark.parametrize("text", ["a.b.c", ".a", "a.", "x\\"])
def test_patterns_that_name_no_table_are_refused(text):
    with pytest.raises(ValueError, match="no table pattern"):
        Config.model_validate(
            {
                "address": "h",
                "credentials": {"password": "p"},
                "discoveryFilters": {"table_patterns": [text]},
            }
        )
