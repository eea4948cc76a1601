"""The documents of one binding on their way out, in bounded memory.

What comes before a position is reached may be committed without moving the position: after a crash
it is read and emitted once more, which the collection's key makes good. So nobody holds the one
writer while waiting for the source.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from estuary_cdk.capture.positions import StreamState
from estuary_cdk.capture.pull import Binding, Pull
from estuary_cdk.capture.state import Patch
from estuary_cdk.document import Item, encoded, meta_json, stamped

COMMIT_BYTES: Final = 1 << 20

_UPDATE: Final = meta_json("u")


class Emission:
    """Gathers a binding's documents; used by one task at a time."""

    def __init__(self, pull: Pull[Any, Any, Any], binding: Binding[Any, StreamState]) -> None:
        self.commits = 0
        self.documents = 0
        self._pull = pull
        self._binding = binding
        self._gathered: list[bytes] = []
        self._bytes = 0

    async def add(self, items: Sequence[Item]) -> None:
        """Take documents, giving those without `_meta.op` the operation `u`."""
        await self.add_documents([stamped(encoded(item), _UPDATE) for item in items])

    async def add_documents(self, documents: Sequence[bytes]) -> None:
        """Take documents that are complete; commits without moving on once there are many."""
        self._gathered += documents
        self._bytes += sum(map(len, documents))
        if self._bytes >= COMMIT_BYTES:
            await self.commit(None)

    async def commit(self, patch: Mapping[str, Any] | None) -> None:
        """Commit what was gathered, and with it a merge patch of the binding's state."""
        gathered = self.discard()
        async with self._pull.transaction() as transaction:
            await transaction.emit(self._binding, gathered)
            if patch is None:
                transaction.checkpoint()
            else:
                transaction.checkpoint(self._binding, Patch(patch))
        self.documents += len(gathered)
        self.commits += patch is not None

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be committed."""
        return not self._gathered

    def discard(self) -> list[bytes]:
        """Forget what was gathered since the last commit, and return it."""
        gathered, self._gathered, self._bytes = self._gathered, [], 0
        return gathered
