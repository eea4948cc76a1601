"""Avro files become records and a schema, whatever their codec, cut into blocks anywhere."""

import io
import math
import random
from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from uuid import UUID

import fastavro
import jsonschema
import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from estuary_cdk.errors import DataError
from estuary_cdk.kits.files import FileReader, ParserOptions, avro_blocks

UUID_TEXT = "2eb8aa08-aa98-11ea-b4aa-73b441d16380"


def logical(kind, name, **more):
    return {"type": kind, "logicalType": name, **more}


def fixed(name, size, **more):
    return {"type": "fixed", "name": name, "size": size, **more}


def record(*fields, name="Row"):
    return {
        "type": "record",
        "name": name,
        "fields": [{"name": field, "type": kind} for field, kind in fields],
    }


def zstandard_written(schema, rows):
    """Write one block, which fastavro can't without another library."""
    header = io.BytesIO()
    metadata = {"avro.schema": msgspec.json.encode(schema), "avro.codec": b"zstandard"}
    fastavro.schemaless_writer(header, {"type": "map", "values": "bytes"}, metadata)
    block = io.BytesIO()
    for row in rows:
        fastavro.schemaless_writer(block, schema, row)
    sizes = io.BytesIO()
    fastavro.schemaless_writer(sizes, "long", len(rows))
    fastavro.schemaless_writer(sizes, "bytes", zstandard.compress(block.getvalue()))
    return b"Obj\x01" + header.getvalue() + b"s" * 16 + sizes.getvalue() + b"s" * 16


def written(schema, rows, **options):
    if options.get("codec") == "zstandard":
        return zstandard_written(schema, rows)
    sink = io.BytesIO()
    fastavro.writer(sink, schema, rows, **options)
    return sink.getvalue()


def read(content, name="f.avro", block=1 << 20):
    reader = FileReader(name, ParserOptions())
    found = [
        r for at in range(0, len(content), block) for r in reader.feed(content[at : at + block])
    ]
    found += reader.finish()
    documents = [msgspec.json.decode(b"{" + body) for each in found for body in each.bodies]
    return documents, found[0].schema if found else None


NUMBER = {"type": ["number", "string"], "format": "number"}
DURATION = b"\x0e\0\0\0\x03\0\0\0\xdc\x05\0\0"
TYPES = {
    "long": ("long", 2**63 - 1, 2**63 - 1, {"type": "integer"}),
    "double": ("double", math.inf, "Infinity", {"type": ["number", "string"], "format": "number"}),
    "nan": ("double", math.nan, "NaN", {"type": ["number", "string"], "format": "number"}),
    "float": ("float", 0.1, 0.1, {"type": ["number", "string"], "format": "number"}),
    "string": ("string", 'a"\n', 'a"\n', {"type": "string"}),
    "bytes": ("bytes", b"\0\xff", "AP8=", {"type": "string", "contentEncoding": "base64"}),
    "fixed": (fixed("f", 2), b"\0\xff", "AP8=", {"type": "string", "contentEncoding": "base64"}),
    "decimal": (
        logical("bytes", "decimal", precision=9, scale=4),
        Decimal("-0.0120"),
        "-0.0120",
        {"type": "string", "format": "number"},
    ),
    "fixed decimal": (
        fixed("d", 8, logicalType="decimal", precision=9, scale=0),
        Decimal(1200),
        "1200",
        {"type": "string", "format": "number"},
    ),
    "date": (
        logical("int", "date"),
        date(2024, 2, 29),
        "2024-02-29",
        {"type": "string", "format": "date"},
    ),
    "late date": (
        {"type": "int", "logicalType": "no such type"},
        10**9,
        10**9,
        {"type": "integer"},
    ),
    "time": (
        logical("long", "time-micros"),
        time(1, 2, 3, 500_000),
        "01:02:03.5Z",
        {"type": "string", "format": "time"},
    ),
    "timestamp": (
        logical("long", "timestamp-micros"),
        datetime(2024, 1, 1, 12, tzinfo=UTC),
        "2024-01-01T12:00:00Z",
        {"type": "string", "format": "date-time"},
    ),
    "local": (
        logical("long", "local-timestamp-millis"),
        datetime(1960, 1, 1, 0, 0, 0, 1000),
        "1960-01-01T00:00:00.001Z",
        {"type": "string", "format": "date-time"},
    ),
    "uuid": (
        logical("string", "uuid"),
        UUID(UUID_TEXT),
        UUID_TEXT,
        {"type": "string", "format": "uuid"},
    ),
    "enum": (
        {"type": "enum", "name": "e", "symbols": ["a", "b"]},
        "b",
        "b",
        {"type": "string", "enum": ["a", "b"]},
    ),
    "nullable": (
        ["null", "double"],
        None,
        None,
        TYPE := {"type": ["number", "string"], "format": "number"},
    ),
    "nullable nan": (["null", "double"], math.nan, "NaN", TYPE),
    "union": (["null", "string", "long"], 7, 7, {"type": ["string", "integer"]}),
    "union of records": (
        [record(("a", "double"), name="A"), record(("b", "float"), name="B"), "string"],
        {"b": 0.1},
        {"b": 0.1},
        None,
    ),
    "array": (
        {"type": "array", "items": ["null", logical("int", "date")]},
        [date(1970, 1, 2), None],
        ["1970-01-02", None],
        {"type": "array", "items": {"type": ["null", "string"], "format": "date"}},
    ),
    "map": ({"type": "map", "values": "double"}, {"k": math.nan}, {"k": "NaN"}, None),
    "record": (
        record(("x", "float"), name="Inner"),
        {"x": 1.5},
        {"x": 1.5},
        {
            "type": "object",
            "properties": {"x": NUMBER},
            "required": ["x"],
            "additionalProperties": False,
        },
    ),
}


