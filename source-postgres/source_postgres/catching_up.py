"""A backlog of changes read with queries, which the server answers faster than it streams.

A walsender sends every change by itself; a query hands over the same bytes in bulk, once it has
decoded all it was asked for. So it is asked for a part at a time: while we decode one, the server
prepares the next. Parts are taken from a temporary copy of the slot, which moves on with each of
them; the slot itself stays where it is. Each part costs the server a look at what came before it,
so every part is larger than the last. Where no copy can be made, everything is one part.
"""

import threading
from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import Any, Final

import psycopg
from psycopg import Connection

from estuary_cdk.logs import get_logger
from source_postgres import wire

log = get_logger(__name__)

CHANGES_FIRST: Final = 16_000
CHANGES_MAX: Final = 1_000_000
CHANGES_GROWTH: Final = 3
BUFFER_BYTES_MAX: Final = 32 << 20
CANCEL_TIMEOUT_S: Final = 5.0
RECEIVE_S: Final = 1.0

# A row of binary COPY: how many fields, then each with its length.
LSN_AT: Final = 6
DATA_AT: Final = 18
_SIGNATURE: Final = b"PGCOPY\n"
_HEADER_BYTES: Final = 19
_COPIED: Final = b"select pg_copy_logical_replication_slot(%s, %s, true)"
_CHANGES: Final = (
    "copy (select lsn, data from pg_logical_slot_{verb}_binary_changes({slot}, null, {changes}, "
    "'proto_version', '1', 'publication_names', {publication})) to stdout (format binary)"
)
_COMMIT_END: Final = Struct(">Q").unpack_from
_COMMIT_END_AT: Final = 10
_COMMITTED: Final = ord("C")


class CatchingUp:
    """See `wire.Messages`: what the slot holds by now, received beside whoever takes it.

    `slot` and `publication` are SQL literals. Once all was received, and before all of it is taken,
    `completed` is called with the end of the last commit, on another thread. Ends the connection.
    """

    def __init__(
        self,
        connection: Connection[Any],
        slot: str,
        publication: str,
        completed: Callable[[int], None],
    ) -> None:
        self._connection = connection
        self._slot = slot
        self._publication = publication
        self._completed = completed
        self._turn = threading.Condition()
        self._waiting: deque[list[bytes]] = deque()
        self._bytes = 0
        self._reached = 0
        self._done = False
        self._stopping = False
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="catching up", daemon=True).start()

    @property
    def ended(self) -> bool:
        """Whether all messages were taken."""
        with self._turn:
            return self._done and self._error is None and not self._waiting

    def receive(self, timeout_s: float) -> list[bytes]:
        with self._turn:
            self._turn.wait_for(lambda: self._waiting or self._done, timeout_s)
            if self._waiting:
                messages = self._waiting.popleft()
                self._bytes -= sum(map(len, messages))
                self._turn.notify_all()
                return messages
            if self._error is not None:
                raise self._error
        return []

    def lines(self, timeout_s: float) -> bytes:
        return b"".join(self.receive(timeout_s))

    def send(self, message: bytes) -> None:
        """Do nothing: nobody listens."""

    def stop(self) -> None:
        """Give up what is left; the connection ends a moment later."""
        with self._turn:
            self._stopping = True
            running = not self._done
            self._turn.notify_all()
        if running:
            try:
                self._connection.cancel_safe(timeout=CANCEL_TIMEOUT_S)
            except psycopg.Error as error:
                log.debug("catching up couldn't be cancelled", error=str(error))

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._read_all()
            if not self._stopping:
                self._completed(self._reached)
        except BaseException as failure:  # noqa: BLE001 - it is the taker's to handle
            error = failure
        finally:
            self._connection.close()
        with self._turn:
            self._done, self._error = True, error
            self._turn.notify_all()

    def _read_all(self) -> None:
        verb, slot, changes = "get", self._copy(), CHANGES_FIRST
        if slot is None:
            verb, slot, changes = "peek", self._slot, CHANGES_MAX
        while not self._stopping and self._read(verb, slot, changes) >= changes and verb == "get":
            changes = min(changes * CHANGES_GROWTH, CHANGES_MAX)

    def _copy(self) -> str | None:
        """Make a copy of the slot that lives as long as the session; None if that can't be."""
        name = f"flow_catch_up_{self._connection.info.backend_pid}"
        query = _COPIED.replace(b"%s", self._slot.encode(), 1)
        try:
            self._connection.execute(query, [name])
        except psycopg.Error as error:
            log.debug("the slot can't be copied", error=str(error))
            return None
        return f"'{name}'"

    def _read(self, verb: str, slot: str, changes: int) -> int:
        """Receive a part, and return how many messages it has."""
        statement = _CHANGES.format(
            verb=verb, slot=slot, changes=changes, publication=self._publication
        )
        source = wire.started(self._connection, statement.encode())
        count = 0
        while not source.ended and not self._stopping:
            messages = _without_frame(source.receive(RECEIVE_S))
            if messages:
                count += len(messages)
                self._put(messages)
        return count

    def _put(self, messages: list[bytes]) -> None:
        if messages[-1][DATA_AT] == _COMMITTED:
            [self._reached] = _COMMIT_END(messages[-1], DATA_AT + _COMMIT_END_AT)
        with self._turn:
            self._waiting.append(messages)
            self._bytes += sum(map(len, messages))
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._bytes < BUFFER_BYTES_MAX or self._stopping)


def _without_frame(messages: list[bytes]) -> list[bytes]:
    """Leave out what binary COPY adds: a header before the first row, a trailer after the last."""
    if messages and messages[0].startswith(_SIGNATURE):
        messages = [messages[0][_HEADER_BYTES:], *messages[1:]]
    if messages and len(messages[-1]) <= DATA_AT:
        messages.pop()
    return [message for message in messages if message]
