"""Lines within one process: a writer and the reader that gets what it wrote."""

import asyncio
from typing import Final

from estuary_cdk.errors import RemoteProtocolError

BLOCKS_MAX: Final = 2


class MemoryStream:
    """Both ends of a bounded stream of blocks; the writer waits while the reader is behind."""

    def __init__(self) -> None:
        self._blocks: asyncio.Queue[bytes] = asyncio.Queue(BLOCKS_MAX)
        self._closed = False
        self._ended = False

    async def read(self) -> bytes:
        """See `Reader.read`."""
        if self._ended:
            return b""
        block = await self._blocks.get()
        self._ended = block == b""
        if block and not block.endswith(b"\n"):
            raise RemoteProtocolError(
                f"can't read the last line {block[:100]!r}: the stream ended before its line break"
            )
        return block

    async def write(self, block: bytes) -> None:
        """See `Writer.write`."""
        if self._closed or self._ended:
            raise RemoteProtocolError("can't write: the other side closed the stream")
        if block:
            await self._blocks.put(block)

    async def flush(self) -> None:
        """See `Writer.flush`; a block in the queue counts as out."""

    async def close(self) -> None:
        """See `Writer.close`."""
        if not self._closed:
            self._closed = True
            await self._blocks.put(b"")

    def break_off(self) -> None:
        """End the stream for the reader, whatever is in it: what a killed peer looks like."""
        self._closed = self._ended = True
        while not self._blocks.empty():
            self._blocks.get_nowait()
        self._blocks.put_nowait(b"")


def pair() -> tuple[MemoryStream, MemoryStream]:
    """Return two streams: requests to a connector, and its responses."""
    return MemoryStream(), MemoryStream()
