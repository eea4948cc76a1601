"""Enum types of the server: made for new columns, extended as schemas gain values.

A plan spells an enumeration by its labels; here it gets its name. A type that is there under the
name we would give is taken and extended: it was left by a table that is gone, or is that of another
one with the same labels. Types are never dropped.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from estuary_cdk.kits.sql.enumerations import labels_of, missing
from estuary_cdk.materialize import (
    AddColumns,
    Change,
    Column,
    CreateTable,
    MigrateColumn,
    Path,
    RecreateTable,
)
from materialize_postgres.dialect import POSTGRES, folded, literal
from materialize_postgres.session import PostgresSession

_LABELS: Final = """
SELECT ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid)
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname = $1 AND t.typname = $2 AND t.typtype = 'e'
"""
_TYPE_OF: Final = """
SELECT n.nspname, t.typname
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE a.attrelid = to_regclass($1) AND a.attname = $2
"""


def type_path(table: Path, column: str) -> Path:
    """Return the name of the enum type that we make for a column."""
    return (table[0], folded(f"{table[-1]}_{column}_flow_enum"))


def with_types(session: PostgresSession, change: Change) -> tuple[list[str], Change]:
    """Return what makes the enum types that a change needs, and the change with their names."""
    if not isinstance(change, CreateTable | RecreateTable | AddColumns):
        return [], change
    made: list[str] = []
    columns: list[Column] = []
    for column in change.columns:
        wanted = labels_of(column.type)
        if wanted is not None:
            name = type_path(change.binding.path, column.name)
            made += _made(session, name, wanted)
            column = replace(column, type=POSTGRES.table(name))  # noqa: PLW2901 - the same one
        columns.append(column)
    return made, replace(change, columns=tuple(columns))


def _made(session: PostgresSession, name: Path, wanted: Sequence[str]) -> list[str]:
    found = session.execute(_LABELS, name, "read").fetchone()
    if found is not None:
        return _extended(name, missing(found[0], wanted))
    return [f"CREATE TYPE {POSTGRES.table(name)} AS ENUM ({', '.join(map(literal, wanted))})"]


def _extended(name: Path, labels: Sequence[str]) -> list[str]:
    extend = f"ALTER TYPE {POSTGRES.table(name)} ADD VALUE IF NOT EXISTS"
    return [f"{extend} {literal(label)}" for label in labels]


def extensions(session: PostgresSession, change: Change) -> list[str] | None:
    """Return what adds labels to the type of a column; None for any other change."""
    if not isinstance(change, MigrateColumn):
        return None
    before, after = labels_of(change.before.type), labels_of(change.after.type)
    if before is None or after is None:
        return None
    table = POSTGRES.table(change.binding.path)
    name = session.execute(_TYPE_OF, (table, change.before.name), "read").fetchone()
    return [] if name is None else _extended(name, missing(before, after))
