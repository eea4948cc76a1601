"""Schemas that refer to schemas in other files: the files become part of the schema.

A relative `$ref` such as `person.schema.yaml#/properties/name` is replaced by a reference into
`$defs`, where the file's content is added once. References inside the schema (`#...`), to `flow://`
and to any other URL are left as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from flow_local.catalog.files import Files, relative
from flow_local.catalog.nodes import Node
from flow_local.schema import pointers

# What these hold is data, not schema: a "$ref" in it means nothing.
_DATA = {"const", "default", "enum", "examples"}


def with_files_bundled(schema: Node, files: Files) -> Node:
    """Return `schema` with every file it refers to, directly or not, added under `$defs`."""
    definitions = schema.members.get("$defs")
    bundle = _Bundle(files, set(definitions.members) if definitions else set())
    root = bundle.rewritten(schema, "")
    while bundle.waiting:
        name, content = bundle.waiting.pop()
        bundle.added[name] = bundle.rewritten(content, bundle.pointer(name))
    if not bundle.added:
        return schema
    rewritten = dict(root.members)
    existing = rewritten.get("$defs")
    rewritten["$defs"] = Node(
        {**(existing.members if existing else {}), **bundle.added}, root.location
    )
    return Node(rewritten, root.location)


@dataclass(slots=True)
class _Bundle:
    files: Files
    taken: set[str]
    names: dict[str, str] = field(default_factory=dict)
    added: dict[str, Node] = field(default_factory=dict)
    waiting: list[tuple[str, Node]] = field(default_factory=list)

    def rewritten(self, node: Node, root: str) -> Node:
        """Return `node` with its references changed; `root` is the pointer of its document."""
        if isinstance(node.value, tuple):
            items = tuple(self.rewritten(item, root) for item in node.value)
            return Node(items, node.location)
        if not isinstance(node.value, Mapping):
            return node
        members = {}
        for key, member in node.value.items():
            if key == "$ref" and isinstance(member.value, str):
                members[key] = Node(self.reference(member, root), member.location)
            else:
                members[key] = member if key in _DATA else self.rewritten(member, root)
        return Node(members, node.location)

    def reference(self, node: Node, root: str) -> str:
        text = str(node.value)
        path, _, fragment = text.partition("#")
        if not path:
            within = not fragment or fragment.startswith("/")
            return f"#{root}{fragment}" if root and within else text
        if ":" in path.split("/")[0]:
            return text
        return f"#{self.place(relative(unquote(path), node.location), node)}{fragment}"

    def place(self, file: str, named_by: Node) -> str:
        """Return the pointer, escaped for a URL, under which the content of `file` is added."""
        if file not in self.names:
            name = file.rpartition("/")[2]
            while name in self.taken:
                name += "_"
            self.taken.add(name)
            self.names[file] = name
            content = self.files.parse(file, "read", named_by.location)
            if content is not None:
                members = {k: v for k, v in content.members.items() if k != "$id"}
                whole = Node(members, content.location) if content.members else content
                self.waiting.append((name, whole))
        return self.pointer(self.names[file])

    def pointer(self, name: str) -> str:
        return quote(pointers.joined(["$defs", name]), safe="/~$")
