"""Decompression as push machines: bytes in, parts of plain files out, memory bounded.

A `Part` belongs to the file with number `index`: 0 for all but archives, counting up for the
entries of one. Every machine yields at least one part per file, perhaps an empty one.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import zstandard

from estuary_cdk.errors import DataError
from estuary_cdk.kits.files.libraries import library

PART_BYTES_MAX = 1 << 18  # larger parts leave the processor's caches on their way to documents
ZSTD_SLICE_BYTES = 1 << 10  # 256 blocks at most, so a slice can't become more than 32 MiB
XZ_MEMORY_MAX = 128 << 20  # what the strongest preset takes to read is half of it
SNAPPY_START: Final = b"\xff\x06\x00\x00sNaPpY"
SNAPPY_HEADER_BYTES = 4
SNAPPY_SKIPPABLE = 0x80
SNAPPY_BYTES_MAX = 1 << 17
EXPANSION_MAX = 250
EXPANSION_FREE_BYTES = 1 << 30  # below this size any expansion is fine


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive bytes of one plain file; `entry` is its name inside an archive."""

    index: int
    entry: str | None
    data: bytes


class Decompressor(Protocol):
    """`feed` blocks of any size, exhausting each iterator, then `finish` once.

    Both raise DataError where the data is damaged, ends early, or expands more than
    `EXPANSION_MAX` times beyond its first `EXPANSION_FREE_BYTES`.
    """

    def feed(self, block: bytes) -> Iterator[Part]: ...
    def finish(self) -> Iterator[Part]: ...


class Plain:
    """No compression."""

    def feed(self, block: bytes) -> Iterator[Part]:
        for start in range(0, len(block), PART_BYTES_MAX):
            yield Part(0, None, block[start : start + PART_BYTES_MAX])

    def finish(self) -> Iterator[Part]:
        yield Part(0, None, b"")


class Expansion:
    """Guards against decompression bombs."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._read = 0
        self._written = 0

    def read(self, size: int) -> None:
        self._read += size

    def write(self, size: int) -> None:
        self._written += size
        if self._written > EXPANSION_FREE_BYTES and self._written > EXPANSION_MAX * self._read:
            raise DataError(
                f"can't decompress {self._file!r}: {self._read} bytes became more than "
                f"{self._written}, the limit is {EXPANSION_MAX} times",
                file=self._file,
            )


class Member(Protocol):
    """One gzip member, zstd frame, bzip2 or xz stream."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused(self) -> bytes: ...
    def expand(self, data: bytes) -> Iterator[bytes]: ...


class Inflate:
    """One deflate stream; `window_bits` as zlib's: 31 with gzip's envelope, -15 without any."""

    def __init__(self, window_bits: int = 31) -> None:
        self._stream = zlib.decompressobj(window_bits)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused(self) -> bytes:
        return self._stream.unused_data

    def expand(self, data: bytes) -> Iterator[bytes]:
        while True:
            out = self._stream.decompress(data, PART_BYTES_MAX)
            data = self._stream.unconsumed_tail
            if out:
                yield out
            if self.eof or (not data and len(out) < PART_BYTES_MAX):
                return


class ZstdFrame:
    """One zstd frame; what follows it is `unused`."""

    def __init__(self) -> None:
        self._stream = zstandard.ZstdDecompressor().decompressobj()
        self._rest = b""

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused(self) -> bytes:
        return self._stream.unused_data + self._rest

    def expand(self, data: bytes) -> Iterator[bytes]:
        ready: list[bytes] = []
        size = 0
        for start in range(0, len(data), ZSTD_SLICE_BYTES):
            ready.append(self._stream.decompress(data[start : start + ZSTD_SLICE_BYTES]))
            size += len(ready[-1])
            if size >= PART_BYTES_MAX:
                yield b"".join(ready)
                ready, size = [], 0
            if self.eof:
                self._rest = data[start + ZSTD_SLICE_BYTES :]
                break
        yield b"".join(ready)


