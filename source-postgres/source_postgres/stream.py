"""The stream of changes: START_REPLICATION over a connection of its own, on a thread of its own.

Three positions: how far the server has sent (of which a keepalive tells when nothing is under way),
how far the core has been handed what was sent, and how far it is durable downstream, which alone is
confirmed to the server.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from struct import Struct
from typing import Any, Final

import psycopg
from psycopg import Connection

from estuary_cdk.clock import Clock
from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.sql_cdc.database import Batch, Followed
from estuary_cdk.kits.sql_cdc.tables import TableId
from estuary_cdk.logs import get_logger
from estuary_cdk.transport import Thread
from source_postgres import slots, wire
from source_postgres.backfill import identifier
from source_postgres.column_types import TypeTable
from source_postgres.config import Config
from source_postgres.connecting import connect, explained
from source_postgres.documents import Origin, lsn_number, lsn_text
from source_postgres.pg_types import load_types
from source_postgres.pgoutput import EPOCH_MS, Decoder

log = get_logger(__name__)

FEEDBACK_S: Final = 5.0
HEARTBEAT: Final = "flow_heartbeat"
LSN_AT: Final = 1
DATA_AT: Final = 25

_KEEPALIVE: Final = Struct(">QqB").unpack_from
_STATUS: Final = Struct(">BQQQqB").pack
_DATA, _ALIVE, _REPLY = b"wkr"


class Stream:
    """See `ChangeStream`; every call to the server happens on one thread."""

    def __init__(
        self, config: Config, control: "Control", connection: Connection[Any], decoder: Decoder
    ) -> None:
        self._config = config
        self._control = control
        self._connection = connection
        self._decoder = decoder
        self._thread = Thread("replication")
        self._position = self._durable = decoder.position
        self._messages: wire.Messages | None = None

    @property
    def position(self) -> str:
        """See `ChangeStream.position`."""
        return lsn_text(self._position)

    def start(self) -> None:
        """Begin streaming from the decoder's position."""
        publication = identifier(self._config.advanced.publication_name).replace("'", "''")
        statement = (
            f'START_REPLICATION SLOT "{self._config.advanced.slot_name}" LOGICAL '
            f"{lsn_text(self._position)} "
            f"(proto_version '1', publication_names '{publication}')"
        )
        self._messages = wire.started(self._connection, statement.encode())

    def follow(self, tables: Mapping[TableId, Followed]) -> None:
        """See `ChangeStream.follow`."""
        self._decoder.follow(tables)

    async def next(self, timeout_s: float) -> Sequence[Batch]:
        """See `ChangeStream.next`."""
        with explained(self._config, "read changes"):
            return await self._thread.run(lambda: self._received(timeout_s))

    def _received(self, timeout_s: float) -> list[Batch]:
        assert self._messages is not None
        messages = self._messages.receive(timeout_s)
        if not messages:
            if self._messages.ended:
                raise psycopg.OperationalError("the server ended the stream of changes")
            return []
        data = [message for message in messages if message[0] == _DATA]
        batches = self._decoder.decode(data, LSN_AT, DATA_AT) if data else []
        self._position = self._decoder.position
        if len(data) != len(messages):
            self._keepalive(messages)
        return batches

    def _keepalive(self, messages: list[bytes]) -> None:
        last = messages[-1]
        if last[0] == _ALIVE and not self._decoder.in_transaction:
            # All that was committed before this has been sent before it.
            [end, _, _] = _KEEPALIVE(last, 1)
            if end > self._position:
                self._position = self._decoder.position = end
        if any(message[0] == _ALIVE and message[17] for message in messages):
            self._send_status(reply=False)

    def _send_status(self, *, reply: bool) -> None:
        assert self._messages is not None
        moment = int(self._control.clock.now().timestamp() * 1e6) - EPOCH_MS * 1000
        durable = self._durable
        status = _STATUS(_REPLY, self._position, durable, durable, moment, reply)
        self._messages.send(status)

    async def fence(self) -> str:
        """See `ChangeStream.fence`."""
        fence = await self._control.fence()
        await self.nudge()
        return lsn_text(fence)

    def passed(self, fence: str) -> bool:
        """See `ChangeStream.passed`."""
        return self._position >= lsn_number(fence)

    async def nudge(self) -> None:
        """See `ChangeStream.nudge`: ask for a keepalive, which tells how far the server is."""
        with explained(self._config, "ask for changes"):
            await self._thread.run(lambda: self._send_status(reply=True))

    def acknowledge(self, position: str) -> None:
        """See `ChangeStream.acknowledge`; told to the server with the next status."""
        self._durable = lsn_number(position)

    async def keep_alive(self) -> None:
        """Tell the server of our progress, whatever else goes on, until cancelled."""
        while True:
            await self._control.clock.sleep(FEEDBACK_S)
            with explained(self._config, "confirm changes"):
                await self._thread.run(lambda: self._send_status(reply=False))

    def closing(self) -> "asyncio.Future[None]":
        """Confirm what is durable, and end the connection, whether or not that is waited for."""
        done = self._thread.submit(self.end)
        self._thread.stop()
        return done

    def end(self) -> None:
        """Confirm what is durable, and end the connection; on its thread."""
        try:
            self._send_status(reply=False)
        except psycopg.Error as error:
            log.debug("the last confirmation failed", error=str(error))
        finally:
            self._connection.close()


