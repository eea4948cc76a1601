"""A value gives the same JSON in a backfill and in a change, and the JSON that its schema says."""

from struct import pack, unpack

import jsonschema_rs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readings import read_here, reader, readings

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


SINCE_14 = ("int4multirange",)


def values(source) -> dict[str, list]:
    """The types that the server has, each with texts and what they become."""
    if source.cluster.version >= 14:
        return VALUES
    finite = [each for each in VALUES["numeric"] if "Infinity" not in each[0]]
    known = {kind: each for kind, each in VALUES.items() if kind not in SINCE_14}
    return known | {"numeric": finite}


def prepared(source) -> list[str]:
    source.run(
        "create type mood as enum ('sad', 'happy')",
        "create domain positive as int check (value > 0)",
        "create type pair as (n int, t text)",
        'create type nested as (p pair, "all" pair[])',
        "create domain moods as mood[]",
    )
    kinds = values(source)
    names = [f"c{index}" for index in range(len(kinds))]
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(names, kinds, strict=True))
    source.run(f"create table t (id int primary key, {columns})")
    return names


def insert(source, first: int) -> list[dict]:
    """Insert rows that between them hold every value; returns the documents to expect."""
    expected = []
    kinds = values(source)
    for row in range(max(map(len, kinds.values()))):
        chosen = [each[row % len(each)] for each in kinds.values()]
        marks = ", ".join(f"%s::{kind}" for kind in kinds)
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


def test_a_process_beside_reads_every_type_to_the_same_bytes(any_source):
    prepared(any_source)
    insert(any_source, 0)
    any_source.run('create table "Ä""b" (id int primary key, "c d" text)')
    chunks = readings(any_source)
    with reader(any_source) as process:
        for chunk in chunks:
            assert list(process.scanned(chunk)) == read_here(any_source, chunk)
    assert sum(part.rows for chunk in chunks for part in read_here(any_source, chunk)) == 6


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
    [chunk] = readings(source, 1)
    with reader(source) as process:
        assert list(process.scanned(chunk)) == read_here(source, chunk)
    assert [doc["a"] for doc in first.of(0)] == [row[0] for row in rows]
    assert [doc["b"] for doc in first.of(0)] == [row[1] for row in rows]


async def round_trip(source, columns: dict[str, str], row: st.SearchStrategy) -> list[dict]:
    """Capture generated rows as rows and as changes; return the documents, which are the same."""
    source.run(
        "create table t (id int primary key, "
        + ", ".join(f"{name} {kind}" for name, kind in columns.items())
        + ")"
    )
    rows = []

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(row)
    def generate(given_row) -> None:
        rows.append(given_row)

    generate()

    def write(offset: int) -> None:
        marks = ", ".join(f"%s::{kind}" for kind in columns.values())
        with source.connection.cursor() as cursor:
            cursor.executemany(
                f"insert into t values (%s, {marks})",
                [[offset + index, *each] for index, each in enumerate(rows)],
            )

    write(0)
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    write(10_000)
    second = await source.caught_up(built, first.state)
    read, streamed = (
        [{k: v for k, v in each.items() if k != "id"} for each in without_meta(session.of(0))]
        for session in (first, second)
    )
    assert read == streamed
    assert len(read) == len(rows)
    return read


def as_hstore(pairs: dict[str, str | None]) -> str:
    def quoted(text: str | None) -> str:
        if text is None:
            return "NULL"
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return ", ".join(f"{quoted(name)}=>{quoted(value)}" for name, value in pairs.items())


async def test_any_contributed_values_are_the_same_in_rows_and_in_changes(source_15):
    for extension in ("hstore", "citext", "ltree"):
        source_15.run(f"create extension {extension}")
    pairs = st.dictionaries(TEXT, st.none() | TEXT, max_size=4)
    label = st.text("abcXYZ019_", min_size=1, max_size=8)
    given_rows = []
    row = st.tuples(
        st.none() | pairs,
        st.none() | TEXT,
        st.lists(st.none() | TEXT, max_size=3),
        st.lists(label, max_size=4).map(".".join),
        st.sampled_from(["<a/>", '<b c="d">&amp;é</b>']),
    )

    def written(each) -> tuple:
        given_rows.append(each)
        pairs, *others = each
        return (None if pairs is None else as_hstore(pairs), *others)

    kinds = {"h": "hstore", "c": "citext", "cs": "citext[]", "l": "ltree", "x": "xml"}
    documents = await round_trip(source_15, kinds, row.map(written))
    assert documents == [dict(zip(kinds, each, strict=True)) for each in given_rows]


async def test_any_vectors_are_arrays_of_the_same_numbers(source):
    source.run("create extension vector")
    numbers = st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False),
        min_size=3,
        max_size=3,
    )
    half = st.lists(st.floats(-9, 9, width=16), min_size=2, max_size=2)
    sparse = st.dictionaries(st.integers(1, 5), st.integers(-9, 9).filter(bool), max_size=3)
    given_rows = []

    def written(each) -> tuple:
        given_rows.append(each)
        vector, halves, entries = each
        spelled = ",".join(f"{index}:{value}" for index, value in sorted(entries.items()))
        return (str(vector) if vector else None, str(halves), f"{{{spelled}}}/5")

    kinds = {"v": "vector(3)", "h": "halfvec(2)", "s": "sparsevec(5)"}
    row = st.tuples(st.none() | numbers, half, sparse).map(written)
    documents = await round_trip(source, kinds, row)
    for document, (vector, halves, entries) in zip(documents, given_rows, strict=True):
        # The server writes the shortest digits that are the same number of 32 bits.
        assert (document["v"] and [as_single(each) for each in document["v"]]) == vector
        assert document["h"] == pytest.approx(halves, abs=0.01)
        spelled = ",".join(f"{index}:{value}" for index, value in sorted(entries.items()))
        assert document["s"] == f"{{{spelled}}}/5"


def as_single(number: float) -> float:
    """The number of 32 bits next to it."""
    [single] = unpack("f", pack("f", number))
    return single


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
