"""What a schema says about one location, as far as a key or a partition needs to know.

Judged on the safe side: a construct that isn't understood (a reference to `flow://`, a recursion)
makes a location `opaque`, and nothing that it might allow is complained about.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from estuary_cdk.errors import ConfigError
from flow_local.schema.dialect import Schema, followed

REFERENCES_MAX = 64

ANYTHING = frozenset(["array", "boolean", "integer", "null", "number", "object", "string"])
KEYABLE = frozenset(["boolean", "integer", "string", "null"])


@dataclass(frozen=True, slots=True)
class Facts:
    """Which types a location may have (`number` means fractional), and whether it must be there.

    `declared` tells that the schema mentions the location; `required` that its parents, where they
    are objects, must have it.
    """

    types: frozenset[str] = ANYTHING
    declared: bool = False
    required: bool = False
    has_default: bool = False
    opaque: bool = False


_OPAQUE = Facts(declared=True, opaque=True)


def facts(schema: Schema, tokens: tuple[str, ...]) -> Facts:
    """Return what `schema` says about the location that `tokens` lead to."""
    found = _facts(schema, schema, tokens, 0)
    for count in range(len(tokens)):
        if _facts(schema, schema, tokens[:count], 0).types != {"object"}:
            found = replace(found, required=False)
    return found


def _facts(root: Schema, node: Schema, tokens: tuple[str, ...], depth: int) -> Facts:
    if isinstance(node, bool):
        return Facts() if node else Facts(types=frozenset())
    if depth > REFERENCES_MAX:
        return _OPAQUE
    parts = [_own(root, node, tokens, depth)]
    if isinstance(node.get("$ref"), str):
        parts.append(_referred(root, node["$ref"], tokens, depth))
    parts += (_facts(root, branch, tokens, depth + 1) for branch in node.get("allOf", ()))
    for branches in _alternatives(node):
        parts.append(_united(_facts(root, branch, tokens, depth + 1) for branch in branches))
    return reduce(_both, parts)


def _alternatives(node: dict[str, Any]) -> Iterator[list[Schema]]:
    for keyword in ("anyOf", "oneOf"):
        if node.get(keyword):
            yield node[keyword]
    if "if" in node:
        yield [node.get("then", True), node.get("else", True)]


def _referred(root: Schema, reference: str, tokens: tuple[str, ...], depth: int) -> Facts:
    if not reference.startswith("#/") and reference != "#":
        return _OPAQUE
    try:
        return _facts(root, followed(root, reference), tokens, depth + 1)
    except ConfigError:
        return _OPAQUE


def _own(root: Schema, node: dict[str, Any], tokens: tuple[str, ...], depth: int) -> Facts:
    if not tokens:
        return Facts(types=_types(node), declared=True, has_default="default" in node)
    token, below = tokens[0], tokens[1:]
    properties = node.get("properties", {})
    if token in properties:
        found = _facts(root, properties[token], below, depth + 1)
        return replace(found, required=_is_required(node, token) and (found.required or not below))
    if token.isdigit() and ("items" in node or "prefixItems" in node):
        return _OPAQUE
    if node.get("patternProperties"):
        return _OPAQUE
    outside = _facts(root, node.get("additionalProperties", True), below, depth + 1)
    required = _is_required(node, token) and not below
    return replace(outside, declared=False, required=required, has_default=False)


def _is_required(node: dict[str, Any], token: str) -> bool:
    return token in node.get("required", ())


def _types(node: dict[str, Any]) -> frozenset[str]:
    given = node.get("type", sorted(ANYTHING))
    types = frozenset([given] if isinstance(given, str) else given)
    if "number" in types:
        types |= {"integer"}
    literals = node.get("enum", [node["const"]] if "const" in node else None)
    return types if literals is None else types & {_type_of(value) for value in literals}


def _type_of(value: object) -> str:
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    names = {type(None): "null", bool: "boolean", int: "integer", str: "string", list: "array"}
    return names.get(type(value), "object")


def _both(one: Facts, other: Facts) -> Facts:
    return Facts(
        types=one.types & other.types,
        declared=one.declared or other.declared,
        required=one.required or other.required,
        has_default=one.has_default or other.has_default,
        opaque=one.opaque or other.opaque,
    )


def _united(branches: Iterable[Facts]) -> Facts:
    possible = [branch for branch in branches if branch.types] or [Facts(types=frozenset())]
    return Facts(
        types=frozenset().union(*(branch.types for branch in possible)),
        declared=any(branch.declared for branch in possible),
        required=all(branch.required for branch in possible),
        has_default=all(branch.has_default for branch in possible),
        opaque=any(branch.opaque for branch in possible),
    )
