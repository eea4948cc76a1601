"""How a run looks while it goes on: a table on a terminal, lines of JSON everywhere else."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from estuary_cdk.clock import Clock
from estuary_cdk.logs import get_logger
from flow_local.cli.tables import columns, lasting, sized
from flow_local.supervisor import Board, TaskStatus

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

REFRESH_S: Final = 0.2
REPORT_S: Final = 10.0
NOT_UP: Final = frozenset({"waiting", "applying", "opening"})

View = Callable[[Board, Clock], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class Screen:
    """How a run is shown; `console` is where people read, None where none do."""

    view: View
    console: "Console | None" = None


log = get_logger(__name__)


def progress_table(statuses: Sequence[TaskStatus]) -> "Table":
    """Return one row per binding: documents and bytes, how fast, how many wait for how long."""
    figures = ("Documents", "Bytes", "Docs/s", "Bytes/s", "Waiting", "Lag")
    table = columns("Task", "Collection", *figures, "", right=figures)
    for status in statuses:
        told, phase = status.name, status.phase
        if not status.bindings:
            table.add_row(told, *[""] * (1 + len(figures)), phase)
        for binding in status.bindings:
            table.add_row(
                told,
                binding.collection,
                f"{binding.documents:,}",
                sized(binding.bytes),
                f"{binding.documents_per_s:,.0f}",
                sized(binding.bytes_per_s),
                sized(binding.backlog_bytes) if binding.backlog_bytes else "",
                lasting(binding.lag_s) if binding.lag_s else "",
                phase,
            )
            told = phase = ""
    return table


@dataclass(slots=True)
class _Averages:
    """Rates of each binding, from its task being up to its last document's move."""

    up_s: dict[str, float] = field(default_factory=dict)
    moved: dict[tuple[str, int], tuple[int, float]] = field(default_factory=dict)

    def look(self, statuses: Sequence[TaskStatus], now_s: float) -> None:
        for status in statuses:
            if status.phase in NOT_UP or status.name not in self.up_s:
                self.up_s[status.name] = now_s
            for index, binding in enumerate(status.bindings):
                documents, _ = self.moved.get((status.name, index), (0, 0.0))
                if binding.documents != documents:
                    self.moved[status.name, index] = (binding.documents, now_s)

    def over(self, status: TaskStatus) -> TaskStatus:
        """Return `status` with averages for rates."""
        bindings = []
        for index, binding in enumerate(status.bindings):
            documents, last_s = self.moved.get((status.name, index), (0, 0.0))
            elapsed_s = max(last_s - self.up_s[status.name], REFRESH_S)
            rates = (documents / elapsed_s, binding.bytes / elapsed_s)
            bindings.append(replace(binding, documents_per_s=rates[0], bytes_per_s=rates[1]))
        return replace(status, bindings=tuple(bindings))


def terminal_view(console: "Console") -> View:
    """Return the view of people: a table that is live, and stays with averages when all is done."""
    from rich.live import Live

    @asynccontextmanager
    async def view(board: Board, clock: Clock) -> AsyncIterator[None]:
        averages = _Averages()
        statuses: Sequence[TaskStatus] = ()

        def look() -> Sequence[TaskStatus]:
            nonlocal statuses
            now_s = clock.monotonic()
            statuses = board.status(now_s)
            averages.look(statuses, now_s)
            return statuses

        with Live(progress_table(look()), console=console, auto_refresh=False) as display:

            async def refresh() -> None:
                while True:
                    await clock.sleep(REFRESH_S)
                    display.update(progress_table(look()), refresh=True)

            try:
                async with _beside(refresh):
                    yield
            finally:
                final = [averages.over(status) for status in look()]
                display.update(progress_table(final), refresh=True)

    return view


def final_view(console: "Console") -> View:
    """Return the view of people who read later: the table with averages, when all is done."""

    @asynccontextmanager
    async def view(board: Board, clock: Clock) -> AsyncIterator[None]:
        averages = _Averages()

        async def look() -> None:
            while True:
                await clock.sleep(REFRESH_S)
                averages.look(board.status(clock.monotonic()), clock.monotonic())

        async with _beside(look):
            yield
        statuses = board.status(clock.monotonic())
        averages.look(statuses, clock.monotonic())
        console.print(progress_table([averages.over(status) for status in statuses]))

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
async def _beside(work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work())
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
                "bytes_per_s": round(binding.bytes_per_s, 1),
                "backlog_bytes": binding.backlog_bytes,
                "lag_s": round(binding.lag_s, 1),
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
