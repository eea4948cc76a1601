"""Parquet and Arrow files become records and a schema, read whole or by ranges."""

import io
import random
import struct
from contextlib import suppress
from decimal import Decimal

import msgspec
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estuary_cdk.errors import DataError
from estuary_cdk.kits.files import FileReader, ParserOptions, arrow_files, arrow_rows

ROWS = [{"id": n, "name": f"n{n}" if n % 3 else None, "tags": ["a"] * (n % 3)} for n in range(50)]
TABLE = pa.Table.from_pylist(ROWS)


def parquet(table=TABLE, **options):
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def arrow(table=TABLE, *, stream=False):
    sink = io.BytesIO()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return sink.getvalue()


def feather(table=TABLE, **options):
    sink = io.BytesIO()
    pyarrow.feather.write_feather(table, sink, **options)
    return sink.getvalue()


FILES = {
    "f.parquet": parquet(row_group_size=7),
    "f": parquet(compression="zstd", data_page_version="2.0"),
    "f.arrow": arrow(),
    "f.arrows": arrow(stream=True),
    "f.feather": feather(compression="lz4"),
    "g": arrow(),
}


def records(name, content, **options):
    reader = FileReader(name, ParserOptions.model_validate(options))
    return [*reader.feed(content), *reader.finish()]


def documents(found):
    return [msgspec.json.decode(b"{" + body) for each in found for body in each.bodies]


@pytest.mark.parametrize("name", FILES)
def test_rows_become_records(name):
    found = records(name, FILES[name])
    assert documents(found) == ROWS
    assert [each.first for each in found] == [
        sum(len(before.bodies) for before in found[:at]) for at in range(len(found))
    ]


def test_the_columns_become_a_closed_schema_without_those_that_are_open():
    table = pa.table(
        {
            "id": pa.array([1], pa.uint64()),
            "amount": pa.array([Decimal("1.5")]),
            "at": pa.array([0], pa.timestamp("us")),
            "inner": pa.array([{"x": 1.5}]),
            "open": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int8())),
            "_meta": pa.array(["theirs"]),
        }
    )
    [found] = records("f.parquet", parquet(table))
    schema = msgspec.json.decode(found.schema)
    number = {"type": ["number", "string", "null"], "format": "number"}
    assert schema["properties"].pop("_meta")["additionalProperties"] is False
    assert schema == {
        "type": "object",
        "required": ["_meta", "id", "amount", "at", "inner", "_meta_2"],
        "additionalProperties": False,
        "properties": {
            "id": {"type": "integer", "minimum": 0, "maximum": 2**64 - 1},
            "amount": {"type": "string", "format": "number"},
            "at": {"type": "string", "format": "date-time"},
            "inner": {
                "type": "object",
                "properties": {"x": number},
                "required": ["x"],
                "additionalProperties": False,
            },
            "_meta_2": {"type": "string"},
        },
    }
    assert documents([found])[0]["_meta_2"] == "theirs"


def test_how_many_rows_are_made_at_a_time_changes_nothing(monkeypatch):
    monkeypatch.setattr(arrow_files, "BATCH_ROWS_MAX", 3)
    monkeypatch.setattr(arrow_rows, "SLICE_ROWS_MAX", 2)
    for name, content in FILES.items():
        assert documents(records(name, content)) == ROWS


def test_tables_without_rows_or_columns_are_no_trouble():
    assert records("f.parquet", parquet(TABLE.slice(0, 0))) == []
    assert records("f.arrow", arrow(TABLE.slice(0, 0))) == []
    batch = pa.record_batch({"a": [1, 2]}).select([])
    assert list(arrow_rows.bodies(batch)) == [[b"}", b"}"]]


def test_ten_thousand_columns_are_read():
    table = pa.table({f"c{n}": [n, None] for n in range(10_000)})
    [first, second] = documents(records("f.parquet", parquet(table)))
    assert first["c9999"] == 9999
    assert second["c0"] is None


