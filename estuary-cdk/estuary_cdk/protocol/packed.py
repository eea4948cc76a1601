"""Keys packed as FoundationDB tuples: bytes that sort as the keys do.

Order of types: null < bytes < string < integer < double < boolean. Arrays and objects are packed as
byte strings that hold their JSON text. Integers reach from -2**63 to 2**64-1; longer ones can't be
packed by the protocol's encoding and are packed as doubles, so two of them may collide in order but
their JSON spelling tells them apart.
"""

import struct
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

_NULL, _BYTES, _STRING, _ZERO = 0x00, 0x01, 0x02, 0x14
_FLOAT, _DOUBLE, _FALSE, _TRUE = 0x20, 0x21, 0x26, 0x27

Packable = None | bool | int | float | str | Raw


def pack(values: Sequence[Packable]) -> bytes:
    """Pack a tuple of scalars; a `Raw` stands for the JSON text of an array or object."""
    return b"".join([_packed(value) for value in values])


def pack_json(items: Sequence[bytes]) -> bytes:
    """Pack a tuple given as the JSON text of each item."""
    return b"".join([packed_json(item) for item in items])


def packed_json(item: bytes) -> bytes:
    """Pack one value given as JSON text."""
    first = item[:1]
    if first == b'"' and b"\\" not in item and b"\x00" not in item:
        return b"\x02" + item[1:-1] + b"\x00"
    if first in {b"{", b"["}:
        return _packed(Raw(item))
    return _packed(msgspec.json.decode(item))


def _packed(value: Packable) -> bytes:
    if type(value) is int:
        return _integer(value)
    if isinstance(value, str):
        return b"\x02" + value.encode().replace(b"\x00", b"\x00\xff") + b"\x00"
    if value is None:
        return b"\x00"
    if value is True:
        return b"\x27"
    if value is False:
        return b"\x26"
    if isinstance(value, float):
        return _integer(int(value)) if value.is_integer() and abs(value) < 2**63 else _real(value)
    return b"\x01" + bytes(value).replace(b"\x00", b"\x00\xff") + b"\x00"


def _integer(value: int) -> bytes:
    if value == 0:
        return b"\x14"
    size = (value.bit_length() + 7) // 8 if value > 0 else ((-value).bit_length() + 7) // 8
    if size > 8:
        return _real(float(value))
    if value > 0:
        return bytes((_ZERO + size,)) + value.to_bytes(size, "big")
    return bytes((_ZERO - size,)) + (value + (1 << (8 * size)) - 1).to_bytes(size, "big")


def _real(value: float) -> bytes:
    raw = struct.pack(">d", value)
    if raw[0] & 0x80:
        return b"\x21" + bytes(byte ^ 0xFF for byte in raw)
    return b"\x21" + bytes((raw[0] ^ 0x80,)) + raw[1:]


def unpack(packed: bytes) -> list[Any]:
    """Unpack to Python values; arrays and objects come as `Raw` JSON text.

    Raises ValueError for bytes that no tuple packs to.
    """
    values: list[Any] = []
    at = 0
    while at < len(packed):
        value, at = _unpacked(packed, at)
        values.append(value)
    return values


def _unpacked(packed: bytes, at: int) -> tuple[Any, int]:
    code = packed[at]
    at += 1
    if code in {_BYTES, _STRING}:
        text, at = _terminated(packed, at)
        return (Raw(text) if code == _BYTES else text.decode()), at
    if _ZERO - 8 <= code <= _ZERO + 8:
        size = abs(code - _ZERO)
        number = int.from_bytes(packed[at : at + size], "big")
        return (number if code >= _ZERO else number - (1 << (8 * size)) + 1), at + size
    if code in {_FLOAT, _DOUBLE}:
        size, form = (4, ">f") if code == _FLOAT else (8, ">d")
        raw = bytearray(packed[at : at + size])
        raw = bytearray([raw[0] ^ 0x80, *raw[1:]] if raw[0] & 0x80 else [b ^ 0xFF for b in raw])
        return struct.unpack(form, raw)[0], at + size
    constants = {_NULL: None, _FALSE: False, _TRUE: True}
    if code not in constants:
        raise ValueError(f"can't unpack key: no type has code {code:#04x}")
    return constants[code], at


def _terminated(packed: bytes, at: int) -> tuple[bytes, int]:
    """Return the text from `at` to its terminating zero, and where to go on."""
    end = packed.index(b"\x00", at)
    while packed[end + 1 : end + 2] == b"\xff":
        end = packed.index(b"\x00", end + 2)
    return packed[at:end].replace(b"\x00\xff", b"\x00"), end + 1
