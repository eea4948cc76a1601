"""Transactions: staged aside, and applied by jobs that are done once whoever runs them.

- While documents come, they are loaded into tables of their own. Nobody reads these.
- `staged` waits for that and returns, for each binding that got something, a script and the names
  of those tables. It goes into the connector's state, with the checkpoint.
- `apply` runs the scripts. A script's job has an id that derives from its transaction, so that no
  two processes can both run it, and the script itself is one transaction of BigQuery: it notes
  that it ran in `flow_applied_v1` and does nothing where that is noted. The ids hold for as long as
  the service remembers jobs, the notes for as long as their partitions live (400 days).

An instance that was replaced can stage, but what it stages is applied only if the runtime made its
state durable; and what was applied once can't be applied again, not even after what came later.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from operator import not_
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from estuary_cdk.clock import SystemClock
from estuary_cdk.errors import ConfigError, ContractError, DataError
from estuary_cdk.failpoints import failpoint
from estuary_cdk.kits.sql import BeyondRangeError, Target, TargetColumn, target
from estuary_cdk.kits.sql.parts import selected
from estuary_cdk.logs import get_logger
from estuary_cdk.materialize import Binding, Column, Keys, Loaded, Shard, Stores
from materialize_bigquery import statements
from materialize_bigquery.bucket import Files
from materialize_bigquery.columns import Columns
from materialize_bigquery.config import Bucket, Config, Resource
from materialize_bigquery.dialect import IN_PLACE, MIGRATIONS, WIDER, dialect_of, quote
from materialize_bigquery.found import documents_of
from materialize_bigquery.names import digest, staged_prefix
from materialize_bigquery.rebuilding import rebuilt
from materialize_bigquery.schema import (
    applied_path,
    existing_tables,
    mend_table,
    unique_name,
    whole_tables,
)
from materialize_bigquery.service import Service
from materialize_bigquery.staging import Place, Staged

log = get_logger(__name__)

JOBS_MAX: Final = 16
LOADS_MAX: Final = 4
WAITING_BYTES_MAX: Final = 32 * 1024 * 1024


class Work(BaseModel):
    """What is left to do of a transaction for one binding, as the state keeps it.

    `source` is the part of the script that selects what is staged, as values of `types`, those of
    the table's columns in their order; `widened` are the columns that get another type before.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    transaction: str
    script: str
    source: str
    types: dict[str, str]
    tables: tuple[str, ...]
    deletes: bool = False
    widened: dict[str, str] = {}


class Storing:
    """What a binding's rows take: its table as it is, and what is staged for it."""

    def __init__(
        self, place: Place, binding: Binding[Resource], into: Target, prefix: str, *, deletes: bool
    ) -> None:
        self.binding = binding
        self.into = into
        self.name = ".".join(into.path)
        self.prefix = prefix
        self.deletes = deletes and not binding.delta_updates
        self.widened: dict[str, str] = {}
        self.exists = False
        self._place = place
        self.rows = self._new_rows()
        self.keys = Staged(place, prefix, self._only_keys())

    def _new_rows(self) -> Staged:
        return Staged(self._place, self.prefix, self.into, deletes=self.deletes)

    def _only_keys(self) -> Target:
        return replace(self.into, values=(), document=None)

    @property
    def document(self) -> str:
        """The expression of a stored document, over the table `t`."""
        whole = self.into.document
        return rebuilt(self.binding, self.into) if whole is None else f"t.{quote(whole.name)}"

    def renew(self) -> None:
        """Begin the next transaction."""
        self.rows = self._new_rows()
        self.exists = False
        self.widened = {}

    def renew_keys(self) -> Staged:
        """Begin to take the keys of the next transaction; return those of this one."""
        keys = self.keys
        self.keys = Staged(self._place, self.prefix, self._only_keys())
        return keys

    def fits(self, key: bytes) -> bool:
        """Tell whether a key may be in the table; raises DataError for what is no key of it."""
        try:
            Columns(self.name, self.into.keys).arrays([key])
        except DataError as error:
            if not isinstance(error.__cause__, BeyondRangeError):
                raise
            return False
        return True

    def widen(self, name: str) -> None:
        """Let a column hold what it can't yet, once this transaction is applied.

        Raises DataError for a column of the key that can't change.
        """
        [column] = [each for each in self.into.columns if each.name == name]
        wider = WIDER[column.type.sql]
        if column in self.into.keys and (column.type.sql, wider.sql) not in IN_PLACE:
            raise DataError(
                f"can't store into table {self.name!r}: a key in column {name!r} doesn't fit "
                f"{column.type.sql}, and a key's column can't become {wider.sql}",
                hint="set castToString for the field and backfill the binding",
            )
        log.warning("widening column", table=self.name, column=name, type=wider.sql)
        self.widened[name] = wider.sql

        def widened(columns: tuple[TargetColumn, ...]) -> tuple[TargetColumn, ...]:
            return tuple(replace(each, type=wider) if each is column else each for each in columns)

        into = self.into
        self.into = replace(into, keys=widened(into.keys), values=widened(into.values))
        self.rows.retype(self.into)
        if column in into.keys:
            self.keys.retype(self._only_keys())


