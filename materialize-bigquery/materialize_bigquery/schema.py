"""The tables of datasets: what is there, and how it changes.

Each statement commits by itself, so that a change that a crash interrupts leaves a table which
`tables` tells the truth of: what is half done of a change of type counts as done or as not begun,
and is finished or undone before anything else is done to the table.
"""

import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, assert_never

from google.api_core import exceptions
from google.cloud import bigquery

from estuary_cdk.errors import ConfigError
from estuary_cdk.failpoints import failpoint
from estuary_cdk.kits.sql.migrate import mended
from estuary_cdk.logs import get_logger
from estuary_cdk.materialize import (
    AddColumns,
    AllowRepeats,
    Change,
    Column,
    CreateTable,
    MigrateColumn,
    Path,
    RecreateTable,
    RelaxColumns,
    Rules,
    Table,
    TruncateTable,
)
from estuary_cdk.materialize.changes import EMPTYING
from materialize_bigquery import statements
from materialize_bigquery.config import Config
from materialize_bigquery.dialect import dialect_of, known_type
from materialize_bigquery.names import APPLIED
from materialize_bigquery.service import CALL_TIMEOUT_S, Service

log = get_logger(__name__)

LOOKS_MAX: Final = 16
_TABLE: Final = "TABLE"


@contextmanager
def connect(config: Config) -> Iterator["BigQueryDestination"]:
    """Connect for looking at the tables and changing them."""
    service = Service(config)
    try:
        require_region(service, config.dataset)
        yield BigQueryDestination(service)
    finally:
        service.close()


def require_region(service: Service, dataset: str) -> bool:
    """Tell whether a dataset is there.

    Raises ConfigError for one that is in another region.
    """
    config = service.config
    name = f"{config.project_id}.{dataset}"
    try:
        found = service.call(
            f"look at dataset {name!r}",
            lambda: service.client.get_dataset(name, retry=None, timeout=CALL_TIMEOUT_S),
        )
    except exceptions.NotFound:
        return False
    if str(found.location or "").casefold() != config.region.casefold():
        raise ConfigError(
            f"can't use dataset {name!r}: it is in region {found.location!r}, and the config says "
            f"{config.region!r}",
            hint=f"set the region to {found.location!r}, or name another dataset",
        )
    return True


