"""Shapes read from schemas, and written as schemas.

Writing and reading again gives the same shape. What is written uses one `type` list per location
and plain keywords, so that `acceptors` can prove documents against it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from flow_local.schema.dialect import Schema, followed, parsed
from flow_local.schema.judge import compiled
from flow_local.schema.shape import (
    ANYTHING,
    NO_NOTES,
    NOTHING,
    NUMBERS,
    TYPES,
    Arrays,
    Notes,
    Numbers,
    Objects,
    Property,
    Shape,
    Strings,
    intersection,
    kind,
    union,
)

_encode = msgspec.json.encode
_RAW_NOTES = ("default", "reduce", "redact")


def shape_of(schema: bytes) -> Shape:
    """Return the shape of a schema given as JSON text; raises ConfigError where it is malformed."""
    plain = parsed(schema)
    compiled(plain)  # refuses what is malformed
    return _Reader(plain).shape(plain)


@dataclass(slots=True)
class _Reader:
    root: Schema
    _open: list[str] = field(default_factory=list)

    def shape(self, schema: Schema) -> Shape:
        if isinstance(schema, bool):
            return ANYTHING if schema else NOTHING
        shape = self._own(schema)
        for other in self._others(schema):
            shape = intersection(shape, other)
        rest = schema.get("unevaluatedProperties")
        if rest is not None and shape.objects.additional is None:
            shape = replace(shape, objects=replace(shape.objects, additional=self.shape(rest)))
        return shape

    def _others(self, schema: dict[str, Any]) -> Iterator[Shape]:
        if "$ref" in schema and schema["$ref"] not in self._open:
            self._open.append(schema["$ref"])
            yield self.shape(followed(self.root, schema["$ref"]))
            self._open.pop()
        for part in schema.get("allOf", ()):
            yield self.shape(part)
        for keyword in ("anyOf", "oneOf"):
            if schema.get(keyword):
                yield self._any(schema[keyword])
        if "if" in schema:
            yield self._any([schema.get("then", True), schema.get("else", True)])

    def _any(self, branches: list[Schema]) -> Shape:
        result = NOTHING
        for branch in branches:
            result = union(result, self.shape(branch))
        return result

    def _own(self, schema: dict[str, Any]) -> Shape:
        types = _types(schema)
        enum = None
        if "enum" in schema or "const" in schema:
            values = schema["enum"] if "enum" in schema else [schema["const"]]
            values = [value for value in values if kind(value) in types]
            enum = frozenset(_encode(value) for value in values)
            types = types & {kind(value) for value in values}
        return Shape(
            types=types,
            enum=enum,
            strings=Strings(
                schema.get("format") if "string" in types else None,
                schema.get("contentMediaType"),
                schema.get("contentEncoding"),
                int(schema.get("minLength", 0)),
                _whole(schema.get("maxLength")),
            ),
            numbers=Numbers(
                schema.get("minimum", schema.get("exclusiveMinimum")),
                schema.get("maximum", schema.get("exclusiveMaximum")),
            ),
            arrays=self._arrays(schema),
            objects=self._objects(schema),
            notes=_notes(schema),
        )

    def _arrays(self, schema: dict[str, Any]) -> Arrays:
        rest = schema.get("items", schema.get("unevaluatedItems"))
        return Arrays(
            int(schema.get("minItems", 0)),
            _whole(schema.get("maxItems")),
            tuple(self.shape(item) for item in schema.get("prefixItems", ())),
            None if rest is None or rest is True else self.shape(rest),
        )

    def _objects(self, schema: dict[str, Any]) -> Objects:
        required = set(schema.get("required", ()))
        others = schema.get("additionalProperties")
        objects = Objects(
            {
                name: Property(self.shape(value), name in required)
                for name, value in schema.get("properties", {}).items()
            },
            {name: self.shape(v) for name, v in schema.get("patternProperties", {}).items()},
            None if others is None or others is True else self.shape(others),
        )
        undeclared = sorted(required - objects.properties.keys())
        if not undeclared:
            return objects
        added = {name: Property(objects.other(name) or ANYTHING, True) for name in undeclared}
        return replace(objects, properties={**objects.properties, **added})


def _types(schema: dict[str, Any]) -> frozenset[str]:
    if "type" not in schema:
        return TYPES
    given = schema["type"]
    names = {given} if isinstance(given, str) else set(given)
    return frozenset(names - {"number"} | (NUMBERS if "number" in names else frozenset()))


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _notes(schema: dict[str, Any]) -> Notes:
    extra = {k: _encode(v) for k, v in schema.items() if k.startswith(("x-", "X-"))}
    secret = schema.get("secret", schema.get("airbyte_secret"))
    raw = {name: _encode(schema[name]) for name in _RAW_NOTES if name in schema}
    notes = Notes(schema.get("title"), schema.get("description"), secret=secret, extra=extra, **raw)
    return NO_NOTES if notes == NO_NOTES else notes


def type_names(types: frozenset[str]) -> list[str]:
    """Return JSON Schema's names of the types, sorted; `number` covers whole numbers too."""
    if "fractional" in types:
        types = types - NUMBERS | {"number"}
    return sorted(types)


def schema_of(shape: Shape) -> Schema:
    """Return the schema that has exactly this shape, with its properties sorted by name."""
    if shape.is_nothing:
        return False
    result: dict[str, Any] = {}
    if shape.types != TYPES:
        names = type_names(shape.types)
        result["type"] = names[0] if len(names) == 1 else names
    if shape.enum is not None:
        result["enum"] = [msgspec.json.decode(value) for value in sorted(shape.enum)]
    if shape.types & NUMBERS:
        _put(result, {"minimum": shape.numbers.minimum, "maximum": shape.numbers.maximum})
    if "string" in shape.types:
        _put(result, _strings_schema(shape.strings))
    if "array" in shape.types:
        _put(result, _arrays_schema(shape.arrays))
    if "object" in shape.types:
        _put(result, _objects_schema(shape.objects))
    _put(result, _notes_schema(shape.notes))
    return result


def _put(result: dict[str, Any], keywords: dict[str, Any]) -> None:
    result.update({keyword: value for keyword, value in keywords.items() if value is not None})


def _strings_schema(strings: Strings) -> dict[str, Any]:
    return {
        "format": strings.format,
        "contentMediaType": strings.content_type,
        "contentEncoding": strings.content_encoding,
        "minLength": strings.min_length or None,
        "maxLength": strings.max_length,
    }


def _arrays_schema(arrays: Arrays) -> dict[str, Any]:
    return {
        "minItems": arrays.min_items or None,
        "maxItems": arrays.max_items,
        "prefixItems": [schema_of(item) for item in arrays.first] or None,
        "items": None if arrays.items is None else schema_of(arrays.items),
    }


def _objects_schema(objects: Objects) -> dict[str, Any]:
    declared = sorted(objects.properties.items())
    return {
        "properties": {name: schema_of(each.shape) for name, each in declared} or None,
        "required": [name for name, each in declared if each.required] or None,
        "patternProperties": {
            name: schema_of(each) for name, each in sorted(objects.patterns.items())
        }
        or None,
        "additionalProperties": None
        if objects.additional is None
        else schema_of(objects.additional),
    }


def _notes_schema(notes: Notes) -> dict[str, Any]:
    raw = {name: getattr(notes, name) for name in _RAW_NOTES} | dict(notes.extra)
    return {
        "title": notes.title,
        "description": notes.description,
        "secret": notes.secret,
        **{
            name: None if value is None else msgspec.json.decode(value)
            for name, value in raw.items()
        },
    }
