"""Statements for each change of a table, for databases that alter tables in place; pure.

What a dialect has no statement for raises ContractError: its connector rebuilds the table instead
(`migrate.rebuild`). A connector runs the statements of one change in one transaction where its
database can; where each statement commits by itself, the order is such that a crash between any two
leaves what `migrate.mended` understands.
"""

from collections.abc import Sequence
from typing import assert_never

from estuary_cdk.errors import ContractError
from estuary_cdk.kits.sql import migrate, statements
from estuary_cdk.kits.sql.dialect import Dialect
from estuary_cdk.materialize.bindings import Binding, Column, Field
from estuary_cdk.materialize.changes import (
    AddColumns,
    AllowRepeats,
    Change,
    CreateTable,
    MigrateColumn,
    RecreateTable,
    RelaxColumns,
    TruncateTable,
)


def alterations(dialect: Dialect, change: Change) -> list[str]:
    """Return the statements that make a change."""
    path = change.binding.path
    match change:
        case CreateTable():
            return created(dialect, change.binding, change.columns)
        case RecreateTable():
            drop = statements.drop_table(dialect, change.existing.path)
            return [drop, *created(dialect, change.binding, change.columns)]
        case TruncateTable():
            return [dialect.empty.format(table=dialect.table(path))]
        case AddColumns():
            added = migrate.add_columns(dialect, path, change.columns)
            return [*added, *comments(dialect, change.binding, change.fields)]
        case RelaxColumns():
            return migrate.relax(dialect, path, change.columns)
        case MigrateColumn():
            return retyped(dialect, path, change.before, change.after)
        case AllowRepeats():
            if dialect.drop_key is None:
                raise ContractError(f"can't drop a key: {dialect.name} has no statement for it")
            return [dialect.drop_key.format(table=dialect.table(path))]
        case _:
            assert_never(change)


def created(dialect: Dialect, binding: Binding[object], columns: Sequence[Column]) -> list[str]:
    """Create a binding's table and say what its columns hold."""
    keys = [] if binding.delta_updates else [field.column for field in binding.keys]
    create = statements.create_table(dialect, binding.path, columns, keys)
    return [create, *comments(dialect, binding, binding.fields)]


def comments(dialect: Dialect, binding: Binding[object], fields: Sequence[Field]) -> list[str]:
    """Say where the values of columns come from."""
    if dialect.comment is None:
        return []
    table = dialect.table(binding.path)
    return [dialect.comment(table, field.column, told(field)) for field in fields]


def told(field: Field) -> str:
    """Tell in words what a field holds."""
    inference = field.inference
    types = ", ".join(inference.types)
    where = "the whole document" if field.is_document else f"the document's {field.pointer}"
    said = ": ".join(filter(None, (inference.title, inference.description)))
    return f"{said}\n{where} ({types})" if said else f"{where} ({types})"


def retyped(dialect: Dialect, path: Sequence[str], before: Column, after: Column) -> list[str]:
    """Change a column's type and keep its values."""
    if dialect.alter_type is None:
        return migrate.migrate_column(dialect, path, before, after)
    return [
        dialect.alter_type.format(
            table=dialect.table(path),
            column=dialect.quote(after.name),
            type=after.type,
            value=migrate.cast(dialect, before, after),
        )
    ]