def test_what_is_not_as_its_name_says_is_one_clear_error():
    for name, content, reason in (
        ("f.parquet", b"id,name\n1,x\n", "not a valid Parquet file"),
        ("f.parquet", FILES["f.parquet"][:-100], "not a valid Parquet file"),
        ("f.parquet", b"PAR1PAR1", "not a valid Parquet file"),
        ("f.arrow", b"id,name\n1,x\n", "not a valid Arrow file"),
        ("f.arrow", FILES["f.arrow"][:300], "not a valid Arrow file"),
        ("f.feather", b"FEA1" + bytes(40), "Feather file of version 1"),
    ):
        with pytest.raises(DataError, match=f"can't read '{name}': .*{reason}"):
            records(name, content)


@settings(max_examples=60)
@given(
    name=st.sampled_from(["f.parquet", "f.arrow", "f.arrows"]),
    seed=st.integers(0, 2**32),
    flips=st.integers(1, 6),
)
def test_damaged_files_give_records_or_one_error(name, seed, flips):
    chance = random.Random(seed)
    content = bytearray(FILES[name])
    for _ in range(flips):
        content[chance.randrange(len(content))] = chance.randrange(256)
    with suppress(DataError):
        documents(records(name, bytes(content)))


def parquet_saying(table, *said):
    """Write a table, and have its footer say something else of columns than Arrow would."""
    made = io.BytesIO()
    pq.write_table(table, made, store_schema=False)
    raw = made.getvalue()
    size = int.from_bytes(raw[-8:-4], "little")
    footer = raw[-8 - size : -8]
    for name, before, after in said:
        named = bytes([0x18, len(name)]) + name.encode()
        assert named + before in footer
        footer = footer.replace(named + before, named + after, 1)
    return raw[: -8 - size] + footer + len(footer).to_bytes(4, "little") + b"PAR1"


TEXT, ENUM = b"\x25\0\x4c\x1c\0\0", b"\x25\x08\x4c\x4c\0\0"
BYTES, INTERVAL = b"\0", b"\x25\x2a\0"


def test_enumerations_and_intervals_of_parquet_are_what_they_mean():
    spans = [struct.pack("<III", 14, 3, 1500), None]
    table = pa.table(
        {
            "kind": pa.array(["a", None]),
            "span": pa.array(spans, pa.binary(12)),
            "raw": pa.array([b"a", b"b"]),
            "list": pa.array([["x"], []]),
            "map": pa.array([[("k", "y")], []], pa.map_(pa.string(), pa.string())),
            "in": pa.array([{"deep": "z", "at": b"c"}, None]),
        }
    )
    content = parquet_saying(
        table,
        ("kind", TEXT, ENUM),
        ("span", BYTES, INTERVAL),
        ("element", TEXT, ENUM),
        ("value", TEXT, ENUM),
        ("deep", TEXT, ENUM),
    )
    [found] = records("f.parquet", content)
    assert documents([found]) == [
        {"kind": "a", "span": "P1Y2M3DT1.5S", "raw": "YQ==", "list": ["x"], "map": {"k": "y"},
         "in": {"deep": "z", "at": "Yw=="}},
        {"kind": None, "span": None, "raw": "Yg==", "list": [], "map": {}, "in": None},
    ]  # fmt: skip
    properties = msgspec.json.decode(found.schema)["properties"]
    assert properties["kind"] == {"type": "string"}
    assert properties["span"] == {"type": "string", "format": "duration"}
    assert properties["raw"] == {"type": "string", "contentEncoding": "base64"}


def test_an_enumeration_that_is_no_text_is_an_error():
    table = pa.table({"kind": pa.array(["\u00e9"])})
    content = parquet_saying(table, ("kind", TEXT, ENUM)).replace("\u00e9".encode(), b"\xff\xff")
    with pytest.raises(DataError, match=r"can't read 'f.parquet'"):
        records("f.parquet", content)
