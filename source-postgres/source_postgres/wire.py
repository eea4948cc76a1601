"""Streams of a connection: what COPY and START_REPLICATION send, many messages at a time.

libpq hands over one message per call, which costs more than decoding it. On a connection without
encryption we read the socket ourselves and take the frames apart many at a time, from the query to
ReadyForQuery: libpq knows nothing of it, and finds the connection as it left it. On an encrypted
one libpq does it.
"""

import os
import re
import select
import socket
import threading
from collections.abc import Iterator
from struct import Struct
from typing import Any, Final, Protocol

import psycopg
from psycopg import Connection, pq

READ_BYTES: Final = 1 << 20
LINES_BYTES: Final = 64 << 10
"""Smaller, because lines are decoded at once: what is in the processor's cache is so faster."""
FILLED_BYTES: Final = 40 << 10
FILL_S: Final = 0.002
"""How long to wait for so many lines that taking them apart at once pays."""
_HEADER: Final = Struct(">BI").unpack_from
_HEADER_BYTES: Final = 5
_LENGTH: Final = Struct(">I").pack

_LINE: Final = b"d\0\0"
_FRAME: Final = re.compile(rb"\nd\0\0..", re.DOTALL)
"""The end of a line and the header of the next."""
_DATA: Final = ord("d")
_ERROR: Final = ord("E")
_READY: Final = ord("Z")
_STARTED: Final = frozenset(b"HW")


class Messages(Protocol):
    """The messages of a running COPY."""

    @property
    def ended(self) -> bool:
        """Whether all messages were received."""
        ...

    def receive(self, timeout_s: float) -> list[bytes]:
        """Return the messages that came, waiting at most this long for the first.

        Raises psycopg.Error for what the server or the network reports.
        """
        ...

    def lines(self, timeout_s: float) -> bytes:
        """Do what `receive` does for messages that are lines of text each, and join them."""
        ...

    def send(self, message: bytes) -> None:
        """Send a message to the server, in a stream that goes both ways."""
        ...


def started(connection: Connection[Any], statement: bytes) -> Messages:
    """Run a COPY TO STDOUT or START_REPLICATION and return its messages."""
    pgconn = connection.pgconn
    if pgconn.ssl_in_use:
        return LibpqMessages(pgconn, statement)
    return SocketMessages(pgconn, statement)


def blocks(messages: Messages, timeout_s: float) -> Iterator[bytes]:
    """Yield what a COPY in text format sends, joined into blocks of whole lines."""
    while not messages.ended:
        block = messages.lines(timeout_s)
        if block:
            yield block


