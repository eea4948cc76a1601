"""Acceptors: which schemas have one, and that generated types do no harm."""

import gc
import os
import subprocess
import sys
import weakref

import msgspec
import pytest

from flow_local.schema import structs
from flow_local.schema.acceptors import acceptors
from flow_local.schema.dialect import parsed
from flow_local.schema.extraction import Extractor


def accepts(schema, document):
    for accept in acceptors(schema):
        try:
            accept(msgspec.json.encode(document))
        except msgspec.DecodeError:
            return False
    return True


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (True, {}, []),
        ({"properties": {"a": {"type": ["integer", "null"]}}}, {"a": None}, {"a": "x"}),
        ({"properties": {"a": {"type": "integer", "maximum": 10**19}}},
            {"a": 10**18}, {"a": 10**20}),
        ({"properties": {"a": {"type": "number", "minimum": 0.5}}}, {"a": 0.5}, {"a": 0}),
        ({"properties": {"a": {"enum": ["x", None]}}}, {"a": None}, {"a": "y"}),
        ({"properties": {"a": {"enum": ["x", "xyz"], "maxLength": 1}}}, {"a": "x"}, {"a": "xyz"}),
        ({"properties": {"a": {"items": False, "type": "array"}}}, {"a": []}, {"a": [1]}),
        ({"additionalProperties": {"type": "string"}}, {"x": "y"}, {"x": 1}),
        ({"properties": {"a": {}}, "additionalProperties": False}, {"a": 1}, {"b": 1}),
        ({"properties": {"a": {"type": "string", "format": "date"}}},
            {"a": "2020-02-29"}, {"a": "2021-02-29"}),
        ({"properties": {"a": {"anyOf": [{"type": "null"}, {"const": "x"}]}}},
            {"a": "x"}, {"a": "y"}),
        ({"allOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1, "b": 1}, {"a": 1}),
    ],
)  # fmt: skip
def test_a_schema_of_plain_constraints_has_an_acceptor(schema, good, bad):
    assert accepts(schema, good)
    assert not accepts(schema, bad)


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"not": {"type": "object"}},
        {"properties": {"a": {"pattern": "x"}}},
        {"properties": {"a": {"multipleOf": 3}}},
        {"oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"if": {"required": ["a"]}, "then": {"required": ["b"]}},
        {"$defs": {"t": {"required": ["x"], "properties": {"x": {"$ref": "#/$defs/t"}}}},
         "$ref": "#/$defs/t"},
        {"properties": {"a": {"allOf": [{"minimum": 1}, {"maximum": 3}]}}},
    ],
)  # fmt: skip
def test_a_schema_that_says_more_has_none(schema):
    assert acceptors(parsed(msgspec.json.encode(schema))) is None


def test_past_the_limit_of_types_everything_works_without_them(monkeypatch):
    monkeypatch.setattr(structs, "FIELDS_MAX", 0)
    assert acceptors({"properties": {"past the limit": {"type": "integer"}}}) is None
    extractor = Extractor(["/past/the/limit", ""])
    assert extractor.rows([b'{"past":{"the":{"limit":1.0}}}']) == [
        (b"1.0", b'{"past":{"the":{"limit":1.0}}}')
    ]


CHURN = """
import gc
from flow_local.schema.acceptors import _decoders, acceptors
kinds = ["string", "array", "object", "null", "integer", "number"]
for n in range(100):
    node = {"type": kinds, "format": "date", "maxLength": n, "maxItems": n, "minimum": n}
    acceptors({"properties": {"a": node, "b": {**node, "additionalProperties": {"type": "null"}}}})
_decoders.cache_clear()
gc.collect()
"""


def test_making_and_dropping_acceptors_leaves_the_memory_sound():
    environment = {**os.environ, "PYTHONMALLOC": "debug", "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", CHURN], env=environment, check=False)
    assert ended.returncode == 0


def test_generated_types_are_never_freed():
    made = weakref.ref(structs.struct([("a", int)]))
    gc.collect()
    assert made() is not None
