import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_local.collections import identity
from flow_local.schema.extraction import Extractor
from flow_local.schema.proving import Proof, prover

SPELLINGS = [
    b"1", b"1.0", b"1e0", b"true", b"false", b"null", b"0", b"-0.0", b"0.5", b"5e-1", b'"1"',
    b'"a"', b'"\\u0061"', b'""', b"9007199254740993", b"9007199254740993.0", b"9007199254740992",
    b"18446744073709551616", b"18446744073709551617", b"1e23", b"100000000000000000000000",
    b'"2024-01-01"', b'"2024-01-02"',
]  # fmt: skip
KINDS = [
    {"type": ["integer", "string", "boolean", "null"]},
    {"type": ["number", "string", "boolean", "null"]},
    {"type": ["number", "null"], "minimum": -5},
    {"type": "string", "format": "date"},
    {"enum": ["1", "a", True, False]},
]


def of(kind, required=True):
    schema = {"type": "object", "properties": {"k": kind}, "required": ["k"] if required else []}
    return prover(msgspec.json.encode(schema), ["/k"])


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_distinct_parts_are_of_distinct_keys(kind, required, data):
    found = of(kind, required)
    every = [b'{"k":%s}' % each for each in SPELLINGS] + [b"{}"]
    provable = [each for each in every if found.proof(each + b"\n", 1)]
    assert provable
    documents = data.draw(st.lists(st.sampled_from(provable), min_size=1))
    proof = found.proof(b"\n".join(documents) + b"\n", len(documents))
    keys = {identity(row) for row in Extractor(["/k"]).rows(documents)}
    if len(set(proof.parts)) == len(documents):
        assert len(keys) == len(documents)


NESTED = {
    "type": "object",
    "required": ["a"],
    "properties": {
        "a": {
            "type": "object",
            "required": ["b"],
            "properties": {"b": {"type": "integer"}, "list": {"type": "array"}},
        },
        "maybe": {"type": "object", "properties": {"c": {"type": "string"}}},
        "any": {},
    },
}
DOCUMENT = b'{"a":{"b":5,"list":[1]},"maybe":{"c":"x"},"any":1}\n'


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        (["/a/b"], [5]),
        (["/maybe/c"], ["x"]),
        (["/any", "/a/b"], [5]),
        (["/a/b", "/maybe/c"], ["x"]),
        (["/a/b", "/any"], [5]),
        (["/a"], None),
        (["/a/list"], None),
        (["/a/list/0"], None),
        (["/elsewhere"], None),
        (["/any"], None),
        ([""], None),
    ],
)
def test_the_last_part_of_the_key_that_is_read_tells_keys_apart(key, parts):
    assert prover(msgspec.json.encode(NESTED), key).proof(DOCUMENT, 1) == Proof(parts)


def test_a_part_within_what_is_missing_is_not_known():
    found = prover(msgspec.json.encode(NESTED), ["/maybe/c"])
    assert found.proof(DOCUMENT + b'{"a":{"b":1}}\n', 2) == Proof(None)


def test_a_schema_of_several_parts_is_proved_by_all_of_them():
    schema = {"allOf": [{"required": ["k"]}, {"properties": {"k": {"type": "integer"}}}]}
    found = prover(msgspec.json.encode({"type": "object", **schema}), ["/k"])
    if found is not None:
        assert found.proof(b'{"k":"x"}\n', 1) is None
        assert found.proof(b"{}\n", 1) is None
        assert found.proof(b'{"k":7}\n', 1)


def test_what_no_decoder_proves_has_no_prover():
    assert prover(b'{"uniqueItems":true}', ["/k"]) is None


@pytest.mark.parametrize(
    "text",
    [b'{"k":1}{"k":2}\n', b'{"k":1\n', b'{"k":1}\n{"k":"\xff"}\n', b'{"k":[]}\n', b"5\n"],
)
def test_what_is_not_so_many_valid_objects_is_not_proved(text):
    assert of({"type": ["integer", "string"]}).proof(text, 1) is None
