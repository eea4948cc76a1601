"""How a connector describes its destination: what it allows, what is there, and how to change it.

`Rules` are pure and known once connected; `Destination` does the talking. The kit asks, decides
(`constraints`, `plan`) and tells the destination what to do. All calls are blocking, come from one
thread, and never overlap.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from estuary_cdk.materialize.bindings import Column, Field, Path, Table
from estuary_cdk.materialize.changes import Change


class Fit(Enum):
    """How a column that is there takes the values of a field."""

    COMPATIBLE = "compatible"
    MIGRATABLE = "migratable"
    INCOMPATIBLE = "incompatible"


@dataclass(frozen=True, slots=True)
class Forbidden:
    """Why a field can't be materialized at all; shown to the user."""

    reason: str


def same_type(existing: Column, wanted: Column, _field: Field) -> Fit:
    """Judge by the spelling of the type alone."""
    return Fit.COMPATIBLE if existing.type == wanted.type else Fit.INCOMPATIBLE


def as_is(name: str) -> str:
    """Keep a name."""
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a kind of destination allows, as pure functions and limits.

    - `column_type(field)` is the type of the field's column, spelled as in `Column.type`.
    - `fit(existing, wanted, field)` compares types only; nullability is the kit's business, and
      so is that the column of a key never migrates.
    - `folded(name)` is the column for a field's name where the destination won't take it as it is.
    - names of columns may be `name_length_max` long, as `name_length` counts.
    - with `case_insensitive`, two columns can't differ by case alone.
    """

    column_type: Callable[[Field], str | Forbidden]
    fit: Callable[[Column, Column, Field], Fit] = same_type
    folded: Callable[[str], str] = as_is
    name_length_max: int | None = None
    name_length: Callable[[str], int] = len
    case_insensitive: bool = False

    def identity(self, column: str) -> str:
        """Return what is equal for two names that the destination can't tell apart."""
        return column.casefold() if self.case_insensitive else column

    def too_long(self, column: str) -> bool:
        """Tell whether the destination can't have a column of this name."""
        return self.name_length_max is not None and self.name_length(column) > self.name_length_max


class Destination(Protocol):
    """A connected endpoint, for everything but moving documents."""

    @property
    def rules(self) -> Rules:
        """What this endpoint allows."""
        ...

    def tables(self, paths: Sequence[Path]) -> Sequence[Table | None]:
        """Return what is at each path now, None where there is nothing."""
        ...

    def prepare(self, paths: Sequence[Path]) -> Sequence[str]:
        """Create what the tables need around them: namespaces, the connector's own tables.

        Repeatable; returns a description of each thing that wasn't there.
        """
        ...

    def apply(self, change: Change) -> str:
        """Make one change and return what was done, in the destination's own words (SQL).

        A change that was interrupted is planned anew from what is there by then, so a half-done
        change must leave `tables` telling the truth.
        """
        ...
