"""The locations that a shape knows, whether something must stand there, and what.

Existence along a pointer: MUST if every step is required of a value that can only be an object (or
array); CANNOT once a step can't exist; IMPLICIT once a step is only permitted (additional or
pattern properties, items of arrays without a bound); otherwise MAY.
"""

from collections.abc import Iterator, Sequence

import msgspec

from estuary_cdk.errors import ConfigError
from estuary_cdk.protocol.flow import (
    ArrayInference,
    Inference,
    NumericInference,
    StringInference,
)
from flow_local.schema import pointers
from flow_local.schema.pointers import Tokens
from flow_local.schema.shape import ANYTHING, NOTHING, NUMBERS, Shape, union
from flow_local.schema.shape_schemas import type_names

LOCATIONS_MAX = 100_000
_PAST_THE_END = frozenset(["-"])
KEY_TYPES = frozenset(["boolean", "integer", "string"])

Found = tuple[Shape, str]  # with one of MUST, MAY, IMPLICIT, CANNOT


def located(shape: Shape, pointer: str) -> Found:
    """Return the shape at a pointer and whether it exists; raises ConfigError for a bad pointer."""
    exists = "MUST"
    for token in pointers.tokens(pointer):
        shape, step = _step(shape, token)
        exists = _extended(exists, step)
    return shape, exists


def locations(shape: Shape) -> Iterator[tuple[Tokens, Shape, str]]:
    """Yield every location with a pointer of its own: the root, properties, tuple items.

    Raises ConfigError past LOCATIONS_MAX.
    """
    waiting: list[tuple[Tokens, Shape, str]] = [((), shape, "MUST")]
    count = 0
    while waiting:
        path, inner, exists = waiting.pop()
        count += 1
        if count > LOCATIONS_MAX:
            raise ConfigError(f"can't use schema: it has more than {LOCATIONS_MAX} locations")
        yield path, inner, exists
        names: list[str] = []
        if "object" in inner.types:
            names += inner.objects.properties
        if "array" in inner.types:
            names += [str(index) for index in range(len(inner.arrays.first))]
        for name in dict.fromkeys(names):
            below, step = _step(inner, name)
            waiting.append(((*path, name), below, _extended(exists, step)))


def inference(shape: Shape, exists: str) -> Inference:
    """Say what is known of a location in the protocol's words."""
    notes, arrays = shape.notes, shape.arrays
    string = numeric = array = None
    if "string" in shape.types:
        string = StringInference(
            content_type=shape.strings.content_type or "",
            format=shape.strings.format or "",
            content_encoding=shape.strings.content_encoding or "",
            max_length=shape.strings.max_length or 0,
        )
    if shape.types & NUMBERS:
        least, most = shape.numbers.minimum, shape.numbers.maximum
        numeric = NumericInference(
            has_minimum=least is not None,
            minimum=_double(least),
            has_maximum=most is not None,
            maximum=_double(most),
        )
    if "array" in shape.types:
        array = ArrayInference(
            min_items=arrays.min_items,
            has_max_items=arrays.max_items is not None,
            max_items=arrays.max_items or 0,
            item_types=_item_types(shape),
        )
    known = Inference(
        types=type_names(shape.types),
        string=string,
        title=notes.title or "",
        description=notes.description or "",
        secret=bool(notes.secret),
        exists=exists,
        numeric=numeric,
        array=array,
        enum=[msgspec.Raw(value) for value in sorted(shape.enum or ())],
    )
    if notes.default is None:
        return known
    return msgspec.structs.replace(known, default=msgspec.Raw(notes.default))


def key_mistakes(shape: Shape, key: Sequence[str]) -> list[str]:
    """Return what is wrong with a collection's key, as "reason" sentences; [] where it is sound.

    A key is made of scalars that are always there: booleans, integers, strings; never null unless
    the schema gives a default.
    """
    mistakes: list[str] = [] if key else ["it has no key"]
    for pointer in key:
        try:
            found, exists = located(shape, pointer)
        except ConfigError as error:
            mistakes.append(str(error))
            continue
        types = type_names(found.types)
        named = f"key {pointer!r}"
        if exists in ("IMPLICIT", "CANNOT"):
            mistakes.append(f"{named} isn't in the schema")
        elif not found.types - {"null"} <= KEY_TYPES:
            listed = ", ".join(types)
            mistakes.append(f"{named} must be a boolean, integer or string but may be {listed}")
        elif found.notes.default is None and "null" in found.types:
            mistakes.append(f"{named} may be null and has no default")
        elif found.notes.default is None and exists != "MUST":
            mistakes.append(f"{named} isn't required and has no default")
    return mistakes


def _step(shape: Shape, token: str) -> Found:
    objects, index = shape.objects, pointers.index(token)
    if "object" in shape.types and (index is None or "array" not in shape.types):
        return _property(shape, token)
    if "object" in shape.types and token in objects.properties:
        return _property(shape, token)
    if "array" in shape.types and (index is not None or token in _PAST_THE_END):
        return _item(shape, index)
    return NOTHING, "CANNOT"


def _property(shape: Shape, name: str) -> Found:
    declared = shape.objects.properties.get(name)
    if declared is None:
        other = shape.objects.other(name)
        other = ANYTHING if other is None else other
        return other, "CANNOT" if other.is_nothing else "IMPLICIT"
    if declared.shape.is_nothing:
        return declared.shape, "CANNOT"
    surely = declared.required and shape.types == {"object"}
    return declared.shape, "MUST" if surely else "MAY"


def _item(shape: Shape, index: int | None) -> Found:
    arrays = shape.arrays
    if index is not None and index < len(arrays.first):
        item: Shape = arrays.first[index]
        bounded = True
    else:
        item = ANYTHING if arrays.items is None else arrays.items
        bounded = index is not None and arrays.max_items is not None
    if item.is_nothing or (
        index is not None and arrays.max_items is not None and index >= arrays.max_items
    ):
        return NOTHING, "CANNOT"
    if index is not None and index < arrays.min_items and shape.types == {"array"}:
        return item, "MUST"
    return item, "MAY" if bounded else "IMPLICIT"


def _extended(parent: str, child: str) -> str:
    for either in ("CANNOT", "IMPLICIT", "MAY"):
        if either in (parent, child):
            return either
    return "MUST"


def _item_types(shape: Shape) -> list[str]:
    items = ANYTHING if shape.arrays.items is None else shape.arrays.items
    for first in shape.arrays.first:
        items = union(items, first)
    return type_names(items.types)


def _double(value: float | None) -> float:
    if value is None:
        return 0.0
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
