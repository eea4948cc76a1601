"""Inference: how a schema widens, that nothing it accepts would widen it, that it resumes."""

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estuary_cdk.errors import ConfigError, ContractError, DataError
from flow_local.schema import formats
from flow_local.schema.acceptors import acceptors
from flow_local.schema.buckets import length_bounds, number_bounds
from flow_local.schema.inference import Inference
from flow_local.schema.shape import NOTHING
from flow_local.schema.shape_schemas import schema_of, shape_of
from flow_local.schema.widening import widened


def inferred(*documents, **options):
    found = Inference(**options)
    found.widen(
        [each if isinstance(each, bytes) else msgspec.json.encode(each) for each in documents]
    )
    return msgspec.json.decode(found.schema())


def of_values(*values):
    return inferred(*({"v": value} for value in values))["properties"]["v"]


@pytest.mark.parametrize(
    ("length", "bounds"),
    [(0, (0, 0)), (1, (0, 1)), (2, (1, 2)), (3, (2, 4)), (4, (2, 4)), (5, (4, 8)), (36, (32, 64))],
)
def test_lengths_lie_between_powers_of_two(length, bounds):
    assert length_bounds(length) == bounds


@pytest.mark.parametrize(
    ("number", "bounds"),
    [
        (0, (0, 0)), (0.25, (0, 1)), (1, (0, 1)), (5, (1, 10)), (10, (1, 10)), (11, (10, 100)),
        (-5, (-10, -1)), (-0.5, (-1, 0)), (10**30, (10**29, 10**30)), (99.5, (10, 100)),
        (10**500, (10**400, None)), (-(10**500), (None, -(10**400))),
    ],
)  # fmt: skip
def test_numbers_lie_between_powers_of_ten(number, bounds):
    assert number_bounds(number) == bounds


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([5], {"type": "integer", "minimum": 1, "maximum": 10}),
        ([5, 70, -3], {"type": "integer", "minimum": -10, "maximum": 100}),
        ([5, 2.0], {"type": "integer", "minimum": 1, "maximum": 10}),
        ([5, 2.5], {"type": "number", "minimum": 1, "maximum": 10}),
        ([0.5, 7], {"type": "number", "minimum": 0, "maximum": 10}),
        ([None, True], {"type": ["boolean", "null"]}),
        (["abc"], {"type": "string", "minLength": 2, "maxLength": 4}),
        (["abc", "", "x" * 9], {"type": "string", "maxLength": 16}),
        (["12"], {"type": "string", "format": "integer", "minLength": 1, "maxLength": 2}),
        (["12", "1.5"], {"type": "string", "format": "number", "minLength": 1, "maxLength": 4}),
        (["1.5", "12"], {"type": "string", "format": "number", "minLength": 2, "maxLength": 4}),
        (["x", "12"], {"type": "string", "maxLength": 2}),
        (["2020-01-01", "zz"], {"type": "string", "minLength": 1, "maxLength": 16}),
        ([[1], [2, 30, 4]], {"type": "array", "maxItems": 4, "items":
            {"type": "integer", "minimum": 0, "maximum": 100}}),
        ([[]], {"type": "array", "maxItems": 0, "items": False}),
        ([[], [None]], {"type": "array", "maxItems": 1, "items": {"type": "null"}}),
        ([5, "a"], {"type": ["integer", "string"], "minimum": 1, "maximum": 10, "maxLength": 1}),
    ],
)  # fmt: skip
def test_values_widen_their_location(values, expected):
    assert of_values(*values) == expected


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("-12", "integer"), ("1e5", "number"), ("2020-01-01T00:00:00Z", "date-time"),
        ("2020-01-01", "date"), ("2eb8aa08-aa98-11ea-b4aa-73b441d16380", "uuid"),
        ("ab" * 32, "sha256"), ("hello", None), ("2020-01-01T00:00:00", None),
    ],
)  # fmt: skip
def test_the_first_string_shows_the_format(text, name):
    assert of_values(text).get("format") == name


def test_a_property_is_required_while_every_object_has_it():
    found = inferred({"a": 1, "b": 1}, {"a": 1, "c": 1}, {"a": 1, "b": 1, "c": 1})
    assert found["required"] == ["a"]
    assert list(found["properties"]) == ["a", "b", "c"]
    assert found["additionalProperties"] is False


def test_steady_documents_do_not_change_the_schema():
    found = Inference()
    documents = [msgspec.json.encode({"id": n, "name": f"n{n}"}) for n in range(10, 20)]
    assert found.widen(documents)
    assert not found.widen(documents)
    assert not found.widen([b'{"id":15.0,"name":"n12"}'])
    assert found.widen([b'{"id":1500,"name":"n12"}'])


def test_too_many_properties_are_merged_into_their_parents():
    wide = {"keep": 1, "map": {f"k{n}": n for n in range(20)}}
    found = inferred(wide, complexity_limit=5)
    inner = found["properties"]["map"]
    assert len(inner.get("properties", {})) == 3
    assert inner["additionalProperties"]["type"] == "integer"
    assert found["x-complexity-limit"] == 5
    judge = jsonschema_rs.Draft202012Validator(found)
    assert judge.is_valid({"keep": 1, "map": {"other": 3, "k0": 0, "k1": 1, "k10": 10}})
    again = Inference(msgspec.json.encode(found))
    assert not again.widen([b'{"keep":1,"map":{"k0":0,"k1":1,"k10":10,"other":15}}'])
    assert again.widen([b'{"keep":1,"map":{"other":"text"}}'])


def test_values_nested_too_deep_are_not_looked_into():
    value = 1
    for _ in range(30):
        value = {"a": value}
    found = inferred({"v": value})
    depth = 0
    while "properties" in found:
        found = next(iter(found["properties"].values()))
        depth += 1
    assert depth == 12
    assert found == {"type": "object"}


