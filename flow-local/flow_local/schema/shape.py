"""What a schema says of a value: its shape, and the union and intersection of shapes.

A shape is JSON Schema boiled down to what can be compared, unioned and intersected: types, bounds,
properties, items and annotations. Conditions and negations are left out: a shape allows at least
what its schema allows.

`types` tells whole from fractional numbers ("integer" and "fractional"; a schema's `number` is
both). What a shape says of strings, numbers, arrays and objects counts only if it has that type.
Where a shape is None (`items`, `additional`) anything is allowed; NOTHING allows no value at all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from flow_local.schema.patterns import matches

Number = int | float
ValueT = TypeVar("ValueT")
NumberT = TypeVar("NumberT", int, float)

TYPES = frozenset(["null", "boolean", "integer", "fractional", "string", "array", "object"])
NUMBERS = frozenset(["integer", "fractional"])


@dataclass(frozen=True, slots=True)
class Strings:
    """Constraints of strings; lengths in code points, None is no limit."""

    format: str | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    min_length: int = 0
    max_length: int | None = None


@dataclass(frozen=True, slots=True)
class Numbers:
    """Inclusive bounds, None where there is none."""

    minimum: Number | None = None
    maximum: Number | None = None


@dataclass(frozen=True, slots=True)
class Arrays:
    """Lengths, the shapes of the first items, and the shape of the others."""

    min_items: int = 0
    max_items: int | None = None
    first: tuple["Shape", ...] = ()
    items: "Shape | None" = None


@dataclass(frozen=True, slots=True)
class Property:
    """A declared property."""

    shape: "Shape"
    required: bool = False


@dataclass(frozen=True, slots=True)
class Objects:
    """Declared properties, shapes by pattern of name, and the shape of all others."""

    properties: Mapping[str, Property] = field(default_factory=dict)
    patterns: Mapping[str, "Shape"] = field(default_factory=dict)
    additional: "Shape | None" = None

    def matching(self, name: str) -> list[str]:
        """Return the patterns that a name matches."""
        return [pattern for pattern in self.patterns if matches(pattern, name)]

    def other(self, name: str) -> "Shape | None":
        """Return the shape of a property that isn't declared."""
        found = self.matching(name)
        if not found:
            return self.additional
        result = ANYTHING
        for pattern in found:
            result = intersection(result, self.patterns[pattern])
        return result


@dataclass(frozen=True, slots=True)
class Notes:
    """Annotations; raw ones are JSON text. `extra` holds `x-…` keywords."""

    title: str | None = None
    description: str | None = None
    default: bytes | None = None
    secret: bool | None = None
    reduce: bytes | None = None
    redact: bytes | None = None
    extra: Mapping[str, bytes] = field(default_factory=dict)


NO_NOTES = Notes()


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of one location's values; `enum` holds JSON texts."""

    types: frozenset[str] = TYPES
    enum: frozenset[bytes] | None = None
    strings: Strings = Strings()
    numbers: Numbers = Numbers()
    arrays: Arrays = Arrays()
    objects: Objects = Objects()
    notes: Notes = NO_NOTES

    @property
    def is_nothing(self) -> bool:
        """Whether no value has this shape."""
        return not self.types


ANYTHING = Shape()
NOTHING = Shape(types=frozenset())


def union(a: Shape, b: Shape) -> Shape:
    """Return the shape of what either allows: only what both assert is kept."""
    if a.is_nothing or b.is_nothing:
        return a if b.is_nothing else b
    enum = None if a.enum is None or b.enum is None else a.enum | b.enum
    types = a.types | b.types
    return Shape(
        types=types,
        enum=enum,
        strings=_either(a, b, "string", a.strings, b.strings, _united_strings),
        numbers=_either(a, b, None, a.numbers, b.numbers, _united_numbers),
        arrays=_either(a, b, "array", a.arrays, b.arrays, _united_arrays),
        objects=_either(a, b, "object", a.objects, b.objects, _united_objects),
        notes=_united_notes(a.notes, b.notes),
    )


def intersection(a: Shape, b: Shape) -> Shape:
    """Return the shape of what both allow."""
    types = a.types & b.types
    enum = a.enum if b.enum is None else b.enum if a.enum is None else a.enum & b.enum
    if enum is not None:
        enum = frozenset(value for value in enum if kind(msgspec.json.decode(value)) in types)
        types = types & {kind(msgspec.json.decode(value)) for value in enum}
    return Shape(
        types=types,
        enum=enum,
        strings=_narrowed_strings(a.strings, b.strings) if "string" in types else Strings(),
        numbers=_narrowed_numbers(a.numbers, b.numbers) if types & NUMBERS else Numbers(),
        arrays=_narrowed_arrays(a.arrays, b.arrays) if "array" in types else Arrays(),
        objects=_narrowed_objects(a.objects, b.objects) if "object" in types else Objects(),
        notes=_narrowed_notes(a.notes, b.notes),
    )


def _either(
    a: Shape,
    b: Shape,
    kind: str | None,
    left: ValueT,
    right: ValueT,
    united: Callable[[ValueT, ValueT], ValueT],
) -> ValueT:
    kinds = NUMBERS if kind is None else {kind}
    if a.types & kinds and b.types & kinds:
        return united(left, right)
    return right if b.types & kinds else left


def _least(a: NumberT | None, b: NumberT | None) -> NumberT | None:
    return None if a is None or b is None else min(a, b)


def _most(a: NumberT | None, b: NumberT | None) -> NumberT | None:
    return None if a is None or b is None else max(a, b)


def _tighter(
    a: ValueT | None, b: ValueT | None, choose: Callable[[ValueT, ValueT], ValueT]
) -> ValueT | None:
    return a if b is None else b if a is None else choose(a, b)


