"""GoogleSQL, one small function per statement: nothing here talks to the service.

Names go through `quote`; of values, only the bounds of keys and words of ours become literals.
What is staged has columns `c0`, `c1` and so on, whatever the table's are called, and `d`, which
tells of a deletion.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.sql import ColumnType, Target, TargetColumn
from estuary_cdk.kits.sql import migrate as kit_migrate
from estuary_cdk.kits.sql.alterations import told
from estuary_cdk.kits.sql.dialect import Dialect
from estuary_cdk.materialize import Binding, Column, Field, Path, Table
from materialize_bigquery.config import (
    CLUSTERING_MAX,
    RangePartitioning,
    Resource,
    TimePartitioning,
    Unparted,
)
from materialize_bigquery.dialect import (
    BIGQUERY,
    CLUSTERABLE,
    IN_PLACE,
    MIGRATIONS,
    literal,
    quote,
    spelled,
)
from materialize_bigquery.names import STAGED_PREFIX, column_name

COLUMN_TOLD_CHARS_MAX: Final = 1024
TABLE_TOLD_CHARS_MAX: Final = 16_384
BOUND_CHARS_MAX: Final = 200
MARKER_DAYS: Final = 400
DELETED: Final = "d"

_TIME_TYPES: Final[Mapping[str, frozenset[str]]] = {
    "DATE": frozenset({"DAY", "MONTH", "YEAR"}),
    "TIMESTAMP": frozenset({"HOUR", "DAY", "MONTH", "YEAR"}),
}


def table(path: Sequence[str]) -> str:
    """Spell the name of a table."""
    return BIGQUERY.table(path)


# Tables.


def create_dataset(project: str, dataset: str, region: str) -> str:
    """Create a dataset."""
    name = f"{quote(project)}.{quote(dataset)}"
    return f"CREATE SCHEMA IF NOT EXISTS {name} OPTIONS (location = {literal(region)})"


def create_table(binding: Binding[Resource], columns: Sequence[Column]) -> str:
    """Create a binding's table, parted and sorted as its resource has it.

    Raises ConfigError for a partitioning or clustering that its columns don't allow.
    """
    lines = [
        _definition(column, told(field))
        for column, field in zip(columns, binding.fields, strict=True)
    ]
    body = ",\n    ".join(lines)
    said = literal(
        f"Generated for materialization of collection {binding.collection}"[:TABLE_TOLD_CHARS_MAX]
    )
    ends = [
        _partitioned(binding, columns),
        _clustered(binding, columns),
        f"OPTIONS (description = {said})",
    ]
    end = "\n".join(filter(None, ends))
    return f"CREATE TABLE IF NOT EXISTS {table(binding.path)} (\n    {body}\n)\n{end}"


def _definition(column: Column, description: str) -> str:
    strict = "" if column.nullable else " NOT NULL"
    return f"{quote(column.name)} {spelled(column.type)}{strict} {_described(description)}"


def _described(description: str) -> str:
    return f"OPTIONS (description = {literal(description[:COLUMN_TOLD_CHARS_MAX])})"


def _column(name: str, binding: Binding[Resource], columns: Sequence[Column], what: str) -> Column:
    wanted = column_name(name).casefold()
    for column in columns:
        if column.name.casefold() == wanted:
            return column
    raise ConfigError(
        f"can't create table {'.'.join(binding.path)!r}: its {what} column {name!r} isn't one of "
        "the fields that are materialized",
        hint="select the field, or name another one",
    )


def _partitioned(binding: Binding[Resource], columns: Sequence[Column]) -> str:
    parted = binding.resource.partitioning
    if isinstance(parted, Unparted):
        return ""
    column = _column(parted.column, binding, columns, "partitioning")
    name = quote(column.name)
    match parted:
        case TimePartitioning():
            if parted.granularity in _TIME_TYPES.get(column.type, ()):
                if column.type == "TIMESTAMP":
                    return f"PARTITION BY TIMESTAMP_TRUNC({name}, {parted.granularity})"
                day = parted.granularity == "DAY"
                part = name if day else f"DATE_TRUNC({name}, {parted.granularity})"
                return f"PARTITION BY {part}"
        case RangePartitioning():
            if column.type == "INT64":
                parts = f"GENERATE_ARRAY({parted.start}, {parted.end}, {parted.interval})"
                return f"PARTITION BY RANGE_BUCKET({name}, {parts})"
    raise ConfigError(
        f"can't create table {'.'.join(binding.path)!r}: it can't be parted by column "
        f"{column.name!r}, which is {column.type}",
        hint="name a field of dates or moments, or of integers for ranges; dates have no hours",
    )


def _clustered(binding: Binding[Resource], columns: Sequence[Column]) -> str:
    chosen = binding.resource.clustering
    if chosen:
        found = [_column(name, binding, columns, "clustering") for name in chosen]
        for column in found:
            if column.type not in CLUSTERABLE:
                raise ConfigError(
                    f"can't create table {'.'.join(binding.path)!r}: it can't be clustered by "
                    f"column {column.name!r}, which is {column.type}",
                    hint="name fields of text, integers, decimals, booleans, dates or moments",
                )
    else:
        keys = columns[: len(binding.keys)]
        found = [column for column in keys if column.type in CLUSTERABLE][:CLUSTERING_MAX]
    names = ", ".join(quote(column.name) for column in found)
    return f"CLUSTER BY {names}" if names else ""


def drop_table(path: Path) -> str:
    """Drop a table."""
    return f"DROP TABLE IF EXISTS {table(path)}"


def truncate(path: Path) -> str:
    """Delete all rows."""
    return f"TRUNCATE TABLE {table(path)}"


def add_columns(path: Path, columns: Sequence[Column], fields: Sequence[Field]) -> str:
    """Add columns and say what they hold: one change, for the service limits their rate."""
    added = [
        f"ADD COLUMN IF NOT EXISTS {_definition(column, told(field))}"
        for column, field in zip(columns, fields, strict=True)
    ]
    return f"ALTER TABLE {table(path)}\n    " + ",\n    ".join(added)


def relax(path: Path, columns: Sequence[Column]) -> str:
    """Let columns be null."""
    relaxed = [f"ALTER COLUMN {quote(column.name)} DROP NOT NULL" for column in columns]
    return f"ALTER TABLE {table(path)}\n    " + ",\n    ".join(relaxed)


def retyped(path: Path, before: Column, after: Column) -> list[str]:
    """Change a column's type and keep its values; start from a table that is mended.

    Each statement commits by itself: `migrate.mended` understands what a crash between two leaves.
    """
    if (before.type, after.type) in IN_PLACE:
        name = quote(after.name)
        return [
            f"ALTER TABLE {table(path)} ALTER COLUMN {name} SET DATA TYPE {spelled(after.type)}"
        ]
    value = kit_migrate.cast(BIGQUERY, before, after)
    temporary = quote(before.name + kit_migrate.TEMPORARY)
    alter = f"ALTER TABLE {table(path)}"
    return [
        f"{alter} ADD COLUMN {temporary} {spelled(after.type)}",
        f"UPDATE {table(path)} SET {temporary} = {value} WHERE TRUE",
        f"{alter} DROP COLUMN {quote(before.name)}",
        f"{alter} RENAME COLUMN {temporary} TO {quote(after.name)}",
    ]


def mend(existing: Table, dialect: Dialect = BIGQUERY) -> list[str]:
    """Finish or undo what a crash left of a change of type."""
    return kit_migrate.mend(dialect, existing)


# Rows.


@dataclass(frozen=True, slots=True)
class Part:
    """A staged table, and the types its columns were read for."""

    table: str
    types: tuple[ColumnType, ...]


@dataclass(frozen=True, slots=True)
class Bound:
    """The least and the greatest value of a key's column in what is staged."""

    least: Any
    most: Any


