"""JSON text to nodes: strict JSON, with positions and the spelling of numbers.

YAML is nearly a superset of JSON, but only nearly: tabs, long keys and escaped surrogate pairs are
read differently, so JSON files have their own reader.
"""

import re
from dataclasses import dataclass

import msgspec

from estuary_cdk.errors import shortened
from flow_local.catalog.diagnostics import CatalogError
from flow_local.catalog.nodes import Location, Node, NodeValue, Number

DEPTH_MAX = 200

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORD = re.compile(r"[A-Za-z]+")
_WORDS: dict[str, bool | None] = {"null": None, "true": True, "false": False}


def parse_json(text: str, file: str) -> Node:
    """Return the value of `text`; `file` is the name that locations carry.

    Raises CatalogError at the place of the first mistake, also for keys given twice.
    """
    reader = _Reader(text, file)
    node = reader.node(0)
    reader.skip()
    if reader.at < len(text):
        raise reader.mistake("there is more after the value")
    return node


@dataclass(slots=True)
class _Reader:
    text: str
    file: str
    at: int = 0
    line: int = 1
    line_start: int = 0

    def location(self) -> Location:
        return Location(self.file, self.line, self.at - self.line_start + 1)

    def mistake(self, reason: str, location: Location | None = None) -> CatalogError:
        message = f"can't read {self.file!r} as JSON: {reason}"
        return CatalogError(message, location=location or self.location())

    def skip(self) -> None:
        """Pass over white space, counting lines; strings can't hold a line end."""
        found = _SPACE.match(self.text, self.at)
        assert found is not None
        if lines := found[0].count("\n"):
            self.line += lines
            self.line_start = self.at + found[0].rindex("\n") + 1
        self.at = found.end()

    def peek(self) -> str:
        self.skip()
        return self.text[self.at : self.at + 1]

    def node(self, depth: int) -> Node:
        start = self.peek()
        location = self.location()
        if depth > DEPTH_MAX:
            raise self.mistake(f"values are nested more than {DEPTH_MAX} deep")
        if start == "{":
            return Node(self.mapping(depth), location)
        if start == "[":
            return Node(self.sequence(depth), location)
        return Node(self.scalar(start), location)

    def scalar(self, start: str) -> NodeValue:
        if start == '"':
            return self.string()
        if found := _NUMBER.match(self.text, self.at):
            self.at = found.end()
            return Number(found[0])
        found = _WORD.match(self.text, self.at)
        if found is None or found[0] not in _WORDS:
            raise self.mistake(f"expected a value, found {shortened(start or 'the end')}")
        self.at = found.end()
        return _WORDS[found[0]]

    def string(self) -> str:
        found = _STRING.match(self.text, self.at)
        if found is None:
            raise self.mistake("a string doesn't end in its line")
        try:
            value: str = msgspec.json.decode(found[0], type=str)
        except msgspec.DecodeError as error:
            raise self.mistake("a string has an escape that JSON doesn't know") from error
        self.at = found.end()
        return value

    def sequence(self, depth: int) -> NodeValue:
        self.at += 1
        items: list[Node] = []
        if self.peek() == "]":
            self.at += 1
            return ()
        while True:
            items.append(self.node(depth + 1))
            if self.end("]"):
                return tuple(items)

    def mapping(self, depth: int) -> NodeValue:
        self.at += 1
        members: dict[str, Node] = {}
        if self.peek() == "}":
            self.at += 1
            return members
        while True:
            if self.peek() != '"':
                raise self.mistake("expected a key in double quotes")
            location = self.location()
            key = self.string()
            if key in members:
                first = members[key].location.line
                reason = f"the key {shortened(key)} is given twice, first in line {first}"
                raise self.mistake(reason, location)
            if self.peek() != ":":
                raise self.mistake(f"expected ':' after the key {shortened(key)}")
            self.at += 1
            members[key] = Node(self.node(depth + 1).value, location)
            if self.end("}"):
                return members

    def end(self, closing: str) -> bool:
        found = self.peek()
        if found not in (",", closing) or not found:
            raise self.mistake(f"expected ',' or '{closing}', found {found or 'the end'!r}")
        self.at += 1
        return found == closing
