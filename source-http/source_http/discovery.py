"""What there is to capture: a binding per stream, and the schema of its documents."""

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import msgspec

from estuary_cdk.capture import DiscoveredResource, Validation
from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.files import FileReader
from source_http.access import client, file_name, hints, opened
from source_http.config import Config, Resource, Stream
from source_http.intervals import length

SAMPLE_RECORDS = 1000
FILE_KEY = ("/_meta/file", "/_meta/offset")
LAST_WRITE = {"reduce": {"strategy": "lastWriteWins"}}
REMOVAL = {"reduce": {"strategy": "lastWriteWins", "delete": True}}
META = {
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


async def discover(config: Config) -> list[DiscoveredResource[Resource]]:
    """Return a resource per stream; streams with a key of their own are sampled for its types."""
    return [
        DiscoveredResource(
            name=stream.name,
            resource=Resource(stream=stream.name),
            schema=document_schema(await _key_types(stream)),
            key=stream.key or FILE_KEY,
        )
        for stream in config.streams
    ]


async def validate(validation: Validation[Config, Resource]) -> None:
    """Check that each binding's stream exists, can be reached and may be read."""
    for binding in validation.bindings:
        stream = validation.config.stream(binding.resource.stream)
        length(binding.resource.interval or "")
        async with client(stream) as connected, opened(connected, stream):
            pass


def document_schema(key_types: dict[str, list[str]]) -> dict[str, Any]:
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
    for pointer, types in key_types.items():
        _require(schema, pointer, types)
    return schema


def _require(schema: dict[str, Any], pointer: str, types: list[str]) -> None:
    *parents, name = _tokens(pointer)
    place = schema
    for parent in parents:
        _add_required(place, parent)
        place = place["properties"].setdefault(parent, {"type": "object"})
    _add_required(place, name)
    place["properties"].setdefault(name, {"type": types[0] if len(types) == 1 else types})


def _add_required(schema: dict[str, Any], name: str) -> None:
    schema.setdefault("properties", {})
    required = schema.setdefault("required", [])
    if name not in required:
        required.append(name)


def _tokens(pointer: str) -> list[str]:
    parts = pointer.removeprefix("/").split("/")
    return [part.replace("~1", "/").replace("~0", "~") for part in parts]


async def _key_types(stream: Stream) -> dict[str, list[str]]:
    if not stream.key:
        return {}
    sample = await _sample(stream)
    types = {}
    for pointer in stream.key:
        if pointer in FILE_KEY:
            continue
        found = sorted({_type_at(document, pointer) for document in sample})
        if not found or not {"string", "integer", "boolean"}.issuperset(found):
            what = " or ".join(found) or "no record to tell it by"
            raise ConfigError(
                f"can't use {pointer!r} as key of stream {stream.name!r}: found {what}",
                hint="a key is a string, an integer or a boolean in every document",
            )
        types[pointer] = found
    return types


async def _sample(stream: Stream) -> list[Any]:
    async with client(stream) as connected, opened(connected, stream) as file:
        reader = FileReader(file_name(stream), stream.parser, hints(file.headers))
        bodies: list[bytes] = []
        async for block in file.blocks:
            bodies += _bodies(reader.feed(block))
            if len(bodies) >= SAMPLE_RECORDS:
                break
        else:
            bodies += _bodies(reader.finish())
    return [msgspec.json.decode(b"{" + body) for body in bodies[:SAMPLE_RECORDS]]


def _bodies(parts: Iterable[Any]) -> list[bytes]:
    return [body for records in parts for body in records.bodies]


def _type_at(document: Any, pointer: str) -> str:
    value = document
    for token in _tokens(pointer):
        value = value.get(token) if isinstance(value, dict) else None
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case str():
            return "string"
        case float():
            return "integer" if value.is_integer() else "number"
        case None:
            return "no value"
        case _:
            return "an object or array"
