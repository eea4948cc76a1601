"""A materialization task: committed documents of collections become transactions on an endpoint.

Transactions follow the protocol's loop: the documents of one are read, and their keys loaded, while
the connector still acknowledges the last; then flush, stores, startCommit, and our own commit of
checkpoint and state. A transaction ends when all that is committed was read and the connector is
ready for it, or when it has as many bytes or documents, or has taken as long, as one may. Its
documents are held until they are stored, and so are those that come back from loads.
"""

import asyncio
from itertools import compress
from typing import Any, Final

from msgspec import Raw

from estuary_cdk.errors import RemoteProtocolError, shortened
from estuary_cdk.failpoints import failpoint
from estuary_cdk.logs import get_logger
from estuary_cdk.protocol.flow import FULL_RANGE, ConnectorState, RangeSpec
from estuary_cdk.protocol.materialize import (
    Acknowledge,
    Acknowledged,
    Flush,
    Flushed,
    Load,
    Loaded,
    Open,
    Opened,
    StartCommit,
    StartedCommit,
    Store,
)
from estuary_cdk.protocol.message import ABSENT, Message, present
from estuary_cdk.transport import Thread
from flow_local.collections import identities, published_s
from flow_local.connectors import MATERIALIZE, ConnectorFailed, Conversation, conversation
from flow_local.recovery import Commit, TaskRecord
from flow_local.recovery.patches import EMPTY, patches_of, says, updated
from flow_local.serialization import Finishing
from flow_local.tasks.applying import applied
from flow_local.tasks.definitions import MaterializationTask, Run, SchemaWidened
from flow_local.tasks.ending import together, uninterrupted
from flow_local.tasks.progress import BindingProgress
from flow_local.tasks.shards import divide, owned, ranges, record_of
from flow_local.tasks.sources import Checkpoint, Source, check
from flow_local.tasks.transaction import ALL_KEYS, Gathered, fields_of

TRANSACTION_BYTES_MAX: Final = 32 << 20
TRANSACTION_DOCUMENTS_MAX: Final = 200_000
TRANSACTION_S_MAX: Final = 30.0
WRITE_BYTES: Final = 1 << 18
END_WAIT_S: Final = 10.0

log = get_logger(__name__)


async def run_materialization(run: Run) -> None:
    """Run a materialization until it is cancelled or `run.ending` says it is done.

    Raises whatever ends it: ConnectorFailed, RemoteProtocolError, ConfigError, StorageError, and
    SchemaWidened where the task has to be built anew. What it hadn't committed is read again by the
    next run.
    """
    task = run.task
    assert isinstance(task, MaterializationTask)
    recovery = run.world.recovery
    shards = ranges(task.shards)
    if [binding.collection for binding in run.progress.bindings] != task.collections:
        run.progress.bindings = [BindingProgress(name) for name in task.collections]
    await divide(recovery, task.name, shards)
    record = await recovery.task(task.name)
    state = await applied(run, record)
    if len(shards) > 1 and state != (record.state or EMPTY):
        raise RemoteProtocolError(
            f"can't materialize {task.name!r}: the connector keeps state when it is applied, which "
            f"goes with a single shard",
            hint="leave out 'count' of its shards",
        )
    run.progress.phase = "opening"
    if any(await together([_shard(run, task, each) for each in shards])):
        raise SchemaWidened(task.name)
    run.progress.phase = "done"


async def _shard(run: Run, task: MaterializationTask, key_range: RangeSpec) -> bool:
    """Run one shard; tell whether it has ended because the task is outdated."""
    recovery = run.world.recovery
    record = await recovery.task(record_of(task.name, key_range))
    state = record.state or EMPTY
    async with conversation(run.connector, MATERIALIZE, "materialize") as talk:
        request = Open(
            materialization=task.spec,
            version=task.version,
            range=key_range,
            state=Raw(state if state != b"null" else EMPTY),
        )
        await talk.send(request)
        opened = await talk.expect(Opened)
        assert isinstance(opened, Opened)
        session = _Session(run, talk, _Position(task, key_range, record, opened), state)
        try:
            await _concurrently(session)
        finally:
            session.close()
    return session.is_outdated()


