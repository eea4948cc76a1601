"""A msgspec type for a schema, such that decoding a document as that type proves it valid.

The type may refuse valid documents (then somebody slower decides) but never accepts an invalid one.
Only some schemas have such a type; any keyword that this module can't prove makes it give up.
Strings are compared by code points on both sides, integers are exact at any size.

Theory: a schema is turned into *kinds*, a mapping from JSON type to the msgspec type that proves
values of this JSON type. A schema without `type` but with, say, `properties` also allows values
that aren't objects; leaving those out is sound.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Annotated, Any, Literal, Union

import msgspec

from estuary_cdk.errors import ConfigError
from flow_local.schema import pointers
from flow_local.schema.dialect import ANNOTATIONS, Schema, followed
from flow_local.schema.formats import PROOFS, predicate
from flow_local.schema.judge import compiled
from flow_local.schema.structs import TooManyStructs, struct

Acceptor = Callable[[bytes], object]
Kinds = dict[str, Any]  # JSON type -> msgspec type

_ANY = object()  # the proof of a schema that every value satisfies
INT_MIN, INT_MAX = -(2**63), 2**63 - 1
NODES_MAX = 100_000
SCHEMAS_KEPT_MAX = 256

_SILENT = ANNOTATIONS | frozenset(
    [
        "title",
        "description",
        "default",
        "deprecated",
        "readOnly",
        "writeOnly",
        "examples",
        "$comment",
        "$defs",
        "definitions",
        "contentMediaType",
        "contentEncoding",
        "contentSchema",
    ]
)
_OBJECT = frozenset(["properties", "required", "additionalProperties"])
_ARRAY = frozenset(["items", "minItems", "maxItems"])
_STRING = frozenset(["minLength", "maxLength", "format"])
_NUMBER = frozenset(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"])
_BOUND_NAMES = {
    "minimum": "ge",
    "exclusiveMinimum": "gt",
    "maximum": "le",
    "exclusiveMaximum": "lt",
}


class _Unprovable(Exception):  # noqa: N818 - control flow of this module
    """The schema says something that a msgspec type can't."""


def acceptors(schema: Schema) -> list[Acceptor] | None:
    """Return the `decode` of each of the schema's `decoders`."""
    found = decoders(schema)
    return None if found is None else [each.decode for each in found]


def decoders(schema: Schema) -> "list[msgspec.json.Decoder[Any]] | None":
    """Return decoders all of which succeed only for JSON objects that satisfy the plain schema.

    They raise msgspec.DecodeError (or RecursionError) for others, and don't look at whether unread
    text is UTF-8. None where no such decoders can be made.
    """
    return _decoders(msgspec.json.encode(schema))


@lru_cache(maxsize=SCHEMAS_KEPT_MAX)
def _decoders(encoded: bytes) -> "list[msgspec.json.Decoder[Any]] | None":
    schema = msgspec.json.decode(encoded)
    prover = _Prover(schema)
    try:
        proofs = [prover.kinds(part) for part in prover.parts(schema)]
    except (_Unprovable, TooManyStructs, ConfigError, RecursionError):
        return None
    if not all("object" in kinds for kinds in proofs):
        return None
    types = [kinds["object"] for kinds in proofs] or [dict[str, msgspec.Raw]]
    try:
        return [msgspec.json.Decoder(kind) for kind in types]
    except (TypeError, ValueError):  # a union that msgspec can't tell apart
        return None


