"""The entries of a zip archive, in one pass from front to back.

Only local headers are read: what the central directory at the end adds isn't needed. Stored and
deflated entries can be read; folders and the `__MACOSX/` entries of Apple's archiver are passed
over. Sizes may follow the data (zip's data descriptors), except for stored entries, whose end
couldn't be told then. Checksums are verified.
"""

import struct
import zlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from estuary_cdk.errors import DataError
from estuary_cdk.kits.files.compression import Expansion, Inflate, Part, truncated

LOCAL_HEADER = b"PK\x03\x04"
DIRECTORY = (b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x08")
DESCRIPTOR = b"PK\x07\x08"
DESCRIPTOR_BYTES_MAX = 24
ZIP64_SIZES = 1
STORED, DEFLATED = 0, 8
UINT32_MAX = 0xFFFFFFFF
ENCRYPTED, SIZES_FOLLOW, UTF8_NAME = 1 << 0, 1 << 3, 1 << 11


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    flags: int
    method: int
    crc: int
    packed: int

    @property
    def wanted(self) -> bool:
        return not self.name.endswith("/") and not self.name.startswith("__MACOSX/")


class ZipEntries:
    """A Decompressor whose parts carry their entry's name."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._buffer = bytearray()
        self._bytes = 0
        self._ended = False
        self._expansion = Expansion(file)
        self._parts = self._archive()

    def feed(self, block: bytes) -> Iterator[Part]:
        self._bytes += len(block)
        self._expansion.read(len(block))
        self._buffer += block
        yield from self._available()

    def finish(self) -> Iterator[Part]:
        self._ended = True
        yield from self._available()

    def _available(self) -> Iterator[Part]:
        for part in self._parts:
            if part is None:
                return
            self._expansion.write(len(part.data))
            yield part

    def _archive(self) -> Generator[Part | None, None, None]:
        index = 0
        while (signature := (yield from self._take(4))) == LOCAL_HEADER:
            entry = yield from self._header()
            if entry.wanted:
                yield Part(index, entry.name, b"")
            for plain in self._content(entry):
                if plain is None:
                    yield None
                elif entry.wanted:
                    yield Part(index, entry.name, plain)
            index += entry.wanted
        if signature not in DIRECTORY:
            raise self._damaged("", f"found {signature!r} where an entry should begin")
        while True:  # the directory repeats what is known already
            self._buffer.clear()
            yield None

    def _header(self) -> Generator[None, None, _Entry]:
        header = yield from self._take(26)
        _, flags, method, _, _, crc, packed, _, name_bytes, extra_bytes = struct.unpack(
            "<HHHHHIIIHH", header
        )
        raw_name = yield from self._take(name_bytes)
        extra = yield from self._take(extra_bytes)
        name = raw_name.decode("utf-8" if flags & UTF8_NAME else "cp437", "replace")
        if flags & ENCRYPTED:
            raise self._damaged(name, "it is encrypted")
        if method not in (STORED, DEFLATED):
            raise self._damaged(name, f"compression method {method} isn't supported")
        if method == STORED and flags & SIZES_FOLLOW:
            raise self._damaged(name, "it is stored without its size")
        if packed == UINT32_MAX:
            packed = _zip64_packed_size(extra)
        return _Entry(name, flags, method, crc, packed)

    def _content(self, entry: _Entry) -> Generator[bytes | None, None, None]:
        data = self._inflated() if entry.method == DEFLATED else self._stored(entry.packed)
        checksum = 0
        while True:
            try:
                plain = next(data)
            except StopIteration as end:
                sizes: tuple[int, int] = end.value
                break
            except zlib.error as error:
                raise self._damaged(entry.name, str(error)) from error
            checksum = zlib.crc32(plain or b"", checksum)
            yield plain
        if entry.flags & SIZES_FOLLOW:
            yield from self._descriptor(entry.name, checksum, sizes)
        elif checksum != entry.crc:
            raise self._damaged(entry.name, "its checksum doesn't match")

    def _take(self, size: int) -> Generator[None, None, bytes]:
        while len(self._buffer) < size:
            yield from self._more()
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _more(self) -> Generator[None, None, None]:
        if self._ended:
            raise truncated(self._file, "zip", self._bytes)
        yield None

    def _stored(self, size: int) -> Generator[bytes | None, None, tuple[int, int]]:
        left = size
        while left:
            if not self._buffer:
                yield from self._more()
                continue
            data = yield from self._take(min(left, len(self._buffer)))
            left -= len(data)
            yield data
        return size, size

    def _inflated(self) -> Generator[bytes | None, None, tuple[int, int]]:
        stream = Inflate(-15)
        packed = plain = 0
        while not stream.eof:
            if not self._buffer:
                yield from self._more()
                continue
            data = yield from self._take(len(self._buffer))
            packed += len(data)
            for block in stream.expand(data):
                plain += len(block)
                yield block
        self._buffer[:0] = stream.unused
        return packed - len(stream.unused), plain

    def _descriptor(
        self, name: str, checksum: int, sizes: tuple[int, int]
    ) -> Generator[None, None, None]:
        """Pass over the descriptor: its four spellings differ in length, so try each."""
        while len(self._buffer) < DESCRIPTOR_BYTES_MAX:
            yield from self._more()
        for signature in (DESCRIPTOR, b""):
            for layout in ("<IQQ", "<III"):
                if layout == "<III" and max(sizes) > UINT32_MAX:
                    continue
                expected = signature + struct.pack(layout, checksum, *sizes)
                if self._buffer.startswith(expected):
                    del self._buffer[: len(expected)]
                    return
        raise self._damaged(name, "its checksum or size doesn't match")

    def _damaged(self, name: str, reason: str) -> DataError:
        what = f"entry {name!r} of {self._file!r}" if name else repr(self._file)
        return DataError(f"can't read {what}: {reason}", file=self._file)


def _zip64_packed_size(extra: bytes) -> int:
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        if kind == ZIP64_SIZES and size >= 16:
            _, packed = struct.unpack("<QQ", extra[4:20])
            return int(packed)
        extra = extra[4 + size :]
    return UINT32_MAX
