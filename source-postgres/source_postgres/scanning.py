"""Connections for backfills, each with a thread: they are kept, and as many as chunks are read."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

import psycopg
from psycopg import Connection

from estuary_cdk.kits.sql_cdc.database import Scan, Scanned
from estuary_cdk.logs import get_logger
from estuary_cdk.transport import Thread
from source_postgres import backfill
from source_postgres.config import Config
from source_postgres.connecting import connect, explained
from source_postgres.documents import Origin
from source_postgres.visibility import Streamed

log = get_logger(__name__)

CANCEL_TIMEOUT_S: Final = 5.0


class Scanner:
    """A connection and the thread on which all its calls are made but one."""

    def __init__(self, config: Config) -> None:
        self.thread = Thread("backfill")
        self._config = config
        self._connection: Connection[Any] | None = None

    def connection(self) -> Connection[Any]:
        """Return the connection; made anew once it is lost."""
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._config)
        return self._connection

    def cancel(self) -> None:
        """Have the server give up what the connection waits for; from another thread."""
        if self._connection is not None:
            try:
                self._connection.cancel_safe(timeout=CANCEL_TIMEOUT_S)
            except psycopg.Error as error:
                log.debug("a scan couldn't be cancelled", error=str(error))

    def closing(self) -> "asyncio.Future[None]":
        """End the connection, whether or not that is waited for."""
        done = self.thread.submit(self._end)
        self.thread.stop()
        return done

    def _end(self) -> None:
        if self._connection is not None:
            self._connection.close()


class Scanners:
    """Reads chunks; see `Database.chunks` and `Database.scan`."""

    def __init__(self, config: Config, origin: Origin, streamed: Streamed) -> None:
        self._config = config
        self._origin = origin
        self._streamed = streamed
        self._all: list[Scanner] = []
        self._free: list[Scanner] = []

    async def chunks(self, scan: Scan, chunks_max: int) -> Sequence[Scan]:
        """Cut what comes next of a table into chunks."""
        with explained(self._config, f"backfill {scan.table.name!r}"):
            scanner = self._taken()
            cut = await scanner.thread.run(
                lambda: backfill.chunks(scanner.connection(), scan, self._config, chunks_max)
            )
            self._free.append(scanner)
            return cut

    async def scan(self, scan: Scan) -> AsyncGenerator[Scanned, None]:
        """Read a chunk; the next part is read while one is being written."""
        with explained(self._config, f"backfill {scan.table.name!r}"):
            scanner = self._taken()
            thread = scanner.thread
            parts = await thread.run(lambda: self._begin(scanner, scan))
            following = thread.submit(lambda: next(parts, None))
            finished = False
            try:
                while (part := await following) is not None:
                    following = thread.submit(lambda: next(parts, None))
                    yield part
                finished = True
            finally:
                if not finished:
                    await self._given_up(scanner, following)
            self._free.append(scanner)

    def _taken(self) -> Scanner:
        if self._free:
            return self._free.pop()
        scanner = Scanner(self._config)
        self._all.append(scanner)
        return scanner

    def _begin(self, scanner: Scanner, scan: Scan) -> Iterator[Scanned]:
        connection = scanner.connection()
        self._streamed.settle(connection)
        return backfill.scanned(connection, scan, self._config, self._origin)

    async def _given_up(self, scanner: Scanner, following: "asyncio.Future[Any]") -> None:
        """Break a scan off; its scanner isn't used again."""
        following.add_done_callback(lambda done: done.cancelled() or done.exception())
        cancelling = Thread("cancelling a backfill")
        with suppress(asyncio.CancelledError):
            await asyncio.shield(cancelling.submit(scanner.cancel))
        cancelling.stop()

    def closing(self) -> "list[asyncio.Future[None]]":
        """End all connections, whether or not that is waited for."""
        return [scanner.closing() for scanner in self._all]
