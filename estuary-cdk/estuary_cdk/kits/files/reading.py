"""From the bytes of a file, as stored, to its records: decompression, detection and parsing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from estuary_cdk.kits.files.compression import (
    BZIP2,
    GZIP,
    LZ4,
    SNAPPY,
    XZ,
    ZSTD,
    Decompressor,
    Members,
    Part,
    Plain,
)
from estuary_cdk.kits.files.detection import HEAD_BYTES, Hints, compression_of
from estuary_cdk.kits.files.encoding import encoding_of
from estuary_cdk.kits.files.formats import Parser, format_named, format_of
from estuary_cdk.kits.files.options import ParserOptions
from estuary_cdk.kits.files.spool import Spool
from estuary_cdk.kits.files.zip_entries import ZipEntries

DECOMPRESSORS: dict[str, Callable[[str], Decompressor]] = {
    "gzip": lambda file: Members(file, GZIP),
    "zstd": lambda file: Members(file, ZSTD),
    "bzip2": lambda file: Members(file, BZIP2),
    "xz": lambda file: Members(file, XZ),
    "lz4": lambda file: Members(file, LZ4),
    "snappy": lambda file: Members(file, SNAPPY),
    "zip": ZipEntries,
    "none": lambda _: Plain(),
}


@dataclass(frozen=True, slots=True)
class Records:
    """Consecutive records of one file; `first` is the offset of the first, counted from 0.

    `file` is the name the reader was given; for an entry of an archive its own name follows, after
    a slash. `schema` is the sourced schema of their documents where the file tells one.
    """

    file: str
    first: int
    bodies: list[bytes]
    schema: bytes | None = None


class FileReader:
    """Reads one stored file: `feed` its bytes in blocks of any size, then `finish` once.

    Each returned iterator must be exhausted. Records come in the file's order, and which come
    depends on the bytes, `name`, `options` and `hints` alone. Raises DataError where the file can't
    be read as it is, naming it and the place.
    """

    def __init__(self, name: str, options: ParserOptions, hints: Hints | None = None) -> None:
        self._name = name
        self._options = options
        self._hints = hints or Hints()
        self._head = b""
        self._decompressor: Decompressor | None = None
        self._index = -1
        self._file: _PlainFile | None = None
        self._malformed_rows = 0

    @property
    def malformed_rows(self) -> int:
        """How many rows were left out so far under the CSV error threshold."""
        return self._malformed_rows + (self._file.malformed_rows if self._file else 0)

    def feed(self, block: bytes) -> Iterator[Records]:
        if self._decompressor is None:
            self._head += block
            if len(self._head) < HEAD_BYTES:
                return
        yield from self._parts(self._opened().feed(self._pending(block)))

    def finish(self) -> Iterator[Records]:
        if self._decompressor is None:
            yield from self._parts(self._opened().feed(self._pending(b"")))
        yield from self._parts(self._opened().finish())
        yield from self._close_file()

    @property
    def may_seek(self) -> bool:
        """Whether the file, by all but its content, may be one that is read by seeking."""
        named = format_named(self._name, self._hints, self._options)
        return named is None or named.seek is not None

    def seeks(self, head: bytes) -> bool:
        """Tell whether a file that begins with `head` is to be read by `rows`, not by `feed`."""
        if self._compression(head) != "none":
            return False
        return format_of(self._name, self._hints, self._options, head).seek is not None

    def rows(self, head: bytes, content: BinaryIO) -> Iterator[Records]:
        """Read a file that `seeks`, given as one to seek in; nothing is to be fed then."""
        seek = format_of(self._name, self._hints, self._options, head).seek
        assert seek is not None
        table = seek(self._name, content, self._options)
        first = 0
        for bodies in table.batches:
            yield Records(self._name, first, bodies, table.schema)
            first += len(bodies)

    def _compression(self, head: bytes) -> str:
        if self._options.compression is not None:
            return self._options.compression
        found = compression_of(head)
        if found == "zip":
            named = format_named(self._name, self._hints, self._options)
            if named is not None and named.zipped:
                return "none"
        return found

    def _pending(self, block: bytes) -> bytes:
        pending, self._head = self._head or block, b""
        return pending

    def _opened(self) -> Decompressor:
        if self._decompressor is None:
            self._decompressor = DECOMPRESSORS[self._compression(self._head)](self._name)
        return self._decompressor

    def _parts(self, parts: Iterator[Part]) -> Iterator[Records]:
        for part in parts:
            if part.index != self._index or self._file is None:
                yield from self._close_file()
                self._index = part.index
                # An archive's content type says nothing about its entries.
                name, hints = self._name, self._hints
                if part.entry is not None:
                    name, hints = f"{self._name}/{part.entry}", Hints()
                self._file = _PlainFile(name, self._options, hints)
            yield from self._file.feed(part.data)

    def _close_file(self) -> Iterator[Records]:
        if self._file is not None:
            yield from self._file.finish()
            self._malformed_rows += self._file.malformed_rows
            self._file = None


class _PlainFile:
    """One decompressed file: waits for its head, then parses."""

    def __init__(self, name: str, options: ParserOptions, hints: Hints) -> None:
        self._name = name
        self._options = options
        self._hints = hints
        self._head: list[bytes] = []
        self._head_bytes = 0
        self._parser: Parser | Spool | None = None
        self._records = 0

    @property
    def malformed_rows(self) -> int:
        return getattr(self._parser, "malformed_rows", 0)

    def feed(self, block: bytes) -> Iterator[Records]:
        if self._parser is None:
            self._head.append(block)
            self._head_bytes += len(block)
            if self._head_bytes < HEAD_BYTES:
                return
            block = b"".join(self._head)
            self._head = []
            self._parser = self._open(block[:HEAD_BYTES])
        yield from self._fed(self._parser, block)

    def finish(self) -> Iterator[Records]:
        if self._parser is None:
            head = b"".join(self._head)
            if not head:
                return  # an empty file has no records, whatever its format
            self._parser = self._open(head)
            yield from self._fed(self._parser, head)
        if isinstance(self._parser, Spool):
            for bodies, schema in self._parser.batches():
                yield from self._numbered(bodies, schema)
        else:
            yield from self._numbered(self._parser.finish(), self._schema)

    @property
    def _schema(self) -> bytes | None:
        return getattr(self._parser, "schema", None)

    def _open(self, head: bytes) -> Parser | Spool:
        options = self._options
        found = format_of(self._name, self._hints, options, head)
        if found.seek is not None:
            return Spool(self._name, found.seek, options)
        assert found.open is not None
        encoding = encoding_of(head, options.encoding, self._hints.charset)
        return found.open(self._name, encoding, options)

    def _fed(self, parser: Parser | Spool, block: bytes) -> Iterator[Records]:
        if isinstance(parser, Spool):
            parser.feed(block)
        else:
            yield from self._numbered(parser.feed(block), self._schema)

    def _numbered(self, bodies: list[bytes], schema: bytes | None) -> Iterator[Records]:
        if bodies:
            yield Records(self._name, self._records, bodies, schema)
            self._records += len(bodies)
