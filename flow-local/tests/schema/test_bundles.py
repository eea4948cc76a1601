"""Read schemas: what `flow://` references resolve to."""

import msgspec
import pytest

from estuary_cdk.errors import ConfigError
from flow_local.schema.bundles import DEFAULT_READ_SCHEMA, read_schema, uses_inferred_schema
from flow_local.schema.reductions import Reducer
from flow_local.schema.validation import Validator

WRITE = b"""{"$defs":{"n":{"type":"integer"}},"type":"object","required":["id","_meta"],
  "properties":{"id":{"$ref":"#/$defs/n"},"at":{"type":"string","format":"date-time"},
  "type":{"type":"string"}},"reduce":{"strategy":"merge"}}"""
INFERRED = b'{"type":"object","properties":{"id":{"type":"integer","maximum":10}}}'


def test_without_references_a_read_schema_is_what_was_declared():
    assert read_schema(b'{ "type":"object"}', WRITE, None) == b'{ "type":"object"}'
    assert not uses_inferred_schema(b"{}")


def test_the_default_read_schema_is_the_relaxed_write_schema_and_what_was_inferred():
    assert uses_inferred_schema(DEFAULT_READ_SCHEMA)
    bundled = read_schema(DEFAULT_READ_SCHEMA, WRITE, INFERRED)
    validator = Validator(bundled)
    assert validator.first_failure([b'{"id":1,"at":"never","type":5}']) is None
    assert validator.first_failure([b'{"id":11}']).pointer == "/id"
    merged = Reducer(bundled).reduce(b'{"id":1}', b'{"at":"x"}', full=True)
    assert merged.document == b'{"id":1,"at":"x"}'


def test_until_something_is_inferred_nothing_can_be_read():
    validator = Validator(read_schema(DEFAULT_READ_SCHEMA, WRITE, None))
    failure = validator.first_failure([b'{"id":1,"_meta":{}}'])
    assert "inferredSchemaIsNotAvailable" in failure.reason


def test_the_write_schema_itself_can_be_named():
    validator = Validator(read_schema(b'{"$ref":"flow://write-schema"}', WRITE, None))
    assert validator.first_failure([b'{"id":"x","_meta":{}}']).pointer == "/id"


def test_a_schema_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="can't use read schema"):
        read_schema(msgspec.json.encode(5), WRITE, None)