@pytest.mark.parametrize("name", TYPES)
def test_each_type_has_its_value_and_its_schema(name):
    kind, value, expected, schema = TYPES[name]
    documents, sourced = read(written(record(("v", kind)), [{"v": value}]))
    assert documents == [{"v": expected}]
    found = msgspec.json.decode(sourced)
    assert found["additionalProperties"] is False
    assert found["properties"].get("v") == schema
    if expected is not None:
        jsonschema.validate(expected, schema or {})


@pytest.mark.parametrize(
    ("kind", "stored", "expected"),
    [
        (logical("int", "date"), 10**9, "9999-12-31"),
        (logical("long", "timestamp-millis"), -(10**17), "0001-01-01T00:00:00Z"),
        (logical("long", "timestamp-nanos"), 1, "1970-01-01T00:00:00.000000001Z"),
        (logical("long", "timestamp-micros"), 2**62, "9999-12-31T23:59:59Z"),
        (
            fixed("d", 12, logicalType="duration"),
            b"\x0e\0\0\0\x03\0\0\0\xdc\x05\0\0",
            "P1Y2M3DT1.5S",
        ),
        (fixed("u", 16, logicalType="uuid"), UUID(UUID_TEXT).bytes, UUID_TEXT),
    ],
)
def test_values_that_python_has_no_type_for_are_exact(kind, stored, expected):
    plain = {key: value for key, value in kind.items() if key != "logicalType"}
    header = io.BytesIO()
    fastavro.writer(header, record(("v", kind)), [], sync_marker=b"s" * 16)
    body = io.BytesIO()
    fastavro.writer(body, record(("v", plain)), [{"v": stored}], sync_marker=b"s" * 16)
    empty = io.BytesIO()
    fastavro.writer(empty, record(("v", plain)), [], sync_marker=b"s" * 16)
    block = body.getvalue()[len(empty.getvalue()) :]
    assert read(header.getvalue() + block)[0] == [{"v": expected}]


ROWS = [{"id": n, "name": f"n{n}" if n % 3 else None, "_meta": "theirs"} for n in range(500)]
SCHEMA = record(("id", "long"), ("name", ["null", "string"]), ("_meta", "string"))
CODEC_FILES = {
    codec: written(SCHEMA, ROWS, codec=codec, sync_interval=900) for codec in avro_blocks.CODECS
}


@pytest.mark.parametrize("codec", CODEC_FILES)
def test_every_codec_is_read_however_the_file_is_cut(codec):
    for block in (1, 100, 1 << 20):
        documents, _ = read(CODEC_FILES[codec], block=block)
        assert documents == [
            {"id": row["id"], "name": row["name"], "_meta_2": "theirs"} for row in ROWS
        ]