def staged_columns(count: int) -> list[str]:
    """Return the names of a staged table's columns."""
    return [f"c{index}" for index in range(count)]


def _staged_value(index: int, read: ColumnType, wanted: ColumnType) -> str:
    """Return the expression of a staged column as a value of the table's type."""
    name = f"c{index}"
    if read.sql in {"BIGNUMERIC", "BIGNUMERIC(38)"}:
        value = f"CAST({name} AS {read.sql})"
    elif read.sql == "JSON":
        value = f"PARSE_JSON({name}, wide_number_mode => 'round')"
    else:
        value = name
    if read.sql == wanted.sql:
        return value
    if read.sql == "BIGNUMERIC(38)" and wanted.sql == "BIGNUMERIC":
        return value
    return MIGRATIONS[read.sql, wanted.sql].replace("{}", value)


def source(parts: Sequence[Part], columns: Sequence[TargetColumn], *, deletes: bool) -> str:
    """Select what is staged, as values of the table's types."""
    selects = []
    for part in parts:
        values = [
            f"{_staged_value(index, read, column.type)} AS c{index}"
            for index, (read, column) in enumerate(zip(part.types, columns, strict=True))
        ]
        if deletes:
            values.append(DELETED)
        selects.append(f"SELECT {', '.join(values)} FROM {quote(part.table)}")
    return "\n    UNION ALL ".join(selects)


