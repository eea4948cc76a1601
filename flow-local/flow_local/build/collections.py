"""Built collections: schemas made whole, and the projections that follow from them."""

from collections.abc import Mapping

import msgspec
from msgspec import Raw

from estuary_cdk.protocol.flow import UUID_PLACEHOLDER, UUID_POINTER, CollectionSpec
from flow_local.catalog import Collection
from flow_local.schema.bundles import read_schema, uses_inferred_schema
from flow_local.schema.projections import UserProjection, projections
from flow_local.schema.shape_schemas import shape_of

ACK_TEMPLATE = msgspec.json.encode({"_meta": {"ack": True, "uuid": UUID_PLACEHOLDER}})


def waits_for_inference(collection: Collection, inferred: Mapping[str, bytes]) -> bool:
    """Tell whether a collection can't be read yet, because nothing was inferred of it so far."""
    return collection.name not in inferred and uses_inferred_schema(collection.read_schema)


def built_collection(collection: Collection, inferred: Mapping[str, bytes]) -> CollectionSpec:
    """Build a collection; `inferred` has the schemas inferred so far, by collection."""
    readable = read_schema(
        collection.read_schema, collection.write_schema, inferred.get(collection.name)
    )
    named = [UserProjection(p.field, p.pointer, p.partition) for p in collection.projections]
    return CollectionSpec(
        name=collection.name,
        write_schema=Raw(collection.write_schema),
        read_schema=Raw(readable),
        key=list(collection.key),
        uuid_ptr=UUID_POINTER,
        partition_fields=sorted(p.field for p in collection.projections if p.partition),
        projections=projections(shape_of(readable), collection.key, named),
        ack_template=Raw(ACK_TEMPLATE),
    )
