"""Discovered schemas type keys, leave the rest to inference, and know deletion."""

import pytest
from jsonschema import Draft202012Validator

from estuary_cdk import Document
from estuary_cdk.capture import Paged, Snapshot
from estuary_cdk.capture.schemas import document_schema


class Address(Document):
    city: str


class User(Document):
    id: int
    home: Address | None = None


def test_a_key_that_the_model_does_not_know_is_a_scalar():
    schema = document_schema(Paged("users", key=["/id"], read=None))
    assert schema["properties"]["id"] == {"type": ["boolean", "integer", "string"]}
    assert schema["required"] == ["_meta", "id"]
    assert schema["x-infer-schema"] is True


@pytest.mark.parametrize(
    ("document", "valid"),
    [
        ({"_meta": {"op": "u"}, "id": 1, "home": {"city": "x"}, "more": True}, True),
        ({"_meta": {"op": "u"}, "home": None}, False),
        ({"id": 1}, False),
        ({"_meta": {"op": "x"}, "id": 1}, False),
    ],
)
def test_a_models_schema_judges_documents(document, valid):
    schema = document_schema(Paged("users", key=["/id"], read=None, model=User))
    Draft202012Validator.check_schema(schema)
    assert Draft202012Validator(schema).is_valid(document) is valid


def test_a_tombstone_of_a_snapshot_fits_although_the_model_requires_more():
    schema = document_schema(Snapshot("users", read=None, model=User))
    assert Draft202012Validator(schema).is_valid({"_meta": {"op": "d", "row_id": 3}})
    assert not Draft202012Validator(schema).is_valid({"_meta": {"op": "d"}})


def test_a_schema_of_its_own_is_taken_as_it_is():
    own = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
    assert document_schema(Paged("users", key=["/id"], read=None, schema=own)) is own
