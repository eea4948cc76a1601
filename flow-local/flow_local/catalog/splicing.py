"""Changes to a YAML file that leave every other character of it alone.

A change is found by its place in the parsed text and made in the text itself, so comments, quotes,
anchors and line ends stay. Values that are reached through an alias or a merge key have no place of
their own and can't be changed.
"""

import re
from dataclasses import dataclass
from typing import Any

import yaml

from estuary_cdk.errors import ConfigError
from flow_local.catalog.nodes import Node
from flow_local.catalog.yaml_text import composed
from flow_local.catalog.yaml_writing import block_lines, flow, is_block, scalar

_LINE_END = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


@dataclass(slots=True)
class YamlFile:
    """The text of a YAML file while it is being changed."""

    text: str

    def append(self, path: tuple[str, ...], item: Node) -> None:
        """Add `item` to the sequence at `path`, which is created when it isn't there."""
        self._add(path, item, "")

    def insert(self, path: tuple[str, ...], key: str, value: Node) -> None:
        """Add a member to the mapping at `path`, which is created when it isn't there."""
        self._add(path, value, key)

    def replace(self, path: tuple[str, ...], value: Node) -> None:
        """Put `value` in the place of what `path` holds."""
        holder = self._find(path[:-1])
        key, old = _member(holder, path[-1])
        if old is None or _precedes(old, key):
            raise _unplaced(path)
        self._put(self._span(old, key, holder), value, key, holder)

    def _add(self, path: tuple[str, ...], value: Node, key: str) -> None:
        """Add to the collection at `path`: a member when there is a `key`, otherwise an item."""
        holder = self._find(path[:-1])
        holder_key, target = _member(holder, path[-1])
        addition = Node({key: value} if key else (value,), value.location)
        if target is None:
            self._extend(holder, Node({path[-1]: addition}, value.location), path)
        elif _precedes(target, holder_key):
            raise _unplaced(path)
        elif isinstance(target, yaml.ScalarNode) or not target.value:
            self._put(self._span(target, holder_key, holder), addition, holder_key, holder)
        else:
            self._extend(target, addition, path)

    def _extend(self, collection: Any, addition: Node, path: tuple[str, ...]) -> None:
        """Write the members or items of `addition` behind those of `collection`."""
        if not collection.value:
            raise _unplaced(path)
        if collection.flow_style:
            last = collection.value[-1]
            last = last[1] if isinstance(last, tuple) else last
            if last.end_mark.line < collection.start_mark.line:
                raise _unplaced(path)
            at = self._offset(collection.end_mark.line, collection.end_mark.column) - 1
            before = self.text[:at].rstrip()
            comma = " " if before.endswith(",") else ", "
            self.text = before + comma + flow(addition)[1:-1] + self.text[len(before) :]
            return
        column = self._child_column(collection)
        self._insert_lines(self._end_line(collection), block_lines(addition, column))

    def _put(self, span: tuple[int, int], value: Node, key: Any, holder: Any) -> None:
        start, end = span
        if holder.flow_style or not is_block(value):
            written = f" {flow(value)}"
        else:
            lines = block_lines(value, _column(key) + 2)
            written = "".join(f"{self._line_end()}{line}" for line in lines)
        self.text = self.text[:start].rstrip(" ") + written + self.text[end:]

    def _span(self, node: Any, key: Any, holder: Any) -> tuple[int, int]:
        """Return where the text of a value begins and ends, comments around it left out."""
        is_scalar = isinstance(node, yaml.ScalarNode)
        if node.style in (None, "", "'", '"') if is_scalar else node.flow_style:
            start = self._offset(node.start_mark.line, node.start_mark.column)
            return start, self._offset(node.end_mark.line, node.end_mark.column)
        if holder.flow_style or is_scalar:
            raise _unplaced((key.value,))
        lines = self._lines()
        last = self._end_line(node) - 1
        key_line: int = key.end_mark.line
        start = self._offset(key_line, len(lines[key_line]))
        return start, self._offset(last, len(lines[last]))

    def _child_column(self, collection: Any) -> int:
        """Return the column at which the members or items of a block begin."""
        first = collection.value[0]
        if isinstance(first, tuple):
            return _column(first[0])
        line = self._lines()[first.start_mark.line]
        return len(line) - len(line.lstrip(" "))

    def _end_line(self, collection: Any) -> int:
        """Return the number of the line after the last one of a block."""
        lines = self._lines()
        mark = collection.end_mark
        is_last = self._offset(mark.line, mark.column) >= len(self.text)
        end: int = mark.line + (is_last and mark.column > 0)
        column = self._child_column(collection)
        while end > collection.start_mark.line + 1:
            content = lines[end - 1].lstrip(" ")
            indent = len(lines[end - 1]) - len(content)
            if content and (content[0] != "#" or indent >= column):
                break
            end -= 1
        return end

    def _insert_lines(self, number: int, added: list[str]) -> None:
        line_end = self._line_end()
        at = self._offset(number, 0)
        block = "".join(f"{line}{line_end}" for line in added)
        gap = "" if not at or _LINE_END.fullmatch(self.text[at - 1]) else line_end
        self.text = self.text[:at] + gap + block + self.text[at:]

    def _find(self, path: tuple[str, ...]) -> Any:
        node = composed(self.text)
        for depth, name in enumerate(path):
            key, below = _member(node, name)
            if below is None or _precedes(below, key):
                raise _unplaced(path[: depth + 1])
            node = below
        return node

    def _lines(self) -> list[str]:
        return _LINE_END.split(self.text)

    def _offset(self, line: int, column: int) -> int:
        ends = [0, *(found.end() for found in _LINE_END.finditer(self.text))]
        return ends[line] + column if line < len(ends) else len(self.text)

    def _line_end(self) -> str:
        found = _LINE_END.search(self.text)
        return found[0] if found else "\n"


def _member(node: Any, name: str) -> tuple[Any, Any]:
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if isinstance(key, yaml.ScalarNode) and key.value == name:
            return key, value
    return None, None


def _precedes(node: Any, key: Any) -> bool:
    """Tell whether a value stands before its key: it is an alias of something written earlier."""
    place = (node.start_mark.line, node.start_mark.column)
    return place < (key.end_mark.line, key.end_mark.column)


def _column(node: Any) -> int:
    column: int = node.start_mark.column
    return column


def _unplaced(path: tuple[str, ...]) -> ConfigError:
    name = ".".join(scalar(token) for token in path)
    return ConfigError(
        f"can't change {name}: it isn't written out there",
        hint="replace the alias, merge key or flow style by plain YAML in block style",
    )
