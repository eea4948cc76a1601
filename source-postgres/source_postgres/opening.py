"""How the stream of changes begins: a slot that is free and fit, and where in its log."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

from psycopg import Connection

from estuary_cdk.errors import ConfigError
from source_postgres import slots
from source_postgres.column_types import TypeTable
from source_postgres.config import Config
from source_postgres.connecting import connect
from source_postgres.control import Control
from source_postgres.documents import Origin, lsn_number
from source_postgres.pg_types import load_types
from source_postgres.pgoutput import Decoder
from source_postgres.refetching import Refetching
from source_postgres.stream import Stream

CATCH_UP_BYTES_MIN: Final = 16 << 20
HELPED_BYTES_MIN: Final = 64 << 20
"""A second process takes as long to start as the first takes for half of such a backlog."""


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
            refetch = Refetching(config, control.streamed)
            lookup = _lookup(control, load_types(questions))
            decoder = Decoder(lookup, refetch, origin, start, control.streamed.add)
            stream = Stream(control, replication, decoder, refetch)
            stream.expect_within(_sender_timeout_s(questions))
            backlog = _backlog(questions, config)
            if backlog >= CATCH_UP_BYTES_MIN:
                stream.catch_up(helped=backlog >= HELPED_BYTES_MIN)
            else:
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


def _sender_timeout_s(questions: Connection[Any]) -> float:
    query = b"select setting::float8 from pg_catalog.pg_settings where name = 'wal_sender_timeout'"
    row = questions.execute(query).fetchone()
    return row[0] / 1000 if row else 0.0


def _backlog(questions: Connection[Any], config: Config) -> int:
    """Return how many bytes of WAL the slot has before it."""
    slot = slots.read_slot(questions, config.advanced.slot_name)
    if slot is None or slot.confirmed is None or slots.in_recovery(questions):
        return 0
    return slots.wal_end(questions) - slot.confirmed


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
