"""Loads and stores in bulk: rows go as COPY, what is told by key as one statement per table.

New rows go straight into their table. Rows to change and keys to look up or delete go into
temporary tables; a set-based statement per table does the rest, at `loaded` or at `settle`. Each
table's rows wait in memory until there is a block of them, so that a COPY is long even where new
and known keys are mixed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import compress
from operator import and_, not_
from typing import Any, Final

from estuary_cdk.errors import ContractError, DataError
from estuary_cdk.kits.sql import BeyondRangeError, Target, TargetColumn, target
from estuary_cdk.kits.sql.alterations import retyped
from estuary_cdk.kits.sql.csv_rows import csv_rows
from estuary_cdk.kits.sql.enumerations import family
from estuary_cdk.kits.sql.parts import chunks, selected
from estuary_cdk.logs import get_logger
from estuary_cdk.materialize import Binding, Column, Keys, Loaded, Stores
from materialize_postgres import statements
from materialize_postgres.binary_rows import NotPlainError, binary_rows
from materialize_postgres.config import Config, Resource
from materialize_postgres.dialect import POSTGRES, WIDER, quote
from materialize_postgres.merging import Prepared, upsertable
from materialize_postgres.rebuilding import rebuilt
from materialize_postgres.schema import dialect_of, existing_tables
from materialize_postgres.session import HEADER, PostgresSession

log = get_logger(__name__)

BLOCK_BYTES: Final = 256 * 1024
WAITING_BYTES_MAX: Final = 8 * 1024 * 1024
ROWS_PER_CHUNK: Final = 5000
LOADED_BYTES: Final = 256 * 1024


@dataclass(slots=True)
class Stream:
    """Rows on their way into one table: `rows` are those of this transaction.

    A table that is temporary has columns as the one it is `staged_for`.
    """

    table: str
    columns: tuple[TargetColumn, ...]
    staged_for: str = ""
    created: bool = False
    rows: int = 0
    form: str = statements.CSV
    waiting: list[bytes] = field(default_factory=list)
    waiting_bytes: int = 0

    @property
    def copy(self) -> str:
        """The statement that takes what waits."""
        return statements.copy(self.table, self.columns, self.form)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as the server takes them: their form, and their bytes."""

    form: str
    block: bytes


class Storing:
    """What a binding's rows take: its table, its streams, its readers."""

    def __init__(
        self, binding: Binding[Resource], into: Target, there: Sequence[Column] = ()
    ) -> None:
        self.index = binding.index
        self.standard = not binding.delta_updates
        self.upserts = False
        self.added = 0
        self._binding = binding
        # Text fits columns that somebody else retyped, or says why not; binary rows don't.
        known = {column.name: family(column.type) for column in there}
        self._as_made = all(known.get(e.name) == family(e.type.sql) for e in into.columns)
        self.into_table(into)

    def into_table(self, into: Target) -> None:
        """Prepare all that depends on the types of the columns."""
        self.into = into
        self.name = ".".join(into.path)
        whole = into.document
        self.document = rebuilt(self._binding, into) if whole is None else f"t.{quote(whole.name)}"
        self._csv_keys = csv_rows(self.name, into.keys)
        self._csv_rows = csv_rows(self.name, (*into.keys, *into.values))
        self._binary_keys = binary_rows(into.keys, (), document=False) if self._as_made else None
        self._binary_rows = (
            binary_rows(into.keys, into.values, document=whole is not None)
            if self._as_made
            else None
        )
        table = POSTGRES.table(into.path)
        self.new = Stream(table, into.columns, created=True)
        self.changed = Stream(f"flow_store_{self.index}", into.columns, table)
        self.deleted = Stream(f"flow_delete_{self.index}", into.keys, table)
        self.wanted = Stream(f"flow_load_{self.index}", into.keys, table)

    def key_rows(self, keys: Sequence[bytes]) -> Rows:
        """Return rows of nothing but keys; raises DataError for what a column can't hold."""
        if self._binary_keys is not None:
            with suppress(NotPlainError):
                return Rows(statements.BINARY, self._binary_keys(keys, (), None))
        return Rows(statements.CSV, self._csv_keys(keys, None))

    def csv_key(self, key: bytes) -> bytes:
        """Return the row of a key as text, nothing where no column of the table could hold it."""
        try:
            return self._csv_keys([key], None)
        except DataError as error:
            if not isinstance(error.__cause__, BeyondRangeError):
                raise
        return b""

    def rows(self, chunk: Stores) -> Rows:
        """Return whole rows; raises DataError for what a column can't hold."""
        if self.into.document is not None and chunk.documents is None:
            raise ContractError(f"can't store into {self.name!r}: documents are missing")
        documents = None if self.into.document is None else chunk.documents
        if self._binary_rows is not None:
            with suppress(NotPlainError):
                block = self._binary_rows(chunk.keys, chunk.values, documents)
                return Rows(statements.BINARY, block)
        arrays = _joined(chunk.keys, chunk.values) if self.into.values else chunk.keys
        return Rows(statements.CSV, self._csv_rows(arrays, documents))

    @property
    def streams(self) -> tuple[Stream, ...]:
        """All ways that rows go."""
        return (self.new, self.changed, self.deleted, self.wanted)


