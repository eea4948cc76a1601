"""Documents of files on their way out, gathered to checkpoints with the state they lead to.

Several files may be read at once: a checkpoint takes the documents of all of them and, in the same
moment, what each of their sweeps says. Small files share checkpoints, large ones have many.
"""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from typing import Final

from estuary_cdk.kits.files.fetching import Stretch
from estuary_cdk.kits.files.sweep import Patch, Sweep, combined

CHECKPOINT_BYTES: Final = 4 << 20
CHECKPOINT_DOCUMENTS: Final = 50_000
SCHEMAS_MAX: Final = 100

Commit = Callable[[list[bytes], Patch, Sequence[bytes]], Awaitable[None]]
"""Makes documents durable together with a patch of state; called for one checkpoint at a time.

Last come the sourced schemas that files of these documents have told and none before.
"""


class Outbox:
    """Gathers documents for `commit`.

    `advanced` turns what the sweep of a path says into a patch of the state that is kept, and
    `settled`, if there is one, adds what belongs to the checkpoint as a whole.
    """

    def __init__(
        self,
        commit: Commit,
        advanced: Callable[[str, Patch], Patch],
        settled: Callable[[], Patch] = dict,
    ) -> None:
        self.total = 0
        self._commit = commit
        self._advanced = advanced
        self._settled = settled
        self._documents: list[bytes] = []
        self._bytes = 0
        self._patch: Patch = {}
        self._open: dict[str, Sweep] = {}
        self._told: set[bytes] = set()
        self._schemas: list[bytes] = []
        self._lock = asyncio.Lock()

    async def put(self, path: str, sweep: Sweep, documents: list[bytes]) -> None:
        """Take the next documents of a sweep, just returned by it; waits for a checkpoint if due.

        The sweep's patch is asked for at the checkpoint.
        """
        self._open[path] = sweep
        self._take(documents)
        await self._flush_if_due()

    def tell(self, schema: bytes) -> None:
        """Have the next checkpoint tell a sourced schema, unless one has, or `SCHEMAS_MAX` have."""
        if schema not in self._told and len(self._told) < SCHEMAS_MAX:
            self._told.add(schema)
            self._schemas.append(schema)

    async def put_all(self, path: str, documents: list[bytes], patch: Patch) -> None:
        """Take documents with the patch of the state that is kept, which says all of this path."""
        self._open.pop(path, None)
        self._patch = combined(self._patch, patch)
        self._take(documents)
        await self._flush_if_due()

    async def flush(self) -> None:
        """Make a checkpoint of all that was taken; none if there is nothing to say."""
        async with self._lock:
            await self._checkpoint()

    def _take(self, documents: list[bytes]) -> None:
        self._documents += documents
        self._bytes += sum(map(len, documents))

    @property
    def _is_due(self) -> bool:
        return self._bytes >= CHECKPOINT_BYTES or len(self._documents) >= CHECKPOINT_DOCUMENTS

    async def _flush_if_due(self) -> None:
        if self._is_due:
            async with self._lock:
                if self._is_due:
                    await self._checkpoint()

    async def _checkpoint(self) -> None:
        patch = self._patch
        for path, sweep in self._open.items():
            patch = combined(patch, self._advanced(path, sweep.patch()))
        patch = combined(patch, self._settled())
        documents, schemas = self._documents, self._schemas
        self._schemas = []
        self._documents, self._bytes, self._patch, self._open = [], 0, {}, {}
        if documents or patch or schemas:
            self.total += len(documents)
            await self._commit(documents, patch, schemas)


async def read_through(
    stretches: AsyncIterable[Stretch], sweep: Sweep, outbox: Outbox, path: str
) -> bool:
    """Read a file to its end; False when the sweep diverged, with nothing more emitted.

    The caller then finishes the sweep, or begins anew.
    """
    async for stretch in stretches:
        if not sweep.diverged:
            sweep.advance(stretch.proof)
        if stretch.last:
            sweep.end()
        if sweep.diverged:
            return False
        for records in stretch.records:
            if records.schema is not None:
                outbox.tell(records.schema)
            await outbox.put(path, sweep, sweep.documents(records))
    return True
