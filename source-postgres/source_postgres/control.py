"""The connection for questions, on a thread of its own."""

import asyncio
from typing import Any, Final, Protocol

import psycopg
from psycopg import Connection

from estuary_cdk.clock import Clock
from estuary_cdk.transport import Thread
from source_postgres import slots
from source_postgres.config import Config
from source_postgres.connecting import connect, explained
from source_postgres.documents import lsn_number
from source_postgres.visibility import Streamed

HEARTBEAT: Final = "flow_heartbeat"


class Ending(Protocol):
    """What has to be ended with the connection."""

    def end(self) -> None:
        """End it."""
        ...


class Control:
    """The connection for questions, on a thread of its own."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self.config = config
        self.clock = clock
        self._thread = Thread("control")
        self._connection: Connection[Any] | None = None
        self.streamed = Streamed()
        self.opening: Ending | None = None
        """A stream that nobody has taken over yet."""

    def connection(self) -> Connection[Any]:
        """Return the connection, for calls on the thread; made anew once it is lost."""
        if self._connection is None or self._connection.closed:
            self._connection = connect(self.config)
        return self._connection

    async def run(self, verb: str, call: Any) -> Any:
        """Make a call with the connection, on the thread; `verb` says what for."""
        with explained(self.config, verb):
            return await self._thread.run(lambda: call(self.connection()))

    async def fence(self) -> int:
        """Return a position behind everything that is visible by now."""
        fence: int = await self.run("read the server's position", self._fence)
        return fence

    def _fence(self, connection: Connection[Any]) -> int:
        if self.config.advanced.read_only_capture or slots.in_recovery(connection):
            return slots.wal_end(connection)
        row = connection.execute(
            b"select pg_current_wal_insert_lsn() = pg_current_wal_flush_lsn(),"
            b" pg_current_wal_flush_lsn()::text"
        ).fetchone()
        assert row is not None
        if row[0]:
            return lsn_number(row[1])
        # Something isn't on disk yet, and so not decoded: a commit of our own puts it there.
        try:
            sent = connection.execute(
                b"select pg_logical_emit_message(true, %s, '')::text", [HEARTBEAT]
            ).fetchone()
        except psycopg.errors.InsufficientPrivilege:
            # It will be there a moment later, and be decoded then.
            return lsn_number(row[1])
        assert sent is not None
        return lsn_number(sent[0])

    def closing(self) -> "asyncio.Future[None]":
        """End the connection, whether or not that is waited for."""
        done = self._thread.submit(self._end)
        self._thread.stop()
        return done

    def _end(self) -> None:
        if self.opening is not None:
            self.opening.end()
        if self._connection is not None:
            self._connection.close()
