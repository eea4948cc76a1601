"""What tells keys apart: bytes that are equal for equal keys, however spelt, and sort as keys do.

They are the packed key, which the protocol wants too. Where an integer is too long to be packed
without loss, the key's spelling follows it.
"""

import struct
from collections.abc import Sequence
from typing import Final

from msgspec import Raw

from estuary_cdk.protocol import packed
from estuary_cdk.protocol.codec import texts

Row = tuple[bytes, ...]

_LONGEST: Final = 19
"""Digits that any packed integer has room for."""
_HEADS: Final = [bytes((0x14 + size,)) for size in range(9)]
_SPELT: Final = b"\xfe"
"""Begins the spelling; b"\\xff" behind a text would pass for a part of the text."""


def identity(key: Row) -> bytes:
    """Return the identity of one key, given as the JSON text of its parts."""
    code = packed.pack_json(key)
    if any(len(item) > _LONGEST and item[:1] not in b'"{[' for item in key):
        return code + _SPELT + b",".join(key)
    return code


def identities(keys: Sequence[Row]) -> list[bytes]:
    """Return the identities of many keys; quick where their parts are plain."""
    return identities_of_columns(list(zip(*keys, strict=True)))


def identities_of_columns(parts: Sequence[Sequence[bytes | Raw]]) -> list[bytes]:
    """Return the identities of many keys, of which all first parts come first, and so on."""
    return identified(parts)[0]


def identified(parts: Sequence[Sequence[bytes | Raw]]) -> tuple[list[bytes], Sequence[bytes]]:
    """Return what `identities_of_columns` does, and the packed keys, which mostly are the same."""
    spelt = [texts(column) for column in parts]
    columns: list[list[bytes]] = []
    for column in spelt:
        codes = _integers(column) or _texts(column)
        if codes is None:
            keys = [identity(key) for key in zip(*spelt, strict=True)]
            return keys, list(map(packed_of, keys))
        columns.append(codes)
    keys = columns[0] if len(columns) == 1 else list(map(b"".join, zip(*columns, strict=True)))
    return keys, keys


def packed_of(key: bytes) -> bytes:
    """Return the packed key of an identity."""
    if _SPELT not in key:
        return key
    at = 0
    while at < len(key) and key[at] != _SPELT[0]:
        at = _end(key, at)
    return key[:at]


def _end(key: bytes, at: int) -> int:
    """Return where the part of a packed key ends that begins at `at`."""
    code = key[at]
    if code in {0x01, 0x02}:
        end = key.index(b"\x00", at)
        while key[end + 1 : end + 2] == b"\xff":
            end = key.index(b"\x00", end + 2)
        return end + 1
    if 0x0C <= code <= 0x1C:
        return at + 1 + abs(code - 0x14)
    return at + {0x20: 5, 0x21: 9}.get(code, 1)


def _integers(column: Sequence[bytes]) -> list[bytes] | None:
    """Pack integers that aren't negative, or return None."""
    if not b"".join(column).isdigit() or max(map(len, column)) > _LONGEST:
        return None
    numbers = list(map(int, column))
    size = _size(max(numbers))
    if size != _size(min(numbers)):
        return [_HEADS[_size(value)] + value.to_bytes(_size(value), "big") for value in numbers]
    # Neighbours are mostly of one size: pack all at once and cut the leading zeros off.
    eights = struct.pack(f">{len(numbers)}Q", *numbers)
    head = _HEADS[size]
    return [head + eights[end - size : end] for end in range(8, len(eights) + 1, 8)]


def _size(value: int) -> int:
    return (value.bit_length() + 7) >> 3


def _texts(column: Sequence[bytes]) -> list[bytes] | None:
    """Pack texts without escapes, or return None."""
    alike = len(column) > 1 and column.count(column[0]) == len(column)
    known = column[:1] if alike else list(dict.fromkeys(column))
    text = b"".join(known)
    if b"\\" in text or text.count(b'"') != 2 * len(known):
        return None
    # As many quotes as that, at every beginning, leave none for inside.
    if any(item[:1] != b'"' for item in known):
        return None
    codes = [b"\x02" + item[1:-1] + b"\x00" for item in known]
    if alike:
        return codes * len(column)
    if len(known) == len(column):
        return codes
    return list(map(dict(zip(known, codes, strict=True)).__getitem__, column))
