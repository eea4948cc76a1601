"""What a place that holds files has to offer, and a file's bytes fetched in parallel from there.

A store lists files and reads ranges of one version of a file. Everything else (what changed, what
vanished, when to start again, how much to fetch ahead) is the kit's and the same for all stores.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable

from estuary_cdk.errors import TransientError
from estuary_cdk.kits.files.detection import Hints

RANGE_BYTES = 2 << 20
RANGES_AHEAD = 3


class FileChanged(TransientError):  # noqa: N818 - a state of affairs
    """A file is no longer the version that was listed, or is gone: look again."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One version of a file.

    `path` names the file in its store, parts separated by slashes. `identity` is never the same for
    two different contents at one path (an ETag, a version id; where a store has neither, time and
    size). `modified` is in UTC.
    """

    path: str
    size: int
    identity: str
    modified: datetime
    hints: Hints = field(default_factory=Hints)


class Ranges(Protocol):
    """Files whose bytes can be asked for anywhere. May be called many times at once."""

    async def read(self, file: StoredFile, start: int, size: int) -> bytes:
        """Return `size` bytes of that version from `start`; the range lies within it.

        Raises FileChanged where the file isn't that version any more.
        """
        ...


class Store(Ranges, Protocol):
    """Files by path. Methods may be called many at once.

    Raise ConfigError for what the user has to change (no such bucket, no permission), and
    TransientError for what may pass, after retries.
    """

    def pages(self, prefix: str, after: str = "") -> AsyncIterator[Sequence[StoredFile]]:
        """List the files whose path begins with `prefix`, in order of their paths' UTF-8 bytes.

        Only paths beyond `after`. A file that is there during the whole listing is listed once; one
        that comes or goes meanwhile may be.
        """
        ...

    async def look(self, path: str) -> StoredFile | None:
        """Return the version of a file that is there now, None without one."""
        ...


@runtime_checkable
class Telling(Protocol):
    """A store that knows more of a file's format than its listing says.

    Asked only where the file's name doesn't tell.
    """

    async def hints(self, file: StoredFile) -> Hints:
        """Return what the store says about that version; raises FileChanged as `Store.read`."""
        ...


async def blocks(
    store: Store, file: StoredFile, *, range_bytes: int | None = None
) -> AsyncGenerator[bytes]:
    """Yield the content of a file in order, while the next `RANGES_AHEAD` ranges are fetched."""
    range_bytes = range_bytes or RANGE_BYTES
    starts = deque(range(0, file.size, range_bytes))
    ahead: deque[asyncio.Task[bytes]] = deque()
    try:
        while starts or ahead:
            while starts and len(ahead) < RANGES_AHEAD:
                start = starts.popleft()
                size = min(range_bytes, file.size - start)
                ahead.append(asyncio.ensure_future(store.read(file, start, size)))
            yield await ahead.popleft()
    finally:
        for task in ahead:
            task.cancel()
        # Each has to end, and to have its failure seen, before the caller goes on.
        await asyncio.gather(*ahead, return_exceptions=True)
