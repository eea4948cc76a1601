"""Collections for tests, and a simple selection of their fields: whatever may be selected is."""

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from msgspec import Raw

from estuary_cdk.protocol.codec import encode_json
from estuary_cdk.protocol.flow import (
    UUID_POINTER,
    CollectionSpec,
    Inference,
    Projection,
    StringInference,
)
from estuary_cdk.protocol.materialize import (
    FIELD_FORBIDDEN,
    FIELD_REQUIRED,
    INCOMPATIBLE,
    LOCATION_REQUIRED,
    FieldSelection,
    ValidatedBinding,
)

UUID_INFERENCE = Inference(
    types=["string"],
    string=StringInference(format="date-time", content_encoding="uuid"),
    exists="MUST",
)


def required(*types: str, **more: str) -> Inference:
    """Return the inference of a location that is always there; `more` describes its strings."""
    string = StringInference(**more) if "string" in types else None  # type: ignore[arg-type]  # all are text
    return Inference(types=sorted(types), string=string, exists="MUST")


def optional(*types: str, **more: str) -> Inference:
    """Return the inference of a location that may be missing; `more` describes its strings."""
    string = StringInference(**more) if "string" in types else None  # type: ignore[arg-type]  # all are text
    return Inference(types=sorted(types), string=string, exists="MAY")


def collection(name: str, key: Sequence[str], fields: Mapping[str, Inference]) -> CollectionSpec:
    """Return a collection with the given fields, named like their top-level properties.

    The root is projected as `flow_document`, and `/_meta/op` is there too.
    """
    schema = {
        "type": "object",
        "required": [field for field, inference in fields.items() if inference.exists == "MUST"],
        "properties": {field: {"type": inference.types} for field, inference in fields.items()},
    }
    pointers = {field: "/" + _escaped(field) for field in fields}
    projections = [
        Projection(
            ptr=pointers[field],
            field=field,
            inference=inference,
            is_primary_key=pointers[field] in key,
        )
        for field, inference in fields.items()
    ]
    projections += [
        Projection(ptr="", field="flow_document", inference=required("object")),
        Projection(ptr="/_meta/op", field="_meta/op", inference=optional("string")),
    ]
    return CollectionSpec(
        name=name,
        write_schema=Raw(encode_json(schema)),
        key=list(key),
        uuid_ptr=UUID_POINTER,
        projections=sorted(projections, key=lambda each: each.field),
    )


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def selected(spec: CollectionSpec, answer: ValidatedBinding) -> FieldSelection:
    """Select the key, the document and every value that a connector's constraints allow."""
    kinds: dict[str, set[str]] = {each.field: set() for each in spec.projections}
    folded: dict[str, str] = {}
    for judged in answer.projection_constraints:
        kinds[judged.field].add(judged.constraint.type)
        folded[judged.field] = judged.constraint.folded_field or judged.field
    keys = [
        next(each.field for each in spec.projections if each.ptr == pointer) for pointer in spec.key
    ]
    needed = {FIELD_REQUIRED, LOCATION_REQUIRED}
    document = [e.field for e in spec.projections if e.ptr == "" and kinds[e.field] & needed]
    taken = {_identity(folded[name], answer) for name in (*keys, *document)}
    values = []
    for each in spec.projections:
        refused = kinds[each.field] & {FIELD_FORBIDDEN, INCOMPATIBLE} or not kinds[each.field]
        if each.ptr == "" or each.field in keys or refused:
            continue
        identity = _identity(folded[each.field], answer)
        if identity not in taken:
            taken.add(identity)
            values.append(each.field)
    return FieldSelection(keys=keys, values=values, document=document[0] if document else "")


def _identity(name: str, answer: ValidatedBinding) -> str:
    return name.casefold() if answer.case_insensitive_fields else name


def state_key(path: Sequence[str], backfill: int) -> str:
    """Return the name under which a binding's state is kept."""
    name = quote("/".join(path), safe="-_+.=")
    return f"{name}.v{backfill}" if backfill else name
