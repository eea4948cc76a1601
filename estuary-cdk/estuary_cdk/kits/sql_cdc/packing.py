"""Keys packed into bytes that sort as their values do: FoundationDB's tuple encoding."""

from collections.abc import Sequence
from typing import Final

Part = int | bytes | str | bool | None

_ZERO: Final = 0x14
_INTEGER_BYTES_MAX: Final = 8


def packed(parts: Sequence[Part]) -> bytes:
    """Pack a tuple; integers have at most 64 bits."""
    return b"".join(map(_packed, parts))


def _packed(part: Part) -> bytes:
    match part:
        case None:
            return b"\x00"
        case bool():
            return b"\x27" if part else b"\x26"
        case int():
            return _integer(part)
        case bytes():
            return b"\x01" + part.replace(b"\x00", b"\x00\xff") + b"\x00"
        case str():
            return b"\x02" + part.encode().replace(b"\x00", b"\x00\xff") + b"\x00"


def _integer(value: int) -> bytes:
    size = (abs(value).bit_length() + 7) // 8
    if value < 0:
        return bytes([_ZERO - size]) + (value + (1 << 8 * size) - 1).to_bytes(size, "big")
    return bytes([_ZERO + size]) + value.to_bytes(size, "big")


def unpacked(data: bytes) -> list[Part]:
    """Take a packed tuple apart; raises ValueError for what isn't one."""
    parts: list[Part] = []
    at = 0
    while at < len(data):
        code = data[at]
        at += 1
        if code == 0:
            parts.append(None)
        elif code in {1, 2}:
            end = _end(data, at)
            raw = data[at:end].replace(b"\x00\xff", b"\x00")
            parts.append(raw if code == 1 else raw.decode())
            at = end + 1
        elif abs(size := code - _ZERO) <= _INTEGER_BYTES_MAX:
            digits = data[at : at + abs(size)]
            if len(digits) != abs(size):
                raise ValueError("the tuple ends inside an integer")
            value = int.from_bytes(digits, "big")
            parts.append(value if size >= 0 else value - (1 << 8 * -size) + 1)
            at += abs(size)
        elif code in {0x26, 0x27}:
            parts.append(code == 0x27)
        else:
            raise ValueError(f"the tuple has an unknown part {code:#x}")
    return parts


def _end(data: bytes, at: int) -> int:
    while True:
        at = data.index(b"\x00", at)
        if data[at + 1 : at + 2] != b"\xff":
            return at
        at += 2