class CopyStrategy:
    """How PostgreSQL loads and stores; see `Strategy`."""

    def __init__(
        self,
        session: PostgresSession,
        bindings: Sequence[Binding[Resource]],
        config: Config,
    ) -> None:
        self._session = session
        self._hard_delete = config.hard_delete
        dialect = dialect_of(config)
        paths = [binding.path for binding in bindings]
        there = existing_tables(session, paths)
        self._storing = [
            Storing(binding, target(dialect, binding, table), table.columns if table else ())
            for binding, table in zip(bindings, there, strict=True)
        ]
        upserts = upsertable(session, [each.into for each in self._storing])
        for storing, may in zip(self._storing, upserts, strict=True):
            storing.upserts = may
        self._prepared = Prepared(session)
        self._touched: set[int] = set()
        self._waiting_bytes = 0

    # Loads.

    def stage(self, keys: Keys) -> None:
        """Send keys to their temporary table."""
        storing = self._storing[keys.binding]
        self._touched.add(keys.binding)
        self._put(storing.wanted, self._wanted(storing, keys.keys), len(keys.keys))

    def _wanted(self, storing: Storing, keys: Sequence[bytes]) -> Rows:
        """Return the rows of keys, without those that no column of the table could hold."""
        try:
            return storing.key_rows(keys)
        except DataError as error:
            if not isinstance(error.__cause__, BeyondRangeError):
                raise
        return Rows(statements.CSV, b"".join(map(storing.csv_key, keys)))

    def loaded(self) -> Iterator[Loaded]:
        """Yield the documents of all staged keys."""
        for index in sorted(self._touched):
            storing = self._storing[index]
            if storing.wanted.rows == 0:
                continue
            self._sent(storing.wanted)
            query = statements.load_staged(storing.into, storing.wanted.table, storing.document)
            for documents in _batches(self._session.copied_out(query)):
                yield Loaded(index, documents)
            storing.wanted.rows = 0

    # Stores.

    def store(self, batch: Stores) -> None:
        """Send rows to their table, or set them aside to be merged."""
        self._touched.add(batch.binding)
        storing = self._storing[batch.binding]
        for chunk in chunks(batch, ROWS_PER_CHUNK):
            self._store_chunk(storing, chunk)

    def _store_chunk(self, storing: Storing, chunk: Stores) -> None:
        if self._hard_delete and True in chunk.deletes:
            gone = list(compress(chunk.keys, map(and_, chunk.exists, chunk.deletes)))
            self._put(storing.deleted, storing.key_rows(gone), len(gone))
            chunk = selected(chunk, list(map(not_, chunk.deletes)))
        if not (storing.standard and True in chunk.exists):
            self._put_rows(storing, chunk, known=False)
            return
        if False in chunk.exists:
            self._put_rows(storing, selected(chunk, list(map(not_, chunk.exists))), known=False)
            chunk = selected(chunk, chunk.exists)
        self._put_rows(storing, chunk, known=True)

    def _put_rows(self, storing: Storing, chunk: Stores, *, known: bool) -> None:
        if not len(chunk):
            return
        while True:
            try:
                rows = storing.rows(chunk)
                break
            except DataError as error:
                if not isinstance(error.__cause__, BeyondRangeError):
                    raise
                self._widen(storing, str(error.context["column"]))
        self._put(storing.changed if known else storing.new, rows, len(chunk))

    def _put(self, stream: Stream, rows: Rows, count: int) -> None:
        if not rows.block:
            return
        if stream.form != rows.form:
            self._sent(stream)
            stream.form = rows.form
        stream.rows += count
        stream.waiting.append(rows.block)
        stream.waiting_bytes += len(rows.block)
        self._waiting_bytes += len(rows.block)
        if stream.waiting_bytes >= BLOCK_BYTES:
            self._sent(stream)
        elif self._waiting_bytes >= WAITING_BYTES_MAX:
            self._send_all()

    def _send_all(self) -> None:
        for index in sorted(self._touched):
            for stream in self._storing[index].streams:
                self._sent(stream)

    def _sent(self, stream: Stream) -> None:
        """Send what waits of a stream."""
        if not stream.waiting:
            return
        if not stream.created:
            create = statements.create_staging(stream.table, stream.staged_for, stream.columns)
            self._session.execute(create)
            stream.created = True
        waiting, stream.waiting = stream.waiting, []
        self._waiting_bytes -= stream.waiting_bytes
        stream.waiting_bytes = 0
        header = HEADER if stream.form == statements.BINARY else b""
        self._session.copy(stream.copy, b"".join(waiting), header)

    def settle(self) -> None:
        """Merge what was set aside into the tables."""
        self._send_all()
        self._session.end_copy()
        for index in sorted(self._touched):
            self._merge(self._storing[index])
        self._touched.clear()

    def _merge(self, storing: Storing) -> None:
        storing.added += storing.new.rows
        if storing.deleted.rows:
            self._join(storing, storing.deleted, statements.delete_staged)
        changed = storing.changed
        if changed.rows and storing.upserts:
            upsert = statements.upsert_staged(storing.into, changed.table)
            self._prepared.execute(changed.table, upsert)
        elif changed.rows:
            others = len(storing.into.columns) > len(storing.into.keys)
            updated = self._join(storing, changed, statements.update_staged) if others else 0
            if updated < changed.rows:
                # The runtime knows of a row that somebody deleted.
                self._join(storing, changed, statements.insert_missing)
        for stream in storing.streams:
            stream.rows = 0

    def _join(self, storing: Storing, stream: Stream, spelled: Callable[[Target, str], str]) -> int:
        """Run a statement that joins what is staged to its table; return the rows it changed."""
        name = f"{stream.table}_{spelled.__name__}"
        statement = spelled(storing.into, stream.table)
        done = self._prepared.execute(name, statement, stream.rows, storing.added)
        return int(done.rowcount)

    def _widen(self, storing: Storing, name: str) -> None:
        """Let a column hold numbers of any size from here on, in the transaction at hand."""
        into = storing.into
        [column] = [each for each in into.columns if each.name == name]
        after = WIDER[column.type.sql]
        log.info("widening column", table=storing.name, column=name, type=after.sql)
        self._send_all()
        tables = [
            stream.table for stream in storing.streams if stream.staged_for and stream.created
        ]
        [there] = existing_tables(self._session, [into.path])
        known = [each for each in (there.columns if there else ()) if each.name == name]
        if known and known[0].type == column.type.sql:
            self._retype(into.path, column, after)
        for table in tables:
            with_column = table.startswith("flow_store") or column in into.keys
            if with_column:
                self._retype((table,), column, after)

        def widened(columns: tuple[TargetColumn, ...]) -> tuple[TargetColumn, ...]:
            return tuple(replace(each, type=after) if each is column else each for each in columns)

        before = storing.streams
        storing.into_table(replace(into, keys=widened(into.keys), values=widened(into.values)))
        for stream, old in zip(storing.streams, before, strict=True):
            stream.created, stream.rows = old.created, old.rows

    def _retype(self, path: Sequence[str], column: TargetColumn, after: Any) -> None:
        before = Column(column.name, column.type.sql, nullable=True)
        wanted = Column(column.name, after.sql, nullable=True)
        for statement in retyped(POSTGRES, path, before, wanted):
            self._session.execute(statement)


def _joined(keys: Sequence[bytes], values: Sequence[bytes]) -> list[bytes]:
    """Return arrays of keys and values as one array each."""
    return [b"%b,%b" % (key[:-1], value[1:]) for key, value in zip(keys, values, strict=True)]


def _batches(documents: Iterator[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document)
        if size >= LOADED_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
