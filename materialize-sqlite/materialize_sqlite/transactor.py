"""Loads and stores in bulk, and commits them together with Flow's checkpoint.

Keys wait in memory, and in a temporary table beyond `KEYS_BYTES_MAX`, until the last transaction is
committed; then they look up documents some hundred at a time. Rows are decoded some hundred at a
time and inserted by statements of ten rows each: longer calls into SQLite leave the interpreter to
whoever reads the next documents meanwhile, and more parameters than that cost more to hand over.
Documents come and go as the bytes they are: SQLite is told that they are text.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, compress, islice
from operator import and_, not_
from typing import Any, Final

import apsw

from estuary_cdk.errors import ContractError, DataError
from estuary_cdk.failpoints import failpoint
from estuary_cdk.kits.sql import (
    BeyondRangeError,
    Fence,
    Target,
    TargetColumn,
    commit_checkpoint,
    install_fence,
    row_reader,
    statements,
    target,
)
from estuary_cdk.kits.sql.parts import chunks, selected
from estuary_cdk.logs import get_logger
from estuary_cdk.materialize import Binding, Keys, Loaded, Shard, Stores, Table
from materialize_sqlite.config import Config, Resource
from materialize_sqlite.database import Checkpointing, begin, database, reasons, transaction
from materialize_sqlite.dialect import SQLITE, WIDER, with_plain_documents
from materialize_sqlite.schema import change_type, existing_table

log = get_logger(__name__)

KEYS_BYTES_MAX: Final = 16 * 1024 * 1024
KEYS_PER_LOAD: Final = 200
ROWS_PER_CHUNK: Final = 500
# Of 2,000 columns at most, and SQLite allows 32,766 parameters.
ROWS_PER_STATEMENT: Final = 10
PARAMETERS_MAX: Final = 30_000
# What is longer apsw doesn't keep: it would be prepared anew each time.
KEPT_STATEMENT_BYTES_MAX: Final = 16_000

Row = tuple[Any, ...]


@contextmanager
def open_transactor(
    config: Config, bindings: Sequence[Binding[Resource]], shard: Shard
) -> Iterator["SqliteTransactor"]:
    """Open the file for a session of transactions."""
    with database(config.path) as db:
        yield SqliteTransactor(db, config, bindings, shard)


@dataclass(frozen=True, slots=True)
class Statement:
    """How rows are written: one by one, or as many at once as is cheapest."""

    one: str
    many: str
    rows: int


def statement(spelled: Callable[[int], str]) -> Statement:
    """Choose how many rows a statement has, given how it is spelled for any number of them."""
    one, two = spelled(1), spelled(2)
    length = len(one.encode())
    fit = 1 + (KEPT_STATEMENT_BYTES_MAX - length) // (len(two.encode()) - length)
    rows = min(fit, ROWS_PER_STATEMENT) if fit > 0 else ROWS_PER_STATEMENT
    return Statement(one, spelled(rows), rows)


def _insert(into: Target, rows: int) -> str:
    """Insert rows without the copies of pages that would undo those before one that is refused.

    The whole transaction is rolled back then. Where keys are scattered, the copies cost a third.
    """
    return "INSERT OR FAIL" + statements.insert(SQLITE, into, rows).removeprefix("INSERT")


class Storing:
    """What a binding's rows take: its table, its statements, its readers, its staged keys."""

    def __init__(self, binding: Binding[Resource], existing: Table | None, encoding: str) -> None:
        self.index = binding.index
        self.standard = not binding.delta_updates
        self.staged: list[bytes] = []
        self.into_table(with_plain_documents(target(SQLITE, binding, existing), encoding))

    def into_table(self, into: Target) -> None:
        """Prepare all that depends on the types of the columns."""
        self.into = into
        self.name = into.path[-1]
        self.width = len(into.columns)
        self.keys_per_load = max(1, min(KEYS_PER_LOAD, PARAMETERS_MAX // len(into.keys)))
        self.key_rows = row_reader(self.name, into.keys)
        self.value_rows = row_reader(self.name, into.values)
        self.inserts = statement(lambda rows: _insert(into, rows))
        self.upserts = statement(lambda rows: statements.upsert(SQLITE, into, rows))
        self.loads = self._load(self.keys_per_load) if into.document is not None else ""

    def load(self, keys: int) -> str:
        """Return the statement for the documents of so many keys."""
        return self.loads if keys == self.keys_per_load else self._load(keys)

    def _load(self, keys: int) -> str:
        return statements.load(SQLITE, self.into, keys)

    def wanted(self, keys: Sequence[bytes]) -> Sequence[Row]:
        """Return the rows of keys, without those that no column of the table could hold."""
        try:
            return self.key_rows(keys)
        except DataError as error:
            if not isinstance(error.__cause__, BeyondRangeError):
                raise
        if len(keys) == 1:
            return []
        return [row for key in keys for row in self.wanted([key])]


class SqliteTransactor:
    """Stores the documents of one shard, exactly once."""

    def __init__(
        self,
        db: apsw.Connection,
        config: Config,
        bindings: Sequence[Binding[Resource]],
        shard: Shard,
    ) -> None:
        self._db = db
        self._path = config.path
        self._hard_delete = config.hard_delete
        self._shard = shard
        with reasons(config.path, "read"):
            encoding = str(db.pragma("encoding"))
            self._storing = {
                binding.index: Storing(binding, existing_table(db, binding.path[-1]), encoding)
                for binding in bindings
            }
        self._staged_bytes = 0
        self._spilled = False
        self._fence: Fence | None = None

    def fence(self) -> bytes | None:
        """Shut out older instances and return the checkpoint last committed."""
        with reasons(self._path), transaction(self._db):
            self._db.execute(statements.create_checkpoints(SQLITE))
            self._fence = install_fence(Checkpointing(self._db), SQLITE, self._shard)
        failpoint("materialize-sqlite.fenced")
        return self._fence.checkpoint or None

    def stage(self, keys: Keys) -> None:
        """Remember keys, on disk when they are many."""
        self._storing[keys.binding].staged += keys.keys
        self._staged_bytes += sum(map(len, keys.keys))
        if self._staged_bytes > KEYS_BYTES_MAX:
            self._spill()

    def _spill(self) -> None:
        with reasons(self._path):
            self._db.execute("BEGIN")  # of the temporary file alone: it waits for nobody
            self._db.execute(_SPILL_TABLE)
            for index, storing in self._storing.items():
                spilled = ((index, key) for key in storing.staged)
                self._db.executemany("INSERT INTO temp.flow_keys VALUES (?, ?)", spilled)
                storing.staged = []
            self._db.execute("COMMIT")
        self._staged_bytes = 0
        self._spilled = True

    def loaded(self) -> Iterator[Loaded]:
        """Yield the documents of all staged keys."""
        with reasons(self._path, "read"):
            for index, storing in self._storing.items():
                for keys in self._staged_keys(storing):
                    documents = self._documents(storing, keys)
                    if documents:
                        yield Loaded(index, documents)
            if self._spilled:
                self._db.execute("DROP TABLE temp.flow_keys")
        self._spilled = False
        self._staged_bytes = 0

    def _staged_keys(self, storing: Storing) -> Iterator[list[bytes]]:
        keys, storing.staged = storing.staged, []
        count = storing.keys_per_load
        yield from (keys[at : at + count] for at in range(0, len(keys), count))
        if self._spilled:
            spilled = self._db.execute(
                "SELECT key FROM temp.flow_keys WHERE binding = ?", (storing.index,)
            )
            while some := list(islice(spilled, count)):
                yield [key for (key,) in some]

    def _documents(self, storing: Storing, keys: Sequence[bytes]) -> list[bytes]:
        rows = storing.wanted(keys)
        if not rows:
            return []
        statement = storing.load(len(rows))
        parameters = list(chain.from_iterable(rows))
        return [document for (document,) in self._db.execute(statement, parameters)]

    def store(self, batch: Stores) -> None:
        """Store a batch in the transaction at hand."""
        storing = self._storing[batch.binding]
        with reasons(self._path):
            if not self._db.in_transaction:
                begin(self._db)
            for chunk in chunks(batch, ROWS_PER_CHUNK):
                self._store_chunk(storing, chunk)
            failpoint("materialize-sqlite.stored")

    def _store_chunk(self, storing: Storing, chunk: Stores) -> None:
        if self._hard_delete and True in chunk.deletes:
            gone = compress(chunk.keys, map(and_, chunk.exists, chunk.deletes))
            self._delete(storing, list(gone))
            chunk = selected(chunk, list(map(not_, chunk.deletes)))
        if not (storing.standard and True in chunk.exists):
            self._write(storing, storing.inserts, chunk)
            return
        self._write(storing, storing.upserts, selected(chunk, chunk.exists))
        self._write(storing, storing.inserts, selected(chunk, list(map(not_, chunk.exists))))

    def _delete(self, storing: Storing, keys: Sequence[bytes]) -> None:
        if keys:
            self._db.executemany(statements.delete(SQLITE, storing.into), storing.key_rows(keys))

    def _write(self, storing: Storing, by: Statement, chunk: Stores) -> None:
        flat = self._parameters(storing, chunk)
        whole = len(chunk) // by.rows
        if whole:
            groups = zip(*[flat] * (by.rows * storing.width), strict=False)
            self._db.executemany(by.many, islice(groups, whole))
        if whole * by.rows < len(chunk):
            self._db.executemany(by.one, zip(*[flat] * storing.width, strict=True))

    def _parameters(self, storing: Storing, chunk: Stores) -> Iterator[Any]:
        """Return the values of all rows, row by row."""
        while True:
            try:
                rows = [storing.key_rows(chunk.keys), storing.value_rows(chunk.values)]
                break
            except DataError as error:
                if not isinstance(error.__cause__, BeyondRangeError):
                    raise
                self._widen(storing, str(error.context["column"]))
        if storing.into.document is not None:
            if chunk.documents is None:
                raise ContractError(f"can't store into {storing.name!r}: documents are missing")
            _check_text(storing.name, chunk.documents)
            rows.append(list(zip(chunk.documents, strict=True)))
        return chain.from_iterable(chain.from_iterable(zip(*rows, strict=True)))

    def _widen(self, storing: Storing, name: str) -> None:
        """Let a column hold numbers of any size from here on, in the transaction at hand."""
        into = storing.into
        [before] = [column for column in into.columns if column.name == name]
        after = WIDER[before.type.sql]
        log.info("widening column", table=storing.name, column=name, type=after.sql)
        change_type(self._db, storing.name, name, after.sql)

        def widened(columns: tuple[TargetColumn, ...]) -> tuple[TargetColumn, ...]:
            return tuple(replace(each, type=after) if each is before else each for each in columns)

        storing.into_table(replace(into, keys=widened(into.keys), values=widened(into.values)))

    def commit(self, checkpoint: bytes) -> None:
        """Commit what was stored together with the checkpoint, if no newer instance has opened."""
        if self._fence is None:
            raise ContractError("can't commit: no fence was installed")
        with reasons(self._path, "commit to"):
            if not self._db.in_transaction:
                begin(self._db)
            try:
                commit_checkpoint(Checkpointing(self._db), SQLITE, self._fence, checkpoint)
                failpoint("materialize-sqlite.committing")
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
        failpoint("materialize-sqlite.committed")


def _check_text(table: str, documents: Sequence[bytes]) -> None:
    try:
        b"".join(documents).decode()
    except UnicodeDecodeError as error:
        raise DataError(f"can't store into {table!r}: a document isn't UTF-8: {error}") from error


_SPILL_TABLE: Final = "CREATE TEMPORARY TABLE IF NOT EXISTS flow_keys (binding INTEGER, key BLOB)"