class SnappyChunk:
    """One chunk of a framed snappy file, of which one is 64 KiB at the most."""

    def __init__(self) -> None:
        self.eof = False
        self.unused = b""
        self._snappy: Any = library("cramjam", "snappy files").snappy

    def expand(self, data: bytes) -> Iterator[bytes]:
        self.unused += data
        if len(self.unused) < SNAPPY_HEADER_BYTES:
            return
        kind, size = self.unused[0], int.from_bytes(self.unused[1:SNAPPY_HEADER_BYTES], "little")
        if kind < SNAPPY_SKIPPABLE and size > SNAPPY_BYTES_MAX:
            raise ValueError(f"a chunk claims {size} bytes")
        end = SNAPPY_HEADER_BYTES + size
        if len(self.unused) < end:
            return
        chunk, self.unused = self.unused[:end], self.unused[end:]
        self.eof = True
        if kind < SNAPPY_SKIPPABLE:
            try:
                yield bytes(self._snappy.decompress(SNAPPY_START + chunk))
            except self._error as error:
                raise ValueError(str(error)) from error

    @property
    def _error(self) -> type[Exception]:
        found: type[Exception] = library("cramjam", "snappy files").DecompressionError
        return found


class Measured:
    """One bzip2, xz or lz4 stream, whose decompressor bounds what comes out at a time."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    @property
    def eof(self) -> bool:
        return bool(self._stream.eof)

    @property
    def unused(self) -> bytes:
        return self._stream.unused_data or b""

    def expand(self, data: bytes) -> Iterator[bytes]:
        while True:
            out = self._stream.decompress(data, PART_BYTES_MAX)
            data = b""
            if out:
                yield out
            if self.eof or self._stream.needs_input:
                return


@dataclass(frozen=True, slots=True)
class MemberFormat:
    """How the members of a file are read, and which bytes may fill the space behind them."""

    name: str
    start: Callable[[], Member]
    padding: bytes = b""


GZIP = MemberFormat("gzip", Inflate, padding=b"\0")  # tape blocks leave zeros behind a member
ZSTD = MemberFormat("zstd", ZstdFrame)
BZIP2 = MemberFormat("bzip2", lambda: Measured(bz2.BZ2Decompressor()))
XZ = MemberFormat(
    "xz", lambda: Measured(lzma.LZMADecompressor(memlimit=XZ_MEMORY_MAX)), padding=b"\0"
)
LZ4 = MemberFormat(
    "lz4", lambda: Measured(library("lz4.frame", "lz4 files").LZ4FrameDecompressor())
)
SNAPPY = MemberFormat("snappy", SnappyChunk)
# What the libraries raise for data that isn't theirs; bzip2's raises OSError, lz4's RuntimeError.
DAMAGED: Final = (
    zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError, EOFError, RuntimeError, ValueError
)  # fmt: skip


class Members:
    """A file of one or more members, frames or streams, one after the other."""

    def __init__(self, file: str, form: MemberFormat) -> None:
        self._file = file
        self._form = form
        self._member: Member | None = None
        self._members = 0
        self._bytes = 0
        self._expansion = Expansion(file)

    def feed(self, block: bytes) -> Iterator[Part]:
        self._bytes += len(block)
        self._expansion.read(len(block))
        while block:
            if self._member is None:
                if self._members and self._form.padding:
                    block = block.lstrip(self._form.padding)
                    if not block:
                        return
                self._member = self._form.start()
                self._members += 1
            try:
                for data in self._member.expand(block):
                    self._expansion.write(len(data))
                    yield Part(0, None, data)
            except DAMAGED as error:
                raise DataError(
                    f"can't decompress {self._file!r}: not valid {self._form.name} data near "
                    f"byte {self._bytes}: {error}",
                    file=self._file,
                ) from error
            if not self._member.eof:
                return
            block = self._member.unused
            self._member = None

    def finish(self) -> Iterator[Part]:
        if self._member is not None or not self._members:
            raise truncated(self._file, self._form.name, self._bytes)
        yield Part(0, None, b"")


def truncated(file: str, form: str, size: int) -> DataError:
    """Return the error for compressed data that ends before it is complete."""
    return DataError(
        f"can't decompress {file!r}: its {form} data ends early, after {size} bytes",
        hint="the file is incomplete; upload it again",
        file=file,
    )