def recast(source: str, kinds: Sequence[tuple[str, str]], *, deletes: bool) -> str:
    """Return a source whose columns are of other types: for each, what it is and has to be."""
    values = [
        f"{MIGRATIONS.get(pair, '{}').replace('{}', f'c{index}')} AS c{index}"
        for index, pair in enumerate(kinds)
    ]
    return f"SELECT {', '.join([*values, *([DELETED] if deletes else [])])} FROM (\n    {source})"


def bounded(keys: Sequence[TargetColumn], bounds: Sequence[Bound | None]) -> list[str]:
    """Return what the keys of the rows in question are between, as literals prune partitions."""
    found = []
    for column, bound in zip(keys, bounds, strict=True):
        if bound is None:
            continue
        name = f"t.{quote(column.name)}"
        least, most = _literal(bound.least), _literal(bound.most)
        if isinstance(bound.least, str):
            # A text that begins like this isn't less.
            least = literal(bound.least[:BOUND_CHARS_MAX])
            if len(bound.most) > BOUND_CHARS_MAX:
                found.append(f"{name} >= {least}")
                continue
        found.append(f"{name} BETWEEN {least} AND {most}")
    return found


def _literal(value: Any) -> str:
    if isinstance(value, date):
        return f"DATE '{value.isoformat()}'"
    return literal(value) if isinstance(value, str) else str(value)


def _same_key(into: Target) -> list[str]:
    return [f"t.{quote(key.name)} = s.c{index}" for index, key in enumerate(into.keys)]


def insert(into: Target, staged: str) -> str:
    """Insert all staged rows."""
    names = ", ".join(quote(column.name) for column in into.columns)
    values = ", ".join(staged_columns(len(into.columns)))
    return f"INSERT INTO {table(into.path)} ({names})\n  SELECT {values} FROM (\n    {staged})"


def merge(into: Target, staged: str, bounds: Sequence[Bound | None], *, deletes: bool) -> str:
    """Insert staged rows, update or delete those whose key is there."""
    on = "\n  AND ".join([*_same_key(into), *bounded(into.keys, bounds)])
    names = [quote(column.name) for column in into.columns]
    others = list(enumerate(names))[len(into.keys) :]
    changes = ", ".join(f"{name} = s.c{index}" for index, name in others)
    values = ", ".join(f"s.c{index}" for index in range(len(names)))
    parts = [f"MERGE INTO {table(into.path)} AS t USING (\n    {staged}) AS s\nON {on}"]
    if deletes:
        parts.append(f"WHEN MATCHED AND s.{DELETED} THEN DELETE")
    if changes:
        parts.append(f"WHEN MATCHED THEN UPDATE SET {changes}")
    unless = f" AND NOT s.{DELETED}" if deletes else ""
    parts.append(f"WHEN NOT MATCHED{unless} THEN INSERT ({', '.join(names)}) VALUES ({values})")
    return "\n".join(parts)