class Control:
    """The connection for questions, on a thread of its own."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self.config = config
        self.clock = clock
        self._thread = Thread("control")
        self._connection: Connection[Any] | None = None
        self.opening: Stream | None = None
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
        sent = connection.execute(
            b"select pg_logical_emit_message(true, %s, '')::text", [HEARTBEAT]
        ).fetchone()
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


@asynccontextmanager
async def opened(
    control: Control, position: str | None, origin: Origin
) -> AsyncGenerator[Stream, None]:
    """Open the stream from a position, or from a new slot without one.

    Raises SlotLostError where changes since the position are gone.
    """
    config = control.config

    def begin(questions: Connection[Any]) -> Stream:
        replication = connect(config, replication=True)
        try:
            start = _start(replication, questions, config, position)
            decoder = Decoder(_lookup(control, load_types(questions)), origin, start)
            stream = Stream(config, control, replication, decoder)
            stream.start()
        except BaseException:
            replication.close()
            raise
        control.opening = stream
        return stream

    for _ in range(slots.BUSY_ATTEMPTS):
        # After a crash the server takes a moment to notice that the old connection is gone.
        slot = await control.run(
            "look for the slot", lambda c: slots.read_slot(c, config.advanced.slot_name)
        )
        if slot is None or slot.active_pid is None:
            break
        await control.clock.sleep(slots.BUSY_WAIT_S)
    stream: Stream = await control.run("start streaming changes", begin)
    control.opening = None
    keeping = asyncio.ensure_future(stream.keep_alive())
    try:
        yield stream
    finally:
        keeping.cancel()
        await asyncio.shield(stream.closing())


def _start(
    replication: Connection[Any],
    questions: Connection[Any],
    config: Config,
    position: str | None,
) -> int:
    """Return where to start, with the slot free and fit for it."""
    name = config.advanced.slot_name
    slot = slots.read_slot(questions, name)
    if slot is not None:
        slots.judge_kind(slot, config)
        if slot.active_pid is not None:
            raise slots.busy(config, slot)
    if position is None:
        return slots.create_slot(replication, questions, config)
    try:
        start = lsn_number(position)
    except ValueError as error:
        raise ConfigError(
            f"can't resume from {position!r}: it isn't a position in a PostgreSQL log",
            hint="backfill all bindings of the capture",
        ) from error
    slots.judge_position(slot, start, slots.wal_end(questions), config)
    return start


def _lookup(control: Control, types: Any) -> Any:
    """Return a lookup of types by OID, that reads the catalog again for one it doesn't know."""
    table = TypeTable(types)

    def found(oid: int) -> Any:
        nonlocal table
        if oid not in table:
            with connect(control.config) as connection:
                table = TypeTable(load_types(connection))
        return table.mapped(oid)

    return found