class BigQueryTransactor:
    """Stores the documents of one shard, exactly once; `PostCommitApply`."""

    def __init__(
        self, service: Service, bindings: Sequence[Binding[Resource]], shard: Shard, place: Place
    ) -> None:
        self._service = service
        self._shard = shard
        self._place = place
        self._range = f"{shard.key_begin:08x}-{shard.key_end:08x}"
        self._hard_delete = service.config.hard_delete
        dialect = dialect_of(rebuilding=service.config.advanced.no_flow_document)
        there = whole_tables(service, [binding.path for binding in bindings])
        self._storing = [
            Storing(
                place,
                binding,
                target(dialect, binding, table),
                self._prefix(binding),
                deletes=self._hard_delete,
            )
            for binding, table in zip(bindings, there, strict=True)
        ]
        self._stored: set[int] = set()
        self._wanted: set[int] = set()
        self._swept = False
        self._count = 0

    def _prefix(self, binding: Binding[Resource]) -> str:
        config = self._service.config
        name = staged_prefix(self._shard.task, self._range, binding.state_key)
        return f"{config.project_id}.{config.dataset}.{name}"

    # Loads.

    def stage(self, keys: Keys) -> None:
        """Set keys aside."""
        storing = self._storing[keys.binding]
        self._wanted.add(keys.binding)
        storing.keys.put(keys.keys)
        if storing.keys.is_due:
            self._flush_keys(storing)

    def _flush_keys(self, storing: Storing) -> None:
        try:
            storing.keys.flush()
        except DataError as error:
            if not isinstance(error.__cause__, BeyondRangeError):
                raise
            storing.keys.keep(storing.fits)
            storing.keys.flush()

    def loaded(self) -> Iterator[Loaded]:
        """Yield the documents of all staged keys."""
        wanted, self._wanted = sorted(self._wanted), set()
        found: dict[int, Future[Any]] = {}
        staged = []
        try:
            for index in wanted:
                storing = self._storing[index]
                self._flush_keys(storing)
                keys = storing.renew_keys()
                keys.finish()
                staged.append(keys)
                if keys.rows:
                    found[index] = self._place.asking.submit(self._look_up, storing, keys)
            for index, job in found.items():
                for documents in documents_of(self._service, job.result(), self._verb(index)):
                    yield Loaded(index, documents)
        finally:
            # A session that ends leaves them to the next one.
            with suppress(RuntimeError):
                for keys in staged:
                    self._place.asking.submit(keys.forget)
        failpoint("materialize-bigquery.loaded")

    def _verb(self, index: int) -> str:
        return f"read table {self._storing[index].name!r}"

    def _look_up(self, storing: Storing, keys: Staged) -> Any:
        """Run the query for staged keys; return its job."""
        keys.settle()
        staged = statements.source(keys.parts, storing.into.keys, deletes=False)
        query = statements.load(storing.into, staged, storing.document, keys.bounds)
        return self._service.query(unique_name("read"), f"read table {storing.name!r}", query)

    # Stores.

    def store(self, batch: Stores) -> None:
        """Set rows aside."""
        storing = self._storing[batch.binding]
        if storing.into.document is not None and batch.documents is None:
            raise ContractError(f"can't store into {storing.name!r}: documents are missing")
        if storing.deletes and True in batch.deletes:
            batch = _without_unknown(batch)
            if not len(batch):
                return
        self._stored.add(batch.binding)
        storing.exists = storing.exists or True in batch.exists
        storing.rows.put(
            batch.keys,
            batch.values if storing.into.values else (),
            (batch.documents or ()) if storing.into.document is not None else (),
            batch.deletes if storing.deletes else (),
        )
        if storing.rows.is_due:
            self._flush(storing)
        elif sum(self._storing[index].rows.size for index in self._stored) >= WAITING_BYTES_MAX:
            for index in self._stored:
                self._flush(self._storing[index])
        failpoint("materialize-bigquery.stored")

    def _flush(self, storing: Storing) -> None:
        while True:
            try:
                storing.rows.flush()
            except DataError as error:
                if not isinstance(error.__cause__, BeyondRangeError):
                    raise
                storing.widen(str(error.context["column"]))
            else:
                return

    # Commits.

    def staged(self) -> Mapping[int, bytes]:
        """Return when all rows are staged, with what is left to do."""
        self._sweep()
        stored, self._stored = sorted(self._stored), set()
        for index in stored:
            self._flush(self._storing[index])
            self._storing[index].rows.finish()
        for index in stored:
            self._storing[index].rows.settle()
        self._count += 1
        work = {
            index: self._work(self._storing[index]).model_dump_json().encode()
            for index in stored
            if self._storing[index].rows.rows
        }
        for index in stored:
            self._storing[index].renew()
        failpoint("materialize-bigquery.staged")
        return work

    def _work(self, storing: Storing) -> Work:
        """Return what is left to do for a binding whose rows are staged."""
        rows, into = storing.rows, storing.into
        key = digest(f"{self._shard.task} {storing.binding.state_key}", 16)
        name = f"flow_{key}_{self._range}_{self._place.nonce}_{self._count}"
        staged = statements.source(rows.parts, into.columns, deletes=storing.deletes)
        if storing.exists and not storing.binding.delta_updates:
            statement = statements.merge(into, staged, rows.bounds, deletes=storing.deletes)
        else:
            statement = statements.insert(into, staged)
        marks = applied_path(self._service.config)
        once = statements.Once(
            self._shard.task, self._range, name, into.path, storing.binding.backfill
        )
        return Work(
            transaction=name,
            script=statements.once(marks, once, statement),
            source=staged,
            types={column.name: column.type.sql for column in into.columns},
            deletes=storing.deletes,
            tables=tuple(part.table for part in rows.parts),
            widened=storing.widened,
        )

    def apply(self, staged: Mapping[int, bytes]) -> None:
        """Run what is left to do, once, and delete what was staged."""
        works = {index: _work_of(text) for index, text in staged.items()}
        running = [
            self._place.asking.submit(self._apply, self._storing[index], work)
            for index, work in works.items()
        ]
        wait(running)
        for each in running:
            each.result()
        failpoint("materialize-bigquery.applied_all")

    def _apply(self, storing: Storing, work: Work) -> None:
        verb = f"store rows into table {storing.name!r}"
        if work.widened:
            self._widen(storing, work.widened)
        script = self._fitting(storing, work)
        self._service.query(work.transaction, verb, script, connector="materialize-bigquery")
        failpoint("materialize-bigquery.ran")
        for table in work.tables:
            self._service.forget_table(table)

    def _fitting(self, storing: Storing, work: Work) -> str:
        """Return the script for the table as it is: another shard may have widened a column."""
        [there] = existing_tables(self._service, [storing.into.path])
        now = {column.name: column.type for column in (there.columns if there else ())}
        if all(now.get(name, sql) == sql for name, sql in work.types.items()):
            return work.script
        kinds = {name: (sql, now.get(name, sql)) for name, sql in work.types.items()}
        source = statements.recast(work.source, list(kinds.values()), deletes=work.deletes)
        return work.script.replace(work.source, source)

    def _widen(self, storing: Storing, widened: Mapping[str, str]) -> None:
        """Give columns the types that what is staged needs; nothing where they have them."""
        path = storing.into.path
        mend_table(self._service, path)
        [there] = existing_tables(self._service, [path])
        for name, wanted in widened.items():
            found = [each for each in (there.columns if there else ()) if each.name == name]
            # What holds more already was widened by another shard, or by what came after this.
            if not found or (found[0].type, wanted) not in MIGRATIONS:
                continue
            after = Column(name, wanted, nullable=True)
            for statement in statements.retyped(path, found[0], after):
                verb = f"change table {storing.name!r}"
                self._service.query(unique_name("widen"), verb, statement)

    # Leftovers.

    def _sweep(self) -> None:
        """Delete what dead runs of this shard staged: nothing of it is pending by now.

        Only once, and of our own bindings: what a disabled one has staged may still be needed.
        """
        if self._swept:
            return
        self._swept = True
        config = self._service.config
        names = [storing.prefix.rpartition(".")[2] for storing in self._storing]
        if not names:
            return
        verb = "list what dead runs have staged"
        query = statements.staged_tables(config.project_id, config.dataset)
        job = self._service.query(unique_name("sweep"), verb, query)
        found = self._service.required(verb, lambda: [str(row[0]) for row in job.result()])
        for table in found:
            old = table.startswith(tuple(names)) and f"_{self._place.nonce}_" not in table
            if old:
                log.info("deleting what a dead run has staged", table=table)
                self._service.forget_table(f"{config.project_id}.{config.dataset}.{table}")


