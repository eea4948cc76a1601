"""YAML text to nodes, with the meaning Flow gives to YAML.

Plain scalars mean what YAML 1.2 says: `null`, `~` and nothing are null; `true` and `false` are
booleans (`yes`, `on` and `no` are strings); decimal, `0x`, `0o` and `0b` integers and decimal
fractions are numbers; everything else, also timestamps and digits behind a leading zero, is a
string. A key is always a string, spelled as in the file. Anchors, aliases and merge keys work;
repeated keys, other tags and values that JSON can't hold are errors.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined] # the stubs hide it
from yaml.resolver import BaseResolver

from estuary_cdk.errors import shortened
from flow_local.catalog.diagnostics import CatalogError
from flow_local.catalog.nodes import Location, Node, NodeValue, Number

DEPTH_MAX = 200
NODES_MAX = 2_000_000

_CORE = "tag:yaml.org,2002:"
_UNTAGGED = "untagged"
_NULLS = {"", "~", "null", "Null", "NULL"}
_BOOLEANS = {"true": True, "True": True, "TRUE": True}
_BOOLEANS |= {"false": False, "False": False, "FALSE": False}
_DECIMAL = re.compile(r"([-+]?)(0|[1-9][0-9]*)")
_RADIX = re.compile(r"([-+]?)0(?:x([0-9a-fA-F]+)|o([0-7]+)|b([01]+))")
_FLOAT = re.compile(r"([-+]?)([0-9]*)(?:\.([0-9]*))?([eE][-+]?[0-9]+)?")
_NOT_JSON = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


class _Composer(CParser, BaseResolver):
    """PyYAML's parser without any idea of what plain scalars mean."""

    DEFAULT_SCALAR_TAG = _UNTAGGED  # type: ignore[misc] # the stubs call it final

    def __init__(self, stream: str) -> None:
        CParser.__init__(self, stream)
        BaseResolver.__init__(self)


def parse_yaml(text: str, file: str) -> Node:
    """Return the one document of `text`; `file` is the name that locations carry.

    Raises CatalogError at the place of the first mistake.
    """
    start = Location(file, 1, 1)
    try:
        root = composed(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = Location(file, mark.line + 1, mark.column + 1) if mark else start
        raise CatalogError(
            f"can't read {file!r} as YAML: {error.problem or error.context}", location=at
        ) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise CatalogError(f"can't read {file!r} as YAML: {error}", location=start) from error
    return Node({}, start) if root is None else _Conversion(file).node(root)


def composed(text: str) -> Any:
    """Return PyYAML's node of the one document of `text`, None when it has none.

    Plain scalars aren't interpreted. Raises `yaml.YAMLError`.
    """
    return _Composer(text).get_single_node()


def resolve_plain(text: str) -> bool | str | Number | None:
    """Return what an unquoted scalar means."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if found := _DECIMAL.fullmatch(text):
        return Number(found[1].replace("+", "") + found[2])
    if found := _RADIX.fullmatch(text):
        sign = found[1].replace("+", "")
        digits, radix = next((found[i], r) for i, r in ((2, 16), (3, 8), (4, 2)) if found[i])
        return Number(sign + str(int(digits, radix)))
    found = _FLOAT.fullmatch(text)
    if found is None or not (found[2] or found[3]) or (found[3] is None and not found[4]):
        return text
    sign, whole, fraction, exponent = found.groups()
    spelled = f"{whole.lstrip('0') or '0'}{'' if fraction is None else '.' + (fraction or '0')}"
    return Number(f"{sign.replace('+', '')}{spelled}{exponent or ''}")


@dataclass(slots=True)
class _Conversion:
    """Turns one file's YAML nodes into ours, each anchor once."""

    file: str
    done: dict[int, tuple[NodeValue, int]] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)

    def node(self, root: Any) -> Node:
        value, _ = self.value(root)
        return Node(value, self.location(root))

    def location(self, node: Any) -> Location:
        return Location(self.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def mistake(self, node: Any, reason: str, hint: str | None = None) -> CatalogError:
        message = f"can't read {self.file!r} as YAML: {reason}"
        return CatalogError(message, location=self.location(node), hint=hint)

    def value(self, node: Any) -> tuple[NodeValue, int]:
        """Return the value and how many nodes it stands for once aliases are written out."""
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node), 1
        key = id(node)
        if key in self.done:
            return self.done[key]
        if key in self.open:
            raise self.mistake(node, "an anchor contains itself")
        if len(self.open) >= DEPTH_MAX:
            raise self.mistake(node, f"values are nested more than {DEPTH_MAX} deep")
        if node.tag not in (_CORE + "map", _CORE + "seq"):
            raise self.mistake(node, f"the tag {node.tag!r} isn't supported")
        self.open.add(key)
        found = self.mapping(node) if isinstance(node, yaml.MappingNode) else self.sequence(node)
        self.open.remove(key)
        if found[1] > NODES_MAX:
            raise self.mistake(node, f"aliases expand to more than {NODES_MAX} values")
        self.done[key] = found
        return found

    def sequence(self, node: Any) -> tuple[NodeValue, int]:
        values = [self.value(item) for item in node.value]
        items = (
            Node(value, self.location(item))
            for (value, _), item in zip(values, node.value, strict=True)
        )
        return tuple(items), 1 + sum(size for _, size in values)

    def mapping(self, node: Any) -> tuple[NodeValue, int]:
        members: dict[str, Node] = {}
        merged: list[Any] = []
        size = 1
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.mistake(key_node, "a key must be a string")
            key = key_node.value
            if key == "<<" and not key_node.style:
                merged.append(value_node)
                continue
            if key in members:
                first = members[key].location.line
                reason = f"the key {shortened(key)} is given twice, first in line {first}"
                raise self.mistake(key_node, reason, "keep one of them")
            value, value_size = self.value(value_node)
            members[key] = Node(value, self.location(key_node))
            size += value_size
        for source in merged:
            size += self.merge(members, source)
        return members, size

    def merge(self, members: dict[str, Node], source: Any) -> int:
        """Add what `<<` names and `members` doesn't have yet; earlier sources win."""
        value, size = self.value(source)
        sources = value if isinstance(value, tuple) else (Node(value, self.location(source)),)
        for mapping in sources:
            if not isinstance(mapping.value, dict):
                raise self.mistake(source, "a merge key '<<' needs a mapping or a list of them")
            for key, member in mapping.value.items():
                members.setdefault(key, member)
        return size

    def scalar(self, node: Any) -> bool | str | Number | None:
        text: str = node.value
        if node.tag == _UNTAGGED and not node.style:
            if _NOT_JSON.fullmatch(text):
                raise self.mistake(node, f"{text!r} isn't a number of JSON", "quote it")
            return resolve_plain(text)
        if node.tag in (_UNTAGGED, "!", _CORE + "str"):
            return text
        value = resolve_plain(text)
        fits = {
            _CORE + "null": value is None,
            _CORE + "bool": isinstance(value, bool),
            _CORE + "int": isinstance(value, Number) and value.integer is not None,
            _CORE + "float": isinstance(value, Number),
        }
        if node.tag not in fits:
            raise self.mistake(node, f"the tag {node.tag!r} isn't supported")
        if not fits[node.tag]:
            raise self.mistake(node, f"{shortened(text)} isn't of the type that its tag says")
        return value
