"""The total order of JSON values: null < boolean < number < string < array < object.

Numbers compare exactly, whole or fractional and of any size. Strings compare by code point, arrays
item by item, objects property by property in the order of their names. What is missing comes first.
"""

from decimal import Decimal
from typing import Any

import msgspec

from flow_local.schema import pointers
from flow_local.schema.pointers import Tokens

Order = tuple[Any, ...]  # compares like the value it was made from

MISSING: Order = (-1,)

_decode = msgspec.json.Decoder(float_hook=Decimal).decode


def order(value: bytes | None) -> Order:
    """Return the sort key of a value given as JSON text (None: missing)."""
    return MISSING if value is None else _order(_decode(value))


def key_order(value: bytes, key: tuple[Tokens, ...]) -> Order:
    """Return the sort key of the values at `key` inside a value."""
    return tuple([order(pointers.located(value, path)) for path in key])


def _order(value: Any) -> Order:
    if value is None:
        return (0,)
    if isinstance(value, bool):
        return (1, value)
    if isinstance(value, int | Decimal):
        return (2, value)
    if isinstance(value, str):
        return (3, value)
    if isinstance(value, list):
        return (4, [_order(item) for item in value])
    return (5, [(name, _order(value[name])) for name in sorted(value)])
