"""A file of a store to seek in, for libraries that read and wait.

Reads happen on a thread of the caller's and wait for ranges that the event loop fetches: blocks of
fixed size, the last few kept, and the next ones on their way where reading goes forward, unless so
many places are read in turn that they are gone before they are needed.
"""

import asyncio
import io
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Any, Final

from estuary_cdk.errors import CdkError, DataError, TransientError
from estuary_cdk.kits.files.stores import Ranges, StoredFile

BLOCK_BYTES: Final = 1 << 19
BLOCKS_KEPT: Final = 56
BLOCKS_AHEAD: Final = 2
READ_BYTES_MAX: Final = 256 << 20
WAIT_S: Final = 900.0


class RangedFile(io.RawIOBase):
    """One version of a stored file, read-only; for one thread that isn't the event loop's.

    `failure` keeps what a read raised, for libraries that raise something else then.
    """

    def __init__(self, store: Ranges, file: StoredFile, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.failure: CdkError | None = None
        self._store = store
        self._file = file
        self._loop = loop
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._position = 0
        self._unused: set[int] = set()
        self._ahead = BLOCKS_AHEAD
        self._abandoned = False

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that one can seek in it."""
        return True

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Have the next read begin elsewhere."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}
        self._position = max(0, start[whence] + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the file goes."""
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def read(self, size: int | None = -1) -> bytes:
        """Return so many bytes, fewer only at the end of the file.

        Raises what the store raises, and DataError for more than `READ_BYTES_MAX` at once.
        """
        left = max(self._file.size - self._position, 0)
        size = left if size is None or size < 0 else min(size, left)
        try:
            if size > READ_BYTES_MAX:
                raise DataError(
                    f"can't read {self._file.path!r}: a part of it has {size} bytes, the limit is "
                    f"{READ_BYTES_MAX}",
                    file=self._file.path,
                )
            data = self._range(self._position, size)
        except CdkError as error:
            self.failure = error
            raise
        self._position += len(data)
        return data

    def abandon(self) -> None:
        """Have every read from now on raise; called on the event loop's thread."""
        self._abandoned = True
        for block in self._blocks.values():
            block.cancel()

    def _range(self, start: int, size: int) -> bytes:
        end = start + size
        indexes = range(start // BLOCK_BYTES, -(-end // BLOCK_BYTES)) if size else range(0)
        parts = []
        for index in indexes:
            block = self._block(index)
            low, high = start - index * BLOCK_BYTES, end - index * BLOCK_BYTES
            parts.append(block if low <= 0 and high >= len(block) else block[max(low, 0) : high])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _block(self, index: int) -> bytes:
        ahead = self._ahead if index - 1 in self._blocks else 0
        for wanted in range(index + ahead, index - 1, -1):
            self._ask(wanted)
        self._unused.discard(index)
        while len(self._blocks) > BLOCKS_KEPT:
            forgotten, oldest = self._blocks.popitem(last=False)
            oldest.cancel()
            if forgotten in self._unused:
                self._unused.discard(forgotten)
                self._ahead = 0
        try:
            return self._blocks[index].result(WAIT_S)
        except (CancelledError, TimeoutError) as error:
            raise TransientError(f"can't read {self._file.path!r}: reading was given up") from error

    def _ask(self, index: int) -> None:
        start = index * BLOCK_BYTES
        if index in self._blocks:
            self._blocks.move_to_end(index)
        elif start < self._file.size:
            if self._abandoned:
                raise TransientError(f"can't read {self._file.path!r}: reading was given up")
            size = min(BLOCK_BYTES, self._file.size - start)
            reading = self._store.read(self._file, start, size)
            self._unused.add(index)
            self._blocks[index] = asyncio.run_coroutine_threadsafe(reading, self._loop)


@contextmanager
def ranged(store: Ranges, file: StoredFile) -> Iterator[RangedFile]:
    """Give a stored file to seek in, on other threads than this one, the event loop's."""
    opened = RangedFile(store, file, asyncio.get_running_loop())
    try:
        yield opened
    finally:
        opened.abandon()