def _united_strings(a: Strings, b: Strings) -> Strings:
    format_ = a.format if a.format == b.format else None
    if {a.format, b.format} == {"integer", "number"}:
        format_ = "number"
    return Strings(
        format_,
        a.content_type if a.content_type == b.content_type else None,
        a.content_encoding if a.content_encoding == b.content_encoding else None,
        min(a.min_length, b.min_length),
        _most(a.max_length, b.max_length),
    )


def _united_numbers(a: Numbers, b: Numbers) -> Numbers:
    return Numbers(_least(a.minimum, b.minimum), _most(a.maximum, b.maximum))


def _united_arrays(a: Arrays, b: Arrays) -> Arrays:
    first = []
    for index in range(max(len(a.first), len(b.first))):
        left, right = _item(a, index), _item(b, index)
        if left is None or right is None:
            break
        first.append(union(left, right))
    items: Shape | None = None
    if a.items is not None and b.items is not None:
        items = union(a.items, b.items)
    return Arrays(
        min(a.min_items, b.min_items), _most(a.max_items, b.max_items), tuple(first), items
    )


def _item(arrays: Arrays, index: int) -> Shape | None:
    return arrays.first[index] if index < len(arrays.first) else arrays.items


def _united_objects(a: Objects, b: Objects) -> Objects:
    properties: dict[str, Property] = {}
    for name in [*a.properties, *(name for name in b.properties if name not in a.properties)]:
        left, right = _declared(a, name), _declared(b, name)
        if left is not None and right is not None:
            shape = union(left.shape, right.shape)
            properties[name] = Property(shape, left.required and right.required)
    additional: Shape | None = None
    if a.additional is not None and b.additional is not None:
        additional = union(a.additional, b.additional)
    patterns: dict[str, Shape] = {}
    for pattern in {**a.patterns, **b.patterns}:
        left_shape = a.patterns.get(pattern, a.additional)
        right_shape = b.patterns.get(pattern, b.additional)
        if left_shape is not None and right_shape is not None:
            patterns[pattern] = union(left_shape, right_shape)
        else:
            additional = None  # names that match are as free as the freer side leaves them
    return Objects(properties, patterns, additional)


def _declared(objects: Objects, name: str) -> Property | None:
    found = objects.properties.get(name)
    if found is not None:
        return found
    other = objects.other(name)
    return None if other is None else Property(other)


def _united_notes(a: Notes, b: Notes) -> Notes:
    if a == b:
        return a
    kept = {
        entry.name: getattr(a, entry.name)
        for entry in fields(Notes)
        if getattr(a, entry.name) == getattr(b, entry.name)
    }
    kept["extra"] = {k: v for k, v in a.extra.items() if b.extra.get(k) == v}
    return Notes(**kept)


def _narrowed_strings(a: Strings, b: Strings) -> Strings:
    if a == b:
        return a
    return Strings(
        a.format or b.format,
        a.content_type or b.content_type,
        a.content_encoding or b.content_encoding,
        max(a.min_length, b.min_length),
        _tighter(a.max_length, b.max_length, min),
    )


def _narrowed_numbers(a: Numbers, b: Numbers) -> Numbers:
    return Numbers(_tighter(a.minimum, b.minimum, max), _tighter(a.maximum, b.maximum, min))


def _narrowed(a: Shape | None, b: Shape | None) -> Shape | None:
    return _tighter(a, b, intersection)


def _narrowed_arrays(a: Arrays, b: Arrays) -> Arrays:
    if a == b:
        return a
    count = max(len(a.first), len(b.first))
    first = tuple(_narrowed(_item(a, i), _item(b, i)) or ANYTHING for i in range(count))
    return Arrays(
        max(a.min_items, b.min_items),
        _tighter(a.max_items, b.max_items, min),
        first,
        _narrowed(a.items, b.items),
    )


def _narrowed_objects(a: Objects, b: Objects) -> Objects:
    if a == b:
        return a
    properties: dict[str, Property] = {}
    for name in [*a.properties, *(name for name in b.properties if name not in a.properties)]:
        left = a.properties.get(name)
        right = b.properties.get(name)
        shape = _narrowed(
            left.shape if left else a.other(name), right.shape if right else b.other(name)
        )
        required = bool(left and left.required) or bool(right and right.required)
        properties[name] = Property(shape or ANYTHING, required)
    patterns = dict(a.patterns)
    for pattern, shape in b.patterns.items():
        patterns[pattern] = intersection(patterns[pattern], shape) if pattern in patterns else shape
    return Objects(properties, patterns, _narrowed(a.additional, b.additional))


def _narrowed_notes(a: Notes, b: Notes) -> Notes:
    if a is NO_NOTES or b is NO_NOTES:
        return b if a is NO_NOTES else a
    return Notes(
        title=a.title or b.title,
        description=a.description or b.description,
        default=b.default if a.default is None else a.default,
        secret=b.secret if a.secret is None else a.secret,
        reduce=a.reduce or b.reduce,
        redact=a.redact or b.redact,
        extra={**b.extra, **a.extra},
    )


def kind(value: Any) -> str:
    """Return which of TYPES a decoded JSON value is; whole numbers are integers however written."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "fractional"
    if isinstance(value, Decimal):
        return "integer" if _is_whole(value) else "fractional"
    return _KINDS[type(value)]


_KINDS = {type(None): "null", int: "integer", str: "string", list: "array", dict: "object"}


def _is_whole(value: Decimal) -> bool:
    digits = value.as_tuple()
    exponent = int(digits.exponent)
    # Without computing 10**exponent, which may be huge.
    return exponent >= 0 or not any(digits.digits[exponent:])
