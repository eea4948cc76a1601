"""What the core knows of a database's tables: their columns, keys and how their keys sort."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

TableId = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: the JSON schema of its values, without null, and what people call its type."""

    name: str
    type_name: str
    schema: Mapping[str, Any]
    nullable: bool = True
    description: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; `columns` are those that documents carry, `key` is empty where it has none.

    `sortable` names the columns that the database can scan in the bytewise order of their packed
    values, as mode Precise needs; `predictable` those of which it does so by itself. `identity`
    changes when the table is dropped and created again. `details` are the database's own.
    """

    id: TableId
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    sortable: frozenset[str] = frozenset()
    predictable: frozenset[str] = frozenset()
    description: str = ""
    identity: str = ""
    details: Any = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """Namespace and name as one text, for people."""
        return ".".join(self.id)


def key_columns(pointers: Sequence[str], table: Table) -> tuple[str, ...] | None:
    """Return the columns a collection's key consists of, None unless they are never null."""
    names = [pointer[1:].replace("~1", "/").replace("~0", "~") for pointer in pointers]
    known = {column.name for column in table.columns if not column.nullable}
    return tuple(names) if names and known.issuperset(names) else None
