"""Schemas that a source declares."""

import msgspec
import pytest

from estuary_cdk.kits.sql_cdc.schemas import sourced_schema
from estuary_cdk.kits.sql_cdc.tables import Column, Table

OPEN = {
    "json": {},
    "documents": {"type": "array"},
    "grids": {"type": "array", "items": {}},
    "place": {"type": "object", "properties": {"street": {"type": "string"}}},
    "nested": {"type": "object", "properties": {"any": {}}, "additionalProperties": False},
}
CLOSED = {
    "text": {"type": ["string", "null"]},
    "mood": {"enum": ["sad", "happy"]},
    "numbers": {"type": "array", "items": {"type": "integer"}},
}


@pytest.mark.parametrize("name", OPEN)
def test_a_column_of_which_nothing_is_known_is_left_out(name):
    assert declared({name: OPEN[name], **CLOSED}) == {"_meta", *CLOSED}


def declared(columns) -> set[str]:
    told = tuple(Column(name, "its type", schema) for name, schema in columns.items())
    source = {"type": "object", "properties": {}}
    schema = msgspec.json.decode(sourced_schema(Table(("public", "t"), told), source))
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == set(schema["properties"])
    return set(schema["properties"])
