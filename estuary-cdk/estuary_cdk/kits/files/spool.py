"""A file that comes from front to back, kept aside to be read by seeking once it is complete.

Small ones stay in memory, larger ones go to an unnamed temporary file. This is for what can't be
asked for by ranges: inside compression or an archive, or from a server without them.
"""

from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, Final, cast

from estuary_cdk.errors import DataError
from estuary_cdk.kits.files.options import ParserOptions
from estuary_cdk.kits.files.tables import TableReader

MEMORY_BYTES_MAX: Final = 16 << 20
SPOOL_BYTES_MAX: Final = 4 << 30


class Spool:
    """Collects one file: `feed` its blocks, then exhaust `batches`."""

    def __init__(self, file: str, open_table: TableReader, options: ParserOptions) -> None:
        self._file = file
        self._open_table = open_table
        self._options = options
        self._content = SpooledTemporaryFile(MEMORY_BYTES_MAX)  # noqa: SIM115 - kept until it is read
        self._bytes = 0

    def __del__(self) -> None:
        self._content.close()

    def feed(self, block: bytes) -> None:
        """Take the next bytes; DataError beyond `SPOOL_BYTES_MAX`."""
        self._bytes += len(block)
        if self._bytes > SPOOL_BYTES_MAX:
            raise DataError(
                f"can't read {self._file!r}: it has more than {SPOOL_BYTES_MAX} bytes, the limit "
                f"for a file of its format that has to be kept aside",
                hint="store it uncompressed, outside an archive",
                file=self._file,
            )
        self._content.write(block)

    def batches(self) -> Iterator[tuple[list[bytes], bytes | None]]:
        """Yield the file's records with its schema, then let go of it."""
        with self._content:
            self._content.seek(0)
            content = cast("BinaryIO", self._content)
            table = self._open_table(self._file, content, self._options)
            for bodies in table.batches:
                yield bodies, table.schema
