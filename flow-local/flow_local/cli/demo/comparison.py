"""Whether tables of PostgreSQL and of SQLite have the same rows: every one, and every value."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import psycopg

TOLD_MAX: Final = 10

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """A table at both ends; `differences` has a sentence for each row that isn't the same."""

    table: str
    source_rows: int
    destination_rows: int
    differences: Sequence[str]


@dataclass(frozen=True, slots=True)
class Selection:
    """The columns of a table to compare, the key first; `sql` spells those that need a cast."""

    key: tuple[str, ...]
    columns: tuple[str, ...]
    sql: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """All columns, in order."""
        return self.key + self.columns


def compared(conninfo: str, database: Path, tables: Mapping[str, Selection]) -> list[Compared]:
    """Compare tables row by row, each end in one transaction.

    A table that the destination doesn't have has no rows. Raises psycopg.Error.
    """
    with psycopg.connect(conninfo) as source, closing(_opened(database)) as destination:
        source.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        destination.execute("BEGIN")
        return [
            _compared(
                name, table, _source_rows(source, name, table), _stored(destination, name, table)
            )
            for name, table in tables.items()
        ]


def _opened(database: Path) -> sqlite3.Connection:
    if not database.exists():
        return sqlite3.connect(":memory:")
    return sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=30)


def _source_rows(
    connection: psycopg.Connection[Any], name: str, table: Selection
) -> dict[Row, Row]:
    select = ", ".join(table.sql.get(column, column) for column in table.names)
    rows = connection.execute(f"SELECT {select} FROM {name}".encode())  # noqa: S608 - our own
    return {row[: len(table.key)]: row for row in rows}


def _stored(connection: sqlite3.Connection, name: str, table: Selection) -> dict[Row, Row]:
    if not _exists(connection, name):
        return {}
    rows = connection.execute(f"SELECT {', '.join(table.names)} FROM {name}")  # noqa: S608 - as above
    return {row[: len(table.key)]: row for row in rows}


def _exists(connection: sqlite3.Connection, name: str) -> bool:
    there = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
    return connection.execute(there, [name]).fetchone() is not None


def has_rows(database: Path, name: str) -> bool:
    """Tell whether a table of SQLite is there and has rows."""
    with closing(_opened(database)) as connection:
        first = f"SELECT 1 FROM {name} LIMIT 1"  # noqa: S608 - our own name
        return _exists(connection, name) and connection.execute(first).fetchone() is not None


def _compared(
    name: str, table: Selection, source: dict[Row, Row], stored: dict[Row, Row]
) -> Compared:
    differences = [
        f"{_told(name, key)} is not in the destination" for key in source.keys() - stored
    ]
    differences += [f"{_told(name, key)} is not in the source" for key in stored.keys() - source]
    for key in source.keys() & stored:
        differences += [
            f"{_told(name, key)} differs in {column}: {ours!r} in the source, {theirs!r} stored"
            for column, ours, theirs in zip(table.names, source[key], stored[key], strict=True)
            if not same(ours, theirs)
        ]
    return Compared(name, len(source), len(stored), sorted(differences))


def _told(name: str, key: Row) -> str:
    return f"{name} {', '.join(map(str, key))}"


def same(ours: Any, theirs: Any) -> bool:
    """Tell whether SQLite's value is that of PostgreSQL: to the last digit, and microsecond."""
    match ours:
        case bool():
            return bool(theirs == int(ours))
        case Decimal():
            return bool(theirs == str(ours))
        case datetime():
            return isinstance(theirs, str) and datetime.fromisoformat(theirs) == ours
        case date():
            return bool(theirs == ours.isoformat())
    return type(ours) is type(theirs) and bool(ours == theirs)


def verdict(tables: Sequence[Compared]) -> list[str]:
    """Return what to say of tables that were compared: one sentence where all is equal."""
    differences = [sentence for table in tables for sentence in table.differences]
    if not differences:
        return ["source and destination are equal"]
    told = [f"  {sentence}" for sentence in differences[:TOLD_MAX]]
    if len(differences) > TOLD_MAX:
        told.append(f"  and {len(differences) - TOLD_MAX:,} more")
    return [f"source and destination differ in {len(differences):,} places:", *told]
