"""The recovery database for the tasks of one event loop: its calls, on a thread of their own."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from estuary_cdk.transport import Thread
from flow_local.recovery.database import Commit, Database, TaskRecord, opened


class Recovery:
    """See `Database`; every call returns once its effect is durable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread = Thread("recovery database")
        self._schemas = database.inferred()

    @property
    def schemas(self) -> Mapping[str, bytes]:
        """The schema inferred of each collection as recorded last.

        It has changed before any reader can see the documents that widened it.
        """
        return self._schemas

    async def task(self, name: str) -> TaskRecord:
        """See `Database.task`."""
        return await self._thread.run(lambda: self._database.task(name))

    async def shards(self, task: str) -> list[str]:
        """See `Database.shards`."""
        return await self._thread.run(lambda: self._database.shards(task))

    async def ends(self) -> dict[str, int]:
        """See `Database.ends`."""
        return await self._thread.run(self._database.ends)

    async def commit(self, commit: Commit) -> None:
        """See `Database.commit`."""
        await self._thread.run(lambda: self._database.commit(commit))
        self._schemas.update(commit.inferred)

    async def recut(self, task: str, shards: Mapping[str, TaskRecord]) -> None:
        """See `Database.recut`."""
        await self._thread.run(lambda: self._database.recut(task, shards))

    async def close(self) -> None:
        """Return when all calls have been made; there can be no more."""
        await self._thread.run(lambda: None)
        self._thread.stop()


@asynccontextmanager
async def recovery(directory: Path) -> AsyncIterator[Recovery]:
    """Open a data directory's recovery database; the caller holds the directory's lock."""
    with opened(directory) as database:
        log = Recovery(database)
        try:
            yield log
        finally:
            await log.close()
