"""The schema of a stream's documents, as it is discovered.

What a stream's model doesn't say is left to inference. Deletion is said by the schema: a document
whose `_meta.op` is `d` removes what is there.
"""

from collections.abc import Mapping
from typing import Any, Final

from estuary_cdk.capture.streams import Snapshot, Stream
from estuary_cdk.document import Meta

_SCALARS: Final = ["boolean", "integer", "string"]
_DELETION: Final[dict[str, Any]] = {
    "if": {
        "properties": {"_meta": {"properties": {"op": {"const": "d"}}, "required": ["op"]}},
        "required": ["_meta"],
    },
    "then": {"reduce": {"strategy": "merge", "delete": True}},
}


def document_schema(stream: Stream[Any]) -> Mapping[str, Any]:
    """Return the JSON schema of a stream's documents: its own, or one made from its model."""
    if stream.schema is not None:
        return stream.schema
    schema = stream.model.model_json_schema(by_alias=True, mode="serialization")
    definitions = schema.pop("$defs", {})
    definitions.pop(Meta.__name__, None)
    properties = schema.get("properties", {})
    required = set(schema.get("required", ()))
    if isinstance(stream, Snapshot):
        # The document that deletes a row has nothing but its number.
        required.clear()
    for pointer in stream.key:
        name = pointer.removeprefix("/")
        if "/" not in name:
            properties.setdefault(name, {"type": _SCALARS})
            required.add(name)
    properties["_meta"] = _meta(is_row="/_meta/row_id" in stream.key)
    schema = {
        **{k: v for k, v in schema.items() if k != "additionalProperties"},
        "type": "object",
        "properties": properties,
        "required": sorted({*required, "_meta"}),
        "x-infer-schema": True,
        **_DELETION,
    }
    return {**schema, "$defs": definitions} if definitions else schema


def _meta(*, is_row: bool) -> dict[str, Any]:
    schema = Meta.model_json_schema()
    properties: dict[str, Any] = {
        name: {k: v for k, v in each.items() if k not in {"title", "default"}}
        for name, each in schema["properties"].items()
    }
    if not is_row:
        del properties["row_id"]
    return {
        "type": "object",
        "description": "Of the document itself.",
        "properties": properties,
        "required": sorted(properties),
    }
