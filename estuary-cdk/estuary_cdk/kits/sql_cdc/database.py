"""What a database supplies to the core, and the values they exchange.

The core decides what is scanned when, what is filtered, and what goes into which checkpoint. The
database lists tables, scans a chunk of one, and streams changes. Both hand over finished documents,
many at once.
"""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from estuary_cdk.kits.sql_cdc.resources import TableResource
from estuary_cdk.kits.sql_cdc.states import TableState
from estuary_cdk.kits.sql_cdc.tables import Table, TableId


@dataclass(frozen=True, slots=True)
class Scanned:
    """Rows of a chunk, in order of the scan; `position` resumes behind the last of them."""

    documents: Sequence[bytes]
    position: bytes | None
    done: bool = False
    """Whether no row is left; said at the latest with an empty last part."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What to scan a chunk of: a table, where it stands, and what its binding asks for."""

    table: Table
    resource: TableResource
    state: TableState


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes of one table, in order of commits. `keys` are packed, where they were asked for."""

    table: TableId
    documents: Sequence[bytes]
    keys: Sequence[bytes] | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What the stream brought next; `position` is set when it ends with a commit.

    Changes after the last commit of a batch belong to a transaction that goes on. `truncated` are
    tables whose rows are gone with a TRUNCATE, `altered` those whose columns are not those known
    any more.
    """

    changes: Sequence[Changes] = ()
    position: str | None = None
    truncated: Collection[TableId] = ()
    altered: Collection[TableId] = ()


@dataclass(frozen=True, slots=True)
class Followed:
    """A table whose changes are wanted; with `key` the packed values of these columns, too."""

    table: Table
    key: tuple[str, ...] | None = None


class ChangeStream(Protocol):
    """The changes of a database from a position on."""

    @property
    def position(self) -> str:
        """Up to where everything was handed over; between transactions."""
        ...

    def follow(self, tables: Mapping[TableId, Followed]) -> None:
        """Hand over the changes of these tables alone from now on."""
        ...

    async def next(self, timeout_s: float) -> Sequence[Batch]:
        """Return what came, waiting for it at most this long; empty when nothing did."""
        ...

    async def fence(self) -> str:
        """Return a position that lies behind every change visible to a query by now."""
        ...

    def passed(self, fence: str) -> bool:
        """Tell whether all changes before the fence were handed over."""
        ...

    async def nudge(self) -> None:
        """See to it that an idle database passes its fences."""
        ...

    def acknowledge(self, position: str) -> None:
        """Let the database forget what came before a position: it is durable downstream."""
        ...


class Database(Protocol):
    """A database that is captured; every call raises ConfigError for what the user can mend."""

    async def discover(self) -> Mapping[TableId, Table]:
        """Return the tables there are now."""
        ...

    def scan(self, scan: Scan) -> AsyncGenerator[Scanned, None]:
        """Scan the next chunk of a table."""
        ...

    def stream(self, position: str | None) -> AbstractAsyncContextManager[ChangeStream]:
        """Stream changes from a position on, or, without one, from now on."""
        ...

    async def row_counts(self, tables: Collection[TableId]) -> Mapping[TableId, int]:
        """Estimate how many rows tables have; those it knows nothing of are left out."""
        ...

    async def check(self) -> None:
        """Look for what will go wrong with time, and say so in the log."""
        ...
