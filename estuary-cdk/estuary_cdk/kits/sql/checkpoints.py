"""The checkpoints table: where a destination keeps Flow's checkpoint, and who may write it.

Each row belongs to one key range of one task and has a fence, a number that grows whenever a newer
process opens any overlapping range. A commit names the fence its process installed, in the same
transaction as its rows: once another process has opened, the commit changes no row and all of it is
rolled back. A shard that was split off finds its parent's row, the narrowest that covers it, takes
over its checkpoint and gets a row of its own; the parent's row stays, fenced. A shard joined from
two finds its own older row again. Emptying a table raises the fence as well, in its transaction:
what a process still has to commit belongs to the rows that are gone.

A checkpoint is the JSON text the runtime sent, byte for byte. All calls run inside a transaction
that the caller begins and ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from estuary_cdk.errors import ConfigError, Fenced
from estuary_cdk.kits.sql import statements
from estuary_cdk.kits.sql.dialect import Dialect
from estuary_cdk.materialize.bindings import Shard
from estuary_cdk.protocol.flow import KEY_END_MAX


class Cursor(Protocol):
    """What a statement did: the rows it changed, the rows it returned."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""
        ...

    def fetchone(self) -> Any:
        """Return the next row, None after the last."""
        ...


class Connection(Protocol):
    """The part of a database connection that checkpoints need."""

    def execute(self, sql: str, parameters: Sequence[Any], /) -> Cursor:
        """Run one statement with parameters."""
        ...


@dataclass(frozen=True, slots=True)
class Fence:
    """A fence installed by this process, and the checkpoint it found (b"" if none)."""

    shard: Shard
    number: int
    checkpoint: bytes


def install_fence(
    connection: Connection, dialect: Dialect, shard: Shard, namespace: Sequence[str] = ()
) -> Fence:
    """Shut out every older process of this range and take over its checkpoint.

    Raises ConfigError for a checkpoint that isn't JSON: another connector's, in its own encoding.
    """
    task, begin, end = shard.task, shard.key_begin, shard.key_end
    connection.execute(statements.bump_fences(dialect, namespace), (task, end, begin))
    found = connection.execute(
        statements.find_fence(dialect, namespace), (task, begin, end)
    ).fetchone()
    found_begin, found_end, number, checkpoint = found or (None, None, 0, "")
    if checkpoint and not checkpoint.lstrip().startswith("{"):
        raise ConfigError(
            f"can't resume {task!r}: its checkpoint in {statements.CHECKPOINTS} isn't JSON",
            hint="another connector wrote it; delete the row and backfill all bindings",
        )
    if (found_begin, found_end) != (begin, end):
        row = (task, begin, end, number, checkpoint)
        connection.execute(statements.insert_fence(dialect, namespace), row)
    return Fence(shard, number, checkpoint.encode())


def shut_out(
    connection: Connection, dialect: Dialect, task: str, namespace: Sequence[str] = ()
) -> None:
    """Fence off all processes of a task that are running; its checkpoints stay.

    The last statement of a transaction that locks tables of the task: they lock these rows last.
    """
    parameters = (task, KEY_END_MAX, 0)
    connection.execute(statements.bump_fences(dialect, namespace), parameters)


def commit_checkpoint(
    connection: Connection,
    dialect: Dialect,
    fence: Fence,
    checkpoint: bytes,
    namespace: Sequence[str] = (),
) -> None:
    """Record a checkpoint in the transaction that stores its rows.

    Raises Fenced if a newer process has opened; the caller must roll back.
    """
    shard = fence.shard
    done = connection.execute(
        statements.update_checkpoint(dialect, namespace),
        (checkpoint.decode(), shard.task, shard.key_begin, shard.key_end, fence.number),
    )
    if done.rowcount != 1:
        raise Fenced(
            f"can't commit to {shard.task!r}: fenced off by another instance of it",
            task=shard.task,
            fence=fence.number,
        )
