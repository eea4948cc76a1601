"""The JSON Schema dialect of Flow collections: known keywords, references made plain.

Known are the keywords of draft 2020-12, a few of draft-07 that are translated, Flow's annotations,
and whatever starts with `x-`. Any other keyword is an error, because a misspelled constraint would
otherwise be ignored in silence.

After `parsed`, every `$ref` is `#` or `#/…` from the root, whatever `$id`, `$anchor` or relative
form it had; no `$id`, `$anchor` or `$schema` is left. All of this package works on such schemas.
"""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, unquote

import msgspec

from estuary_cdk.errors import ConfigError, shortened
from flow_local.schema import pointers

Schema = dict[str, Any] | bool

_ONE = frozenset(
    [
        "not",
        "if",
        "then",
        "else",
        "additionalProperties",
        "propertyNames",
        "items",
        "additionalItems",
        "contains",
        "unevaluatedItems",
        "unevaluatedProperties",
        "contentSchema",
    ]
)
_LIST = frozenset(["allOf", "anyOf", "oneOf", "prefixItems"])
_MAP = frozenset(["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"])
_PLAIN = frozenset(
    [
        "$schema",
        "$id",
        "$ref",
        "$anchor",
        "$dynamicRef",
        "$dynamicAnchor",
        "$vocabulary",
        "$comment",
        "type",
        "enum",
        "const",
        "multipleOf",
        "maximum",
        "exclusiveMaximum",
        "minimum",
        "exclusiveMinimum",
        "maxLength",
        "minLength",
        "pattern",
        "maxItems",
        "minItems",
        "uniqueItems",
        "maxContains",
        "minContains",
        "maxProperties",
        "minProperties",
        "required",
        "dependentRequired",
        "title",
        "description",
        "default",
        "deprecated",
        "readOnly",
        "writeOnly",
        "examples",
        "contentMediaType",
        "contentEncoding",
        "format",
        "dependencies",
    ]
)
ANNOTATIONS = frozenset(
    [
        "reduce",
        "redact",
        "secret",
        "airbyte_secret",
        "multiline",
        "advanced",
        "order",
        "discriminator",
    ]
)
KEYWORDS = _ONE | _LIST | _MAP | _PLAIN | ANNOTATIONS

DEPTH_MAX = 200
MISTAKES_MAX = 20


def parsed(source: bytes) -> Schema:
    """Return the schema in the plain form above.

    Raises ConfigError naming the pointers of all unknown keywords and references that lead nowhere.
    """
    try:
        schema = msgspec.json.decode(source)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't read schema: it isn't JSON: {error}") from error
    mistakes: list[str] = []
    ids: dict[str, str] = {}
    for path, base, node in _subschemas(schema, (), ""):
        if isinstance(node, dict):
            mistakes += _unknown(path, node)
            _note_names(path, base, node, ids)
        elif not isinstance(node, bool):
            mistakes.append(f"{_place(path)} is {shortened(node, 60)}, not a schema")
    plain = schema if mistakes else _plain(schema, "", "", ids, mistakes)
    if mistakes:
        more = len(mistakes) - MISTAKES_MAX
        listed = "; ".join(mistakes[:MISTAKES_MAX]) + (f"; and {more} more" if more > 0 else "")
        raise ConfigError(f"can't use schema: {listed}", mistakes=tuple(mistakes))
    return plain


