"""The fields of a collection: what its users named, what Flow adds, what its schema knows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from estuary_cdk.protocol.flow import UUID_POINTER, Inference, Projection, StringInference
from flow_local.schema import pointers
from flow_local.schema.locations import inference, located, locations
from flow_local.schema.shape import Shape

DOCUMENT_FIELD = "flow_document"
PUBLISHED_AT_FIELD = "flow_published_at"
TRUNCATED_POINTER = "/_meta/flow_truncated"


@dataclass(frozen=True, slots=True)
class UserProjection:
    """A field that the catalog names; `partition` makes it a partition key."""

    field: str
    pointer: str
    partition: bool = False


def projections(
    shape: Shape, key: Sequence[str], named: Sequence[UserProjection] = ()
) -> list[Projection]:
    """Return a collection's projections, one per field, sorted by field.

    First come those the user named; then the document, its publication time and truncation mark,
    the key, and every location the schema declares. The first to use a field's name has it.
    """
    fields: dict[str, Projection] = {}
    for projection in _candidates(shape, key, named):
        is_key = projection.ptr in key
        marked = msgspec.structs.replace(projection, is_primary_key=True) if is_key else projection
        fields.setdefault(projection.field, marked)
    return [fields[name] for name in sorted(fields)]


def canonical_field(pointer: str) -> str:
    """Return the field that a location has by itself: its pointer without the leading slash."""
    return "/".join(pointers.tokens(pointer)) if pointer else DOCUMENT_FIELD


def _candidates(
    shape: Shape, key: Sequence[str], named: Sequence[UserProjection]
) -> Iterator[Projection]:
    for each in named:
        yield Projection(
            ptr=each.pointer,
            field=each.field,
            explicit=True,
            is_partition_key=each.partition,
            inference=inference(*located(shape, each.pointer)),
        )
    if not any(each.pointer == "" for each in named):
        yield Projection(field=DOCUMENT_FIELD, inference=inference(*located(shape, "")))
    yield Projection(
        ptr=UUID_POINTER,
        field=PUBLISHED_AT_FIELD,
        inference=Inference(
            types=["string"],
            string=StringInference(format="date-time", content_encoding="uuid"),
            exists="MUST",
        ),
    )
    yield Projection(
        ptr=TRUNCATED_POINTER,
        field=canonical_field(TRUNCATED_POINTER),
        inference=Inference(types=["boolean"], exists="MUST"),
    )
    for pointer in key:
        yield Projection(
            ptr=pointer,
            field=canonical_field(pointer),
            inference=inference(*located(shape, pointer)),
        )
    for path, found, exists in locations(shape):
        if path:
            yield Projection(
                ptr=pointers.joined(path), field="/".join(path), inference=inference(found, exists)
            )
