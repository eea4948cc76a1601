"""What a schema says about a location, through the ways schemas are composed."""

import pytest

from flow_local.catalog.key_facts import facts

OBJECT = {"type": "object"}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
        {"allOf": [OBJECT, {"properties": {"id": {"type": "integer"}}}, {"required": ["id"]}]},
        {
            "$ref": "#/$defs/row",
            "$defs": {
                "row": {**OBJECT, "properties": {"id": {"$ref": "#/$defs/n"}}, "required": ["id"]},
                "n": {"type": ["integer", "string"], "maximum": 3, "const": 3},
            },
        },
        {
            **OBJECT,
            "required": ["id"],
            "oneOf": [
                {"properties": {"id": {"const": 1}}},
                {"properties": {"id": {"enum": [2, 3.0]}}},
            ],
        },
        {
            **OBJECT,
            "if": {"properties": {"x": {"const": 1}}},
            "then": {"properties": {"id": {"const": 1}}, "required": ["id"]},
            "else": {"properties": {"id": {"type": "integer"}}, "required": ["id"]},
        },
    ],
)
def test_a_required_integer_is_found(schema):
    found = facts(schema, ("id",))
    assert found.types == {"integer"}
    assert found.declared
    assert found.required


def test_a_location_in_an_optional_parent_may_be_missing():
    parent = {**OBJECT, "properties": {"id": {"type": "integer"}}, "required": ["id"]}
    optional = {**OBJECT, "properties": {"parent": parent}}
    assert not facts(optional, ("parent", "id")).required
    assert facts({**optional, "required": ["parent"]}, ("parent", "id")).required


def test_a_location_in_a_parent_that_may_be_null_may_be_missing():
    parent = {"type": ["object", "null"], "properties": {"id": {}}, "required": ["id"]}
    schema = {**OBJECT, "properties": {"parent": parent}, "required": ["parent"]}
    assert not facts(schema, ("parent", "id")).required


def test_one_of_two_branches_without_it_makes_a_location_optional():
    with_id = {"properties": {"id": {"type": "integer"}}, "required": ["id"]}
    assert not facts({**OBJECT, "anyOf": [with_id, {}]}, ("id",)).required


def test_an_undeclared_location_may_be_anything():
    found = facts(OBJECT, ("id",))
    assert not found.declared
    assert "array" in found.types


def test_a_closed_schema_has_no_other_locations():
    assert facts({**OBJECT, "additionalProperties": False}, ("id",)).types == frozenset()


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "flow://inferred-schema"},
        {"$ref": "#"},
        {"allOf": [{"$ref": "flow://relaxed-write-schema"}, OBJECT]},
        {**OBJECT, "patternProperties": {"^i": {"type": "integer"}}},
    ],
)
def test_what_is_not_understood_is_opaque(schema):
    assert facts(schema, ("id",)).opaque
