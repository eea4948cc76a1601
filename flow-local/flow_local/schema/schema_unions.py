"""Two inferred schemas made one: the `jsonSchemaMerge` strategy."""

from typing import Any

import msgspec

from flow_local.schema.inference import COMPLEXITY_KEYWORD, DIALECT, LOCATIONS_MAX_DEFAULT
from flow_local.schema.shape import union
from flow_local.schema.shape_schemas import schema_of, shape_of
from flow_local.schema.widening import limited

GENERATION_KEYWORD = "x-collection-generation-id"


def merged_schemas(older: bytes | None, newer: bytes) -> bytes:
    """Return the schema of what either allows.

    Of two generations of a collection only the later one counts; a generation known to one side
    alone is kept. The larger complexity limit holds. Raises ConfigError for a malformed schema.
    """
    if older is None:
        return newer
    left, right = shape_of(older), shape_of(newer)
    generations = [shape.notes.extra.get(GENERATION_KEYWORD) for shape in (left, right)]
    known: list[str] = [msgspec.json.decode(each, type=str) for each in generations if each]
    if len(known) == 2 and known[0] != known[1]:
        return newer if known[1] > known[0] else older
    limits: list[int] = [
        msgspec.json.decode(shape.notes.extra[COMPLEXITY_KEYWORD])
        for shape in (left, right)
        if COMPLEXITY_KEYWORD in shape.notes.extra
    ]
    both = limited(union(left, right), max(limits, default=LOCATIONS_MAX_DEFAULT))
    merged: Any = schema_of(both)
    if isinstance(merged, bool):
        return msgspec.json.encode(merged)
    notes: dict[str, Any] = {}
    if known:
        notes[GENERATION_KEYWORD] = known[0]
    if limits:
        notes[COMPLEXITY_KEYWORD] = max(limits)
    return msgspec.json.encode({"$schema": DIALECT, **merged, **notes})
