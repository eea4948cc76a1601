"""Avro object container files, a block at a time, with any of the codecs that Avro knows.

A file is a header, with the schema and the codec, then blocks of records, each ended by the
header's marker. A block's records are decoded by one call, as the array that they are. Records may
contain their own type, a hundred levels deep.
"""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import zstandard

from estuary_cdk.errors import CdkError, DataError
from estuary_cdk.kits.files.avro_extent import is_recursive
from estuary_cdk.kits.files.avro_values import (
    Converter,
    record_converter,
    record_schema,
    without_logical_types,
)
from estuary_cdk.kits.files.compression import XZ_MEMORY_MAX
from estuary_cdk.kits.files.libraries import library
from estuary_cdk.kits.files.schemas import sourced_schema

MAGIC: Final = b"Obj\x01"
SYNC_BYTES: Final = 16
BLOCK_BYTES_MAX: Final = 64 << 20
HEADER_BYTES_MAX: Final = 16 << 20
VARINT_BYTES_MAX: Final = 10
RECORDS_FREE: Final = 10_000  # records without a byte that any block may claim

_encoded_lines = msgspec.json.Encoder().encode_lines


class AvroBlocks:
    """A parser of one file: `feed` blocks of bytes, then `finish`; see `formats.Parser`.

    Raises DataError for what isn't such a file, for a schema whose top isn't a record, for damaged
    blocks and for those larger than `BLOCK_BYTES_MAX`, packed or not.
    """

    def __init__(self, file: str) -> None:
        self.schema: bytes | None = None
        self._avro: Any = library("fastavro", "Avro files")
        self._read: Any = self._avro.schemaless_reader
        self._file = file
        self._buffer = bytearray()
        self._wanted = 0
        self._bytes = 0
        self._sync = b""
        self._unpack: Callable[[bytes], bytes] = bytes
        self._rows: Any = None
        self._convert: Converter | None = None

    def feed(self, block: bytes) -> list[bytes]:
        self._buffer += block
        records: list[bytes] = []
        if len(self._buffer) < self._wanted:
            return records
        try:
            taken = 0
            while (end := self._advance(taken, records)) is not None:
                taken = end
        except CdkError:
            raise
        except RecursionError as error:
            raise self._unreadable("its records are nested too deep") from error
        except Exception as error:  # whatever the decoders raise for damaged data
            raise self._unreadable(f"near byte {self._bytes}: {error}") from error
        self._bytes += taken
        del self._buffer[:taken]
        return records

    def finish(self) -> list[bytes]:
        if self._rows is None or self._buffer:
            raise self._unreadable(f"it ends early, after {self._bytes + len(self._buffer)} bytes")
        return []

    def _advance(self, start: int, records: list[bytes]) -> int | None:
        """Take the header, or the next block, at `start`; return its end, None if it isn't here."""
        reader = _Reader(self._buffer, start)
        try:
            if self._rows is None:
                self._open(reader)
            else:
                self._block(reader, records)
        except EndOfBytes as end:
            self._wanted = end.wanted - start
            limit = BLOCK_BYTES_MAX if self._rows else HEADER_BYTES_MAX
            if self._wanted > limit + VARINT_BYTES_MAX * 2 + SYNC_BYTES:
                raise self._unreadable(
                    f"its {'block' if self._rows else 'header'} near byte {self._bytes + start} "
                    f"has {self._wanted} bytes, the limit is {limit}"
                ) from None
            return None
        self._wanted = 0
        return reader.position

    def _open(self, reader: "_Reader") -> None:
        if reader.take(len(MAGIC)) != MAGIC:
            raise self._unreadable("it doesn't begin as one")
        metadata: dict[str, bytes] = {}
        while count := reader.long():
            if count < 0:
                reader.long()
            for _ in range(abs(count)):
                name = reader.sized().decode()
                metadata[name] = reader.sized()
        self._sync = reader.take(SYNC_BYTES)
        self._prepare(metadata)

    def _prepare(self, metadata: Mapping[str, bytes]) -> None:
        codec = metadata.get("avro.codec", b"null").decode()
        if codec not in CODECS:
            raise self._unreadable(f"its codec {codec!r} isn't known")
        self._unpack = CODECS[codec]
        schema = without_logical_types(msgspec.json.decode(metadata["avro.schema"]))
        names: dict[str, Any] = {}
        parsed = self._avro.schema.parse_schema(schema, names)
        if not isinstance(parsed, dict) or parsed.get("type") not in {"record", "error"}:
            raise self._unreadable("its values aren't records")
        if is_recursive(parsed, names):
            # Compiled code would recurse until it crashes; this counts how deep it is.
            self._read = self._avro._read_py.schemaless_reader  # noqa: SLF001 - see above
        self._convert = record_converter(parsed, names)
        self._rows = self._avro.schema.parse_schema({"type": "array", "items": schema})
        self.schema = sourced_schema(record_schema(parsed, names))

    def _block(self, reader: "_Reader", records: list[bytes]) -> None:
        count = reader.long()
        packed = reader.sized()
        if reader.take(SYNC_BYTES) != self._sync:
            raise self._unreadable("a block doesn't end with the file's marker")
        plain = self._unpack(packed)
        if count < 0 or count > max(len(plain), RECORDS_FREE):
            raise self._unreadable(f"a block of {len(plain)} bytes can't have {count} records")
        if not count:
            return
        content = io.BytesIO(_varint(count) + plain + b"\0")
        rows = self._read(content, self._rows)
        if content.tell() != len(content.getvalue()):
            raise self._unreadable("a block is longer than its records")
        if self._convert is not None:
            rows = list(map(self._convert, rows))
        # JSON escapes line breaks, so those between the rows are the only ones.
        records += [line[1:] for line in _encoded_lines(rows).split(b"\n")[:-1]]

    def _unreadable(self, reason: str) -> DataError:
        return DataError(
            f"can't read {self._file!r}: not a valid Avro file: {' '.join(reason.split())[:300]}",
            file=self._file,
        )