def children(node: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield the schemas directly inside a schema with their path from it."""
    for keyword, value in node.items():
        if keyword in _ONE and not isinstance(value, list):
            yield (keyword,), value
        elif isinstance(value, list) and (keyword in _LIST or keyword in _ONE):
            yield from (((keyword, index), item) for index, item in enumerate(value))
        elif isinstance(value, dict) and keyword in _MAP:
            yield from (((keyword, name), item) for name, item in value.items())
        elif isinstance(value, dict) and keyword == "dependencies":
            yield from (
                ((keyword, name), item)
                for name, item in value.items()
                if not isinstance(item, list)
            )


def followed(root: Schema, reference: str) -> Schema:
    """Return the schema that a plain reference (`#…`) of `root` names.

    Raises ConfigError where it leads nowhere.
    """
    node: Any = root
    for token in pointers.tokens(unquote(reference.removeprefix("#"))):
        position = pointers.index(token)
        if isinstance(node, dict) and token in node:
            node = node[token]
        elif isinstance(node, list) and position is not None and position < len(node):
            node = node[position]
        else:
            raise ConfigError(f"can't use schema: $ref {reference!r} leads nowhere")
    if not isinstance(node, dict | bool):
        raise ConfigError(f"can't use schema: $ref {reference!r} names no schema")
    return node


def with_children(node: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the schema with `change` applied to each schema directly inside it."""
    result = dict(node)
    for path, child in children(node):
        holder: Any = result
        for step in path[:-1]:
            if holder[step] is node[step]:  # type: ignore[index] # paths of length 2 start with a str
                holder[step] = holder[step].copy()
            holder = holder[step]
        holder[path[-1]] = change(child)
    return result


def transformed(schema: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """Return the schema with `change` applied to every schema in it, the innermost first."""
    if not isinstance(schema, dict):
        return schema
    return change(with_children(schema, lambda child: transformed(child, change)))


def _subschemas(
    node: Any, path: tuple[str | int, ...], base: str
) -> Iterator[tuple[tuple[str | int, ...], str, Any]]:
    if len(path) > DEPTH_MAX:
        raise ConfigError(f"can't use schema: it is nested more than {DEPTH_MAX} deep")
    if isinstance(node, dict) and isinstance(node.get("$id"), str):
        base = node["$id"].removesuffix("#")
    yield path, base, node
    if isinstance(node, dict):
        for inner, child in children(node):
            yield from _subschemas(child, path + inner, base)


def _unknown(path: tuple[str | int, ...], node: dict[str, Any]) -> list[str]:
    return [
        f"unknown keyword {keyword!r} at {_place((*path, keyword))}"
        for keyword in node
        if keyword not in KEYWORDS and not keyword.startswith(("x-", "X-"))
    ]


def _place(path: tuple[str | int, ...]) -> str:
    return repr(pointers.joined(path)) if path else "the root"


def _note_names(
    path: tuple[str | int, ...], base: str, node: dict[str, Any], ids: dict[str, str]
) -> None:
    if isinstance(node.get("$id"), str):
        ids[base] = pointers.joined(path)
    for keyword in ("$anchor", "$dynamicAnchor"):
        if isinstance(node.get(keyword), str):
            ids[f"{base}#{node[keyword]}"] = pointers.joined(path)


def _plain(root: Any, base: str, resource: str, ids: dict[str, str], mistakes: list[str]) -> Schema:
    def plain(node: Any, base: str, resource: str) -> Any:
        if not isinstance(node, dict):
            return node
        if isinstance(node.get("$id"), str):
            base = node["$id"].removesuffix("#")
            resource = ids[base]
        result = with_children(node, lambda child: plain(child, base, resource))
        for keyword in ("$ref", "$dynamicRef"):
            if isinstance(result.get(keyword), str):
                reference = result.pop(keyword)
                result["$ref"] = _resolved(root, reference, (base, resource), ids, mistakes)
        for keyword in ("$id", "$anchor", "$dynamicAnchor", "$schema", "$vocabulary"):
            result.pop(keyword, None)
        return _modern(result)

    return plain(root, base, resource)  # type: ignore[no-any-return] # decoded JSON


def _resolved(
    root: Any, reference: str, place: tuple[str, str], ids: dict[str, str], mistakes: list[str]
) -> str:
    base, resource = place
    target, _, fragment = reference.partition("#")
    if target and target not in ids:
        mistakes.append(f"$ref {reference!r} names a schema that isn't bundled with it")
        return "#"
    start = ids[target] if target else resource
    if fragment and not fragment.startswith("/"):
        anchor = f"{target or base}#{fragment}"
        if anchor not in ids:
            mistakes.append(f"$ref {reference!r} names no $anchor of the schema")
            return "#"
        return f"#{_quoted(ids[anchor])}"
    plain = f"#{_quoted(start)}{fragment}"
    try:
        followed(root, plain)
    except ConfigError:
        mistakes.append(f"$ref {reference!r} leads nowhere")
    return plain


def _quoted(pointer: str) -> str:
    return quote(pointer, safe="/~$")


def _modern(node: dict[str, Any]) -> dict[str, Any]:
    """Translate what draft-07 spelled otherwise."""
    if isinstance(node.get("items"), list):
        node["prefixItems"] = node.pop("items")
        if "additionalItems" in node:
            node["items"] = node.pop("additionalItems")
    node.pop("additionalItems", None)
    dependencies = node.pop("dependencies", None)
    if isinstance(dependencies, dict):
        for name, value in dependencies.items():
            kind = "dependentRequired" if isinstance(value, list) else "dependentSchemas"
            node[kind] = {**node.get(kind, {}), name: value}
    return node