class BigQueryDestination:
    """The tables, as the kit asks for them."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._config = service.config
        rebuilding = service.config.advanced.no_flow_document
        self.rules: Rules = dialect_of(rebuilding=rebuilding).rules()

    def tables(self, paths: Sequence[Path]) -> Sequence[Table | None]:
        """Return what is at each path now.

        Raises ConfigError for a name that something else than a table has.
        """
        for dataset in dict.fromkeys(path[1] for path in paths):
            if dataset != self._config.dataset:
                require_region(self._service, dataset)
        return [
            None if table is None else mended(table)
            for table in existing_tables(self._service, paths)
        ]

    def prepare(self, paths: Sequence[Path]) -> Sequence[str]:
        """Create the datasets that are missing, and the table of what was applied."""
        config = self._config
        done = []
        for dataset in dict.fromkeys((config.dataset, *(each[1] for each in paths))):
            if not require_region(self._service, dataset):
                said = statements.create_dataset(config.project_id, dataset, config.region)
                self._create_dataset(f"{config.project_id}.{dataset}")
                done.append(said)
        marks = applied_path(config)
        if existing_tables(self._service, [marks]) == [None]:
            done.append(statements.create_applied(marks))
            self._run(done[-1], "create the table of what was applied")
        return done

    def _create_dataset(self, name: str) -> None:
        wanted = bigquery.Dataset(name)
        wanted.location = self._config.region
        self._service.required(
            f"create dataset {name!r}",
            lambda: self._service.client.create_dataset(
                wanted, exists_ok=True, retry=None, timeout=CALL_TIMEOUT_S
            ),
        )

    def apply(self, change: Change) -> str:
        """Make one change and return its SQL."""
        name = ".".join(change.binding.path)
        log.info("changing table", table=name, change=type(change).__name__)
        done = []
        if not isinstance(change, CreateTable):
            done += mend_table(self._service, change.binding.path)
        if isinstance(change, EMPTYING):
            binding, marks = change.binding, applied_path(self._config)
            note = statements.emptied(marks, binding.task, binding.path, binding.backfill)
            self._run(note, f"change table {name!r}")
        for statement in _statements(change):
            self._run(statement, f"change table {name!r}")
            done.append(statement)
            failpoint("materialize-bigquery.applying")
        failpoint("materialize-bigquery.applied")
        return ";\n".join(done) + (";" if done else "")

    def _run(self, statement: str, verb: str) -> None:
        self._service.query(unique_name("apply"), verb, statement)


def mend_table(service: Service, path: Path) -> list[str]:
    """Finish or undo a change of type that was interrupted; return the SQL of it."""
    [found] = existing_tables(service, [path])
    done = [] if found is None else statements.mend(found)
    for statement in done:
        service.query(unique_name("mend"), f"change table {'.'.join(path)!r}", statement)
    return done


def whole_tables(service: Service, paths: Sequence[Path]) -> list[Table | None]:
    """Return the tables that are there, once what was interrupted in them is finished or undone."""
    found = existing_tables(service, paths)
    for table in found:
        if table is not None and statements.mend(table):
            mend_table(service, table.path)
    return [None if table is None else mended(table) for table in found]


def unique_name(what: str) -> str:
    """Return a name for a job that only this process knows."""
    return f"flow_{what}_{secrets.token_hex(10)}"


def applied_path(config: Config) -> Path:
    """Return where the table of what was applied is."""
    return (config.project_id, config.dataset, APPLIED)


def _statements(change: Change) -> list[str]:
    path = change.binding.path
    match change:
        case CreateTable():
            return [statements.create_table(change.binding, change.columns)]
        case RecreateTable():
            create = statements.create_table(change.binding, change.columns)
            return [statements.drop_table(change.existing.path), create]
        case TruncateTable():
            return [statements.truncate(path)]
        case AddColumns():
            return [statements.add_columns(path, change.columns, change.fields)]
        case RelaxColumns():
            return [statements.relax(path, change.columns)]
        case MigrateColumn():
            return statements.retyped(path, change.before, change.after)
        case AllowRepeats():
            return []  # no table of ours has a primary key
        case _:
            assert_never(change)


def existing_tables(service: Service, paths: Sequence[Path]) -> list[Table | None]:
    """Return the table at each path, None where there is nothing.

    Raises ConfigError if something else has the name.
    """
    if not paths:
        return []
    with ThreadPoolExecutor(min(LOOKS_MAX, len(paths)), "bigquery-look") as pool:
        return list(pool.map(lambda path: _table(service, path), paths))


def _table(service: Service, path: Path) -> Table | None:
    name = ".".join(path)
    try:
        found = service.call(
            f"look at table {name!r}",
            lambda: service.client.get_table(name, retry=None, timeout=CALL_TIMEOUT_S),
        )
    except exceptions.NotFound:
        return None
    if found.table_type != _TABLE:
        raise ConfigError(
            f"can't materialize into table {name!r}: it is the name of something else: "
            f"{found.table_type}",
            hint="drop or rename it, or name another table",
        )
    columns = [
        Column(each.name, known_type(_spelled(each)), nullable=each.mode != "REQUIRED")
        for each in found.schema
    ]
    return Table(path, tuple(columns))


def _spelled(field: Any) -> str:
    """Return a column's type as SQL has it; one that repeats is none of ours."""
    if field.mode == "REPEATED":
        return f"ARRAY<{field.field_type}>"
    digits = ",".join(str(each) for each in (field.precision, field.scale) if each)
    return f"{field.field_type}({digits})" if digits else str(field.field_type)