class SocketMessages:
    """Frames read from the socket itself."""

    def __init__(self, pgconn: pq.abc.PGconn, statement: bytes) -> None:
        self._done = False
        # A descriptor of its own would outlive the connection; this one is borrowed.
        self._fd = pgconn.socket
        self._rest = b""
        self._started = False
        self._failed = False
        self._error: psycopg.Error | None = None
        self._write(b"Q" + _LENGTH(len(statement) + 5) + statement + b"\0")
        self._early: list[bytes] = []
        while not self._done and not self._early:
            self._early = self._read(None)
            if self._running:
                break
        self._judge_start()

    def _judge_start(self) -> None:
        if self._done and self._error is not None and not self._failed:
            raise self._error

    @property
    def ended(self) -> bool:
        """Whether all messages were received."""
        return self._done and not self._early and not self._failed

    @property
    def _running(self) -> bool:
        """Whether the server has begun, and nothing went wrong so far."""
        return self._started and self._error is None

    def receive(self, timeout_s: float) -> list[bytes]:
        if self._early:
            early, self._early = self._early, []
            return early
        return self._read(timeout_s)

    def lines(self, timeout_s: float) -> bytes:
        if self._early:
            return b"".join(self.receive(timeout_s))
        self._fill()
        data = self._data(timeout_s, LINES_BYTES)
        if not data:
            return b""
        lines = self._lines(data)
        return b"".join(self._parsed(data)) if lines is None else lines

    def _fill(self) -> None:
        """Wait a little for more than what came first: the kernel tells once there is enough."""
        with socket.socket(fileno=os.dup(self._fd)) as ours:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, FILLED_BYTES)
            _readable(self._fd, FILL_S)
            # It is libpq's socket again, which waits for single bytes.
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)

    def _lines(self, data: bytes) -> bytes | None:
        """Take frames apart that hold a line each; None where something else is among them.

        Text holds no zero byte and has a line break at its end alone, so where a break, the kind of
        a frame and two zero bytes follow each other a line ends and one below 64 KiB begins.
        """
        if not data.startswith(_LINE):
            return None
        last = data.rfind(b"\n" + _LINE) + 1
        end = len(data)
        size = 1 + _HEADER(data, last)[1] if end - last >= _HEADER_BYTES else _HEADER_BYTES
        if end - last < size:
            end = last
        elif end - last > size:
            return None
        lines = _FRAME.sub(b"\n", data[_HEADER_BYTES:end])
        if not lines or b"\0" in lines:
            return None
        self._rest = data[end:]
        return lines

    def send(self, message: bytes) -> None:
        self._write(b"d" + _LENGTH(len(message) + 4) + message)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                select.select([], [self._fd], [])
            except OSError as error:
                raise psycopg.OperationalError(f"the connection is lost: {error}") from error

    def _read(self, timeout_s: float | None) -> list[bytes]:
        data = self._data(timeout_s, READ_BYTES)
        return self._parsed(data) if data else []

    def _data(self, timeout_s: float | None, size: int) -> bytes:
        """Return what was left over and what came since, or nothing if nothing came."""
        if self._failed:
            self._failed = False
            assert self._error is not None
            raise self._error
        if self._done:
            return b""
        rest = self._rest
        # A message much larger than one read is put together once, not with every piece of it.
        missing = _HEADER(rest)[1] + 1 - len(rest) if len(rest) >= _HEADER_BYTES else 0
        chunks = []
        while chunk := self._chunk(timeout_s, min(max(size, missing), READ_BYTES)):
            chunks.append(chunk)
            missing -= len(chunk)
            if missing <= 0:
                break
        if not chunks:
            return b""
        self._rest = b""
        return b"".join([rest, *chunks])

    def _chunk(self, timeout_s: float | None, size: int) -> bytes | None:
        try:
            chunk = self._piece(timeout_s, size)
        except OSError as error:
            raise psycopg.OperationalError(f"the connection is lost: {error}") from error
        if chunk == b"":
            raise psycopg.OperationalError("the connection is lost: the server closed it")
        return chunk

    def _piece(self, timeout_s: float | None, size: int) -> bytes | None:
        while True:
            try:
                return os.read(self._fd, size)
            except BlockingIOError:
                if not _readable(self._fd, timeout_s):
                    return None

    def _parsed(self, data: bytes) -> list[bytes]:
        messages: list[bytes] = []
        take = messages.append
        at, size = 0, len(data)
        while at + 5 <= size:
            kind, length = _HEADER(data, at)
            end = at + 1 + length
            if end > size:
                break
            if kind == _DATA:
                take(data[at + 5 : end])
            else:
                self._control(kind, data[at + 5 : end])
            at = end
        self._rest = data[at:]
        if self._done and self._error is not None and self._started:
            if not messages:
                raise self._error
            # What came before it counts; it is raised by the next call.
            self._failed = True
        return messages

    def _control(self, kind: int, body: bytes) -> None:
        if kind in _STARTED:
            self._started = True
        elif kind == _ERROR:
            self._error = _server_error(body)
        elif kind == _READY:
            self._done = True


def _readable(fd: int, timeout_s: float | None) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout_s is None else timeout_s * 1000))


def _server_error(body: bytes) -> psycopg.Error:
    fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
    message = fields.get(b"M", "unknown error")
    for extra in (fields.get(b"D"), fields.get(b"H")):
        if extra:
            message += f"; {extra}"
    code = fields.get(b"C", "")
    try:
        kind: type[psycopg.Error] = psycopg.errors.lookup(code)
    except KeyError:
        kind = psycopg.DatabaseError
    error = kind(message)
    error.sqlstate = code
    return error


class LibpqMessages:
    """Messages as libpq hands them over, for connections only it can read."""

    def __init__(self, pgconn: pq.abc.PGconn, statement: bytes) -> None:
        self.ended = False
        self._pgconn = pgconn
        # libpq's calls for one connection must not overlap; sending and receiving may.
        self._turn = threading.Lock()
        result = pgconn.exec_(statement)
        if result.status not in {pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH}:
            raise psycopg.errors.error_from_result(result)

    def receive(self, timeout_s: float) -> list[bytes]:
        with self._turn:
            messages = self._taken()
        if messages or self.ended:
            return messages
        poll = select.poll()
        poll.register(self._pgconn.socket, select.POLLIN)
        if poll.poll(timeout_s * 1000):
            with self._turn:
                self._pgconn.consume_input()
                return self._taken()
        return []

    def _taken(self) -> list[bytes]:
        messages: list[bytes] = []
        size = 0
        while size < READ_BYTES:
            count, data = self._pgconn.get_copy_data(1)
            if count == 0:
                break
            if count < 0:
                self._end()
                break
            messages.append(bytes(data))
            size += count
        return messages

    def _end(self) -> None:
        self.ended = True
        failed = None
        while result := self._pgconn.get_result():
            if result.status == pq.ExecStatus.FATAL_ERROR:
                failed = failed or psycopg.errors.error_from_result(result)
            if result.status == pq.ExecStatus.COPY_IN:
                self._pgconn.put_copy_end()
        if failed is not None:
            raise failed

    def lines(self, timeout_s: float) -> bytes:
        return b"".join(self.receive(timeout_s))

    def send(self, message: bytes) -> None:
        with self._turn:
            self._pgconn.put_copy_data(message)
            self._pgconn.flush()