@dataclass(slots=True)
class _Prover:
    """Turns the schemas below one root into types."""

    root: Schema
    open_references: list[str] = field(default_factory=list)
    nodes: int = 0

    def parts(self, schema: Schema) -> Iterator[Schema]:
        """Yield schemas whose conjunction is this one, without those that say nothing."""
        if isinstance(schema, dict) and ("$ref" in schema or "allOf" in schema):
            rest = {k: v for k, v in schema.items() if k not in ("$ref", "allOf")}
            yield from self.parts(rest)
            for part in schema.get("allOf", ()):
                yield from self.parts(part)
            if "$ref" in schema:
                yield from self.referred(schema["$ref"])
        elif not self.says_nothing(schema):
            yield schema

    def referred(self, reference: str) -> Iterator[Schema]:
        if reference in self.open_references:
            raise _Unprovable
        self.open_references.append(reference)
        yield from self.parts(followed(self.root, reference))
        self.open_references.pop()

    def says_nothing(self, schema: Schema) -> bool:
        """Tell whether the schema surely accepts every value."""
        self.nodes += 1
        if self.nodes > NODES_MAX:
            raise _Unprovable
        if isinstance(schema, bool):
            return schema
        return all(self._is_silent(schema, keyword) for keyword in schema)

    def _is_silent(self, schema: dict[str, Any], keyword: str) -> bool:
        if keyword in _SILENT or keyword.startswith(("x-", "X-")):
            return True
        value = schema[keyword]
        if keyword in ("properties", "patternProperties"):
            return all(self.says_nothing(child) for child in value.values())
        if keyword in ("items", "additionalProperties"):
            return self.says_nothing(value)
        if keyword in ("allOf", "prefixItems"):
            return all(self.says_nothing(child) for child in value)
        if keyword in ("anyOf", "oneOf"):
            return keyword == "anyOf" and any(self.says_nothing(child) for child in value)
        if keyword in ("if", "then", "else"):
            return all(self.says_nothing(schema.get(branch, True)) for branch in ("then", "else"))
        return keyword == "required" and not value

    def proof(self, schema: Schema) -> Any:
        """Return the msgspec type for a value below the root, or _ANY."""
        parts = list(self.parts(schema))
        if len(parts) > 1:
            raise _Unprovable
        return _union(self.kinds(parts[0])) if parts else _ANY

    def kinds(self, schema: Schema) -> Kinds:
        if not isinstance(schema, dict):
            raise _Unprovable
        asserted = {keyword for keyword in schema if not self._is_silent(schema, keyword)}
        if "anyOf" in asserted:
            if asserted != {"anyOf"}:
                raise _Unprovable
            return self._any_of(schema["anyOf"])
        if asserted & {"const", "enum"}:
            return _literals(schema, asserted)
        if asserted - _OBJECT - _ARRAY - _STRING - _NUMBER - {"type"}:
            raise _Unprovable
        return {kind: self._kind(kind, schema) for kind in _kinds_allowed(schema, asserted)}

    def _any_of(self, branches: list[Schema]) -> Kinds:
        result: Kinds = {}
        for branch in branches:
            parts = list(self.parts(branch))
            kinds = self.kinds(parts[0]) if len(parts) == 1 else {}
            if not kinds or kinds.keys() & result.keys():
                raise _Unprovable
            result.update(kinds)
        if {"integer", "number"} <= result.keys():
            raise _Unprovable
        return result

    def _kind(self, kind: str, schema: dict[str, Any]) -> Any:
        if kind == "object":
            return self._object(schema)
        if kind == "array":
            lengths = _lengths(schema, "minItems", "maxItems")
            items = schema.get("items", True)
            if items is False:
                return _annotated(_generic(list, _ANY), {**lengths, "max_length": 0})
            item = self.proof(items)
            return _annotated(_generic(list, item), lengths)
        if kind == "string":
            return _string(schema)
        if kind in ("integer", "number"):
            return _number(schema, whole=kind == "integer")
        return {"null": None, "boolean": bool}[kind]

    def _object(self, schema: dict[str, Any]) -> Any:
        properties = schema.get("properties", {})
        required = set(schema.get("required", ()))
        others = schema.get("additionalProperties", True)
        closed = others is False
        if not closed and not self.says_nothing(others):
            if properties or required:
                raise _Unprovable
            return _generic(dict, str, self.proof(others))
        fields: list[tuple[str, Any, Any]] = []
        for name in [*properties, *(name for name in required if name not in properties)]:
            proof = self.proof(properties.get(name, others))
            if not pointers.is_nameable(name):
                raise _Unprovable
            if proof is _ANY:
                if not closed and name not in required:
                    continue
                proof = msgspec.Raw
            own = {"name": name} if name in required else {"name": name, "default": None}
            fields.append((f"f{len(fields)}", proof, msgspec.field(**own)))
        fields.sort(key=lambda entry: entry[2].default is not msgspec.NODEFAULT)
        return struct(fields, closed=closed)


def _kinds_allowed(schema: dict[str, Any], asserted: set[str]) -> set[str]:
    if "type" in asserted:
        types = schema["type"]
        kinds = {types} if isinstance(types, str) else set(types)
    else:
        kinds = {
            kind
            for kind, keywords in (
                ("object", _OBJECT),
                ("array", _ARRAY),
                ("string", _STRING),
                ("number", _NUMBER),
            )
            if asserted & keywords
        }
    return kinds - {"integer"} if "number" in kinds else kinds


