"""Cutting JSON values to the sizes that a destination can take.

A string keeps its first bytes, whole characters alone; an array its first items; an object its
first properties, unless it is the document itself. What is within the limits keeps its exact bytes.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import Raw

from estuary_cdk.protocol.flow import SerPolicy

# The least text that an item, or a property, of the shortest kind can take.
ITEM_BYTES_MIN: Final = 2
PROPERTY_BYTES_MIN: Final = 5

_text = msgspec.json.Decoder(str).decode
_items = msgspec.json.Decoder(list[Raw]).decode
_properties = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


class Truncation:
    """A policy for values given as JSON text; a limit of 0 is none.

    `bytes_min` is how long a text is at least if something in it is to be cut; 0 where nothing
    ever is.
    """

    def __init__(self, policy: SerPolicy) -> None:
        self._text_bytes_max = policy.str_truncate_after
        self._properties_max = policy.nested_obj_truncate_after
        self._items_max = policy.array_truncate_after
        shortest = [
            limit * unit
            for limit, unit in (
                (self._text_bytes_max, 1),
                (self._properties_max, PROPERTY_BYTES_MIN),
                (self._items_max, ITEM_BYTES_MIN),
            )
            if limit
        ]
        self.bytes_min = min(shortest, default=0)

    def value(self, text: bytes) -> bytes:
        """Return a value cut to size; the same object if it is within the limits."""
        return self._cut(text, self._properties_max)

    def document(self, text: bytes) -> bytes:
        """Return a document whose values are cut to size, but that keeps all its properties."""
        return self._cut(text, 0)

    def _cut(self, text: bytes, properties_max: int) -> bytes:
        if not self.bytes_min or len(text) < self.bytes_min:
            return text
        cut = self._cuts.get(text.lstrip()[:1])
        return text if cut is None else cut(self, text, properties_max)

    def _cut_text(self, text: bytes, _: int) -> bytes:
        limit = self._text_bytes_max
        if not limit or len(text) - 2 <= limit:
            return text
        plain = _text(text).encode()
        return text if len(plain) <= limit else _encode(plain[:limit].decode(errors="ignore"))

    def _cut_array(self, text: bytes, _: int) -> bytes:
        items: list[Raw] = _items(text)
        kept = items[: self._items_max or None]
        cut = [self.value(bytes(item)) for item in kept]
        if len(cut) == len(items) and all(map(_same, cut, items)):
            return text
        return _encode(list(map(Raw, cut)))

    def _cut_object(self, text: bytes, properties_max: int) -> bytes:
        properties: dict[str, Raw] = _properties(text)
        kept = list(properties.items())[: properties_max or None]
        cut = {name: self.value(bytes(value)) for name, value in kept}
        if len(cut) == len(properties) and all(map(_same, cut.values(), properties.values())):
            return text
        return _encode({name: Raw(value) for name, value in cut.items()})

    _cuts: Final[dict[bytes, Callable[[Any, bytes, int], bytes]]] = {
        b'"': _cut_text,
        b"[": _cut_array,
        b"{": _cut_object,
    }


def _same(cut: bytes, raw: Raw) -> bool:
    return len(cut) == len(bytes(raw))
