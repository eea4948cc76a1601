"""The stream of changes: START_REPLICATION over a connection of its own, on a thread of its own.

Three positions: how far the server has sent (of which a keepalive tells when nothing is under way),
how far the core has been handed what was sent, and how far it is durable downstream, which alone is
confirmed to the server.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final

import psycopg
from psycopg import Connection

from estuary_cdk.errors import TransientError
from estuary_cdk.kits.sql_cdc.database import Batch, Followed
from estuary_cdk.kits.sql_cdc.tables import TableId
from estuary_cdk.logs import get_logger
from estuary_cdk.transport import Thread
from source_postgres import beside, catching_up, slots, wire
from source_postgres.backfill import identifier, literal
from source_postgres.connecting import connect, explained
from source_postgres.control import Control
from source_postgres.documents import lsn_number, lsn_text
from source_postgres.in_progress import InProgress
from source_postgres.pgoutput import EPOCH_MS, Decoder
from source_postgres.refetching import Refetching

log = get_logger(__name__)

FEEDBACK_S: Final = 5.0
STREAMING_SINCE: Final = 140000
BATCH_BYTES: Final = 1 << 20
POLL_S: Final = 0.1
HELPED_CORES_MIN: Final = 3
"""Two are busy already, if the server is on this machine: with one, and we with the other."""
WAKE_S: Final = 0.02
WAKES_MAX: Final = 3
"""How often a stream that has gone quiet is woken, and after which time."""
SILENCE_TIMEOUTS: Final = 2
"""For how many of its own timeouts a server may say nothing; asked, it answers at once."""
WAL_SENDER_TIMEOUT_S: Final = 60.0
"""What is taken for the server's timeout where it has none."""
# A message of the stream: its kind, its LSN, the end of WAL and a time, then the data.
STREAM_LSN_AT: Final = 1
STREAM_DATA_AT: Final = 25

_KEEPALIVE: Final = Struct(">QqB").unpack_from
_STATUS: Final = Struct(">BQQQqB").pack
_DATA, _ALIVE, _REPLY = b"wkr"


@dataclass(frozen=True, slots=True)
class Feed:
    """Messages of changes, each with its LSN and its data at an offset."""

    connection: Connection[Any]
    messages: wire.Messages
    lsn_at: int
    data_at: int


