"""What can be done to a destination's tables: a closed union, made by `plan`, done by a connector.

No change drops a column or the table of a binding that was removed.
"""

from dataclasses import dataclass
from typing import Any, Final, assert_never

from estuary_cdk.materialize.bindings import Binding, Column, Field, Table


@dataclass(frozen=True, slots=True)
class CreateTable:
    """Create the table; one column per field of the binding, in their order.

    A binding with standard updates has at most one row per key.
    """

    binding: Binding[Any]
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class RecreateTable:
    """Drop the table that is there and create it anew, for `reason`."""

    binding: Binding[Any]
    existing: Table
    columns: tuple[Column, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class TruncateTable:
    """Delete all rows; other changes may follow for the same table."""

    binding: Binding[Any]
    existing: Table


@dataclass(frozen=True, slots=True)
class AddColumns:
    """Add columns, all of them nullable, one per field."""

    binding: Binding[Any]
    existing: Table
    fields: tuple[Field, ...]
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class RelaxColumns:
    """Let existing columns be null; their types are as they are."""

    binding: Binding[Any]
    existing: Table
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class MigrateColumn:
    """Change the type of an existing column and keep its values."""

    binding: Binding[Any]
    existing: Table
    field: Field
    before: Column
    after: Column


@dataclass(frozen=True, slots=True)
class AllowRepeats:
    """Let rows repeat their key: the binding went from standard to delta updates."""

    binding: Binding[Any]
    existing: Table


EMPTYING: Final = (RecreateTable, TruncateTable)
"""The changes after which no row is there that was there before."""

Change = (
    CreateTable
    | RecreateTable
    | TruncateTable
    | AddColumns
    | RelaxColumns
    | MigrateColumn
    | AllowRepeats
)
"""One thing to do to one table."""


def description(change: Change) -> str:
    """Tell a change in plain words."""
    table = ".".join(change.binding.path)
    match change:
        case CreateTable():
            return f"create table {table!r}"
        case RecreateTable():
            return f"drop and create table {table!r}: {change.reason}"
        case TruncateTable():
            return f"delete all rows of table {table!r}"
        case AddColumns():
            return f"add columns to table {table!r}: {_names(change.columns)}"
        case RelaxColumns():
            return f"let columns of table {table!r} be null: {_names(change.columns)}"
        case MigrateColumn():
            types = f"{change.before.type} to {change.after.type}"
            return f"change column {change.before.name!r} of table {table!r} from {types}"
        case AllowRepeats():
            return f"let rows of table {table!r} repeat their key"
        case _:
            assert_never(change)


def _names(columns: tuple[Column, ...]) -> str:
    return ", ".join(repr(column.name) for column in columns)
