"""The collections of a catalog: schemas, keys and projections, and whether they fit together."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from estuary_cdk.errors import ConfigError, shortened
from flow_local.catalog.diagnostics import did_you_mean
from flow_local.catalog.models import Collection, Projection
from flow_local.catalog.nodes import Node, encoded, nearest
from flow_local.catalog.stanza import Stanza, stanza
from flow_local.schema import pointers
from flow_local.schema.bundles import read_schema, uses_inferred_schema
from flow_local.schema.locations import KEY_TYPES, Found, located
from flow_local.schema.shape import Shape
from flow_local.schema.shape_schemas import shape_of

CheckSchema: TypeAlias = Callable[[bytes], list[tuple[str, str]]]

COLLECTION = (
    *("schema", "writeSchema", "readSchema", "key", "projections", "journals", "derive"),
    *("expectPubId", "delete", "reset"),
)

UNDECLARED = ("IMPLICIT", "CANNOT")

_PROJECTION = ("location", "partition")
_WORDS = {"array": "an array", "fractional": "a fractional number", "object": "an object"}


def read_collection(name: str, inner: Stanza, check_schema: CheckSchema) -> Collection:
    """Read one collection."""
    schemas = _read_schemas(inner, check_schema)
    shapes = _shapes(inner, schemas)
    write = schemas.get("writeSchema", schemas.get("schema", b"{}"))
    return Collection(
        name=name,
        write_schema=write,
        read_schema=schemas.get("readSchema", write),
        key=_read_key(inner, shapes),
        projections=_read_projections(inner, shapes),
        journals=inner.raw("journals"),
        derive=inner.raw("derive"),
        location=inner.location,
    )


def _read_schemas(inner: Stanza, check_schema: CheckSchema) -> Mapping[str, bytes]:
    """Return the valid schemas by their key in the catalog, the one for writing first."""
    keys = [key for key in ("schema", "writeSchema", "readSchema") if inner.member(key)]
    fits = keys in (["schema"], ["writeSchema", "readSchema"])
    if not fits and isinstance(inner.node.value, Mapping) and not inner.mistakes.incomplete:
        found = " and ".join(keys) or "nothing"
        message = f"can't use {inner.name}: expected a schema, found {found}"
        inner.note(inner.node, message, "give either schema, or writeSchema and readSchema")
    schemas = {}
    for key in keys:
        node = inner.node.members[key]
        schema = encoded(node)
        mistakes = check_schema(schema)
        for place, reason in mistakes:
            at = nearest(node, place)
            where = f" at {place}" if place else ""
            inner.mistakes.add(at, f"can't use {key!r} of {inner.name}{where}: {reason}")
        if not mistakes:
            schemas[key] = schema
    return schemas


def _shapes(inner: Stanza, schemas: Mapping[str, bytes]) -> Mapping[str, Shape]:
    """Return the shapes of the schemas that can be known before anything is inferred."""
    shapes = {}
    for key, schema in schemas.items():
        if key == "readSchema" and ("writeSchema" not in schemas or uses_inferred_schema(schema)):
            continue
        try:
            shape = shape_of(read_schema(schema, schemas.get("writeSchema", schema), None))
        except ConfigError as error:
            if not inner.mistakes.incomplete:
                reason = error.message.partition(": ")[2]
                message = f"can't use {key!r} of {inner.name}: {reason}"
                inner.note(inner.node.members[key], message, error.hint)
            continue
        if shape.types == {"object"}:
            shapes[key] = shape
        else:
            reason = "a document may be something else than an object"
            message = f"can't use {key!r} of {inner.name}: {reason}"
            inner.note(inner.node.members[key], message, "write 'type: object' at its root")
    return shapes


def _read_key(inner: Stanza, shapes: Mapping[str, Shape]) -> tuple[str, ...]:
    node = inner.required("key", "write for example 'key: [/id]'")
    key = inner.texts("key") or ()
    if node is not None and isinstance(node.value, tuple) and not node.items:
        inner.note(node, f"can't use {inner.name}: its key is empty", "write for example [/id]")
    seen: set[str] = set()
    for item in node.items if node else ():
        if not isinstance(item.value, str):
            continue
        name = f"the key {item.value!r} of {inner.name}"
        if item.value in seen:
            inner.note(item, f"can't use {name}: it is given twice", "remove one of them")
        else:
            seen.add(item.value)
            _check_key(inner, item, name, shapes)
    return key


def _check_key(inner: Stanza, item: Node, name: str, shapes: Mapping[str, Shape]) -> None:
    tokens = _tokens(inner, item, name)
    if tokens is None:
        return
    for schema_key, shape in shapes.items():
        found = located(shape, pointers.joined(tokens))
        problem = _unfit(found, shape, tokens) or _nullable(found, tokens)
        if problem is not None:
            reason, hint = problem
            inner.note(item, f"can't use {name}: by its {schema_key} {reason}", hint)
            return


def _tokens(inner: Stanza, node: Node, name: str) -> tuple[str, ...] | None:
    text = str(node.value)
    try:
        tokens = pointers.tokens(text)
    except ConfigError as error:
        reason = error.message.partition(": ")[2]
        inner.note(node, f"can't use {name}: {reason}", error.hint or "write '~0' for '~'")
        return None
    if not tokens:
        inner.note(node, f"can't use {name}: it is the whole document", "write for example '/id'")
        return None
    return tokens


def _unfit(found: Found, shape: Shape, tokens: tuple[str, ...]) -> tuple[str, str] | None:
    inner, exists = found
    if exists in UNDECLARED:
        known = [pointers.joined([name]) for name in sorted(shape.objects.properties)]
        near = did_you_mean(pointers.joined(tokens), known)
        return "there is no such location", near or f"add {tokens[-1]!r} to its properties"
    unfit = inner.types - KEY_TYPES - {"null"}
    if not unfit:
        return None
    listed = " or ".join(_WORDS[name] for name in sorted(unfit))
    return f"it may be {listed}", "a key is a boolean, an integer or a string"


def _nullable(found: Found, tokens: tuple[str, ...]) -> tuple[str, str] | None:
    inner, exists = found
    if inner.notes.default is not None:
        return None
    if "null" in inner.types:
        return "it may be null", "remove null from its types, or give it a default"
    if exists != "MUST":
        return "it may be missing", f"add {tokens[-1]!r} to 'required', or give it a default"
    return None


def _read_projections(inner: Stanza, shapes: Mapping[str, Shape]) -> tuple[Projection, ...]:
    projections = []
    for field, node in inner.mapping("projections").items():
        name = f"the projection {field!r} of {inner.name}"
        location, partition = node, False
        if not isinstance(node.value, str):
            long = stanza(node, name, _PROJECTION, inner.mistakes)
            location = long.required("location", "write for example 'location: /id'") or node
            partition = long.flag("partition")
        if not isinstance(location.value, str):
            continue
        pointer = location.value
        projections.append(Projection(field, pointer, partition, node.location))
        if pointer or partition:
            _check_projection(inner, location, projections[-1], shapes)
    return tuple(projections)


def _check_projection(
    inner: Stanza, at: Node, projection: Projection, shapes: Mapping[str, Shape]
) -> None:
    name = f"the projection {projection.field!r} of {inner.name}"
    tokens = _tokens(inner, at, name)
    shape = shapes.get("readSchema", shapes.get("schema"))
    if tokens is None or shape is None:
        return
    found = located(shape, projection.pointer)
    problem = _unfit(found, shape, tokens)
    if problem is not None and (projection.partition or found[1] in UNDECLARED):
        hint = problem[1].replace("a key is", "a partition is")
        inner.note(at, f"can't use {name}: {problem[0]} at {shortened(at.value)}", hint)
    own = pointers.joined(projection.field.split("/"))
    if own != projection.pointer and located(shape, own)[1] not in UNDECLARED:
        message = f"can't use {name}: it is the field of the location {own!r}"
        inner.note(at, message, "choose another name")
