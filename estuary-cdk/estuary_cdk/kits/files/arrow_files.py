"""Parquet and Arrow files as tables: batches of records, and the schema their columns tell.

A Parquet file is read a batch of rows at a time through a buffer per column, so that neither the
size of the file nor that of its row groups decides how much memory it takes. Arrow's own files and
streams, which Feather's are too, are read a record batch at a time, as they were written.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

from estuary_cdk.errors import CdkError, DataError
from estuary_cdk.kits.files.libraries import library
from estuary_cdk.kits.files.options import ParserOptions
from estuary_cdk.kits.files.schemas import sourced_schema
from estuary_cdk.kits.files.tables import Table

BATCH_BYTES: Final = 4 << 20
BATCH_ROWS_MAX: Final = 1 << 14
GROUPS_BYTES: Final = 16 << 20
BUFFERS_BYTES: Final = 32 << 20
BUFFER_BYTES_MIN, BUFFER_BYTES_MAX = 1 << 14, 1 << 18
METADATA_BYTES_MAX = 256 << 20
FILE_MAGIC: Final = b"ARROW1"
FEATHER_1_MAGIC: Final = b"FEA1"


def parquet(file: str, content: BinaryIO, _: ParserOptions) -> Table:
    """Open a Parquet file; DataError where it can't be read as one."""
    library("pyarrow", "Parquet files")
    import pyarrow.parquet as pq

    from estuary_cdk.kits.files.parquet_types import meant

    with _readable(file, "Parquet"):
        opened = pq.ParquetFile(
            content,
            pre_buffer=False,
            buffer_size=BUFFER_BYTES_MAX,
            thrift_string_size_limit=METADATA_BYTES_MAX,
            thrift_container_size_limit=METADATA_BYTES_MAX,
        )
        columns = max(opened.metadata.num_columns, 1)
        size = max(BUFFER_BYTES_MIN, min(BUFFER_BYTES_MAX, BUFFERS_BYTES // columns))
        if size != BUFFER_BYTES_MAX:
            metadata = opened.metadata
            opened = pq.ParquetFile(content, metadata=metadata, pre_buffer=False, buffer_size=size)
        schema, change = meant(opened)
    rows = _rows_at_once(opened.metadata)
    batches = (
        batch
        for groups in _groups_at_once(opened.metadata)
        for batch in opened.iter_batches(rows, row_groups=groups, use_threads=False)
    )
    return _table(file, "Parquet", schema, batches if change is None else map(change, batches))


def arrow(file: str, content: BinaryIO, _: ParserOptions) -> Table:
    """Open an Arrow or Feather file, or a stored Arrow stream; DataError where it is neither."""
    pa: Any = library("pyarrow", "Arrow files")
    with _readable(file, "Arrow"):
        start = content.read(len(FILE_MAGIC))
        content.seek(0)
        if start.startswith(FEATHER_1_MAGIC):
            raise DataError(
                f"can't read {file!r}: it is a Feather file of version 1",
                hint="write it anew as version 2, which is an Arrow file",
                file=file,
            )
        if start != FILE_MAGIC:
            stream = pa.ipc.open_stream(content)
            return _table(file, "Arrow", stream.schema, map(_validated, stream))
        opened = pa.ipc.open_file(content)
        batches = (opened.get_batch(at) for at in range(opened.num_record_batches))
        return _table(file, "Arrow", opened.schema, map(_validated, batches))


def _validated(batch: Any) -> Any:
    """Return a batch as it was stored, once all that leads from place to place in it is checked."""
    batch.validate(full=True)
    return batch


def _rows_at_once(metadata: Any) -> int:
    """Return how many rows to read at a time, by what a row takes in the largest row group."""
    row_bytes = 1
    for at in range(metadata.num_row_groups):
        group = metadata.row_group(at)
        row_bytes = max(row_bytes, group.total_byte_size // max(group.num_rows, 1))
    return max(1, min(BATCH_ROWS_MAX, BATCH_BYTES // row_bytes))


def _groups_at_once(metadata: Any) -> Iterator[list[int]]:
    """Yield the row groups in runs: a batch of rows goes over the whole run, column by column."""
    run: list[int] = []
    size = 0
    for at in range(metadata.num_row_groups):
        # Asking what a column takes stored would end the process where its statistics are damaged.
        taken = metadata.row_group(at).total_byte_size
        if run and size + taken > GROUPS_BYTES:
            yield run
            run, size = [], 0
        run.append(at)
        size += taken
    if run:
        yield run


def _table(file: str, form: str, schema: Any, batches: Iterable[Any]) -> Table:
    from estuary_cdk.kits.files.arrow_rows import bodies, record_schema

    def rows() -> Iterator[list[bytes]]:
        with _readable(file, form):
            for batch in batches:
                yield from bodies(batch)

    return Table(rows(), sourced_schema(record_schema(schema)))


@contextmanager
def _readable(file: str, form: str) -> Iterator[None]:
    """Turn what Arrow raises into one error that names the file."""
    pa: Any = library("pyarrow", f"{form} files")
    try:
        yield
    except CdkError:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise DataError(
            f"can't read {file!r}: not a valid {form} file: {' '.join(str(error).split())[:300]}",
            file=file,
        ) from error
