"""Where a catalog may name a file instead of holding a value, and the values put in place.

A string where an inline object belongs is a path, relative to the file that holds the string. Texts
of derivations are inline, too, unless they end like a file name and hold no white space.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from flow_local.catalog.files import Files, relative
from flow_local.catalog.nodes import Node
from flow_local.catalog.references import with_files_bundled

Inliner: TypeAlias = Callable[[Node, Files], Node]

_TEXT_SUFFIXES = (".sql", ".ts", ".py")
_ANY = "*"


def inlined(catalog: Node, files: Files) -> Node:
    """Return `catalog` with every reference to a file replaced by what the file holds.

    A file that can't be read is noted, and null stands in its place.
    """
    return _walked(catalog, _PLACES, files)


def _walked(node: Node, places: Any, files: Files) -> Node:
    if callable(places):
        found: Node = places(node, files)
        return found
    if isinstance(node.value, Mapping):
        members = {
            key: _walked(member, below, files)
            if (below := places.get(key, places.get(_ANY)))
            else member
            for key, member in node.value.items()
        }
        return Node(members, node.location)
    if isinstance(node.value, tuple) and _ANY in places:
        items = (_walked(item, places[_ANY], files) for item in node.value)
        return Node(tuple(items), node.location)
    return node


def _value(node: Node, files: Files) -> Node:
    if not isinstance(node.value, str):
        return node
    file = relative(node.value, node.location)
    content = files.parse(file, "read", node.location)
    return content or Node(None, node.location)


def _schema(node: Node, files: Files) -> Node:
    return with_files_bundled(_value(node, files), files)


def _text(node: Node, files: Files) -> Node:
    value = node.value
    if not isinstance(value, str) or value.split() != [value]:
        return node
    if not value.endswith(_TEXT_SUFFIXES):
        return node
    return Node(files.text(relative(value, node.location), "read", node.location), node.location)


_ENDPOINTS = {name: {"config": _value} for name in ("connector", "local", "dekaf")}
_TASKS = {_ANY: {"endpoint": _ENDPOINTS, "bindings": {_ANY: {"resource": _value}}}}
_DERIVE = {
    "using": {
        **_ENDPOINTS,
        "sqlite": {"migrations": {_ANY: _text}},
        "typescript": {"module": _text},
        "python": {"module": _text},
    },
    "transforms": {_ANY: {"lambda": _text}},
}
_COLLECTION = {"schema": _schema, "writeSchema": _schema, "readSchema": _schema, "derive": _DERIVE}
_STEP = {"ingest": {"documents": _value}, "verify": {"documents": _value}}
_PLACES: Mapping[str, Any] = {
    "captures": _TASKS,
    "materializations": _TASKS,
    "collections": {_ANY: _COLLECTION},
    "tests": {_ANY: {_ANY: _STEP}},
}
