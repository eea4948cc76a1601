"""What can be done to a destination's tables: a closed union, made by `plan`, done by a connector.

No change drops a column or the table of a binding that was removed.
"""

from dataclasses import dataclass
from typing import Any

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


Change = CreateTable | RecreateTable | TruncateTable | AddColumns | RelaxColumns | MigrateColumn
