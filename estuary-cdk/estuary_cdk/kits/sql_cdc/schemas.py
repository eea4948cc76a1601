"""The schemas of captured tables: what discovery suggests, and what the source itself promises.

A discovered schema says how documents reduce: a deletion removes, everything else merges, and the
value before a change is that of the first change. A sourced schema is closed and has no nulls in
it: inference adds those where they are seen.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from estuary_cdk.kits.sql_cdc.tables import Column, Table
from estuary_cdk.protocol.codec import encode_json

FALLBACK_KEY: Final = (
    "/_meta/source/loc/0",
    "/_meta/source/loc/1",
    "/_meta/source/loc/2",
)
_MERGE: Final = {"strategy": "merge"}


def collection_key(table: Table) -> tuple[str, ...]:
    """Return the key of a table's collection; FALLBACK_KEY where the table has none."""
    if not table.key:
        return FALLBACK_KEY
    return tuple("/" + name.replace("~", "~0").replace("/", "~1") for name in table.key)


def recommended_name(table: Table) -> str:
    """Return what to call a table's collection."""
    return "/".join(map(_component, table.id))


def _component(name: str) -> str:
    cleaned = re.sub(r"[^a-z0-9\-_.]", "_", name.lower())
    return cleaned.replace(".", "_") if set(cleaned) == {"."} else cleaned


def _value(column: Column, *, nulls: bool) -> dict[str, Any]:
    schema = dict(column.schema)
    kinds = schema.get("type")
    if nulls and column.nullable and kinds is not None:
        schema["type"] = [*([kinds] if isinstance(kinds, str) else kinds), "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    source = f"{'' if column.nullable else 'non-nullable '}{column.type_name}"
    said = f"{column.description} " if column.description else ""
    return {"description": f"{said}(source type: {source})", **schema}


def _meta(source: Mapping[str, Any], before: Mapping[str, Any], *, closed: bool) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "type": "object",
        "properties": {
            "op": {
                "enum": ["c", "d", "u"],
                "description": "Change operation type: 'c' Create/Insert, 'u' Update, 'd' Delete.",
            },
            "source": source,
            "before": before,
        },
        "required": ["op", "source"],
    }
    if closed:
        meta["additionalProperties"] = False
        meta["properties"]["op"]["type"] = "string"
    else:
        meta["reduce"] = _MERGE
    return meta


def discovered_schema(table: Table, source: Mapping[str, Any], *, history: bool) -> bytes:
    """Return the schema that discovery suggests; `source` is that of `_meta/source`.

    With `history` every change stays a document of its own.
    """
    anchor = "".join(part[:1].upper() + part[1:] for part in table.id)
    row = {
        "$anchor": anchor,
        "type": "object",
        "required": list(table.key),
        "properties": {column.name: _value(column, nulls=True) for column in table.columns},
    }
    origin = dict(source)
    if history:
        origin["reduce"] = {"strategy": "lastWriteWins", "associative": False}
    before = {
        "$ref": f"#{anchor}",
        "description": "Record state immediately before this change was applied.",
        "reduce": {"strategy": "firstWriteWins"},
    }
    deletion = {"properties": {"_meta": {"properties": {"op": {"const": "d"}}}}}
    meta = {
        "type": "object",
        "required": ["_meta"],
        "properties": {"_meta": _meta(origin, before, closed=False)},
        "if": deletion,
        "then": {"reduce": {**_MERGE, "delete": True}},
        "else": {"reduce": _MERGE},
    }
    return encode_json(
        {
            "$defs": {anchor: row},
            "allOf": [meta, {"$ref": f"#{anchor}"}],
            "x-infer-schema": True,
        }
    )


def sourced_schema(table: Table, source: Mapping[str, Any]) -> bytes:
    """Return the closed schema of what the source sends now.

    Columns of which nothing is known, such as JSON, are left to what their values show.
    """
    known = [column for column in table.columns if not _is_open(column.schema)]
    properties = {column.name: _value(column, nulls=False) for column in known}
    names = [column.name for column in known]
    before = {"type": "object", "properties": properties, "additionalProperties": False}
    return encode_json(
        {
            "type": "object",
            "required": ["_meta", *names],
            "properties": {
                "_meta": _meta(_closed(source), before, closed=True),
                **properties,
            },
            "additionalProperties": False,
        }
    )


def _is_open(schema: Mapping[str, Any]) -> bool:
    """Tell whether a schema leaves open what may stand somewhere inside."""
    kinds = schema.get("type")
    if kinds is None:
        return "enum" not in schema and "const" not in schema
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "array" in kinds and _is_open(schema.get("items", {})):
        return True
    inside = schema.get("properties", {}).values()
    closed = schema.get("additionalProperties") is False and not any(map(_is_open, inside))
    return "object" in kinds and not closed


def _closed(source: Mapping[str, Any]) -> dict[str, Any]:
    return {**source, "additionalProperties": False}
