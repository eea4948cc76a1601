"""The table a binding stores into: its columns with their types, in the order rows have."""

from dataclasses import dataclass
from typing import Any

from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.sql.dialect import ColumnType, Dialect
from estuary_cdk.materialize.bindings import Binding, Field, Table


@dataclass(frozen=True, slots=True)
class TargetColumn:
    """A column that rows are stored into."""

    name: str
    type: ColumnType


@dataclass(frozen=True, slots=True)
class Target:
    """Where a binding's rows go; rows have keys, values, then the document where there is one."""

    path: tuple[str, ...]
    keys: tuple[TargetColumn, ...]
    values: tuple[TargetColumn, ...]
    document: TargetColumn | None

    @property
    def columns(self) -> tuple[TargetColumn, ...]:
        """All columns in the order of rows."""
        document = () if self.document is None else (self.document,)
        return (*self.keys, *self.values, *document)


def target(dialect: Dialect, binding: Binding[Any], existing: Table | None = None) -> Target:
    """Return the table of a binding as the dialect has it.

    Where a column of `existing` is of another type that holds the wanted values, they are written
    as that one takes them.
    Raises ConfigError for a field that can't have a column, which validation never lets through.
    """

    there = {column.name: column.type for column in existing.columns} if existing else {}

    def found(field: Field) -> str:
        return there.get(field.column, "")

    def column(field: Field) -> TargetColumn:
        known = dialect.types.of(field)
        if known is None:
            raise ConfigError(f"can't materialize field {field.name!r}: {dialect.name} has no type")
        return TargetColumn(field.column, dialect.held(found(field), known.sql) or known)

    return Target(
        path=binding.path,
        keys=tuple(map(column, binding.keys)),
        values=tuple(map(column, binding.values)),
        document=None if binding.document is None else column(binding.document),
    )
