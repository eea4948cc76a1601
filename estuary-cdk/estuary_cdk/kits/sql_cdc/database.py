"""What a database supplies to the core, and the values they exchange.

The core decides what is scanned when, what is filtered, and what goes into which checkpoint. The
database lists tables, scans chunks of them, and streams changes. Both hand over finished documents,
many at once.
"""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from estuary_cdk.kits.sql_cdc.tables import Table, TableId

if TYPE_CHECKING:
    # Models take a while to load, which a process that only reads rows does without.
    from estuary_cdk.kits.sql_cdc.resources import TableResource
    from estuary_cdk.kits.sql_cdc.states import TableState


@dataclass(frozen=True, slots=True)
class Scanned:
    """Rows of a chunk, in order of the scan; `position` resumes behind the last of them.

    `block` is what `captured_block` makes of their documents: spelled by whoever made them, on its
    own thread and while they are in the processor's cache.
    """

    block: bytes
    rows: int
    position: bytes | None
    done: bool = False
    """Whether no row is left; said at the latest with an empty last part."""
    short: bool = False
    """Whether the chunk ends here, at `position`, before the end it should have had."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What to scan a chunk of: a table, where it stands, and what its binding asks for.

    `binding` is the binding's index. `chunk` says which chunk, in the database's own terms; None
    before it is cut.
    """

    table: Table
    resource: "TableResource"
    state: "TableState"
    binding: int = 0
    chunk: Any = None


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes of one table, in order of commits. `keys` are packed, where they were asked for.

    They come as documents, or as a block of so many rows, as in `Scanned`.
    """

    table: TableId
    documents: Sequence[bytes] = ()
    keys: Sequence[bytes] | None = None
    block: bytes = b""
    rows: int = 0


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
    """A table whose changes are wanted; with `key` the packed values of these columns, too.

    `binding` is the index of its binding.
    """

    table: Table
    key: tuple[str, ...] | None = None
    binding: int = 0


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

    async def check(self) -> None:
        """Raise the error that resuming would meet if changes not yet handed over are gone."""
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

    async def chunks(self, scan: Scan, chunks_max: int) -> Sequence[Scan]:
        """Cut what comes next of a table into chunks: at least one, each beginning where the one
        before it ends, so that they can be scanned side by side.
        """
        ...

    def scan(self, scan: Scan) -> AsyncGenerator[Scanned, None]:
        """Scan a chunk that was cut; any number of them at a time.

        What it reads is no older than the moment at which this is first awaited. The core takes no
        changes from the stream between the cut and the end of the scan.
        """
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
