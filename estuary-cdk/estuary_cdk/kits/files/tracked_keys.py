"""Which keys of a stream's documents are in its collection, kept in compressed blocks of state.

The keys known are always a superset of those in the collection: they are recorded in the same
checkpoint as the documents, and struck out in the same checkpoint as the deletions. Every patch
names only the blocks it changes.

A key is the JSON array of its values, integers spelled as integers however the source spells them.
Above `KEYS_MAX` keys, or `KEY_BYTES_MAX` bytes of them, tracking ends for good, because the state
would become too large: `stopped` is true and nothing vanishes any more.
"""

import base64
import re
import zlib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Raw

KEYS_MAX = 200_000
KEY_BYTES_MAX = 16 << 20
BLOCKS_MAX = 256
BLOCK_KEYS = 20_000
DIGITS_MAX = 1_000

_INTEGER = re.compile(rb"-?[1-9]\d*|0")
_NOT_SCALAR = {b"", b"n", b"{", b"["}
members = msgspec.json.Decoder(dict[str, Raw]).decode


def key_of(document: Mapping[str, Raw], pointers: Iterable[str]) -> bytes:
    """Return the key of a document given as its members' JSON text.

    Only the key itself is decoded: a document may hold numbers that no float does. LookupError
    names the pointer that finds no scalar.
    """
    return b"[" + b",".join([_key_value(document, pointer) for pointer in pointers]) + b"]"


def document_of(key: bytes, pointers: Iterable[str]) -> dict[str, Any]:
    """Return the smallest document that has `key`."""
    document: dict[str, Any] = {}
    for pointer, value in zip(pointers, msgspec.json.decode(key), strict=True):
        *parents, name = _tokens(pointer)
        inner = document
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[name] = value
    return document


def _key_value(document: Mapping[str, Raw], pointer: str) -> bytes:
    first, *inner = _tokens(pointer)
    value = bytes(document.get(first, b""))
    for token in inner:
        value = bytes(members(value).get(token, b"")) if value[:1] == b"{" else b""
    if value[:1] in _NOT_SCALAR:
        raise LookupError(pointer)
    if value[:1] == b'"':
        # One spelling for each string: escapes are a choice of who wrote it.
        return msgspec.json.encode(msgspec.json.decode(value)) if b"\\" in value else value
    return value if value.isalpha() or _INTEGER.fullmatch(value) else _number(value)


def _number(value: bytes) -> bytes:
    number = Decimal(value.decode())
    if number.adjusted() < DIGITS_MAX and number == number.to_integral_value():
        return b"%d" % int(number)
    return value


def _tokens(pointer: str) -> list[str]:
    parts = pointer.removeprefix("/").split("/")
    return [part.replace("~1", "/").replace("~0", "~") for part in parts]


class TrackedKeys:
    """The keys known from earlier checkpoints, and those this read has seen."""

    def __init__(self, blocks: Mapping[str, str], *, stopped: bool = False) -> None:
        self.stopped = stopped
        self._blocks = {name: unpacked(block) for name, block in blocks.items()}
        self._known = {key for keys in self._blocks.values() for key in keys}
        self._known_bytes = sum(map(len, self._known))
        self._seen: set[bytes] = set()
        self._fresh: list[bytes] = []
        self._dropped: set[str] = set()

    def see(self, key: bytes) -> bool:
        """Note that the file has `key`; return whether it was known before."""
        if self.stopped:
            return False
        known = key in self._known
        self._seen.add(key)
        if not known:
            self._known.add(key)
            self._known_bytes += len(key)
            self._fresh.append(key)
            if len(self._known) > KEYS_MAX or self._known_bytes > KEY_BYTES_MAX:
                self._stop()
        return known

    def start_over(self) -> None:
        """Read the file from its beginning again."""
        self._seen.clear()

    def patch(self) -> dict[str, str | None]:
        """Return the blocks to change so that all keys seen are known; none the next time."""
        changed: dict[str, str | None] = dict.fromkeys(self._dropped)
        self._dropped.clear()
        if self._fresh:
            name = self._next_name()
            self._blocks[name] = self._fresh
            changed[name] = _packed(self._fresh)
            self._fresh = []
        return changed

    def vanished(self) -> list[bytes]:
        """Return the known keys that this read, now at its end, hasn't seen."""
        return sorted(self._known - self._seen)

    def forget(self, keys: Iterable[bytes]) -> dict[str, str | None]:
        """Strike out `keys`; return the blocks to change."""
        gone = set(keys)
        self._known -= gone
        self._known_bytes -= sum(map(len, gone))
        changed: dict[str, str | None] = {}
        for name, block in list(self._blocks.items()):
            left = [key for key in block if key not in gone]
            if len(left) == len(block):
                continue
            changed[name] = _packed(left) if left else None
            if left:
                self._blocks[name] = left
            else:
                del self._blocks[name]
        return changed

    def compacted(self) -> dict[str, str | None]:
        """Return the blocks to change so that there are few again; none while there are."""
        if len(self._blocks) <= BLOCKS_MAX:
            return {}
        changed: dict[str, str | None] = dict.fromkeys(self._blocks)
        keys = sorted(self._known)
        self._blocks = {
            str(start // BLOCK_KEYS): keys[start : start + BLOCK_KEYS]
            for start in range(0, len(keys), BLOCK_KEYS)
        }
        return changed | {name: _packed(block) for name, block in self._blocks.items()}

    def _stop(self) -> None:
        self.stopped = True
        self._dropped = set(self._blocks)
        self._blocks.clear()
        self._known.clear()
        self._seen.clear()
        self._fresh.clear()

    def _next_name(self) -> str:
        return str(max(map(int, self._blocks), default=-1) + 1)


def _packed(keys: list[bytes]) -> str:
    return base64.b64encode(zlib.compress(b"\n".join(keys))).decode("ascii")


def unpacked(block: str) -> list[bytes]:
    """Return the keys in a block of state."""
    return zlib.decompress(base64.b64decode(block)).split(b"\n")
