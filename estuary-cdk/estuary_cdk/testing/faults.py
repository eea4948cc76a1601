"""Faults of the streams between a connector and its runtime, as wrappers of either end.

Faults inside a process are failpoints: `estuary_cdk.failpoints`.
"""

from dataclasses import dataclass, field

from estuary_cdk.clock import Clock
from estuary_cdk.errors import RemoteProtocolError
from estuary_cdk.transport import Reader, Writer


@dataclass(slots=True)
class DropAfter:
    """A writer whose peer goes away once this many bytes went through, at a line's end.

    What is beyond is lost, as in a pipe whose reader was killed; the next write raises.
    """

    writer: Writer
    bytes_max: int
    _written: int = field(default=0, init=False)

    async def write(self, block: bytes) -> None:
        """See `Writer.write`."""
        left = self.bytes_max - self._written
        if left <= 0:
            raise RemoteProtocolError("can't write: the other side closed the stream")
        self._written += len(block)
        whole = block if len(block) <= left else block[: block.rfind(b"\n", 0, left) + 1]
        await self.writer.write(whole)

    async def flush(self) -> None:
        """See `Writer.flush`."""
        await self.writer.flush()

    async def close(self) -> None:
        """See `Writer.close`."""
        await self.writer.close()


@dataclass(slots=True)
class EndAfter:
    """A reader whose peer closes its side after this many blocks."""

    reader: Reader
    blocks_max: int
    _read: int = field(default=0, init=False)

    async def read(self) -> bytes:
        """See `Reader.read`."""
        if self._read >= self.blocks_max:
            return b""
        self._read += 1
        return await self.reader.read()


@dataclass(slots=True)
class Duplicate:
    """A reader that hands over one block, counted from 0, twice."""

    reader: Reader
    index: int
    _read: int = field(default=0, init=False)
    _again: bytes = field(default=b"", init=False)

    async def read(self) -> bytes:
        """See `Reader.read`."""
        if self._again:
            block, self._again = self._again, b""
            return block
        block = await self.reader.read()
        if self._read == self.index:
            self._again = block
        self._read += 1
        return block


@dataclass(frozen=True, slots=True)
class SlowReader:
    """A reader that hands over each block late."""

    reader: Reader
    clock: Clock
    delay_s: float

    async def read(self) -> bytes:
        """See `Reader.read`."""
        block = await self.reader.read()
        await self.clock.sleep(self.delay_s)
        return block


@dataclass(frozen=True, slots=True)
class SlowWriter:
    """A writer that takes its time over each block."""

    writer: Writer
    clock: Clock
    delay_s: float

    async def write(self, block: bytes) -> None:
        """See `Writer.write`."""
        await self.clock.sleep(self.delay_s)
        await self.writer.write(block)

    async def flush(self) -> None:
        """See `Writer.flush`."""
        await self.writer.flush()

    async def close(self) -> None:
        """See `Writer.close`."""
        await self.writer.close()
