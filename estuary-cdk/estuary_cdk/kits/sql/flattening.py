"""What kind of column a field wants: the many shapes of a schema, flattened to a dozen kinds.

A field's inference lists JSON types, formats and bounds. One scalar type (null aside) is a kind of
its own; numbers that are sometimes spelled as strings are the two formatted kinds, unless they are
keys, whose spelling must stay; every other mixture is MULTIPLE and is kept as JSON text. An integer
is BIG_INTEGER when the schema's own bounds reach beyond 64 bits, never by guess.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from estuary_cdk.materialize.bindings import Field
from estuary_cdk.protocol.flow import Inference

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1


class Kind(StrEnum):
    """What the values of a field are, as far as the choice of a column goes."""

    ARRAY = "array"
    BINARY = "binary"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    BIG_INTEGER = "big integer"
    MULTIPLE = "multiple"
    NEVER = "never"
    NUMBER = "number"
    OBJECT = "object"
    STRING = "string"
    STRING_INTEGER = "string or integer"
    STRING_NUMBER = "string or number"


@dataclass(frozen=True, slots=True)
class Flat:
    """A field's kind; `format` is that of a STRING, "" where there is none."""

    kind: Kind
    format: str = ""


class FieldConfig(msgspec.Struct, frozen=True, rename="camel"):
    """What a user may ask of one field in the catalog; other keys are left to the connector.

    `cast_to_string` keeps any value as its own text, numbers exactly as they are spelled;
    `ignore_string_format` treats a formatted string as plain text.
    """

    cast_to_string: bool = False
    ignore_string_format: bool = False


def field_config(field: Field) -> FieldConfig:
    """Read what the user wrote for a field; anything but an object says nothing."""
    try:
        return msgspec.json.decode(field.config or b"{}", type=FieldConfig)
    except msgspec.MsgspecError:
        return FieldConfig()


def flat(field: Field) -> Flat:
    """Return what a field's values are."""
    types = frozenset(field.inference.types) - {"null"}
    string = field.inference.string
    if "string" in types and string is not None and not field.is_key:
        formatted = _formatted(types, string.format)
        if formatted is not None:
            return Flat(formatted)
    if types == {"string"}:
        return _string(field)
    if types in ({"integer"}, {"number"}, {"integer", "number"}):
        return Flat(Kind.NUMBER if "number" in types else _integer(field.inference))
    if len(types) == 1:
        [only] = types
        return Flat(Kind(only))
    return Flat(Kind.MULTIPLE if types else Kind.NEVER)


def _formatted(types: frozenset[str], string_format: str) -> Kind | None:
    if string_format == "integer" and types <= {"string", "integer"}:
        return Kind.STRING_INTEGER
    if string_format == "number" and types <= {"string", "number", "integer"}:
        return Kind.STRING_NUMBER
    return None


def _string(field: Field) -> Flat:
    string = field.inference.string
    if string is None or field_config(field).ignore_string_format:
        return Flat(Kind.STRING)
    binary_content = string.content_type in {"", "application/octet-stream"}
    if string.content_encoding == "base64" and binary_content:
        return Flat(Kind.BINARY)
    return Flat(Kind.STRING, string.format)


def _integer(inference: Inference) -> Kind:
    numeric = inference.numeric
    if numeric is None:
        return Kind.INTEGER
    # Bounds arrive as doubles: 2**63 - 1 reads as 2.0**63, which is within; the next one is not.
    below = numeric.has_minimum and numeric.minimum < float(INT64_MIN)
    above = numeric.has_maximum and numeric.maximum > float(2**63)
    return Kind.BIG_INTEGER if below or above else Kind.INTEGER