async def _concurrently(session: "_Session") -> None:
    """Make transactions while responses are received; raise the one error that ends both."""
    try:
        async with asyncio.TaskGroup() as group:
            receiving = group.create_task(session.receive())
            await session.transactions()
            _, late = await asyncio.wait({receiving}, timeout=END_WAIT_S)
            if late:
                log.warning("the connector doesn't end with its stdin and is killed")
                receiving.cancel()
    except BaseExceptionGroup as failures:
        told = [error for error in failures.exceptions if isinstance(error, ConnectorFailed)]
        raise (told or failures.exceptions)[0] from None


class _Position:
    """Where a session starts: checkpoint and greatest keys, as recorded or as the endpoint says."""

    def __init__(
        self,
        task: MaterializationTask,
        key_range: RangeSpec,
        record: TaskRecord,
        opened: Opened,
    ) -> None:
        self.range = key_range
        self.record_name = record_of(task.name, key_range)
        self.checkpoint = Checkpoint(record.checkpoint)
        self.recorded = dict(record.max_keys)
        self.state_keys = [binding.state_key for binding in task.spec.bindings]
        self.max_keys = [self.recorded.get(key, b"") for key in self.state_keys]
        self.loads_all = opened.disable_load_optimization
        if present(opened.runtime_checkpoint):
            theirs = Checkpoint(bytes(opened.runtime_checkpoint))
            if theirs.offsets != self.checkpoint.offsets:
                # What they hold isn't what our keys tell of.
                self.max_keys = [ALL_KEYS for _ in self.max_keys]
            self.checkpoint = theirs