def load(of: Target, staged: str, document: str, bounds: Sequence[Bound | None]) -> str:
    """Select the documents of the staged keys; `document` is an expression of the table `t`."""
    on = " AND ".join([*_same_key(of), *bounded(of.keys, bounds)])
    return (
        f"SELECT document FROM (SELECT {document} AS document FROM {table(of.path)} AS t\n"
        f"JOIN ({staged}) AS s ON {on}) WHERE document IS NOT NULL"
    )


# What was applied.


def create_applied(path: Path) -> str:
    """Create the table of transactions that were applied."""
    return (
        f"CREATE TABLE IF NOT EXISTS {table(path)} (\n"
        "    `materialization` STRING NOT NULL,\n"
        "    `scope` STRING NOT NULL,\n"
        "    `transaction_id` STRING NOT NULL,\n"
        "    `applied_at` TIMESTAMP NOT NULL\n"
        ")\nPARTITION BY TIMESTAMP_TRUNC(`applied_at`, DAY)\nCLUSTER BY `transaction_id`\n"
        f"OPTIONS (partition_expiration_days = {MARKER_DAYS}, description = "
        "'What materialize-bigquery has applied, so that nothing is applied twice.')"
    )


@dataclass(frozen=True, slots=True)
class Once:
    """A transaction that is to be applied once.

    `scope` is the key range that it is of; `of` and `backfill` say which table it is for, and since
    which backfill of it.
    """

    task: str
    scope: str
    transaction: str
    of: Path
    backfill: int


def once(applied: Path, what: Once, statement: str) -> str:
    """Return a script that runs a statement unless it ran, and notes that it did, as one.

    It runs nothing for a table that a later backfill emptied. An error undoes all of it: the
    service rolls back a transaction whose script ends.
    """
    marks = table(applied)
    row = _row(what.task, what.scope, what.transaction)
    emptied = (
        f"`materialization` = {literal(what.task)} AND `scope` = {literal('.'.join(what.of))} "
        f"AND SAFE_CAST(`transaction_id` AS INT64) > {what.backfill}"
    )
    return (
        "BEGIN TRANSACTION;\n"
        f"IF NOT EXISTS (SELECT 1 FROM {marks} WHERE "
        f"`transaction_id` = {literal(what.transaction)} OR ({emptied})) "
        f"THEN\n{statement};\n{_note(marks, row)};\nEND IF;\nCOMMIT TRANSACTION;"
    )


def emptied(applied: Path, task: str, of: Path, backfill: int) -> str:
    """Note that a table is emptied: what was staged for it before is to be applied no more."""
    return _note(table(applied), _row(task, ".".join(of), str(backfill)))


def _row(task: str, scope: str, transaction: str) -> str:
    return f"{literal(task)}, {literal(scope)}, {literal(transaction)}, CURRENT_TIMESTAMP()"


def _note(marks: str, row: str) -> str:
    names = "`materialization`, `scope`, `transaction_id`, `applied_at`"
    return f"INSERT INTO {marks} ({names}) VALUES ({row})"


def staged_tables(project: str, dataset: str) -> str:
    """Select the names of all staged tables in a dataset."""
    return (
        f"SELECT table_name FROM {quote(project)}.{quote(dataset)}.INFORMATION_SCHEMA.TABLES "
        f"WHERE STARTS_WITH(table_name, {literal(STAGED_PREFIX)})"
    )
