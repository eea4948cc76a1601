"""Rows on their way into tables of their own, as Parquet files.

What comes waits as the bytes it came as until there is a block of it; the block becomes a row group
of a file on disk, and a full file is loaded in the background while the next one fills. Rows whose
column gets a wider type begin a new table: `Staged.parts` lists all of them.

A file is loaded right from here, or by way of a bucket. A staged table expires by itself, should
nobody live to delete it.
"""

import secrets
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import IO, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from google.cloud import bigquery

from estuary_cdk.clock import Clock
from estuary_cdk.kits.sql import Target
from materialize_bigquery.bucket import Files
from materialize_bigquery.columns import Columns, documents_array, form
from materialize_bigquery.service import CALL_TIMEOUT_S, File, Service
from materialize_bigquery.statements import DELETED, Bound, Part, staged_columns

ROWS_PER_BLOCK: Final = 20_000
BLOCK_BYTES: Final = 8 * 1024 * 1024
FILE_BYTES_MAX: Final = 32 * 1024 * 1024
STAGED_DAYS: Final = 30
_BOUNDED: Final = (pa.int64(), pa.string(), pa.date32())


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session stages: its service, its threads, its bucket if it has one.

    Threads that load never wait for those that ask. `nonce` is what tells this session's tables
    from those of others.
    """

    service: Service
    loading: ThreadPoolExecutor
    asking: ThreadPoolExecutor
    files: Files | None
    nonce: str
    clock: Clock


@dataclass(slots=True)
class Waiting:
    """Rows that came: JSON arrays of keys and of values, documents, and which are deletions."""

    keys: list[bytes] = field(default_factory=list)
    values: list[bytes] = field(default_factory=list)
    documents: list[bytes] = field(default_factory=list)
    deletes: list[bool] = field(default_factory=list)
    size: int = 0


class _Open:
    """A file that is being filled."""

    def __init__(self, schema: Any) -> None:
        self.content: IO[bytes] = tempfile.TemporaryFile(prefix="flow-bigquery-")  # noqa: SIM115 - closed once loaded
        self._writer = pq.ParquetWriter(
            self.content, schema, compression="snappy", use_dictionary=False, write_statistics=False
        )

    def write(self, batch: Any) -> int:
        """Write a row group; return how large the file is by now."""
        self._writer.write_batch(batch)
        return self.content.tell()

    def finish(self) -> int:
        """Complete the file and return its size."""
        self._writer.close()
        size = self.content.tell()
        self.content.seek(0)
        return size


class Staged:
    """What one transaction stages for one table: rows of keys, values and documents, or keys alone.

    `prefix` begins the names of its own tables, project and dataset first.
    """

    def __init__(self, place: Place, prefix: str, into: Target, *, deletes: bool = False) -> None:
        self.parts: list[Part] = []
        self.rows = 0
        self.bounds: list[Bound | None] = [None] * len(into.keys)
        self._place = place
        self._prefix = prefix
        self._deletes = deletes
        self._bounded = [True] * len(into.keys)
        self._waiting = Waiting()
        self._file: _Open | None = None
        self._created: Future[None] | None = None
        self._loads: list[Future[None]] = []
        self.retype(into)

    def retype(self, into: Target) -> None:
        """Read rows as of these columns from here on; those that came before keep theirs."""
        self._end_file()
        self._columns = into.columns
        table = ".".join(into.path)
        self._keys, self._values = Columns(table, into.keys), Columns(table, into.values)
        self._document = into.document is not None
        self._created = None
        forms = [form(column) for column in self._columns]
        names = staged_columns(len(forms))
        fields = [pa.field(name, each.arrow) for name, each in zip(names, forms, strict=True)]
        fields += [pa.field(DELETED, pa.bool_())] if self._deletes else []
        self._schema = pa.schema(fields)
        self._fields = [
            bigquery.SchemaField(name, each.staged) for name, each in zip(names, forms, strict=True)
        ] + ([bigquery.SchemaField(DELETED, "BOOL")] if self._deletes else [])

    @property
    def size(self) -> int:
        """How many bytes wait in memory."""
        return self._waiting.size

    def put(
        self,
        keys: Sequence[bytes],
        values: Sequence[bytes] = (),
        documents: Sequence[bytes] = (),
        deletes: Sequence[bool] = (),
    ) -> None:
        """Take rows; `flush` says what is wrong with them."""
        waiting = self._waiting
        waiting.keys += keys
        waiting.values += values
        waiting.documents += documents
        waiting.deletes += deletes
        waiting.size += sum(map(len, keys)) + sum(map(len, values)) + sum(map(len, documents))

    @property
    def is_due(self) -> bool:
        """Whether there is a block of rows to `flush`."""
        return len(self._waiting.keys) >= ROWS_PER_BLOCK or self._waiting.size >= BLOCK_BYTES

    def keep(self, fits: Callable[[bytes], bool]) -> None:
        """Drop the keys that wait and don't fit; there is nothing but keys."""
        self._waiting.keys = [key for key in self._waiting.keys if fits(key)]

    def flush(self) -> None:
        """Write what waits to the file.

        Raises DataError for what a column can't hold; the rows then wait on.
        """
        waiting = self._waiting
        if not waiting.keys:
            return
        arrays = self._keys.arrays(waiting.keys)
        self._widen_bounds(arrays)
        arrays += self._values.arrays(waiting.values)
        if self._document:
            arrays.append(documents_array(waiting.documents))
        if self._deletes:
            arrays.append(pa.array(waiting.deletes, pa.bool_()))
        self._waiting = Waiting()
        self.rows += len(arrays[0])
        if self._file is None:
            self._file = _Open(self._schema)
        batch = pa.RecordBatch.from_arrays(arrays, schema=self._schema)
        if self._file.write(batch) >= FILE_BYTES_MAX:
            self._end_file()

    def _widen_bounds(self, arrays: Sequence[Any]) -> None:
        for index, array in enumerate(arrays):
            if array.type not in _BOUNDED or self._columns[index].type.sql.startswith("BIG"):
                self._bounded[index] = False
            if not self._bounded[index]:
                self.bounds[index] = None
                continue
            found = pc.min_max(array).as_py()
            before = self.bounds[index]
            least, most = found["min"], found["max"]
            if before is not None:
                least, most = min(least, before.least), max(most, before.most)
            self.bounds[index] = Bound(least, most)

    def _end_file(self) -> None:
        """Have the file loaded in the background."""
        file, self._file = self._file, None
        if file is None:
            return
        submit = self._place.loading.submit
        if self._created is None:
            name = f"{self._prefix}{self._place.nonce}_{secrets.token_hex(4)}"
            self.parts.append(Part(name, tuple(each.type for each in self._columns)))
            self._created = submit(_create, self._place, name, self._fields)
        load = _Load(self._place, self.parts[-1].table, self._fields, file, self._created)
        self._loads.append(submit(load.run))

    def finish(self) -> None:
        """Have all that was flushed loaded; nothing comes after it."""
        self._end_file()

    def settle(self) -> None:
        """Return when all that came is in its tables; raises why it can't be."""
        for load in self._loads:
            load.result()
        self._loads.clear()

    def forget(self) -> None:
        """Delete the tables, for nobody will need them."""
        for load in self._loads:
            load.cancel()
        for part in self.parts:
            self._place.service.forget_table(part.table)


@dataclass(frozen=True, slots=True)
class _Load:
    """A file that is to be loaded into a table, once this one is created."""

    place: Place
    table: str
    fields: list[Any]
    file: _Open
    created: Future[None]

    def run(self) -> None:
        """Load it and throw it away."""
        with self.file.content as content:
            size = self.file.finish()
            self.created.result()
            name = f"flow_load_{secrets.token_hex(12)}"
            service, files = self.place.service, self.place.files
            if files is None:
                service.load(name, self.table, self.fields, File(content, size))
                return
            with files.kept(name, content, size) as address:
                service.load(name, self.table, self.fields, File(addresses=(address,)))


def _create(place: Place, table: str, fields: list[Any]) -> None:
    wanted = bigquery.Table(table, schema=fields)
    wanted.expires = place.clock.now() + timedelta(days=STAGED_DAYS)
    wanted.labels = {"flow": "staged"}
    place.service.required(
        f"create table {table!r}",
        lambda: place.service.client.create_table(
            wanted, exists_ok=True, retry=None, timeout=CALL_TIMEOUT_S
        ),
    )