class EndOfBytes(Exception):  # noqa: N818 - a state of affairs
    """What is to be read isn't there yet: up to position `wanted` at least."""

    def __init__(self, wanted: int) -> None:
        super().__init__(wanted)
        self.wanted = wanted


class _Reader:
    """Reads a buffer from a position on."""

    def __init__(self, buffer: bytearray, position: int) -> None:
        self._buffer = buffer
        self.position = position

    def take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self._buffer):
            raise EndOfBytes(end)
        data = bytes(self._buffer[self.position : end])
        self.position = end
        return data

    def long(self) -> int:
        value = shift = 0
        for at in range(self.position, self.position + VARINT_BYTES_MAX):
            if at >= len(self._buffer):
                raise EndOfBytes(at + 1)
            byte = self._buffer[at]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                self.position = at + 1
                return (value >> 1) ^ -(value & 1)
        raise ValueError("a number has too many bytes")

    def sized(self) -> bytes:
        size = self.long()
        if size < 0:
            raise ValueError(f"a size is {size}")
        return self.take(size)


def _varint(value: int) -> bytes:
    value <<= 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _limited(plain: bytes, *, whole: bool = True) -> bytes:
    if len(plain) > BLOCK_BYTES_MAX or not whole:
        raise ValueError(f"a block becomes more than {BLOCK_BYTES_MAX} bytes, or isn't whole")
    return plain


def _deflate(data: bytes) -> bytes:
    stream = zlib.decompressobj(-15)
    plain = stream.decompress(data, BLOCK_BYTES_MAX)
    return _limited(plain, whole=stream.eof)


def _bzip2(data: bytes) -> bytes:
    stream = bz2.BZ2Decompressor()
    plain = stream.decompress(data, BLOCK_BYTES_MAX)
    return _limited(plain, whole=stream.eof)


def _xz(data: bytes) -> bytes:
    stream = lzma.LZMADecompressor(memlimit=XZ_MEMORY_MAX)
    plain = stream.decompress(data, BLOCK_BYTES_MAX)
    return _limited(plain, whole=stream.eof)


def _zstandard(data: bytes) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as stream:
        return _limited(stream.read(BLOCK_BYTES_MAX + 1))


def _snappy(data: bytes) -> bytes:
    snappy: Any = library("cramjam", "Avro files compressed with snappy").snappy
    packed, checksum = data[:-4], data[-4:]
    if snappy.decompress_raw_len(packed) > BLOCK_BYTES_MAX:
        raise ValueError(f"a block becomes more than {BLOCK_BYTES_MAX} bytes")
    plain = bytes(snappy.decompress_raw(packed))
    if zlib.crc32(plain).to_bytes(4, "big") != checksum:
        raise ValueError("a block's checksum doesn't match")
    return plain


def _lz4(data: bytes) -> bytes:
    block: Any = library("lz4.block", "Avro files compressed with lz4")
    if int.from_bytes(data[:4], "little") > BLOCK_BYTES_MAX:
        raise ValueError(f"a block becomes more than {BLOCK_BYTES_MAX} bytes")
    plain: bytes = block.decompress(data)
    return plain


CODECS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "null": bytes,
    "deflate": _deflate,
    "bzip2": _bzip2,
    "xz": _xz,
    "zstandard": _zstandard,
    "snappy": _snappy,
    "lz4": _lz4,
}
