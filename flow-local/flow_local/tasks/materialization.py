"""A materialization task: committed documents of collections become transactions on an endpoint.

Transactions follow the protocol's loop: the documents of one are read while the last is stored and
committed, their keys are loaded while the connector still acknowledges it; then flush, stores,
startCommit, and our own commit of checkpoint and state. A transaction ends when all that is
committed was read and the connector is ready for it, or when its portion is full.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from estuary_cdk.failpoints import failpoint
from estuary_cdk.logs import get_logger
from estuary_cdk.protocol.flow import ConnectorState, RangeSpec
from estuary_cdk.protocol.materialize import Opened
from flow_local.recovery import Commit, TaskRecord
from flow_local.recovery.patches import EMPTY, says, updated
from flow_local.tasks import recutting
from flow_local.tasks.applying import applied
from flow_local.tasks.definitions import MaterializationTask, Run, SchemaWidened
from flow_local.tasks.ending import together, uninterrupted
from flow_local.tasks.exchange import Exchange
from flow_local.tasks.exchange import together as conversing
from flow_local.tasks.intake import Intake, Portion
from flow_local.tasks.opening import Opening, opened, resumed
from flow_local.tasks.progress import BindingProgress
from flow_local.tasks.shards import ranges, record_of, recorded
from flow_local.tasks.sources import Checkpoint, Source, check, source_name

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
    if [binding.collection for binding in run.progress.bindings] != task.collections:
        run.progress.bindings = [BindingProgress(name) for name in task.collections]
    wanted, known = ranges(task.shards), recorded(await recovery.shards(task.name))
    record = await recovery.task(task.name)
    names = [record_of(task.name, each) for each in known]
    await applied(run, record, {name: (await recovery.task(name)).state for name in names})
    run.progress.phase = "opening"
    if known != wanted:
        settle = None if record.version == "" else _shard
        await recutting.recut(run, task, known, wanted, settle)
    if any(await together([_shard(run, task, each) for each in wanted])):
        raise SchemaWidened(task.name)
    run.progress.phase = "done"


async def _shard(
    run: Run,
    task: MaterializationTask,
    key_range: RangeSpec,
    limits: Mapping[str, int] | None = None,
) -> bool:
    """Run one shard; tell whether it has ended because the task is outdated.

    With `limits`, it reads no further in these collections.
    """
    record = await run.world.recovery.task(record_of(task.name, key_range))
    state = record.state or EMPTY
    opening = Opening(task.spec, task.version, key_range, state, task.packed_values)
    async with opened(run.connector, opening, "materialize") as (exchange, answer):
        position = _Position(task, key_range, record, answer)
        if position.is_theirs:
            await run.world.recovery.commit(position.found())
        session = _Session(run, exchange, position, state, limits or {})
        try:
            await conversing(exchange.receive(), session.transactions())
        finally:
            session.close()
    return session.is_outdated()


class _Position:
    """Where a session starts: checkpoint and greatest keys, as recorded or as the endpoint says."""

    def __init__(
        self, task: MaterializationTask, key_range: RangeSpec, record: TaskRecord, answer: Opened
    ) -> None:
        self.range = key_range
        self.record_name = record_of(task.name, key_range)
        self.recorded = dict(record.max_keys)
        self.state_keys = [binding.state_key for binding in task.spec.bindings]
        max_keys = [self.recorded.get(key, b"") for key in self.state_keys]
        checkpoint, self.max_keys = resumed(answer, record.checkpoint, max_keys)
        self.checkpoint = Checkpoint(checkpoint)
        self.is_theirs = self.checkpoint.offsets != Checkpoint(record.checkpoint).offsets

    def found(self) -> Commit:
        """Return what to record where the endpoint is at another place than we thought."""
        self.recorded.update(zip(self.state_keys, self.max_keys, strict=True))
        text = self.checkpoint.advanced({})
        return Commit(self.record_name, checkpoint=text, max_keys=dict(self.recorded))


class _Session:
    """One process of the connector, from opened to its end."""

    def __init__(
        self,
        run: Run,
        exchange: Exchange,
        position: _Position,
        state: bytes,
        limits: Mapping[str, int],
    ) -> None:
        task = run.task
        assert isinstance(task, MaterializationTask)
        self._run = run
        self._exchange = exchange
        self._world = run.world
        self._state = state
        self._position = position
        sources = _sources(run, task, position.checkpoint, limits)
        self._intake = Intake(run, exchange, position.range, sources)
        self.is_outdated = self._intake.is_outdated
        self._acknowledged: ConnectorState | None = None

    def close(self) -> None:
        """Give files and thread back."""
        self._intake.close()

    async def transactions(self) -> None:
        """Make transactions until there is nothing left to do, if that is wanted."""
        started: ConnectorState | None = None
        portion = self._intake.portion(self._position.max_keys)
        while True:
            self._acknowledged = None
            await self._exchange.begin(portion.prepared, started)
            await self._gather(portion)
            await self._acknowledge()
            if not portion.was_read:
                await self._exchange.end()
                return
            flushed = await self._exchange.flush(self._acknowledged)
            await self._record(flushed, self._new_max_keys(portion))
            following = self._intake.portion(self._position.max_keys, portion)
            started = await self._stored(portion, following, flushed)
            self._run.progress.transactions += 1
            self._intake.count(portion, following)
            portion = following

    async def _stored(
        self, portion: Portion, following: Portion, flushed: ConnectorState | None
    ) -> ConnectorState | None:
        """Store and commit a portion, and read the next one meanwhile, as far as there is time."""
        storing = asyncio.ensure_future(self._commit(portion, flushed))
        try:
            with suppress(SchemaWidened):  # What was read before that fits.
                await self._read_until(storing, following)
            return await storing
        finally:
            if storing.cancel():
                await asyncio.wait({storing})
            if not storing.cancelled():
                storing.exception()  # Where we are cancelled, another failure is told already.

    async def _acknowledge(self) -> None:
        """Wait for the connector's work after the last commit, and record its state."""
        answer = await self._exchange.acknowledged
        if self._acknowledged is None and answer.state is not None:
            self._acknowledged = answer.state
            await self._record(answer.state)

    async def _read_until(self, done: "asyncio.Future[Any]", portion: Portion) -> None:
        intake, changes = self._intake, self._world.collections.changes
        while not (done.done() or intake.is_outdated() or intake.is_full(portion)):
            version = changes.version
            if await intake.turn(portion) or done.done():  # It may be done by now.
                continue
            await _first(done, changes.since(version))

    async def _gather(self, portion: Portion) -> None:
        """Read documents and load their keys; leaves it empty when there won't be any.

        Nor will there be any once a schema has widened; what was read before fits the built one.
        """
        intake, changes = self._intake, self._world.collections.changes
        acknowledged = self._exchange.acknowledged
        while not (intake.is_outdated() or intake.is_full(portion)):
            version = changes.version
            ending = self._run.ending.sources_ended.is_set() and self._run.ending.until_idle
            if await intake.turn(portion) or version != changes.version:
                continue
            if acknowledged.done():
                if portion.was_read:
                    return
                await self._acknowledge()
                self._run.progress.phase = "idle"
                await self._exchange.rest()
                if ending:
                    return
            await _first(acknowledged, changes.since(version))

    def _new_max_keys(self, portion: Portion) -> dict[str, bytes]:
        """Return the greatest keys once this portion is stored, where they aren't recorded."""
        position = self._position
        position.max_keys = [held.max_key for held in portion.prepared.gathering.held]
        keys = dict(zip(position.state_keys, position.max_keys, strict=True))
        new = {key: packed for key, packed in keys.items() if packed != position.recorded.get(key)}
        position.recorded.update(new)
        return {key: packed for key, packed in new.items() if packed}

    async def _commit(
        self, portion: Portion, flushed: ConnectorState | None
    ) -> ConnectorState | None:
        await self._exchange.store()
        checkpoint = self._position.checkpoint.advanced(portion.offsets)
        failpoint("materialization.before_start_commit")
        started = await self._exchange.commit(checkpoint, flushed)
        failpoint("materialization.before_commit")
        state = updated(self._state, started)
        commit = Commit(self._position.record_name, state=state, checkpoint=checkpoint)
        await uninterrupted(self._world.recovery.commit(commit))
        failpoint("materialization.after_commit")
        self._state = state
        self._position.checkpoint = Checkpoint(checkpoint)
        return started

    async def _record(
        self, update: ConnectorState | None, max_keys: dict[str, bytes] | None = None
    ) -> None:
        """Make a state's update and greatest keys durable, if there are any."""
        if not max_keys and (update is None or not says(update)):
            return
        self._state = updated(self._state, update)
        commit = Commit(self._position.record_name, state=self._state, max_keys=max_keys or {})
        await uninterrupted(self._world.recovery.commit(commit))


def _sources(
    run: Run, task: MaterializationTask, checkpoint: Checkpoint, limits: Mapping[str, int]
) -> list[Source]:
    collections = run.world.collections
    names = [source_name(binding) for binding in task.spec.bindings]
    offsets = [checkpoint.offsets.get(name, 0) for name in names]
    check(task.name, collections, zip(task.collections, offsets, strict=True))
    return [
        Source(name, collection, collections, offset, limits.get(collection))
        for name, collection, offset in zip(names, task.collections, offsets, strict=True)
    ]


async def _first(future: "asyncio.Future[Any]", change: Any) -> None:
    """Wait for a change, or for the future if it isn't done yet."""
    waiting = asyncio.ensure_future(change)
    try:
        await asyncio.wait(
            {waiting} if future.done() else {waiting, future}, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        waiting.cancel()
