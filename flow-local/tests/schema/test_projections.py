"""Projections: which fields a collection has and what is known of each."""

import msgspec
import pytest

from flow_local.schema.locations import inference, key_mistakes, located
from flow_local.schema.projections import UserProjection, projections
from flow_local.schema.shape_schemas import shape_of

SCHEMA = {
    "type": "object",
    "required": ["id", "_meta", "list"],
    "properties": {
        "id": {"type": "integer", "minimum": 1, "maximum": 10, "title": "Id"},
        "name": {"type": ["string", "null"], "maxLength": 5, "format": "email"},
        "_meta": {"type": "object", "required": ["op"], "properties": {"op": {"enum": ["c", "d"]}}},
        "list": {
            "type": "array",
            "minItems": 1,
            "maxItems": 2,
            "items": {"type": ["number", "null"]},
        },
        "maybe": {
            "type": ["object", "null"],
            "required": ["x"],
            "properties": {"x": {"default": 5}},
        },
        "never": False,
        "a/b": {"type": "boolean", "secret": True},
        "open": {"type": "object", "patternProperties": {"^p": {"type": "string"}}},
        "tuple": {"prefixItems": [{"type": "string"}], "type": "array"},
    },
    "additionalProperties": {"type": "string"},
}
SHAPE = shape_of(msgspec.json.encode(SCHEMA))


def by_field(key=("/id",), named=()):
    return {projection.field: projection for projection in projections(SHAPE, key, named)}


@pytest.mark.parametrize(
    ("pointer", "exists", "types"),
    [
        ("", "MUST", ["object"]),
        ("/id", "MUST", ["integer"]),
        ("/name", "MAY", ["null", "string"]),
        ("/_meta/op", "MUST", ["string"]),
        ("/_meta/other", "IMPLICIT", None),
        ("/list/0", "MUST", ["null", "number"]),
        ("/list/1", "MAY", ["null", "number"]),
        ("/list/2", "CANNOT", []),
        ("/list/-", "IMPLICIT", ["null", "number"]),
        ("/maybe/x", "MAY", None),
        ("/never", "CANNOT", []),
        ("/id/deeper", "CANNOT", []),
        ("/unknown", "IMPLICIT", ["string"]),
        ("/open/p1", "IMPLICIT", ["string"]),
        ("/tuple/0", "MAY", ["string"]),
        ("/a~1b", "MAY", ["boolean"]),
    ],
)
def test_existence_follows_the_pointer(pointer, exists, types):
    found = inference(*located(SHAPE, pointer))
    assert found.exists == exists
    assert types is None or found.types == types


def test_fields_are_sorted_and_each_occurs_once():
    fields = [projection.field for projection in projections(SHAPE, ["/id"])]
    assert fields == sorted(set(fields))
    assert fields == [
        "_meta", "_meta/flow_truncated", "_meta/op", "a/b", "flow_document", "flow_published_at",
        "id", "list", "maybe", "maybe/x", "name", "never", "open", "tuple", "tuple/0",
    ]  # fmt: skip


def test_keys_are_marked_and_projected_even_where_only_permitted():
    fields = by_field(key=("/id", "/extra/part"))
    assert fields["id"].is_primary_key
    assert (fields["extra/part"].ptr, fields["extra/part"].is_primary_key) == ("/extra/part", True)
    assert not fields["name"].is_primary_key


def test_what_a_user_names_comes_first():
    named = [
        UserProjection("region", "/name", partition=True),
        UserProjection("doc", ""),
        UserProjection("id", "/id"),
    ]
    fields = by_field(named=named)
    assert fields["region"].explicit
    assert fields["region"].is_partition_key
    assert fields["id"].explicit
    assert fields["id"].is_primary_key
    assert fields["doc"].ptr == ""
    assert "flow_document" not in fields
    assert not fields["name"].explicit


def test_the_fields_that_flow_adds_are_described():
    fields = by_field()
    published = fields["flow_published_at"]
    assert published.ptr == "/_meta/uuid"
    assert published.inference.exists == "MUST"
    assert published.inference.string.format == "date-time"
    assert published.inference.string.content_encoding == "uuid"
    assert fields["_meta/flow_truncated"].inference.types == ["boolean"]
    assert fields["flow_document"].inference.types == ["object"]


def test_inference_tells_bounds_items_values_and_notes():
    fields = by_field()
    identifier = fields["id"].inference
    assert (identifier.numeric.minimum, identifier.numeric.maximum) == (1.0, 10.0)
    assert identifier.title == "Id"
    assert identifier.string is None
    name = fields["name"].inference
    assert (name.string.max_length, name.string.format) == (5, "email")
    listed = fields["list"].inference.array
    assert (listed.min_items, listed.max_items, listed.item_types) == (1, 2, ["null", "number"])
    assert [bytes(value) for value in fields["_meta/op"].inference.enum] == [b'"c"', b'"d"']
    assert bytes(fields["maybe/x"].inference.default) == b"5"
    assert fields["a/b"].inference.secret


@pytest.mark.parametrize(
    ("pointer", "mistake"),
    [
        ("/id", None),
        ("/maybe/x", "must be a boolean, integer or string"),
        ("/name", "may be null"),
        ("/a~1b", "isn't required"),
        ("/list", "may be array"),
        ("/unknown", "isn't in the schema"),
        ("/never", "isn't in the schema"),
        ("id", "doesn't start with"),
    ],
)
def test_a_key_must_be_a_scalar_that_is_always_there(pointer, mistake):
    found = key_mistakes(SHAPE, [pointer])
    assert found == [] if mistake is None else mistake in found[0]


def test_a_collection_needs_a_key():
    assert key_mistakes(SHAPE, []) == ["it has no key"]
