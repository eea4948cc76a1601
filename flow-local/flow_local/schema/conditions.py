"""Conditions on a JSON value, compiled from schemas: does the value satisfy it?

The condition that nearly every schema asks for, "the string at this path is one of these", is
answered from the raw text at the path. All others are judged by jsonschema_rs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec

from flow_local.schema import dialect, pointers
from flow_local.schema.dialect import Schema
from flow_local.schema.judge import compiled
from flow_local.schema.structs import TooManyStructs, struct

Condition = Callable[[bytes], bool]
Marks = dict[str, frozenset[bytes]]
"""By pointer, the JSON texts one of which a value has there, unless it has one with escapes."""

READERS_KEPT_MAX = 1_000

_ABSENT = b"!"  # no JSON text; followed by the depth at which the path broke off
_decode = msgspec.json.Decoder().decode


class Conditions:
    """Compiles parts of one plain root schema into conditions."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._moved: Any = None
        self._known: dict[int, tuple[Schema, Condition]] = {}  # holds the schema: ids stay unique

    def condition(self, schema: Schema) -> Condition:
        """Return the test whether a value satisfies `schema`, a part of the root."""
        if id(schema) not in self._known:
            judge = self._judge(schema)
            path = _string_path(schema)
            try:
                condition = judge if path is None else _string_condition(path, judge)
            except TooManyStructs:
                condition = judge
            self._known[id(schema)] = (schema, condition)
        return self._known[id(schema)][1]

    def marks(self, schema: Schema) -> Marks | None:
        """Return what every value that satisfies it has; None where no such thing is known."""
        path = _string_path(schema)
        if path is None or not all(path.required):
            return None
        texts = frozenset(msgspec.json.encode(value) for value in path.allowed)
        return {pointers.joined(path.tokens): texts}

    def _judge(self, schema: Schema) -> Condition:
        if _has_reference(schema):
            if self._moved is None:
                self._moved = dialect.transformed(self._root, _moved)
            schema = {
                "$defs": {"root": self._moved},
                "allOf": [dialect.transformed(schema, _moved)],
            }
        is_valid = compiled(schema).is_valid
        return lambda value: is_valid(_decode(value))


def _moved(node: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref")
    return {**node, "$ref": f"#/$defs/root{reference[1:]}"} if reference else node


def _has_reference(schema: Any) -> bool:
    return isinstance(schema, dict) and (
        "$ref" in schema or any(_has_reference(child) for _, child in dialect.children(schema))
    )


@dataclass(frozen=True, slots=True)
class _StringPath:
    """A chain of properties, whether each is required, and the strings allowed at its end."""

    tokens: list[str]
    required: list[bool]
    allowed: list[str]


def _string_path(schema: Schema) -> _StringPath | None:
    """Read the schema as a chain of single properties, or return None where it is anything else."""
    tokens: list[str] = []
    required: list[bool] = []
    node: Any = schema
    while isinstance(node, dict) and "properties" in node:
        own = {keyword: value for keyword, value in node.items() if keyword != "reduce"}
        if own.keys() - {"properties", "required", "type"} or len(own["properties"]) != 1:
            return None
        ((name, node),) = own["properties"].items()
        if own.get("type", "object") != "object" or not pointers.is_nameable(name):
            return None
        if not set(own.get("required", ())) <= {name}:
            return None
        tokens.append(name)
        required.append(bool(own.get("required")))
    if not tokens or not isinstance(node, dict) or node.keys() - {"const", "enum", "type"}:
        return None
    allowed = node.get("enum", [node["const"]] if "const" in node else [])
    if not allowed or {"const", "enum"} <= node.keys() or node.get("type", "string") != "string":
        return None
    if not all(isinstance(value, str) for value in allowed):
        return None
    return _StringPath(tokens, required, allowed)


def _string_condition(path: _StringPath, judge: Condition) -> Condition:
    allowed = frozenset(msgspec.json.encode(value) for value in path.allowed)
    answers = {
        _ABSENT + str(depth).encode(): not required for depth, required in enumerate(path.required)
    }
    answers.update(dict.fromkeys(allowed, True))
    read = _reader(tuple(path.tokens))

    def holds(value: bytes) -> bool:
        try:
            text = read(value)
        except msgspec.DecodeError:
            return judge(value)
        answer = answers.get(text)
        if answer is not None:
            return answer
        # Escapes can spell an allowed string in another way.
        return b"\\" in text and judge(value)

    return holds


@lru_cache(maxsize=READERS_KEPT_MAX)
def _reader(tokens: tuple[str, ...]) -> Callable[[bytes], bytes]:
    kind: Any = msgspec.Raw
    missing: list[Any] = [
        msgspec.Raw(_ABSENT + str(depth).encode()) for depth in range(len(tokens))
    ]
    for depth in reversed(range(len(tokens))):
        field = msgspec.field(default_factory=_always(missing[depth]), name=tokens[depth])
        kind = struct([("inner", kind, field)])
        missing = [kind(value) for value in missing]
    decode = msgspec.json.Decoder(kind).decode
    innermost: Callable[[Any], msgspec.Raw] = attrgetter(".".join(["inner"] * len(tokens)))
    return lambda value: bytes(innermost(decode(value)))


def _always(value: Any) -> Callable[[], Any]:
    return lambda: value
