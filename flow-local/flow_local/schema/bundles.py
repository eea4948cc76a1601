"""Read schemas made whole: `flow://…` references bundled with what they name."""

from typing import Any

import msgspec

from estuary_cdk.errors import ConfigError
from flow_local.schema import dialect

INFERRED = "flow://inferred-schema"
WRITE = "flow://write-schema"
RELAXED = "flow://relaxed-write-schema"

_RELAXED_AWAY = frozenset(["type", "required", "format"])
_RELAXED_INTO = frozenset(
    [
        "$defs",
        "definitions",
        "allOf",
        "properties",
        "items",
        "prefixItems",
        "additionalItems",
        "additionalProperties",
    ]
)

# Rejects every document, so that a reader of a collection about which nothing was inferred yet
# fails with a reason rather than reading what it doesn't understand.
NOT_AVAILABLE: dict[str, Any] = {
    "properties": {
        "_meta": {
            "properties": {"inferredSchemaIsNotAvailable": {"const": True}},
            "required": ["inferredSchemaIsNotAvailable"],
        }
    },
    "required": ["_meta"],
}
DEFAULT_READ_SCHEMA = msgspec.json.encode({"allOf": [{"$ref": RELAXED}, {"$ref": INFERRED}]})


def read_schema(declared: bytes, write: bytes, inferred: bytes | None) -> bytes:
    """Return a collection's read schema with the schemas it refers to under `$defs`.

    Without `flow://` references it is returned as it is. `inferred` is None where nothing has been
    inferred yet. Raises ConfigError where one of them isn't a JSON schema.
    """
    schema = _decoded(declared, "read schema")
    named = _references(schema)
    if not named:
        return declared
    definitions: dict[str, Any] = {}
    writable = _decoded(write, "write schema")
    if named & {WRITE}:
        definitions[WRITE] = _identified(writable, WRITE)
    if RELAXED in named:
        definitions[RELAXED] = _identified(relaxed(writable), RELAXED)
    if INFERRED in named:
        known = NOT_AVAILABLE if inferred is None else _decoded(inferred, "inferred schema")
        definitions[INFERRED] = _identified(known, INFERRED)
    return msgspec.json.encode({**schema, "$defs": {**schema.get("$defs", {}), **definitions}})


def uses_inferred_schema(declared: bytes) -> bool:
    """Tell whether a read schema changes with what is inferred."""
    return INFERRED in _references(_decoded(declared, "read schema"))


def relaxed(schema: Any) -> Any:
    """Return a write schema without `type`, `required` and `format`, at any depth.

    Its conditions and annotations stay as they are.
    """
    if not isinstance(schema, dict):
        return schema
    result = {keyword: value for keyword, value in schema.items() if keyword not in _RELAXED_AWAY}
    for keyword in result.keys() & _RELAXED_INTO:
        value = result[keyword]
        if isinstance(value, list):
            result[keyword] = [relaxed(item) for item in value]
        elif keyword in ("$defs", "definitions", "properties") and isinstance(value, dict):
            result[keyword] = {name: relaxed(item) for name, item in value.items()}
        else:
            result[keyword] = relaxed(value)
    return result


def _decoded(source: bytes, named: str) -> dict[str, Any]:
    try:
        schema = msgspec.json.decode(source)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't use {named}: it isn't JSON: {error}") from error
    if isinstance(schema, bool):
        schema = {} if schema else {"not": {}}
    if not isinstance(schema, dict):
        raise ConfigError(f"can't use {named}: it isn't a JSON schema")
    return schema


def _identified(schema: dict[str, Any], name: str) -> dict[str, Any]:
    return {**schema, "$id": name}


def _references(schema: Any) -> set[str]:
    if not isinstance(schema, dict):
        return set()
    found = {schema.get("$ref")} & {INFERRED, WRITE, RELAXED}
    for _, child in dialect.children(schema):
        found |= _references(child)
    return {name for name in found if name is not None}
