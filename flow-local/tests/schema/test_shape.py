"""Shapes: read from schemas, written as schemas, united and intersected."""

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estuary_cdk.errors import ConfigError
from flow_local.schema.shape import ANYTHING, NOTHING, Shape, intersection, union
from flow_local.schema.shape_schemas import schema_of, shape_of


def shape(schema):
    return shape_of(msgspec.json.encode(schema))


def judge(found):
    return jsonschema_rs.Draft202012Validator(schema_of(found))


NAMES = st.sampled_from(["a", "b", "xc"])
SCHEMAS = st.recursive(
    st.sampled_from(
        [
            True,
            False,
            {"type": "integer", "minimum": 1},
            {"type": "number", "maximum": 5.5},
            {"type": ["string", "null"], "maxLength": 2, "format": "integer"},
            {"enum": ["a", 1, None]},
            {"const": "b"},
            {"type": "boolean", "title": "t"},
        ]
    ),
    lambda inner: (
        st.fixed_dictionaries(
            {"type": st.sampled_from(["object", ["object", "null"], ["array", "integer"]])},
            optional={
                "properties": st.dictionaries(NAMES, inner, max_size=2),
                "required": st.lists(NAMES, unique=True, max_size=2),
                "additionalProperties": inner,
                "patternProperties": st.dictionaries(st.just("^x"), inner, max_size=1),
                "items": inner,
                "prefixItems": st.lists(inner, min_size=1, max_size=2),
                "minItems": st.integers(0, 2),
                "maxItems": st.integers(1, 3),
            },
        )
        | st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)})
        | st.fixed_dictionaries({"allOf": st.lists(inner, min_size=1, max_size=2)})
        | st.fixed_dictionaries({"if": inner, "then": inner, "else": inner})
    ),
    max_leaves=5,
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 6)
    | st.sampled_from([0.5, 6.5, "", "a", "b", "12"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(SCHEMAS, SCHEMAS, st.lists(VALUES, max_size=8))
def test_shapes_allow_at_least_what_their_schemas_allow(first, second, values):
    a, b = shape(first), shape(second)
    both, either = judge(intersection(a, b)), judge(union(a, b))
    of_a, of_b = (
        jsonschema_rs.Draft202012Validator(first),
        jsonschema_rs.Draft202012Validator(second),
    )
    for value in values:
        valid = (of_a.is_valid(value), of_b.is_valid(value))
        assert either.is_valid(value) or not any(valid)
        assert both.is_valid(value) or not all(valid)


@settings(max_examples=60, deadline=None)
@given(SCHEMAS)
def test_a_shape_survives_being_written_and_read(schema):
    found = shape(schema)
    again = shape(schema_of(found))
    assert schema_of(again) == schema_of(found)


@given(SCHEMAS, SCHEMAS)
@settings(max_examples=50, deadline=None)
def test_union_and_intersection_commute(first, second):
    a, b = shape(first), shape(second)
    assert schema_of(union(a, b)) == schema_of(union(b, a))
    left, right = schema_of(intersection(a, b)), schema_of(intersection(b, a))
    assert left == right or "title" in str(left)  # which title is kept depends on the side


@pytest.mark.parametrize(
    ("first", "second", "united", "intersected"),
    [
        ({"type": "integer"}, {"type": "number"}, {"type": "number"}, {"type": "integer"}),
        (
            {"type": "string", "minLength": 1, "maxLength": 4, "format": "integer"},
            {"type": "string", "minLength": 2, "maxLength": 8, "format": "number"},
            {"type": "string", "minLength": 1, "maxLength": 8, "format": "number"},
            {"type": "string", "minLength": 2, "maxLength": 4, "format": "integer"},
        ),
        (
            {"type": "string", "maxLength": 4},
            {"type": "null"},
            {"type": ["null", "string"], "maxLength": 4},
            False,
        ),
        (
            {"type": "object", "required": ["a"], "properties": {"a": {"const": "x"}},
             "additionalProperties": False},
            {"type": "object", "required": ["b"], "properties": {"b": {"const": "y"}},
             "additionalProperties": False},
            {"type": "object", "properties": {"a": {"type": "string", "enum": ["x"]},
             "b": {"type": "string", "enum": ["y"]}}, "additionalProperties": False},
            {"type": "object", "required": ["a", "b"], "properties": {"a": False, "b": False},
             "additionalProperties": False},
        ),
        (
            {"type": "array", "minItems": 1, "items": {"type": "integer"}},
            {"type": "array", "maxItems": 3, "items": {"type": "string"}},
            {"type": "array", "items": {"type": ["integer", "string"]}},
            {"type": "array", "minItems": 1, "maxItems": 3, "items": False},
        ),
    ],
)  # fmt: skip
def test_unions_keep_what_both_assert_and_intersections_what_either_does(
    first, second, united, intersected
):
    a, b = shape(first), shape(second)
    assert schema_of(union(a, b)) == united
    assert schema_of(intersection(a, b)) == intersected


def test_nothing_is_neutral_in_unions_and_anything_in_intersections():
    some = shape({"type": "string", "title": "t"})
    assert union(NOTHING, some) == some
    assert intersection(ANYTHING, some) == some


def test_annotations_and_references_are_read():
    found = shape(
        {
            "$defs": {"n": {"type": "integer", "title": "N", "x-mine": 1}},
            "allOf": [{"$ref": "#/$defs/n"}],
            "default": 1.0,
            "secret": True,
            "reduce": {"strategy": "sum"},
        }
    )
    assert found.types == {"integer"}
    assert (found.notes.title, found.notes.secret, found.notes.extra) == (
        "N",
        True,
        {"x-mine": b"1"},
    )
    assert found.notes.default == b"1.0"


def test_a_schema_that_contains_itself_has_a_finite_shape():
    tree = {"$defs": {"t": {"properties": {"c": {"$ref": "#/$defs/t"}}}}, "$ref": "#/$defs/t"}
    assert isinstance(shape(tree), Shape)


def test_unevaluated_properties_close_a_shape():
    found = shape({"allOf": [{"properties": {"a": True}}], "unevaluatedProperties": False})
    assert found.objects.additional == NOTHING


def test_a_malformed_schema_is_refused():
    with pytest.raises(ConfigError, match="/type"):
        shape({"type": 5})
