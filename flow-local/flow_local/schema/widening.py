"""A shape widened, location by location, until it allows a value.

Rules: the first value of a type at a location sets what is known of this type there, later ones
only loosen it. Objects start closed: new properties are declared while nothing else is allowed,
and are required if the first object had them and every later one has too. All items of an array
share one shape. A string's format is what the first string shows; later ones can only drop it,
or turn `integer` into `number`.
"""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec

from flow_local.schema.buckets import length_bounds, number_bounds
from flow_local.schema.formats import DETECTED, predicate
from flow_local.schema.shape import (
    ANYTHING,
    NOTHING,
    NUMBERS,
    Arrays,
    Numbers,
    Objects,
    Property,
    Shape,
    Strings,
    kind,
    union,
)

DEPTH_MAX = 12
ENUM_MAX = 1000


def widened(shape: Shape, value: Any, depth: int = 0) -> Shape:
    """Return the narrowest shape, by the rules above, that also allows the value.

    The same object is returned where it already does.
    """
    type_ = kind(value)
    is_new = type_ not in shape.types
    result = replace(shape, types=shape.types | {type_}) if is_new else shape
    if result.enum is not None:
        result = _with_value(result, value)
    if type_ in ("integer", "fractional"):
        known = None if not shape.types & NUMBERS else shape.numbers
        numbers = _numbers(known, value)
        return result if numbers is result.numbers else replace(result, numbers=numbers)
    if type_ == "string":
        strings = _strings(None if is_new else shape.strings, value)
        return result if strings is result.strings else replace(result, strings=strings)
    if type_ == "array":
        arrays = _arrays(None if is_new else shape.arrays, value, depth)
        return result if arrays is result.arrays else replace(result, arrays=arrays)
    if type_ == "object":
        objects = _objects(None if is_new else shape.objects, value, depth)
        return result if objects is result.objects else replace(result, objects=objects)
    return result


def _with_value(shape: Shape, value: Any) -> Shape:
    assert shape.enum is not None, "the caller looked"
    text = msgspec.json.encode(value)
    if text in shape.enum:
        return shape
    if not isinstance(value, str) or len(shape.enum) >= ENUM_MAX:
        return replace(shape, enum=None)
    return replace(shape, enum=shape.enum | {text})


def _numbers(known: Numbers | None, value: float | Decimal) -> Numbers:
    if known is not None and _is_within(known, value):
        return known
    lower, upper = number_bounds(value)
    if known is None:
        return Numbers(lower, upper)
    minimum = None if known.minimum is None or lower is None else min(known.minimum, lower)
    maximum = None if known.maximum is None or upper is None else max(known.maximum, upper)
    # Only the bound that the value breaks moves.
    if known.minimum is not None and value >= known.minimum:
        minimum = known.minimum
    if known.maximum is not None and value <= known.maximum:
        maximum = known.maximum
    return Numbers(minimum, maximum)


def _is_within(known: Numbers, value: float | Decimal) -> bool:
    return (known.minimum is None or value >= known.minimum) and (
        known.maximum is None or value <= known.maximum
    )


def _strings(known: Strings | None, value: str) -> Strings:
    lower, upper = length_bounds(len(value))
    if known is None:
        format_ = next((name for name, holds in DETECTED.items() if holds(value)), None)
        return Strings(format=format_, min_length=lower, max_length=upper)
    format_ = _format(known.format, value)
    least = known.min_length if len(value) >= known.min_length else lower
    most = known.max_length
    if most is not None and len(value) > most:
        most = upper
    if (format_, least, most) == (known.format, known.min_length, known.max_length):
        return known
    return replace(known, format=format_, min_length=least, max_length=most)


def _format(known: str | None, value: str) -> str | None:
    if known is None:
        return None
    holds = predicate(known)
    if holds is None or holds(value):
        return known
    return "number" if known == "integer" and DETECTED["number"](value) else None


