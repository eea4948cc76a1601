"""A capture's documents on their way into the collections.

Documents since the last checkpoint form a *group*. At a checkpoint the group becomes *eligible*,
together with the state; eligible documents of several checkpoints may share one commit, which makes
them durable and visible with their state, or not at all.

At most about STAGED_BYTES_MAX of documents are held. A group larger than that is written to the
journals past their committed ends as it comes (*spilled*), and documents of equal key are combined
only within what is written at a time. From the first spill to the commit, no other task can commit
to the same collections.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from estuary_cdk.errors import DataError, RemoteProtocolError
from estuary_cdk.failpoints import failpoint
from estuary_cdk.logs import get_logger
from estuary_cdk.protocol.flow import ConnectorState
from estuary_cdk.transport import Thread
from flow_local.collections import Batch, Collections, Combiner, Journal, Stamper
from flow_local.collections.store import Inferred
from flow_local.recovery import Commit, Recovery
from flow_local.recovery.patches import updated
from flow_local.schema.proving import Prover
from flow_local.schema.validation import Validator
from flow_local.tasks.progress import BindingProgress

STAGED_BYTES_MAX: Final = 32 << 20
BLOCK_BYTES: Final = 256 << 10

log = get_logger(__name__)


@dataclass(slots=True)
class Target:
    """A binding's collection: how documents get in, and those that wait to."""

    collection: str
    journal: Journal
    validator: Validator
    combiner: Combiner
    progress: BindingProgress
    write_schema: bytes
    inferred: Inferred | None = None
    """Of the collection, if its readers want to know."""
    prover: Prover | None = None
    group: list[Batch] = field(default_factory=list)
    eligible: list[Batch] = field(default_factory=list)
    written_documents: int = 0
    written_bytes: int = 0

    @property
    def touched(self) -> bool:
        """Whether a commit has something to say about the collection."""
        return bool(self.eligible) or (self.inferred is not None and self.inferred.unrecorded)


@dataclass(slots=True)
class Identity:
    """What a task's commits record besides documents: its connector's state, its producer."""

    task: str
    state: bytes
    producer: bytes
    stamper: Stamper