def _literals(schema: dict[str, Any], asserted: set[str]) -> Kinds:
    if asserted - {"const", "enum", "type"} - _STRING - _NUMBER:
        raise _Unprovable
    is_valid = compiled({keyword: schema[keyword] for keyword in asserted}).is_valid
    values = [v for v in schema.get("enum", [schema.get("const")]) if is_valid(v)]
    strings = [value for value in values if isinstance(value, str)]
    kinds: Kinds = {}
    if strings:
        kinds["string"] = Literal[tuple(strings)]
    if any(value is None for value in values):
        kinds["null"] = None
    if any(value is True for value in values) and any(value is False for value in values):
        kinds["boolean"] = bool
    if not kinds:
        raise _Unprovable
    return kinds


def _string(schema: dict[str, Any]) -> Any:
    constraints = _lengths(schema, "minLength", "maxLength")
    name = schema.get("format")
    if name is not None and predicate(name) is not None:
        if name not in PROOFS:
            raise _Unprovable
        if name == "date" and not constraints:
            return date  # exactly JSON Schema's dates; msgspec's date-times are more than its
        constraints["pattern"] = PROOFS[name]
    return _annotated(str, constraints)


def _lengths(schema: dict[str, Any], least: str, most: str) -> dict[str, Any]:
    constraints: dict[str, Any] = {}
    for keyword, name in ((least, "min_length"), (most, "max_length")):
        if keyword in schema:
            length = schema[keyword]
            if length != int(length) or length > INT_MAX:
                raise _Unprovable
            constraints[name] = int(length)
    return constraints


def _number(schema: dict[str, Any], *, whole: bool) -> Any:
    bounds = {keyword: schema[keyword] for keyword in _NUMBER if keyword in schema}
    if not bounds:
        return int if whole else float
    if {"minimum", "exclusiveMinimum"} <= bounds.keys() or (
        {"maximum", "exclusiveMaximum"} <= bounds.keys()
    ):
        raise _Unprovable
    integer: dict[str, Any] = {}
    fraction: dict[str, Any] = {}
    for keyword, bound in bounds.items():
        integer.update(_integer_bound(keyword, bound))
        fraction[_BOUND_NAMES[keyword]] = _double_bound(keyword, bound)
    if whole:
        return Annotated[int, msgspec.Meta(**integer)]
    return Union[  # noqa: UP007 - members made at run time
        Annotated[int, msgspec.Meta(**integer)], Annotated[float, msgspec.Meta(**fraction)]
    ]


def _integer_bound(keyword: str, bound: float) -> dict[str, int]:
    if keyword == "minimum":
        name, limit = "ge", math.ceil(bound)
    elif keyword == "exclusiveMinimum":
        name, limit = "ge", math.floor(bound) + 1
    elif keyword == "maximum":
        name, limit = "le", math.floor(bound)
    else:
        name, limit = "le", math.ceil(bound) - 1
    # msgspec's limits are 64-bit; a tighter one than the schema's is sound.
    limit = min(limit, INT_MAX - 1) if name == "le" else max(limit, INT_MIN + 1)
    if not INT_MIN < limit < INT_MAX:
        raise _Unprovable
    return {name: limit}


def _double_bound(keyword: str, bound: float) -> float:
    """Return the bound as a double, rounded to the side that allows less."""
    try:
        double = float(bound)
    except OverflowError:
        raise _Unprovable from None
    if keyword in ("minimum", "exclusiveMinimum"):
        return math.nextafter(double, math.inf) if double < bound else double
    return math.nextafter(double, -math.inf) if double > bound else double


def _annotated(kind: Any, constraints: dict[str, Any]) -> Any:
    return Annotated[kind, msgspec.Meta(**constraints)] if constraints else kind


def _generic(container: Any, *arguments: Any) -> Any:
    return container[tuple(msgspec.Raw if each is _ANY else each for each in arguments)]


def _union(kinds: Kinds) -> Any:
    """Return the union of the kinds.

    msgspec 0.22 corrupts memory when it frees a union of a string with a pattern and an array or a
    mapping; such strings are left out, which is sound.
    """
    if "string" in kinds and _has_pattern(kinds["string"]) and _has_container(kinds):
        kinds = {kind: proof for kind, proof in kinds.items() if kind != "string"}
    return Union[tuple(kinds.values())]  # noqa: UP007 - members made at run time


def _has_pattern(string: Any) -> bool:
    return any(meta.pattern is not None for meta in getattr(string, "__metadata__", ()))


def _has_container(kinds: Kinds) -> bool:
    return "array" in kinds or (
        "object" in kinds and not hasattr(kinds["object"], "__struct_fields__")
    )