def test_records_may_contain_their_own_type():
    rows, schema = read(written(LIST, [chain(100), chain(1)]))
    assert [depth(row) for row in rows] == [100, 1]
    assert rows[1] == {"id": 0, "at": "2026-01-01", "next": None}
    # What may stand below is left to the documents.
    assert set(msgspec.json.decode(schema)["properties"]) == {"_meta", "id", "at"}
    tree = {"name": "a", "inside": [{"name": "b", "inside": []}, {"name": "c", "inside": []}]}
    assert read(written(TREE, [tree]))[0] == [tree]


def depth(row):
    return 1 + depth(row["next"]) if row["next"] else 1


def test_it_is_told_by_its_first_bytes():
    assert len(read(CODEC_FILES["null"], name="f")[0]) == 500


@settings(max_examples=100)
@given(
    codec=st.sampled_from(sorted(CODEC_FILES)), seed=st.integers(0, 2**32), flips=st.integers(1, 5)
)
def test_damaged_files_give_records_or_one_error(codec, seed, flips):
    chance = random.Random(seed)
    content = bytearray(CODEC_FILES[codec])
    for _ in range(flips):
        content[chance.randrange(min(len(content), 900))] = chance.randrange(256)
    with suppress(DataError):
        read(bytes(content))


def chain(length):
    row = None
    for number in range(length):
        row = {"id": number, "at": date(2026, 1, 1 + number % 28), "next": row}
    return row


def large(depth):
    """Return a schema in which every type stands twice in the next."""
    kind = record(("v", "int"), name="Row0")
    for number in range(1, depth):
        kind = record(("a", kind), ("b", f"Row{number - 1}"), name=f"Row{number}")
    return kind


def with_block(schema, row):
    """Write a row that fastavro can't, or not in the time there is."""
    empty = written(schema, [])
    size = io.BytesIO()
    fastavro.schemaless_writer(size, "long", len(row))
    return empty + b"\2" + size.getvalue() + row + empty[-16:]


DEEP = record(("next", ["null", "Row"]))
LIST = record(("id", "long"), ("at", logical("int", "date")), ("next", ["null", "Row"]))
TREE = record(("name", "string"), ("inside", {"type": "array", "items": "Row"}))
ENDLESS = record(("itself", "Row"))
NOTHINGS = record(("nothings", {"type": "array", "items": "null"}))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (CODEC_FILES["deflate"][:-5], "it ends early"),
        (CODEC_FILES["null"][:40], "it ends early"),
        (b"id,name\n1,x\n", "it doesn't begin as one"),
        (with_block(DEEP, b"\2" * 100_000 + b"\0"), "nested too deep"),
        (with_block(ENDLESS, b""), "nested too deep"),
        (written(large(40), []), "more than 100000 places for values"),
        (written(NOTHINGS, [{"nothings": []}]), "arrays of values without a byte"),
        (written("long", [1]), "aren't records"),
        (written(record(("v", ["bytes", fixed("d", 4, logicalType="decimal", precision=4)])), []),
         "several branches of bytes and fixed"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_clear_error(content, reason):
    with pytest.raises(DataError, match=f"can't read 'f.avro': not a valid Avro file: .*{reason}"):
        read(content)


@pytest.mark.parametrize("codec", sorted({*avro_blocks.CODECS} - {"null"}))
def test_a_block_that_becomes_too_large_is_refused(codec, monkeypatch):
    monkeypatch.setattr(avro_blocks, "BLOCK_BYTES_MAX", 1000)
    content = written(record(("v", "string")), [{"v": "x" * 5000}], codec=codec)
    with pytest.raises(DataError, match="a block becomes more than 1000 bytes"):
        read(content)


def test_a_block_that_claims_too_much_is_refused():
    whole = written(record(), [{}])
    empty = written(record(), [], sync_marker=whole[-16:])
    claim = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"
    with pytest.raises(DataError, match="the limit is"):
        read(empty + b"\x02" + claim)
    with pytest.raises(DataError, match="can't have"):
        read(empty + claim + b"\x00" + empty[-16:])
