"""Nodes as YAML text in block style, such that YAML 1.1 and 1.2 readers agree on what it means."""

import re
from collections.abc import Mapping

import msgspec

from flow_local.catalog.nodes import Node, Number
from flow_local.catalog.yaml_text import resolve_plain

FLOW_CHARS_MAX = 72

_PLAIN = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_./+-]*(?: [A-Za-z0-9_./+()-]+)*")
# Words that some reader takes for something else than text.
_RESERVED = re.compile(r"y|n|yes|no|on|off|true|false|null|[-+.]?[0-9].*", re.IGNORECASE)
_UNPRINTABLE = re.compile("[\x7f-\x9f\ud800-\udfff\u2028\u2029\ufeff\ufffe\uffff]")


def block_lines(node: Node, indent: int) -> list[str]:
    """Return the lines of a mapping or sequence that isn't empty, each indented by `indent`."""
    margin = " " * indent
    lines: list[str] = []
    if isinstance(node.value, Mapping):
        for key, member in node.value.items():
            lines += _entry(f"{margin}{scalar(key)}:", member, indent)
    for item in node.items:
        if not is_block(item):
            lines.append(f"{margin}- {flow(item)}")
            continue
        first, *rest = block_lines(item, indent + 2)
        lines += [f"{margin}- {first.lstrip(' ')}", *rest]
    return lines


def _entry(key: str, member: Node, indent: int) -> list[str]:
    if is_block(member):
        return [key, *block_lines(member, indent + 2)]
    return [f"{key} {flow(member)}"]


def is_block(node: Node) -> bool:
    """Tell whether a value is written over several lines."""
    if isinstance(node.value, Mapping):
        return bool(node.value)
    nested = any(isinstance(item.value, Mapping | tuple) for item in node.items)
    return nested or (len(flow(node)) > FLOW_CHARS_MAX and bool(node.items))


def flow(node: Node) -> str:
    """Return a value in one line."""
    if isinstance(node.value, Mapping):
        members = (f"{scalar(key)}: {flow(member)}" for key, member in node.value.items())
        return f"{{{', '.join(members)}}}"
    if isinstance(node.value, tuple):
        return f"[{', '.join(flow(item) for item in node.value)}]"
    return scalar(node.value)


def scalar(value: str | Number | bool | None) -> str:  # noqa: FBT001 - a value of JSON
    """Return a scalar, quoted where it must be."""
    if isinstance(value, Number):
        return value.text
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and not _RESERVED.fullmatch(value):
            assert resolve_plain(value) == value
            return value
        quoted = msgspec.json.encode(value).decode()
        return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
    return msgspec.json.encode(value).decode()