@pytest.mark.parametrize("limit", [0, 100_001, "many"])
def test_a_complexity_limit_out_of_range_is_refused(limit):
    schema = msgspec.json.encode({"type": "object", "x-complexity-limit": limit})
    with pytest.raises(ConfigError, match="complexity limit"):
        Inference(schema)


def test_nothing_is_inferred_from_nothing():
    assert Inference().schema() is None


def test_a_document_that_is_not_json_is_named():
    with pytest.raises(DataError, match="can't infer"):
        Inference().widen([b"{"])


SOURCED = {
    "type": "object",
    "additionalProperties": False,
    "required": ["id"],
    "properties": {
        "id": {"type": "integer", "minimum": 1, "maximum": 1},
        "status": {"type": "string", "enum": ["new", "old"]},
    },
}


def test_a_sourced_schema_says_what_no_document_has_shown_yet():
    found = Inference()
    write = b'{"properties":{"status":{"maxLength":5}},"type":"object"}'
    assert found.widen_by_source(msgspec.json.encode(SOURCED), write)
    assert not found.widen_by_source(msgspec.json.encode(SOURCED), write)
    schema = msgspec.json.decode(found.schema())
    assert schema["properties"]["status"]["enum"] == ["new", "old"]
    assert schema["x-complexity-limit"] == 10_000
    assert not found.widen([b'{"id":1,"status":"new"}'])
    assert found.widen([b'{"id":50,"status":"lost","more":null}'])
    schema = msgspec.json.decode(found.schema())
    assert schema["properties"]["status"]["enum"] == ["lost", "new", "old"]
    assert schema["properties"]["id"] == {"type": "integer", "minimum": 1, "maximum": 100}
    assert schema["required"] == ["id"]


def test_a_sourced_schema_must_be_closed():
    open_inside = {**SOURCED, "properties": {"in": {"type": "object"}}}
    with pytest.raises(ContractError, match="'/in'"):
        Inference().widen_by_source(msgspec.json.encode(open_inside), b"{}")


NAMES = st.sampled_from(["a", "b", "c", 'q"', "é"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-200, 200)
    | st.sampled_from([10**18, 10**25, -(10**25), 1e300, 0.5, -2.5, 3.0, 99.5])
    | st.sampled_from(["", "a", "héllo", "12", "1.5", "-7", "2020-01-01", "2020-02-29"])
    | st.sampled_from(["2020-01-01T00:00:00z", "2eb8aa08-aa98-11ea-b4aa-73b441d16380", "x" * 70])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=4)


@settings(max_examples=80, deadline=None)
@given(st.lists(DOCUMENTS, min_size=1, max_size=5), st.lists(DOCUMENTS, max_size=5))
def test_what_the_schema_accepts_would_not_widen_it(seen, later):
    shape = NOTHING
    for document in seen:
        shape = widened(shape, document)
    schema = schema_of(shape)
    judge = jsonschema_rs.Draft202012Validator(
        schema, formats=formats.CUSTOM, validate_formats=True
    )
    proofs = acceptors(schema)
    for document in [*seen, *later]:
        changes = schema_of(widened(shape, document)) != schema
        assert judge.is_valid(document) == (not changes)
        if proofs is not None:
            try:
                proofs[0](msgspec.json.encode(document))
            except msgspec.DecodeError:
                continue
            assert not changes


@settings(max_examples=60, deadline=None)
@given(st.lists(DOCUMENTS, min_size=1, max_size=5), st.lists(DOCUMENTS, max_size=5))
def test_inference_resumes_from_its_own_schema(first, second):
    first = [msgspec.json.encode(document) for document in first]
    second = [msgspec.json.encode(document) for document in second]
    at_once = Inference()
    at_once.widen(first)
    resumed = Inference(at_once.schema())
    assert resumed.schema() == at_once.schema()
    assert at_once.widen(second) == resumed.widen(second)
    assert resumed.schema() == at_once.schema()


def without_steps(schema):
    """A schema without what the first value of a location decides: formats and rounded bounds."""
    steps = {"format", "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum"}
    if not isinstance(schema, dict):
        return schema
    kept = {k: v for k, v in schema.items() if k not in steps}
    if isinstance(kept.get("items"), dict):
        kept["items"] = without_steps(kept["items"])
    if "properties" in kept:
        kept["properties"] = {k: without_steps(v) for k, v in kept["properties"].items()}
    return kept


@settings(max_examples=60, deadline=None)
@given(st.lists(DOCUMENTS, min_size=1, max_size=5), st.randoms())
def test_the_order_of_documents_does_not_matter_for_types_and_properties(documents, random):
    shuffled = documents.copy()
    random.shuffle(shuffled)
    assert without_steps(inferred(*documents)) == without_steps(inferred(*shuffled))


@settings(max_examples=50, deadline=None)
@given(st.lists(DOCUMENTS, min_size=1, max_size=4), st.integers(1, 6))
def test_a_limited_schema_still_accepts_what_it_saw(documents, limit):
    found = Inference(complexity_limit=limit)
    encoded = [msgspec.json.encode(document) for document in documents]
    found.widen(encoded)
    judge = jsonschema_rs.Draft202012Validator(msgspec.json.decode(found.schema()))
    assert all(judge.is_valid(document) for document in documents)
    assert not found.widen(encoded)


def test_a_sourced_shape_survives_being_written():
    found = Inference()
    found.widen_by_source(msgspec.json.encode(SOURCED), b"{}")
    assert shape_of(found.schema()).objects == shape_of(msgspec.json.encode(SOURCED)).objects