def _arrays(known: Arrays | None, items: list[Any], depth: int) -> Arrays:
    lower, upper = length_bounds(len(items))
    if known is None:
        shape = ANYTHING if depth >= DEPTH_MAX else _all_widened(NOTHING, items, depth)
        return Arrays(lower, upper, (), None if shape == ANYTHING else shape)
    first = tuple(
        widened(shape, items[index], depth + 1) if index < len(items) else shape
        for index, shape in enumerate(known.first)
    )
    rest = known.items
    if rest is not None and len(items) > len(first):
        rest = _all_widened(rest, items[len(first) :], depth)
    least = known.min_items if len(items) >= known.min_items else lower
    most = known.max_items
    if most is not None and len(items) > most:
        most = upper
    same = all(a is b for a, b in zip(first, known.first, strict=True)) and rest is known.items
    if same and (least, most) == (known.min_items, known.max_items):
        return known
    return Arrays(least, most, first, rest)


def _all_widened(shape: Shape, items: Iterable[Any], depth: int) -> Shape:
    for item in items:
        shape = widened(shape, item, depth + 1)
    return shape


def _objects(known: Objects | None, value: dict[str, Any], depth: int) -> Objects:
    if known is None:
        if depth >= DEPTH_MAX:
            return Objects()
        return Objects(
            {name: Property(widened(NOTHING, v, depth + 1), True) for name, v in value.items()},
            {},
            NOTHING,
        )
    properties: dict[str, Property] = {}
    for name, each in known.properties.items():
        shape = widened(each.shape, value[name], depth + 1) if name in value else each.shape
        required = each.required and name in value
        same = shape is each.shape and required == each.required
        properties[name] = each if same else Property(shape, required)
    result = known
    for name, item in value.items():
        if name not in properties:
            result = _with_undeclared(result, name, item, depth)
    if result is known and all(each is known.properties[n] for n, each in properties.items()):
        return known
    return replace(result, properties={**result.properties, **properties})


def _with_undeclared(known: Objects, name: str, item: Any, depth: int) -> Objects:
    matching = known.matching(name)
    if matching:
        shapes = {p: widened(known.patterns[p], item, depth + 1) for p in matching}
        same = all(shape is known.patterns[p] for p, shape in shapes.items())
        return known if same else replace(known, patterns={**known.patterns, **shapes})
    if known.additional is None:
        return known
    if known.additional.is_nothing:
        declared = Property(widened(NOTHING, item, depth + 1), False)
        return replace(known, properties={**known.properties, name: declared})
    additional = widened(known.additional, item, depth + 1)
    return known if additional is known.additional else replace(known, additional=additional)


def limited(shape: Shape, locations_max: int) -> Shape:
    """Return the shape with at most this many declared properties.

    Those too many, the deepest and last ones first, are merged into what their parents say of
    additional properties.
    """
    while True:
        paths = list(_property_paths(shape, ()))
        excess = len(paths) - locations_max
        if excess <= 0:
            return shape
        paths.sort(key=lambda path: (len(path), path), reverse=True)
        # A squashed property takes its own ones along, whose shapes then count anew.
        shape = _squashed(shape, (), frozenset(paths[:excess]))


_Path = tuple[str, ...]
_ITEMS, _OTHERS = "[]", "{}"  # steps that aren't properties; told apart by their leading mark


def _property_paths(shape: Shape, path: _Path) -> Iterable[_Path]:
    for step, inner in _below(shape):
        if step.startswith("/"):
            yield (*path, step)
        yield from _property_paths(inner, (*path, step))


def _below(shape: Shape) -> Iterable[tuple[str, Shape]]:
    if "object" in shape.types:
        for name, each in shape.objects.properties.items():
            yield f"/{name}", each.shape
        if shape.objects.additional is not None:
            yield _OTHERS, shape.objects.additional
    if "array" in shape.types and shape.arrays.items is not None:
        yield _ITEMS, shape.arrays.items


def _squashed(shape: Shape, path: _Path, away: frozenset[_Path]) -> Shape:
    objects, arrays = shape.objects, shape.arrays
    if "object" in shape.types:
        additional = objects.additional
        if additional is not None:
            additional = _squashed(additional, (*path, _OTHERS), away)
        properties: dict[str, Property] = {}
        for name, each in objects.properties.items():
            step = (*path, f"/{name}")
            inner = _squashed(each.shape, step, away)
            if step not in away:
                properties[name] = Property(inner, each.required)
            elif additional is not None:
                additional = union(additional, inner)
        objects = replace(objects, properties=properties, additional=additional)
    if "array" in shape.types and arrays.items is not None:
        arrays = replace(arrays, items=_squashed(arrays.items, (*path, _ITEMS), away))
    return replace(shape, objects=objects, arrays=arrays)
