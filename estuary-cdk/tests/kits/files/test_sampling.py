"""The first records of the first files tell what a stream's documents look like."""

import re

import pytest

from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.files import sampling
from estuary_cdk.kits.files.following import Selection
from estuary_cdk.kits.files.memory_store import MemoryStore
from estuary_cdk.kits.files.sampling import SAMPLED, Shape, discovered_schema, sampled
from estuary_cdk.kits.files.schemas import document_schema


async def test_types_of_several_files_come_together():
    store = MemoryStore()
    store.put("a.csv", b"id,name,score\n1,ann,1\n2,,2.5\n")
    store.put("b.jsonl", b'{"id":"x","tags":[{"n":1},{"n":null}],"on":true,"none":[]}\n')
    store.put("empty.csv", b"")
    store.put("z.txt", b"no")
    schema = await discovered_schema(store, Selection(match=re.compile(r"csv|jsonl")))
    assert schema[SAMPLED] == {
        "type": "object",
        "properties": {
            "id": {"type": ["integer", "string"]},
            "name": {"type": ["null", "string"]},
            "none": {"type": "array"},
            "on": {"type": "boolean"},
            "score": {"type": "number"},
            "tags": {
                "type": "array",
                "items": {"type": "object", "properties": {"n": {"type": ["integer", "null"]}}},
            },
        },
    }


async def test_names_that_every_record_has_are_properties_of_any_type():
    store = MemoryStore()
    store.put("a.csv", b"id,name\n1,ann\n2,\n")
    store.put("b.jsonl", b'{"name":"x","id":{"n":1},"2026-01-31":7}\n')
    schema = await discovered_schema(store, Selection())
    plain = document_schema()
    assert schema.pop(SAMPLED)["properties"].keys() == {"id", "name", "2026-01-31"}
    assert schema["properties"].pop("id") == schema["properties"].pop("name") == {}
    assert schema == plain


async def test_nothing_is_known_of_a_stream_without_records():
    store = MemoryStore()
    assert await discovered_schema(store, Selection()) == document_schema()
    store.put("bad.json", b"{")
    assert await discovered_schema(store, Selection()) == document_schema()


async def test_a_file_that_cannot_be_read_is_passed_over_but_a_refusal_is_not():
    store = MemoryStore()
    store.put("bad.json", b"{")
    store.put("good.json", b'{"id":1}')
    assert (await sampled(store, Selection())).schema() == {
        "type": "object",
        "properties": {"id": {"type": "integer"}},
    }

    def refuse(path):
        raise ConfigError(f"can't read {path!r}: access is denied")

    store.before_read = refuse
    with pytest.raises(ConfigError):
        await sampled(store, Selection())


async def test_no_more_is_read_than_it_takes(monkeypatch):
    monkeypatch.setattr("estuary_cdk.kits.files.stores.RANGE_BYTES", 100)
    monkeypatch.setattr(sampling, "RECORDS_MAX", 1)
    store = MemoryStore()
    for name in "abcdefgh":
        store.put(f"{name}.jsonl", b'{"id":1}\n' * 1000)
    await sampled(store, Selection())
    assert set(store.reads) == {"a.jsonl", "b.jsonl", "c.jsonl"}
    assert len(store.reads) < 100


def test_what_is_too_deep_or_too_wide_is_left_open(monkeypatch):
    monkeypatch.setattr(sampling, "DEPTH_MAX", 2)
    monkeypatch.setattr(sampling, "PROPERTIES_MAX", 1)
    shape = Shape()
    shape.see({"a": {"b": {"c": 1}}, "d": 1})
    inner = {"type": "object", "properties": {"b": {"type": "object"}}}
    assert shape.schema() == {"type": "object", "properties": {"a": inner}}
