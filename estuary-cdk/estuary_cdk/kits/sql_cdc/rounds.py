"""A round of a backfill: chunks that are scanned side by side and go out under one checkpoint.

Chunks of one table lie next to each other, so that a round moves each table's one position on, and
what was persisted of a table stays what it is without rounds. Nothing is scanned while changes are
read: a chunk that was read before changes and emitted behind them would bring back old rows.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from estuary_cdk.errors import ContractError
from estuary_cdk.kits.sql_cdc.database import Database, Scan, Scanned
from estuary_cdk.kits.sql_cdc.states import TableState

PARTS_WAITING_MAX: Final = 2


def shares(tables: int, workers: int) -> list[int]:
    """Return how many chunks at a time each of so many tables gets; the first get more."""
    tables = min(tables, workers)
    return [workers // tables + (index < workers % tables) for index in range(tables)]


@dataclass(frozen=True, slots=True)
class Part:
    """Documents of the table at `index` of a round, as `Scanned` has them."""

    index: int
    block: bytes
    rows: int


class Round:
    """Scans chunks of some tables; `states` holds where each stands once all parts are taken."""

    def __init__(self, database: Database, tables: Sequence[Sequence[Scan]]) -> None:
        self._database = database
        self._tables = tables
        self._ends: list[list[Scanned | None]] = [[None] * len(chunks) for chunks in tables]
        self._rows = [0] * len(tables)
        self._queue: asyncio.Queue[Part | None] = asyncio.Queue(PARTS_WAITING_MAX)

    async def run(
        self,
        take: Callable[[Part], Awaitable[None]],
        watch: Callable[[], Coroutine[Any, Any, None]],
    ) -> list[TableState]:
        """Scan all chunks, handing their parts to `take` one at a time; return the states after.

        `watch` runs beside it and ends everything if it raises. Raises what any of them does.
        """
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(watch())
                scanning = group.create_task(self._scan_all())
                async for part in self._parts():
                    await take(part)
                await scanning
                watching.cancel()
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        return [self._state(index) for index in range(len(self._tables))]

    async def _scan_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for index, chunks in enumerate(self._tables):
                for number, chunk in enumerate(chunks):
                    group.create_task(self._scan(index, number, chunk))
        await self._queue.put(None)

    async def _scan(self, index: int, number: int, chunk: Scan) -> None:
        async with aclosing(self._database.scan(chunk)) as parts:
            async for part in parts:
                self._ends[index][number] = part
                self._rows[index] += part.rows
                if part.rows:
                    await self._queue.put(Part(index, part.block, part.rows))

    async def _parts(self) -> AsyncIterator[Part]:
        while (part := await self._queue.get()) is not None:
            yield part

    def _state(self, index: int) -> TableState:
        """Return the state behind the chunks up to the first that didn't get to its end."""
        state = self._tables[index][0].state
        position, done = state.position, False
        for end in self._ends[index]:
            if end is None:
                raise ContractError(f"can't go on: a chunk of table {index} said nothing")
            position, done = end.position or position, end.done
            if end.short:
                break
        return state.advanced(position, self._rows[index], done=done)


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first of the errors, which the others hardly ever add to."""
    found: BaseException = failures
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
