"""What reads chunks: connections that are kept, each with a thread, as many as are read at a time.

A thread that reads rows and decodes them keeps a core busy, and another would share it. So of a
large table, what is read beside one chunk is read by a process, once one has been started; until
then, and where there can be none, by threads too.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

import psycopg
from psycopg import Connection

from estuary_cdk.errors import CdkError
from estuary_cdk.kits.sql_cdc.database import Scan, Scanned
from estuary_cdk.logs import get_logger
from estuary_cdk.transport import Thread
from source_postgres import backfill, beside
from source_postgres.config import Config
from source_postgres.connecting import connect, explained
from source_postgres.documents import Origin
from source_postgres.reader import CANCEL_TIMEOUT_S
from source_postgres.reading import Reading, scanned
from source_postgres.visibility import Streamed

log = get_logger(__name__)

PROCESS_ROWS_MIN: Final = 200_000
"""A process takes as long to start as a thread takes for a third of so many rows."""
PROCESSES_MAX: Final = 2
"""Beside our own; each takes some 50 MB."""


class Scanner(Protocol):
    """A connection and the thread on which all calls are made but `cancel`."""

    thread: Thread

    def scanned(self, reading: Reading) -> Iterator[Scanned]:
        """Read a chunk; see `reading.scanned`."""
        ...

    def cancel(self) -> None:
        """Have the server give up what it was asked for."""
        ...

    def end(self) -> None:
        """End the connection."""
        ...


class Local:
    """A scanner of this process."""

    def __init__(self, config: Config) -> None:
        self.thread = Thread("backfill")
        self._config = config
        self._connection: Connection[Any] | None = None

    def connection(self) -> Connection[Any]:
        """Return the connection; made anew once it is lost."""
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._config)
        return self._connection

    def scanned(self, reading: Reading) -> Iterator[Scanned]:
        """See `Scanner.scanned`."""
        return scanned(self.connection(), reading)

    def cancel(self) -> None:
        """See `Scanner.cancel`."""
        if self._connection is not None:
            try:
                self._connection.cancel_safe(timeout=CANCEL_TIMEOUT_S)
            except psycopg.Error as error:
                log.debug("a scan couldn't be cancelled", error=str(error))

    def end(self) -> None:
        """See `Scanner.end`."""
        if self._connection is not None:
            self._connection.close()


class Beside:
    """A scanner in a process of its own."""

    def __init__(self, config: Config) -> None:
        self.thread = Thread("backfill beside")
        self._reader: beside.ReaderProcess | None = None
        self.starting = self.thread.submit(lambda: self._start(config))

    def _start(self, config: Config) -> bool:
        try:
            self._reader = beside.connected(config)
        except (OSError, psycopg.Error, CdkError) as error:
            # Without one rows are read all the same.
            log.warning("no process reads rows beside the connector's own", reason=str(error))
        return self._reader is not None

    @property
    def ready(self) -> bool:
        """Whether the process has started, and is connected."""
        return self.starting.done() and self.starting.result()

    def scanned(self, reading: Reading) -> Iterator[Scanned]:
        """See `Scanner.scanned`."""
        assert self._reader is not None
        return self._reader.scanned(reading)

    def cancel(self) -> None:
        """See `Scanner.cancel`; the process ends."""
        if self._reader is not None:
            self._reader.stop()

    def end(self) -> None:
        """See `Scanner.end`."""
        if self._reader is not None:
            self._reader.end()


class Scanners:
    """Reads chunks; see `Database.chunks` and `Database.scan`."""

    def __init__(self, config: Config, origin: Origin, streamed: Streamed) -> None:
        self._config = config
        self._origin = origin
        self._streamed = streamed
        self._processes_max = min(
            PROCESSES_MAX, config.advanced.backfill_workers - 1, len(os.sched_getaffinity(0)) - 1
        )
        self._all: list[Scanner] = []
        self._free: list[Local] = []
        self._beside: list[Beside] = []
        self._idle: list[Beside] = []

    async def chunks(self, scan: Scan, chunks_max: int) -> Sequence[Scan]:
        """Cut what comes next of a table into chunks."""
        if max(scan.table.details.rows, scan.state.backfilled) >= PROCESS_ROWS_MIN:
            self._have_processes()
        with explained(self._config, f"backfill {scan.table.name!r}"):
            scanner = self._local()
            cut = await scanner.thread.run(lambda: self._cut(scanner, scan, chunks_max))
            self._free.append(scanner)
            return cut

    def _cut(self, scanner: Local, scan: Scan, chunks_max: int) -> list[Scan]:
        connection = scanner.connection()
        self._streamed.settle(connection)
        return backfill.chunks(connection, scan, self._config, chunks_max)

    async def scan(self, scan: Scan) -> AsyncGenerator[Scanned, None]:
        """Read a chunk that was cut; the next part is read while one is being written.

        All that was streamed when it was cut is seen, and by then nothing else has been.
        """
        reading = backfill.reading(scan, self._origin)
        verb = f"backfill {scan.table.name!r}"
        scanner = self._taken()
        thread = scanner.thread
        with explained(self._config, verb):
            parts = await thread.run(lambda: scanner.scanned(reading))
        following = thread.submit(lambda: next(parts, None))
        finished = False
        try:
            # Said first what went wrong: a tunnel that is dialled to give up is open again.
            with explained(self._config, verb):
                while (part := await following) is not None:
                    following = thread.submit(lambda: next(parts, None))
                    yield part
            finished = True
        finally:
            if not finished:
                await self._given_up(scanner, following)
        self._return(scanner)

    def _have_processes(self) -> None:
        """Start processes, if there are to be any, without waiting for them."""
        while len(self._beside) < self._processes_max:
            started = Beside(self._config)
            self._beside.append(started)
            self._idle.append(started)
            self._all.append(started)

    def _taken(self) -> Scanner:
        """Return what is to read a chunk: the first of those being read is read here."""
        locals_busy = len(self._all) - len(self._beside) - len(self._free)
        for process in self._idle if locals_busy else ():
            if process.ready:
                self._idle.remove(process)
                return process
        return self._local()

    def _local(self) -> Local:
        if self._free:
            return self._free.pop()
        scanner = Local(self._config)
        self._all.append(scanner)
        return scanner

    def _return(self, scanner: Scanner) -> None:
        if isinstance(scanner, Local):
            self._free.append(scanner)
        elif isinstance(scanner, Beside):
            self._idle.append(scanner)

    async def _given_up(self, scanner: Scanner, following: "asyncio.Future[Any]") -> None:
        """Break a scan off; its scanner isn't used again."""
        following.add_done_callback(lambda done: done.cancelled() or done.exception())
        cancelling = Thread("cancelling a backfill")
        with suppress(asyncio.CancelledError):
            await asyncio.shield(cancelling.submit(scanner.cancel))
        cancelling.stop()

    def closing(self) -> "list[asyncio.Future[None]]":
        """End all connections, whether or not that is waited for."""
        ending = []
        for scanner in self._all:
            ending.append(scanner.thread.submit(scanner.end))
            scanner.thread.stop()
        return ending