class Staging:
    """See the module's text. Not to be used any more once `commit` or `spill` has failed, but for
    `give_up`, which must follow the last use in any case.
    """

    def __init__(
        self,
        identity: Identity,
        targets: Sequence[Target],
        collections: Collections,
        recovery: Recovery,
        now: Callable[[], datetime],
        staged_bytes_max: int = STAGED_BYTES_MAX,
    ) -> None:
        self.checkpoints = 0
        """How many checkpoints the next commit contains."""
        self.eligible_bytes = 0
        self._identity = identity
        self._targets = targets
        self._collections = collections
        self._recovery = recovery
        self._now = now
        self._staged_bytes_max = staged_bytes_max
        self._group_bytes = 0
        self._updates: list[ConnectorState | None] = []
        self._held: list[Journal] = []
        self._thread = Thread(f"journals of {identity.task}")

    @property
    def state(self) -> bytes:
        """The connector's state as committed last."""
        return self._identity.state

    @property
    def provers(self) -> Sequence[Prover | None]:
        """What proves documents of each binding valid, in order."""
        return [target.prover for target in self._targets]

    @property
    def full(self) -> bool:
        """Whether documents must leave before more are taken: by `commit`, else by `spill`."""
        return self._group_bytes + self.eligible_bytes >= self._staged_bytes_max

    def add(self, binding: int, documents: list[bytes]) -> None:
        """Add documents to the group.

        Raises DataError for one that violates its collection's schema, RemoteProtocolError for a
        binding that doesn't exist.
        """
        target = self._target(binding)
        failure = target.validator.first_failure(documents)
        if failure is not None:
            raise DataError(
                f"can't capture a document into collection {target.collection!r}: "
                f"at {failure.pointer or 'the root'}: {failure.reason}",
                hint="fix the collection's schema, or the source's data",
                task=self._identity.task,
                collection=target.collection,
                pointer=failure.pointer,
                reason=failure.reason,
            )
        self.add_batch(binding, Batch(documents, sum(map(len, documents))))

    def add_batch(self, binding: int, batch: Batch) -> None:
        """Add valid documents to the group; raises RemoteProtocolError as `add` does."""
        self._target(binding).group.append(batch)
        self._group_bytes += batch.size

    def _target(self, binding: int) -> Target:
        if binding >= len(self._targets):
            raise RemoteProtocolError(
                f"can't capture {self._identity.task!r}: the connector spoke of binding {binding}, "
                f"but there are {len(self._targets)}"
            )
        return self._targets[binding]

    def add_schema(self, binding: int, schema: bytes) -> None:
        """Widen what is inferred by a schema of the source's own; recorded with the next commit.

        Raises ContractError for a schema that leaves something open, RemoteProtocolError for a
        binding that doesn't exist.
        """
        target = self._target(binding)
        inferred = target.inferred
        if inferred and inferred.inference.widen_by_source(schema, target.write_schema):
            inferred.unrecorded = True

    def checkpoint(self, update: ConnectorState | None) -> None:
        """Make the group eligible, with the state's update."""
        for target in self._targets:
            if target.group:
                target.eligible += target.group
                target.group = []
        self.eligible_bytes += self._group_bytes
        self._group_bytes = 0
        self.checkpoints += 1
        self._updates.append(update)

    @property
    def spilled(self) -> bool:
        """Whether a part of the group is in the journals already."""
        return bool(self._held)

    async def spill(self) -> None:
        """Write the group as far as it is known; nothing may be eligible."""
        assert not self.checkpoints, "what is eligible is committed first"
        await self._hold(self._targets)
        for target in self._targets:
            batches, target.group = target.group, []
            await self._write(target, batches)
        self._group_bytes = 0

    async def commit(self) -> int:
        """Make what is eligible durable and visible; return how many checkpoints it had."""
        checkpoints, self.checkpoints = self.checkpoints, 0
        if not checkpoints:
            return 0
        state = self._identity.state
        for update in self._updates:
            state = updated(state, update)
        self._updates.clear()
        await self._hold([target for target in self._targets if target.touched])
        for target in self._targets:
            batches, target.eligible = target.eligible, []
            await self._write(target, batches)
        held = list(self._held)
        ends = await self._thread.run(lambda: {each.name: each.sync() for each in held})
        inferred = self._schemas()
        try:
            await self._record(state, ends, inferred)
        except BaseException:
            for journal in held:
                journal.doubt()
            raise
        for target in self._targets:
            if target.collection in inferred and target.inferred:
                target.inferred.unrecorded = False
        self.eligible_bytes = 0
        self._release()
        self._count()
        return checkpoints

    async def _record(self, state: bytes, ends: dict[str, int], inferred: dict[str, bytes]) -> None:
        identity = self._identity
        failpoint("capture.before_commit")
        await self._recovery.commit(
            Commit(
                identity.task,
                state=state,
                producer=identity.producer,
                clock=identity.stamper.clock,
                ends=ends,
                inferred=inferred,
            )
        )
        failpoint("capture.after_commit")
        identity.state = state
        self._collections.commit(ends)

    def give_up(self) -> None:
        """Let go of what isn't committed."""
        for journal in self._held:
            journal.give_up()
        self._release()
        self._thread.stop()

    async def _hold(self, targets: Sequence[Target]) -> None:
        """Keep others from writing to journals; in one order for all tasks, so none waits in vain.

        Where some are held already, all are.
        """
        if self._held:
            return
        journals = {target.journal.name: target.journal for target in targets}
        for name in sorted(journals):
            await journals[name].lock.acquire()
            self._held.append(journals[name])

    def _release(self) -> None:
        for journal in self._held:
            journal.lock.release()
        self._held.clear()

    async def _write(self, target: Target, batches: Sequence[Batch]) -> None:
        """Append documents, a block at a time."""
        blocks: list[bytes] = []
        size = 0
        for batch in target.combiner.combined_batches(batches):
            for part in batch.cut(2 * BLOCK_BYTES):  # What is cut is no block as it came.
                block = self._identity.stamper.stamped_batch(part, self._now())
                target.written_documents += len(part)
                blocks.append(block)
                size += len(block)
                if size >= BLOCK_BYTES:
                    await self._append(target, b"".join(blocks))
                    blocks, size = [], 0
        await self._append(target, b"".join(blocks))

    async def _append(self, target: Target, block: bytes) -> None:
        if not block:
            return
        inferred = target.inferred
        if inferred and inferred.inference.widen(block.split(b"\n")[:-1]):
            inferred.unrecorded = True
        target.written_bytes += len(block)
        await self._thread.run(lambda: target.journal.append(block))

    def _schemas(self) -> dict[str, bytes]:
        """Return what is inferred now of collections whose schema has changed."""
        schemas: dict[str, bytes] = {}
        for target in self._targets:
            if target.inferred and target.inferred.unrecorded:
                schemas[target.collection] = target.inferred.inference.schema() or b"{}"
                log.info("inferred schema updated", collection_name=target.collection)
        return schemas

    def _count(self) -> None:
        for target in self._targets:
            target.progress.documents += target.written_documents
            target.progress.bytes += target.written_bytes
            target.written_documents = target.written_bytes = 0
