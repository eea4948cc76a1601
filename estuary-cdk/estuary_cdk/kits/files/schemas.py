"""The schema of documents that come from files: `_meta` says from where, deletions remove."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, Final

import msgspec

Schema = Mapping[str, Any]

FILE_KEY: Final = ("/_meta/file", "/_meta/offset")
"""What identifies a document that has no key of the user's: its file and its place in it."""
LAST_WRITE: Final = {"reduce": {"strategy": "lastWriteWins"}}
REMOVAL: Final = {"reduce": {"strategy": "lastWriteWins", "delete": True}}
META: Final = {
    "type": "object",
    "required": ["op", "file", "offset"],
    "properties": {
        "op": {
            "type": "string",
            "enum": ["c", "u", "d"],
            "description": "c: new, u: read before, d: no longer in the file.",
        },
        "file": {"type": "string", "description": "The file that the document was in."},
        "offset": {
            "type": "integer",
            "description": "The document's place in the file, from 0; -1 when it is unknown.",
        },
    },
}


def document_schema(key_types: Mapping[str, Sequence[str]] | None = None) -> dict[str, Any]:
    """Return the schema of a stream's documents; `key_types` are the types at its key pointers."""
    schema: dict[str, Any] = {
        "type": "object",
        "required": ["_meta"],
        "properties": {"_meta": META},
        "x-infer-schema": True,
        "if": {
            "required": ["_meta"],
            "properties": {"_meta": {"required": ["op"], "properties": {"op": {"const": "d"}}}},
        },
        "then": REMOVAL,
        "else": LAST_WRITE,
    }
    schema = deepcopy(schema)
    for pointer, types in (key_types or {}).items():
        _require(schema, pointer, types)
    return schema


def sourced_schema(properties: Mapping[str, Schema]) -> bytes:
    """Return the closed schema of the documents of a file whose own schema tells `properties`."""
    meta = {**META, "additionalProperties": False}
    schema = {
        "type": "object",
        "required": ["_meta", *properties],
        "properties": {"_meta": meta, **properties},
        "additionalProperties": False,
    }
    return msgspec.json.encode(schema)


def is_open(schema: Schema) -> bool:
    """Tell whether a schema leaves open what may stand somewhere inside."""
    kinds = schema.get("type")
    if kinds is None:
        return "enum" not in schema and "const" not in schema
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "array" in kinds and is_open(schema.get("items", {})):
        return True
    inside = schema.get("properties", {}).values()
    closed = schema.get("additionalProperties") is False and not any(map(is_open, inside))
    return "object" in kinds and not closed


def pointer_tokens(pointer: str) -> list[str]:
    """Return the member names that a JSON pointer leads through."""
    parts = pointer.removeprefix("/").split("/")
    return [part.replace("~1", "/").replace("~0", "~") for part in parts]


def _require(schema: dict[str, Any], pointer: str, types: Sequence[str]) -> None:
    *parents, name = pointer_tokens(pointer)
    place = schema
    for parent in parents:
        _add_required(place, parent)
        place = place["properties"].setdefault(parent, {"type": "object"})
    _add_required(place, name)
    kind = types[0] if len(types) == 1 else list(types)
    place["properties"].setdefault(name, {"type": kind})


def _add_required(schema: dict[str, Any], name: str) -> None:
    schema.setdefault("properties", {})
    required = schema.setdefault("required", [])
    if name not in required:
        required.append(name)