class Stream:
    """See `ChangeStream`; while a batch is decoded and written, the next is received."""

    def __init__(
        self,
        control: Control,
        connection: Connection[Any],
        decoder: Decoder,
        refetch: Refetching,
    ) -> None:
        self._config = control.config
        self._refetch = refetch
        self._control = control
        self._connection = connection
        self._decoder = decoder
        self._receiving = Thread("replication")
        self._decoding = Thread("decoding")
        self._position = self._durable = decoder.position
        self._feed: Feed | None = None
        self._walsender: wire.Messages | None = None
        self._received: asyncio.Future[list[bytes]] | None = None
        self._in_progress = InProgress(STREAM_DATA_AT)
        self._helper: beside.ReaderProcess | None = None
        self._rest: tuple[Iterator[Sequence[bytes]], list[bytes]] | None = None
        self._moved = False
        self._silence_max_s = SILENCE_TIMEOUTS * WAL_SENDER_TIMEOUT_S
        self._silent_s = 0.0
        self._wakes = 0

    @property
    def position(self) -> str:
        """See `ChangeStream.position`."""
        return lsn_text(self._position)

    def expect_within(self, timeout_s: float) -> None:
        """Take the stream for lost once the server says nothing for a multiple of its timeout."""
        self._silence_max_s = SILENCE_TIMEOUTS * (timeout_s or WAL_SENDER_TIMEOUT_S)

    def start(self, position: int | None = None) -> None:
        """Begin streaming from a position, or else from the decoder's."""
        publication = identifier(self._config.advanced.publication_name).replace("'", "''")
        options = "proto_version '1'"
        if self._connection.info.server_version >= STREAMING_SINCE:
            options = "proto_version '2', streaming 'on'"
        statement = (
            f'START_REPLICATION SLOT "{self._config.advanced.slot_name}" LOGICAL '
            f"{lsn_text(position or self._position)} ({options}, "
            f"publication_names '{publication}')"
        )
        self._walsender = wire.started(self._connection, statement.encode())
        if self._feed is None:
            self._feed = self._streaming()

    def _streaming(self) -> Feed:
        assert self._walsender is not None
        return Feed(self._connection, self._walsender, STREAM_LSN_AT, STREAM_DATA_AT)

    def catch_up(self, *, helped: bool = False) -> None:
        """Begin with what the slot holds already, and stream from behind it.

        Until then, `helped` by another process, where there is a core for it.
        """
        if helped and len(os.sched_getaffinity(0)) >= HELPED_CORES_MIN:
            with suppress(OSError):
                self._helper = self._decoder.helper = beside.launched()
        connection = connect(self._config, replication=True, walsender=False)
        advanced = self._config.advanced
        messages = catching_up.CatchingUp(
            connection,
            literal(connection, advanced.slot_name),
            literal(connection, identifier(advanced.publication_name)),
            # The server looks through its log again before it streams: meanwhile we decode.
            lambda end: self.start(max(end, self._position)),
        )
        self._feed = Feed(connection, messages, catching_up.LSN_AT, catching_up.DATA_AT)

    def follow(self, tables: Mapping[TableId, Followed]) -> None:
        """See `ChangeStream.follow`."""
        self._decoder.follow(tables)

    async def next(self, timeout_s: float) -> Sequence[Batch]:
        """See `ChangeStream.next`."""
        with explained(self._config, "read changes"):
            self._moved = False
            deadline = self._control.clock.monotonic() + timeout_s
            while (left := deadline - self._control.clock.monotonic()) > 0:
                if self._rest is not None:
                    if batches := await self._decoding.run(self._decode_rest):
                        return batches
                    continue
                received = self._received or self._receiving.submit(self._receive)
                self._received = received
                await asyncio.wait([received], timeout=left)
                if received.done() and (batches := await self._taken(received)):
                    return batches
                if self._moved:
                    break
            return []

    async def _taken(self, received: "asyncio.Future[list[bytes]]") -> list[Batch]:
        """Decode what was received, while the next is."""
        self._received = None
        messages, feed = received.result(), self._feed
        assert feed is not None
        if self._silent_s > self._silence_max_s:
            raise TransientError(
                f"can't read changes: the server has said nothing for {self._silent_s:.0f} "
                "seconds, though it was asked to",
                hint="it is tried again; look for what cuts connections without ending them",
            )
        if feed.messages.ended:
            await self._receiving.run(self._stream_after)
        self._received = self._receiving.submit(self._receive)
        before = self._position
        batches = await self._decoding.run(lambda: self._decoded(messages, feed))
        self._moved = before != self._position
        return batches

    def _receive(self) -> list[bytes]:
        """Receive what there is, waiting for it a little."""
        assert self._feed is not None
        source = self._feed.messages
        received: list[bytes] = []
        started = self._control.clock.monotonic()
        self._wake(source, received)
        size = sum(map(len, received))
        while not source.ended and size < BATCH_BYTES:
            messages = source.receive(0.0 if received else POLL_S)
            if not messages:
                break
            received += messages
            size += sum(map(len, messages))
        # Only while we listen: whoever is downstream may keep us from it for long.
        waited = self._control.clock.monotonic() - started
        streaming = self._feed.connection is self._connection
        self._silent_s = self._silent_s + waited if streaming and not received else 0.0
        self._wakes = 0 if received else self._wakes
        return received

    def _wake(self, source: wire.Messages, received: list[bytes]) -> None:
        """Receive what comes at once; if nothing does, see to it that the walsender looks again.

        One that goes to sleep while a transaction commits may miss that, and sleeps until it hears
        from anyone.
        """
        if self._wakes < WAKES_MAX and source is self._walsender:
            received += source.receive(WAKE_S)
            if not received:
                self._wakes += 1
                self._send_status(reply=False)

    def _stream_after(self) -> None:
        """Go over to streaming, behind what was caught up with."""
        assert self._feed is not None
        if self._feed.connection is self._connection:
            raise psycopg.OperationalError("the server ended the stream of changes")
        self._feed = self._streaming()

    def _decoded(self, messages: list[bytes], feed: Feed) -> list[Batch]:
        data = messages
        if feed.connection is self._connection:
            data = [message for message in messages if message[0] == _DATA]
        if feed.connection is self._connection and self._in_progress.concerned(data):
            self._rest = self._in_progress.settled(data), messages
            return self._decode_rest()
        batches = self._decode(data, feed)
        if feed.connection is self._connection and len(data) != len(messages):
            self._keepalive(messages)
        return batches

    def _decode(self, data: Sequence[bytes], feed: Feed) -> list[Batch]:
        if self._decoder.helper is not None and feed.connection is self._connection:
            self._decoder.helper.release()
            self._decoder.helper = None
        batches = self._decoder.decode(data, feed.lsn_at, feed.data_at)
        self._position = self._decoder.position
        return batches

    def _decode_rest(self) -> list[Batch]:
        """Decode the next slice of transactions that were kept until they were committed."""
        assert self._rest is not None
        assert self._feed is not None
        slices, messages = self._rest
        for data in slices:
            if batches := self._decode(data, self._feed):
                return batches
        self._rest = None
        self._keepalive(messages)
        return []

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
        if self._walsender is None:
            return
        moment = int(self._control.clock.now().timestamp() * 1e6) - EPOCH_MS * 1000
        durable = self._durable
        status = _STATUS(_REPLY, self._position, durable, durable, moment, reply)
        self._walsender.send(status)

    async def check(self) -> None:
        """See `ChangeStream.check`."""
        name, needed = self._config.advanced.slot_name, self._durable

        def judge(connection: Connection[Any]) -> None:
            slot = slots.read_slot(connection, name)
            slots.judge_position(slot, needed, slots.wal_end(connection), self._config)

        await self._control.run("look for the slot", judge)

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
            self._send_status(reply=True)

    def acknowledge(self, position: str) -> None:
        """See `ChangeStream.acknowledge`; told to the server with the next status."""
        self._durable = lsn_number(position)

    async def keep_alive(self) -> None:
        """Tell the server of our progress, whatever else goes on, until cancelled."""
        while True:
            await self._control.clock.sleep(min(FEEDBACK_S, self._silence_max_s / 4))
            with explained(self._config, "confirm changes"):
                self._send_status(reply=self._silent_s > FEEDBACK_S)

    def closing(self) -> "asyncio.Future[Any]":
        """Confirm what is durable, and end the connection, whether or not that is waited for."""
        decoded = self._decoding.submit(self._end_decoding)
        decoded.add_done_callback(_retrieved)
        self._decoding.stop()
        done = self._receiving.submit(self.end)
        self._receiving.stop()
        if self._received is not None:
            self._received.add_done_callback(_retrieved)
        return done if self._helper is None else asyncio.gather(done, decoded)

    def _end_decoding(self) -> None:
        self._refetch.close()
        if self._helper is not None:
            self._helper.end()

    def end(self) -> None:
        """Confirm what is durable, and end the connection; on its thread."""
        try:
            self._send_status(reply=False)
        except psycopg.Error as error:
            log.debug("the last confirmation failed", error=str(error))
        finally:
            self._in_progress.close()
            if self._feed is not None and isinstance(self._feed.messages, catching_up.CatchingUp):
                self._feed.messages.stop()
            self._connection.close()


def _retrieved(received: "asyncio.Future[Any]") -> None:
    """Take note of a result that nobody waits for any more."""
    if not received.cancelled():
        received.exception()
