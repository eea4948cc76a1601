"""What there is to capture: a binding per stream, and the schema of its documents."""

from contextlib import aclosing
from typing import Any

import msgspec

from estuary_cdk.capture import DiscoveredResource, Validation
from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.files import FILE_KEY, FileReader, document_schema
from estuary_cdk.kits.files.intervals import length
from estuary_cdk.kits.files.schemas import pointer_tokens
from source_http.access import client, file_name, hints, opened
from source_http.config import Config, Resource, Stream
from source_http.ranges import contents

SAMPLE_RECORDS = 1000


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
        async with aclosing(contents(connected, stream, file, reader)) as content:
            async for stretch in content:
                for records in stretch.records:
                    bodies += records.bodies
                if len(bodies) >= SAMPLE_RECORDS:
                    break
    return [msgspec.json.decode(b"{" + body) for body in bodies[:SAMPLE_RECORDS]]


def _type_at(document: Any, pointer: str) -> str:
    value = document
    for token in pointer_tokens(pointer):
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
