"""What a catalog's text says, value by value, each with the place where it stands.

A `Node` is a JSON value that knows its place. A member of a mapping stands where its key stands,
since that is the line a person looks for; an item of a sequence stands where it begins. Numbers
keep their spelling, as JSON would write them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from flow_local.schema import pointers


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A place in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Number:
    """A number by its JSON spelling, however long."""

    text: str

    @property
    def integer(self) -> int | None:
        """The value when it is spelled as an integer."""
        return int(self.text) if self.text.lstrip("-").isdigit() else None


NodeValue: TypeAlias = "bool | str | Number | Mapping[str, Node] | tuple[Node, ...] | None"


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its place; mappings and sequences hold further nodes."""

    value: NodeValue
    location: Location

    @property
    def members(self) -> Mapping[str, "Node"]:
        """The members of a mapping; empty for every other value."""
        return self.value if isinstance(self.value, Mapping) else {}

    @property
    def items(self) -> tuple["Node", ...]:
        """The items of a sequence; empty for every other value."""
        return self.value if isinstance(self.value, tuple) else ()


def kind(node: Node) -> str:
    """Name the JSON type of a node, with its article."""
    match node.value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case Number():
            return "a number"
        case tuple():
            return "a list"
        case _:
            return "a mapping"


def plain(node: Node) -> Any:
    """Return the value as `msgspec.json.encode` takes it; numbers are `msgspec.Raw`."""
    value = node.value
    if isinstance(value, Number):
        return msgspec.Raw(value.text.encode())
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: plain(member) for key, member in value.items()}
    return value


def encoded(node: Node) -> bytes:
    """Return the value as compact JSON, in source order, each number as it was spelled."""
    return msgspec.json.encode(plain(node))


def nearest(node: Node, place: str) -> Location:
    """Return where `place`, a JSON pointer below `node`, stands: its deepest part that exists."""
    for token in pointers.tokens(place):
        if token in node.members:
            node = node.members[token]
        elif token.isascii() and token.isdigit() and int(token) < len(node.items):
            node = node.items[int(token)]
        else:
            break
    return node.location
