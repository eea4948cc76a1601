"""Changing a table that is there without losing what it holds, and without losing one's place.

Three ways, all of them lists of statements:

- `relax` and `add_columns` where the database alters in place.
- `migrate_column` for types: add a temporary column, fill it by a cast, drop the old one, rename.
  Databases that commit each step by itself may crash between any two of them. `mended` says what
  such a table means (a temporary column whose original is gone *is* the original) and `mend` is
  what finishes or undoes the rest, so that a change planned anew starts from one of two states.
- `rebuild` for databases that can't alter a column: a new table is filled from the old one and
  takes its name, in one transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from estuary_cdk.errors import ContractError
from estuary_cdk.kits.sql import statements
from estuary_cdk.kits.sql.dialect import Dialect
from estuary_cdk.materialize.bindings import Column, Table

TEMPORARY: Final = "_flowtmp1"
"""What the name of a column ends in while its values move to a new type."""


def add_columns(dialect: Dialect, path: Sequence[str], columns: Sequence[Column]) -> list[str]:
    """Add columns, one statement each."""
    return [statements.add_column(dialect, path, column) for column in columns]


def relax(dialect: Dialect, path: Sequence[str], columns: Sequence[Column]) -> list[str]:
    """Let columns be null.

    Raises ContractError for a dialect that must rebuild the table instead.
    """
    form = dialect.drop_not_null
    if form is None:
        raise ContractError(f"can't drop NOT NULL: {dialect.name} has no statement for it")
    table = dialect.table(path)
    return [form.format(table=table, column=dialect.quote(column.name)) for column in columns]


def cast(dialect: Dialect, before: Column, after: Column) -> str:
    """Return the expression of a column's value as another type.

    Raises ContractError for a change that isn't among the dialect's migrations.
    """
    form = dialect.cast(before.type, after.type)
    if form is None:
        raise ContractError(f"can't make {after.type} of {before.type}: {dialect.name} has no cast")
    return form.replace("{}", dialect.quote(before.name))


def migrate_column(
    dialect: Dialect, path: Sequence[str], before: Column, after: Column
) -> list[str]:
    """Change a column's type by way of a temporary column; `after` has the same name.

    The column is nullable afterwards. Start from a mended table.
    """
    temporary = Column(before.name + TEMPORARY, after.type, nullable=True)
    return [
        statements.add_column(dialect, path, temporary),
        statements.fill_column(dialect, path, temporary.name, cast(dialect, before, after)),
        statements.drop_column(dialect, path, before.name),
        statements.rename_column(dialect, path, temporary.name, before.name),
    ]


def mended(table: Table) -> Table:
    """Return what a table will be once `mend` has run."""
    names = {column.name for column in table.columns}
    columns = []
    for column in table.columns:
        original = column.name.removesuffix(TEMPORARY)
        if original == column.name:
            columns.append(column)
        elif original not in names:
            columns.append(replace(column, name=original))
    return Table(table.path, tuple(columns))


def mend(dialect: Dialect, table: Table) -> list[str]:
    """Finish or undo a migration that a crash left half done; nothing for a whole table."""
    names = {column.name for column in table.columns}
    done = []
    for column in table.columns:
        original = column.name.removesuffix(TEMPORARY)
        if original == column.name:
            continue
        if original in names:
            done.append(statements.drop_column(dialect, table.path, column.name))
        else:
            done.append(statements.rename_column(dialect, table.path, column.name, original))
    return done


def rebuild(
    dialect: Dialect,
    before: Table,
    columns: Sequence[Column],
    keys: Sequence[str],
    casts: Mapping[str, str] | None = None,
) -> list[str]:
    """Replace a table by one with `columns`, keeping all rows; run it in one transaction.

    `columns` have the names of the old ones; `casts` maps names to the expression of their value,
    the column as it is for those that aren't there.
    """
    *namespace, name = before.path
    new_path = (*namespace, name + TEMPORARY)
    values = {column.name: dialect.quote(column.name) for column in columns}
    return [
        statements.create_table(dialect, new_path, columns, keys),
        statements.copy_rows(dialect, before.path, new_path, {**values, **(casts or {})}),
        statements.drop_table(dialect, before.path),
        statements.rename_table(dialect, new_path, name),
    ]
