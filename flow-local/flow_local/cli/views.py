"""How a run looks while it goes on: a table on a terminal, lines of JSON everywhere else."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.table import Table

from estuary_cdk.clock import Clock
from estuary_cdk.logs import get_logger
from flow_local.cli.sizes import sized
from flow_local.supervisor import Board, TaskStatus

REFRESH_S: Final = 0.2
REPORT_S: Final = 10.0

View = Callable[[Board, Clock], AbstractAsyncContextManager[None]]

log = get_logger(__name__)


def progress_table(statuses: Sequence[TaskStatus]) -> Table:
    """Return one row per binding: how many documents and bytes moved, how fast, how many wait."""
    table = Table(box=None, pad_edge=False)
    table.add_column("Task", overflow="fold")
    table.add_column("Collection", overflow="fold")
    for column in ("Documents", "Bytes", "Docs/s", "Waiting"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for status in statuses:
        told, phase = status.name, status.phase
        if not status.bindings:
            table.add_row(told, "", "", "", "", "", phase)
        for binding in status.bindings:
            table.add_row(
                told,
                binding.collection,
                f"{binding.documents:,}",
                sized(binding.bytes),
                f"{binding.documents_per_s:,.0f}",
                sized(binding.backlog_bytes) if binding.backlog_bytes else "",
                phase,
            )
            told = phase = ""
    return table


def terminal_view(console: Console) -> View:
    """Return the view of people: a table that is live, and stays when all is done."""

    @asynccontextmanager
    async def view(board: Board, clock: Clock) -> AsyncIterator[None]:
        def table() -> Table:
            return progress_table(board.status(clock.monotonic()))

        with Live(table(), console=console, auto_refresh=False) as display:

            async def refresh() -> None:
                while True:
                    await clock.sleep(REFRESH_S)
                    display.update(table(), refresh=True)

            async with _beside(refresh):
                yield
            display.update(table(), refresh=True)

    return view


@asynccontextmanager
async def log_view(board: Board, clock: Clock) -> AsyncIterator[None]:
    """Log the progress of every task now and then, and at the end: the view of machines."""

    async def report() -> None:
        while True:
            await clock.sleep(REPORT_S)
            _log(board.status(clock.monotonic()))

    try:
        async with _beside(report):
            yield
    finally:
        _log(board.status(clock.monotonic()))


@asynccontextmanager
async def _beside(work: Callable[[], "asyncio.Future[None] | object"]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work())  # type: ignore[arg-type]
        try:
            yield
        finally:
            task.cancel()


def _log(statuses: Sequence[TaskStatus]) -> None:
    for status in statuses:
        bindings = [
            {
                "collection": binding.collection,
                "documents": binding.documents,
                "bytes": binding.bytes,
                "documents_per_s": round(binding.documents_per_s, 1),
                "backlog_bytes": binding.backlog_bytes,
            }
            for binding in status.bindings
        ]
        log.info(
            "progress",
            task=status.name,
            phase=status.phase,
            transactions=status.transactions,
            documents=sum(binding.documents for binding in status.bindings),
            bytes=sum(binding.bytes for binding in status.bindings),
            bindings=bindings,
        )
