"""Whether a document is as a test expects it: all that is expected is there, and equal.

An object may have more properties than expected; an array has as many items. Numbers are equal by
value, however they are spelt.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import msgspec

from flow_local.schema import pointers

MISSING: Final = b"nothing"

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number", order="sorted").encode


@dataclass(frozen=True, slots=True)
class Difference:
    """A location of a document, and the JSON that was expected and found there.

    Either is the word `nothing` where there should be, or is, no value.
    """

    pointer: str
    expected: bytes
    found: bytes


def differences(expected: bytes, found: bytes) -> list[Difference]:
    """Return where a document isn't as expected, in the order of what is expected."""
    return list(_differing(_decode(expected), _decode(found), ()))


def _differing(expected: Any, found: Any, path: tuple[str | int, ...]) -> Iterator[Difference]:
    if isinstance(expected, dict) and isinstance(found, dict):
        for name, value in expected.items():
            if name in found:
                yield from _differing(value, found[name], (*path, name))
            else:
                yield Difference(pointers.joined([*path, name]), _encode(value), MISSING)
    elif isinstance(expected, list) and isinstance(found, list):
        yield from _items(expected, found, path)
    elif not _equal(expected, found):
        yield Difference(pointers.joined(path), _encode(expected), _encode(found))


def _items(
    expected: Sequence[Any], found: Sequence[Any], path: tuple[str | int, ...]
) -> Iterator[Difference]:
    for place in range(max(len(expected), len(found))):
        below = (*path, place)
        if place >= len(found):
            yield Difference(pointers.joined(below), _encode(expected[place]), MISSING)
        elif place >= len(expected):
            yield Difference(pointers.joined(below), MISSING, _encode(found[place]))
        else:
            yield from _differing(expected[place], found[place], below)


def _equal(expected: Any, found: Any) -> bool:
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    return bool(expected == found)
