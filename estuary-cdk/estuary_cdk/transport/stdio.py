"""Lines over file descriptors: pipes, files, terminals and sockets in the same way.

Blocking calls on a thread rather than non-blocking descriptors: the latter don't work for files,
and the mode belongs to the open file, so it would leak to the shell that shares our terminal.
"""

import asyncio
import os
import sys
from contextlib import suppress
from typing import Final

from estuary_cdk.errors import RemoteProtocolError
from estuary_cdk.transport.pipes import widen
from estuary_cdk.transport.thread import Thread

# What becomes of a block is ten times its size, and should stay in the processor's caches.
BLOCK_BYTES_MAX: Final = 256 << 10
LINE_BYTES_MAX: Final = 256 << 20


class FdReader:
    """Reads lines from a descriptor, which it owns."""

    def __init__(self, fd: int, *, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self._fd = fd
        self._line_bytes_max = line_bytes_max
        self._thread = Thread(f"reader of fd {fd}")
        self._pending: asyncio.Future[bytes] | None = None
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._closed = False
        widen(fd)

    async def read(self) -> bytes:
        """See `Reader.read`."""
        if self._pending is None:
            self._pending = self._thread.submit(self._block)
        block = await asyncio.shield(self._pending)
        self._pending = None
        return block

    def _block(self) -> bytes:
        while chunk := os.read(self._fd, BLOCK_BYTES_MAX):
            end = chunk.rfind(b"\n") + 1
            if end:
                block = b"".join((*self._rest, chunk[:end]))
                self._rest = [chunk[end:]] if end < len(chunk) else []
                self._rest_bytes = len(chunk) - end
                return block
            self._rest.append(chunk)
            self._rest_bytes += len(chunk)
            if self._rest_bytes > self._line_bytes_max:
                raise RemoteProtocolError(
                    f"can't read a line of more than {self._line_bytes_max} bytes"
                )
        if self._rest_bytes:
            last = b"".join(self._rest)[:100]
            raise RemoteProtocolError(
                f"can't read the last line {last!r}: the stream ended before its line break"
            )
        return b""

    async def close(self) -> None:
        """Give the descriptor back, after the block that is being waited for, if any."""
        if not self._closed:
            self._closed = True
            with suppress(OSError):
                await self._thread.run(lambda: os.close(self._fd))
            self._thread.stop()


class FdWriter:
    """Writes blocks to a descriptor, which it owns; one block is under way beside the caller."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._thread = Thread(f"writer of fd {fd}")
        self._pending: asyncio.Future[None] | None = None
        self._closed = False
        widen(fd)

    async def write(self, block: bytes) -> None:
        """See `Writer.write`."""
        await self.flush()
        if block:
            self._pending = self._thread.submit(lambda: self._write(block))

    async def flush(self) -> None:
        """See `Writer.flush`."""
        if self._pending is not None:
            pending = self._pending
            try:
                await asyncio.shield(pending)
            except OSError as error:
                raise RemoteProtocolError(
                    f"can't write: the other side closed the stream ({error})"
                ) from error
            finally:
                if pending.done():
                    self._pending = None

    async def close(self) -> None:
        """See `Writer.close`."""
        try:
            await self.flush()
        finally:
            if not self._closed:
                self._closed = True
                os.close(self._fd)
                self._thread.stop()

    def _write(self, block: bytes) -> None:
        view = memoryview(block)
        while view:
            view = view[os.write(self._fd, view) :]


def claim_stdio() -> tuple[FdReader, FdWriter]:
    """Take stdin and stdout for the protocol; whoever prints from now on prints to stderr."""
    protocol_in, protocol_out = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.stdout.flush()
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return FdReader(protocol_in), FdWriter(protocol_out)
