"""A data directory in use: its lock, its recovery database, its collections."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from estuary_cdk.clock import Clock, SystemClock
from flow_local.collections import Collections
from flow_local.connectors import LogEvent, Spares
from flow_local.recovery import locked, recovery
from flow_local.tasks import World


@asynccontextmanager
async def data_directory(
    path: Path,
    on_event: Callable[[str, LogEvent], None],
    clock: Clock | None = None,
    log_level: str = "info",
    spares: Spares | None = None,
) -> AsyncIterator[World]:
    """Open a data directory, which is made if absent, for tasks to run on.

    `on_event` gets what connectors log, with the name of their task. Raises ConfigError where
    another process uses the directory, StorageError where it can't be used.
    """
    with locked(path):
        async with recovery(path) as log:
            collections = Collections(path, await log.ends(), log.schemas)
            yield World(collections, log, clock or SystemClock(), on_event, log_level, spares)
