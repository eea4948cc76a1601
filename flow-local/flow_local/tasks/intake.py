"""What a materialization reads: committed documents, as portions that are a transaction each.

A portion may be read before its transaction has begun, while the one before is still stored. It
knows how far it was read, which is what its own commit records, however far others have read since.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Final

from estuary_cdk.protocol.flow import FULL_RANGE, RangeSpec
from estuary_cdk.transport import Thread
from flow_local.collections import identities, published_s
from flow_local.tasks.definitions import MaterializationTask, Run, SchemaWidened
from flow_local.tasks.exchange import Exchange, Prepared
from flow_local.tasks.shards import owned
from flow_local.tasks.sources import Source

# There are two at a time: one is stored while the next is read.
PORTION_BYTES_MAX: Final = 32 << 20
PORTION_DOCUMENTS_MAX: Final = 150_000
PORTION_S_MAX: Final = 30.0
APART_BYTES_MIN: Final = 4 << 20
PROCESSORS: Final = os.cpu_count() or 1
# On two, which the connectors and all else need already, it brought nothing.
APART_PROCESSORS_MIN: Final = 3


@dataclass(slots=True)
class Portion:
    """What one transaction reads, and how far that is."""

    prepared: Prepared
    offsets: dict[str, int]
    """Of each source, by its name: all before it was read, by this portion or those before."""
    bytes: list[int]
    """How many were read of each binding's collection."""
    since_s: dict[int, float] = field(default_factory=dict)
    """By binding, when its first document was published, by the monotonic clock."""
    began_s: float | None = None

    @property
    def was_read(self) -> bool:
        """Whether it has anything to store, or at least to have read."""
        return self.began_s is not None


class Intake:
    """Reads a shard's sources, each binding's in order, all bindings by turns."""

    def __init__(
        self, run: Run, exchange: Exchange, key_range: RangeSpec, sources: Sequence[Source]
    ) -> None:
        task = run.task
        assert isinstance(task, MaterializationTask)
        self._run = run
        self._task = task
        self._exchange = exchange
        self._range = key_range
        self._sources = sources
        self._offsets = {source.name: source.offset for source in sources}
        self._thread = Thread(f"reader of {task.name}")

    def close(self) -> None:
        """Give files and thread back."""
        for source in self._sources:
            source.close()
        self._thread.stop()

    def portion(self, max_keys: Sequence[bytes], last: Portion | None = None) -> Portion:
        """Return one that has nothing yet, to be read after all others that were asked for.

        `max_keys` are the greatest keys stored by transactions before it, one of each binding, and
        `last` is the one before it.
        """
        # A process apart is worth its start where there is much, as mostly where there was much.
        apart = (
            last is not None
            and PROCESSORS >= APART_PROCESSORS_MIN
            and _held_bytes(last) >= APART_BYTES_MIN
        )
        prepared = self._exchange.prepared(max_keys, apart=apart)
        return Portion(prepared, dict(self._offsets), [0] * len(self._sources))

    def is_full(self, portion: Portion) -> bool:
        """Whether it has as many bytes or documents, or has taken as long, as one may."""
        if portion.began_s is None:
            return False
        documents = sum(each.documents for each in portion.prepared.gathering.held)
        return (
            self._run.world.clock.monotonic() - portion.began_s >= PORTION_S_MAX
            or _held_bytes(portion) >= PORTION_BYTES_MAX
            or documents >= PORTION_DOCUMENTS_MAX
        )

    def is_outdated(self) -> bool:
        """Whether a schema has widened that the task was built with."""
        schemas = self._run.world.recovery.schemas
        return any(schemas.get(name) != schema for name, schema in self._task.inferred.items())

    async def turn(self, portion: Portion) -> bool:
        """Read a block of each source, until the portion is full; False where there is nothing.

        Raises SchemaWidened rather than to take a block that may have what widened it.
        """
        progressed = False
        for binding, source in enumerate(self._sources):  # By turns: none waits for another.
            block = await self._thread.run(source.read)
            if not block:
                continue
            if self.is_outdated():
                raise SchemaWidened(self._task.name)
            progressed = True
            await self._take(portion, binding, block)
            portion.offsets[source.name] = self._offsets[source.name] = source.offset
            if self.is_full(portion):
                break
        return progressed

    async def _take(self, portion: Portion, binding: int, block: bytes) -> None:
        self._run.progress.phase = "running"
        clock = self._run.world.clock
        if portion.began_s is None:
            portion.began_s = clock.monotonic()
        portion.bytes[binding] += len(block)
        documents = block.split(b"\n")
        documents.pop()
        selections = self._task.selections
        if selections and selections[binding].selects:
            documents = selections[binding].chosen(documents)
        if documents and self._range != FULL_RANGE:
            keys = identities(self._exchange.keys_of(binding, documents))
            documents = list(compress(documents, owned(self._range, keys)))
        if documents:
            await self._exchange.add(portion.prepared, binding, documents)
        if binding not in portion.since_s and (published := published_s(block)):
            age_s = max(0.0, clock.now().timestamp() - published)
            portion.since_s[binding] = clock.monotonic() - age_s
        self._note(binding, portion.since_s)

    def _note(self, binding: int, since_s: Mapping[int, float]) -> None:
        progress = self._run.progress.bindings[binding]
        progress.backlog_bytes = self._sources[binding].backlog
        if binding in since_s:
            progress.waiting_since_s.setdefault(self._range.key_begin, since_s[binding])

    def count(self, stored: Portion, following: Portion) -> None:
        """Count a portion that is committed, of which the next may be read in part."""
        shard = self._range.key_begin
        for binding, held in enumerate(stored.prepared.gathering.held):
            progress = self._run.progress.bindings[binding]
            progress.documents += held.documents
            if not shard:  # All shards read the same.
                progress.bytes += stored.bytes[binding]
            progress.waiting_since_s.pop(shard, None)
            self._note(binding, following.since_s)


def _held_bytes(portion: Portion) -> int:
    return sum(each.size for each in portion.prepared.gathering.held)
