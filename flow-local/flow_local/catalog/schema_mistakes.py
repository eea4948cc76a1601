"""What is wrong with a schema by itself, place by place.

The default of `load`'s `check_schema`: keywords must be known to Flow, and their values must be
what the JSON Schema metaschema asks for. References aren't followed.
"""

from typing import Any

import jsonschema_rs
import msgspec

from flow_local.catalog.diagnostics import did_you_mean
from flow_local.schema import pointers
from flow_local.schema.dialect import KEYWORDS, children

REASON_CHARS_MAX = 200
TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")


def schema_mistakes(schema: bytes) -> list[tuple[str, str]]:
    """Return the pointer and the reason of every mistake of a schema."""
    root = msgspec.json.decode(schema)
    found: list[tuple[str, str]] = []
    waiting: list[tuple[tuple[str | int, ...], object]] = [((), root)]
    while waiting:
        path, node = waiting.pop()
        if isinstance(node, dict):
            found += _unknown_keywords(path, node)
            found += _unknown_types(path, node)
            waiting += [(path + below, child) for below, child in children(node)]
        elif not isinstance(node, bool):
            found.append((pointers.joined(path), "it isn't a schema: write a mapping"))
    return found or _malformed(root)


def _unknown_keywords(
    path: tuple[str | int, ...], node: dict[str, object]
) -> list[tuple[str, str]]:
    unknown = [k for k in node if k not in KEYWORDS and not k.startswith(("x-", "X-"))]
    return [(pointers.joined((*path, keyword)), _reason(keyword)) for keyword in unknown]


def _unknown_types(path: tuple[str | int, ...], node: dict[str, object]) -> list[tuple[str, str]]:
    given = node.get("type", [])
    unknown = [t for t in (given if isinstance(given, list) else [given]) if t not in TYPES]
    hint = f"use {', '.join(TYPES)}"
    return [
        (
            pointers.joined((*path, "type")),
            f"{name!r} isn't a type ({did_you_mean(str(name), TYPES) or hint})",
        )
        for name in unknown
    ]


def _reason(keyword: str) -> str:
    near = did_you_mean(keyword, sorted(KEYWORDS)) or "a keyword of your own begins with 'x-'"
    return f"{keyword!r} isn't a keyword of schemas ({near})"


def _malformed(root: Any) -> list[tuple[str, str]]:
    checked = {k: v for k, v in root.items() if k != "$schema"} if isinstance(root, dict) else root
    try:
        jsonschema_rs.meta.validate(checked)
    except jsonschema_rs.ValidationError as error:
        return [(pointers.joined(error.instance_path), error.message[:REASON_CHARS_MAX])]
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        return [("", str(error)[:REASON_CHARS_MAX])]
    return []