def _without_unknown(batch: Stores) -> Stores:
    """Leave out deletions of what was never stored."""
    unknown = [
        delete and not exists for delete, exists in zip(batch.deletes, batch.exists, strict=True)
    ]
    return selected(batch, list(map(not_, unknown))) if True in unknown else batch


def _work_of(text: bytes) -> Work:
    try:
        return Work.model_validate_json(text)
    except ValidationError as error:
        raise ConfigError(
            "can't apply what is staged: its state is of another version of this connector",
            hint="run the version that staged it once, or backfill the binding",
        ) from error


@contextmanager
def open_transactor(
    config: Config, bindings: Sequence[Binding[Resource]], shard: Shard
) -> Iterator[BigQueryTransactor]:
    """Open a session of transactions; what isn't applied or in the state at its end is swept."""
    service = Service(config)
    files = Files(service, config.staging) if isinstance(config.staging, Bucket) else None
    loading = ThreadPoolExecutor(LOADS_MAX, "bigquery-load")
    asking = ThreadPoolExecutor(JOBS_MAX, "bigquery-ask")
    failed = True
    try:
        place = Place(service, loading, asking, files, secrets.token_hex(6), SystemClock())
        yield BigQueryTransactor(service, bindings, shard, place)
        failed = False
    finally:
        # What is under way has to end before its connections do. What is still to be asked is to
        # forget staged keys, for which a session that failed has no time.
        loading.shutdown(cancel_futures=True)
        asking.shutdown(cancel_futures=failed)
        service.close()