class _Session:
    """One process of the connector, from opened to its end."""

    def __init__(self, run: Run, talk: Conversation, position: _Position, state: bytes) -> None:
        task = run.task
        assert isinstance(task, MaterializationTask)
        self._run = run
        self._name = task.name
        self._built_with = task.inferred
        self._talk = talk
        self._world = run.world
        self._state = state
        self._position = position
        self._fields = [fields_of(index, each) for index, each in enumerate(task.spec.bindings)]
        self._finishing = [Finishing(each, packs=task.packed_values) for each in task.spec.bindings]
        self._sources = _sources(run, task, position.checkpoint)
        self._thread = Thread(f"reader of {task.name}")
        self._gathered: list[Gathered] = []
        self._answers: dict[type[Message], asyncio.Future[Any]] = {}
        self._renew()

    def close(self) -> None:
        """Give files and thread back."""
        for source in self._sources:
            source.close()
        self._thread.stop()

    def _renew(self) -> None:
        loop = asyncio.get_running_loop()
        self._answers = {kind: loop.create_future() for kind in (Acknowledged, Flushed)}
        self._answers[StartedCommit] = loop.create_future()
        loads_all = self._position.loads_all
        self._gathered = [
            Gathered(fields, max_key, loads_all=loads_all)
            for fields, max_key in zip(self._fields, self._position.max_keys, strict=True)
        ]
        self._acknowledged: ConnectorState | None = None

    # What the connector says.

    async def receive(self) -> None:
        """Take responses until the connector ends where it may."""
        while runs := await self._talk.receive():
            for kind, messages in runs:
                if kind is Loaded:
                    self._loaded(messages)
                else:
                    # The session's judge lets each come once per transaction.
                    answer = self._answers[kind]
                    if not answer.cancelled():
                        answer.set_result(messages[0])

    def _loaded(self, messages: list[Loaded]) -> None:
        by_binding: dict[int, list[bytes]] = {}
        for message in messages:
            by_binding.setdefault(message.binding, []).append(bytes(message.doc))
        for binding, documents in by_binding.items():
            if binding >= len(self._gathered):
                raise self._stray(f"a document of binding {binding}")
            if key := self._gathered[binding].loaded(documents):
                raise self._stray(f"key {shortened(key.decode())} of binding {binding}")

    def _stray(self, what: str) -> RemoteProtocolError:
        return RemoteProtocolError(
            f"can't materialize {self._name!r}: the connector loaded {what}, which wasn't asked "
            f"for or was answered before"
        )

    # What we say.

    async def transactions(self) -> None:
        """Make transactions until there is nothing left to do, if that is wanted."""
        started: ConnectorState | None = None
        while True:
            await self._talk.send(Acknowledge(state_patches=_patches(started)))
            more = await self._gather()
            await self._acknowledge()
            if not more:
                await self._talk.end_requests()
                return
            await self._talk.send(Flush(state_patches=_patches(self._acknowledged)))
            flushed: Flushed = await self._answers[Flushed]
            await self._record(flushed.state, self._new_max_keys())
            await self._store()
            started = await self._commit(flushed.state)

    async def _acknowledge(self) -> None:
        """Wait for the connector's work after the last commit, and record its state."""
        answer: Acknowledged = await self._answers[Acknowledged]
        if self._acknowledged is None and answer.state is not None:
            self._acknowledged = answer.state
            await self._record(answer.state)

    def is_outdated(self) -> bool:
        """Whether a schema has widened that the task was built with."""
        schemas = self._world.recovery.schemas
        return any(schemas.get(name) != schema for name, schema in self._built_with.items())

    async def _gather(self) -> bool:
        """Read documents and load their keys; False when there are none and there won't be any.

        Nor will there be any once a schema has widened; what was read before fits the built one.
        """
        clock, changes = self._world.clock, self._world.collections.changes
        acknowledged = self._answers[Acknowledged]
        size, began = 0, 0.0
        while True:
            version = changes.version
            if self.is_outdated():
                return size > 0
            ending = self._run.ending.sources_ended.is_set() and self._run.ending.until_idle
            progressed = False
            for binding, source in enumerate(self._sources):  # By turns: none waits for another.
                if block := await self._read(source):
                    progressed = True
                    began = began or clock.monotonic()
                    size += await self._add(binding, block)
                    if self._is_large(size) or clock.monotonic() - began >= TRANSACTION_S_MAX:
                        return True
            if progressed or version != changes.version:
                continue
            if acknowledged.done():
                if size:
                    return True
                await self._acknowledge()
                self._run.progress.phase = "idle"
                if ending:
                    return False
            await _first(acknowledged, changes.since(version))

    async def _read(self, source: Source) -> bytes:
        block = await self._thread.run(source.read)
        if block and self.is_outdated():  # The block may have what widened it.
            raise SchemaWidened(self._name)
        return block

    def _is_large(self, size: int) -> bool:
        documents = sum(gathered.documents for gathered in self._gathered)
        size += sum(gathered.loaded_bytes for gathered in self._gathered)
        return size >= TRANSACTION_BYTES_MAX or documents >= TRANSACTION_DOCUMENTS_MAX

    async def _add(self, binding: int, block: bytes) -> int:
        self._run.progress.phase = "running"
        documents = block.split(b"\n")
        documents.pop()
        if self._position.range != FULL_RANGE:
            documents = self._own(binding, documents)
        count, lines = self._gathered[binding].add(documents) if documents else (0, b"")
        if count:
            await self._talk.send_block(Load, count, lines)
        progress = self._run.progress.bindings[binding]
        progress.backlog_bytes = self._sources[binding].backlog
        shard, clock = self._position.range.key_begin, self._world.clock
        if shard not in progress.waiting_since_s and (published := published_s(block)):
            age_s = max(0.0, clock.now().timestamp() - published)
            progress.waiting_since_s[shard] = clock.monotonic() - age_s
        return len(block)

    def _own(self, binding: int, documents: list[bytes]) -> list[bytes]:
        """Return the documents whose keys this shard stores."""
        keys = identities(self._fields[binding].keys.rows(documents))
        return list(compress(documents, owned(self._position.range, keys)))

    def _new_max_keys(self) -> dict[str, bytes]:
        """Return the greatest keys once this transaction is stored, where they aren't recorded."""
        position = self._position
        position.max_keys = [gathered.max_key for gathered in self._gathered]
        keys = dict(zip(position.state_keys, position.max_keys, strict=True))
        new = {key: packed for key, packed in keys.items() if packed != position.recorded.get(key)}
        position.recorded.update(new)
        return {key: packed for key, packed in new.items() if packed}

    async def _store(self) -> None:
        for gathered, finishing in zip(self._gathered, self._finishing, strict=True):
            pending: list[bytes] = []
            total = size = 0
            for count, spelt in gathered.stores():
                lines = finishing.finished(spelt)
                pending.append(lines)
                total += count
                size += len(lines)
                if size >= WRITE_BYTES:
                    await self._talk.send_block(Store, total, b"".join(pending))
                    pending, total, size = [], 0, 0
            if pending:
                await self._talk.send_block(Store, total, b"".join(pending))

    async def _commit(self, flushed: ConnectorState | None) -> ConnectorState | None:
        checkpoint = self._position.checkpoint.advanced({s.name: s.offset for s in self._sources})
        failpoint("materialization.before_start_commit")
        await self._talk.send(
            StartCommit(runtime_checkpoint=Raw(checkpoint), state_patches=_patches(flushed))
        )
        started: StartedCommit = await self._answers[StartedCommit]
        failpoint("materialization.before_commit")
        state = updated(self._state, started.state)
        commit = Commit(self._position.record_name, state=state, checkpoint=checkpoint)
        await uninterrupted(self._world.recovery.commit(commit))
        failpoint("materialization.after_commit")
        self._state = state
        self._position.checkpoint = Checkpoint(checkpoint)
        self._count()
        self._renew()
        return started.state

    async def _record(
        self, update: ConnectorState | None, max_keys: dict[str, bytes] | None = None
    ) -> None:
        """Make a state's update and greatest keys durable, if there are any."""
        if not max_keys and (update is None or not says(update)):
            return
        self._state = updated(self._state, update)
        commit = Commit(self._position.record_name, state=self._state, max_keys=max_keys or {})
        await uninterrupted(self._world.recovery.commit(commit))

    def _count(self) -> None:
        progress = self._run.progress
        progress.transactions += 1
        for binding, source in enumerate(self._sources):
            each = progress.bindings[binding]
            each.documents += self._gathered[binding].documents
            each.waiting_since_s.pop(self._position.range.key_begin, None)
            taken = source.taken()
            if not self._position.range.key_begin:  # All shards read the same.
                each.bytes += taken
            each.backlog_bytes = source.backlog


def _sources(run: Run, task: MaterializationTask, checkpoint: Checkpoint) -> list[Source]:
    collections = run.world.collections
    names = [
        f"{collection};{binding.journal_read_suffix}"
        for collection, binding in zip(task.collections, task.spec.bindings, strict=True)
    ]
    offsets = [checkpoint.offsets.get(name, 0) for name in names]
    check(task.name, collections, zip(task.collections, offsets, strict=True))
    return [
        Source(name, collection, collections, offset)
        for name, collection, offset in zip(names, task.collections, offsets, strict=True)
    ]


def _patches(update: ConnectorState | None) -> Raw:
    text = patches_of(update)
    return Raw(text) if text else ABSENT


async def _first(future: "asyncio.Future[Any]", change: Any) -> None:
    """Wait for a change, or for the future if it isn't done yet."""
    waiting = asyncio.ensure_future(change)
    try:
        await asyncio.wait(
            {waiting} if future.done() else {waiting, future}, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        waiting.cancel()
