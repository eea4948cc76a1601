"""What is materialized where: shards, bindings, their fields, and the tables they end in.

A binding puts one collection into one table: a resource of the destination, whatever it calls it.
Each selected field of the collection is a column there: keys first, then values, then the root
document where it is selected. That order holds everywhere: in keys and values of batches, in
planned columns, in `Binding.fields`.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

from estuary_cdk.protocol.flow import Inference
from estuary_cdk.protocol.message import present

ResourceT = TypeVar("ResourceT")
Path = tuple[str, ...]
"""The name of a table, its namespaces first."""


@dataclass(frozen=True, slots=True)
class Field:
    """A named location of a collection's documents and the column it goes to.

    `pointer` is its JSON pointer ("" is the root); `config` the JSON text of what the user wrote
    for this field in the catalog, "" where nothing; `is_key` if it belongs to the binding's key.
    """

    name: str
    column: str
    pointer: str
    inference: Inference
    is_key: bool = False
    config: bytes = b""

    @property
    def is_document(self) -> bool:
        """Whether this is the whole document."""
        return self.pointer == ""

    @property
    def nullable(self) -> bool:
        """Whether a null can come for it: never for a key, nor for what always has a value."""
        if self.is_key:
            return False
        always = self.inference.exists == "MUST" or present(self.inference.default)
        return not always or "null" in self.inference.types


@dataclass(frozen=True, slots=True)
class Binding(Generic[ResourceT]):
    """One collection bound to one table, as built.

    `index` is what batches call it by; `path` names the table and is unique within the task;
    `state_key` is the name of what is kept for it and changes with `path` and `backfill`.
    `document` is None where the root isn't selected, `task` is the name of the materialization.
    """

    index: int
    resource: ResourceT
    path: Path
    collection: str
    keys: tuple[Field, ...]
    values: tuple[Field, ...]
    document: Field | None
    delta_updates: bool
    backfill: int
    state_key: str
    task: str = ""

    @property
    def fields(self) -> tuple[Field, ...]:
        """All fields in the order of columns: keys, values, document."""
        document = () if self.document is None else (self.document,)
        return (*self.keys, *self.values, *document)


@dataclass(frozen=True, slots=True)
class Shard:
    """Which part of a task this process is: the inclusive range of key hashes it owns."""

    task: str
    key_begin: int
    key_end: int


@dataclass(frozen=True, slots=True)
class Column:
    """A column, there or planned; `type` is spelled as the destination spells types."""

    name: str
    type: str
    nullable: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table that exists, with all its columns, also those nobody selected."""

    path: Path
    columns: tuple[Column, ...]
