"""A capture task: its connector's documents become transactions on collections.

A session reads what the connector sends. A commit is made when the connector pauses, when enough is
eligible, or when it has waited long enough; then the checkpoints are acknowledged, if the connector
asked for that. When the connector exits, the next session starts `interval_seconds` after the start
of the last one.

With several shards, each has a session of its own with its range of keys. They share one state, to
which they commit by turns; a shard that has spilled keeps its turn until it commits.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import Raw

from estuary_cdk.errors import RemoteProtocolError, TransientError
from estuary_cdk.failpoints import failpoint
from estuary_cdk.logs import get_logger
from estuary_cdk.protocol.capture import (
    Acknowledge,
    CaptureBinding,
    Captured,
    Checkpoint,
    Open,
    Opened,
    SourcedSchema,
)
from estuary_cdk.protocol.flow import FULL_RANGE, RangeSpec
from estuary_cdk.protocol.message import Message
from flow_local.collections import Combiner, Stamper, producer_id
from flow_local.connectors import CAPTURE, CapturedBatch, Conversation, conversation
from flow_local.recovery import TaskRecord
from flow_local.recovery.patches import EMPTY, says
from flow_local.schema.bundles import uses_inferred_schema
from flow_local.schema.proving import prover
from flow_local.schema.reductions import Reducer
from flow_local.schema.validation import Validator
from flow_local.tasks.applying import applied
from flow_local.tasks.blocks import Blocks
from flow_local.tasks.definitions import INTERVAL_S_DEFAULT, CaptureTask, Run
from flow_local.tasks.ending import together, uninterrupted
from flow_local.tasks.progress import BindingProgress
from flow_local.tasks.shards import ranges
from flow_local.tasks.staging import Identity, Staging, Target

COMMIT_BYTES: Final = 16 << 20
COMMIT_WAIT_S: Final = 1.0
PAUSE_S: Final = 0.02
ACKNOWLEDGE_WAIT_S: Final = 30.0
OPEN_WAIT_S: Final = 900.0

log = get_logger(__name__)


async def run_capture(run: Run) -> None:
    """Run a capture until it is cancelled or `run.ending` says it is done.

    Cancelled or failing, it first commits what was checkpointed. Raises whatever ends it: DataError
    for a document that violates its collection's schema, ConnectorFailed, RemoteProtocolError,
    StorageError.
    """
    task = run.task
    assert isinstance(task, CaptureTask)
    record = await run.world.recovery.task(task.name)
    run.progress.bindings = [BindingProgress(name) for name in task.collections]
    identity = _identity(task.name, record)
    identity.state = (await applied(run, record, {task.name: record.state}))[task.name]
    turns = asyncio.Lock()
    shards = [_Shard(run, task, identity, each, turns) for each in ranges(task.shards)]
    await together([_sessions(shard) for shard in shards])
    run.progress.phase = "done"


@dataclass(slots=True)
class _Shard:
    """One shard of a capture; holds a turn to commit from its first spill on, else for a commit."""

    run: Run
    task: CaptureTask
    identity: Identity
    range: RangeSpec
    turns: asyncio.Lock
    has_turn: bool = field(default=False, init=False)

    async def take_turn(self) -> None:
        if not self.has_turn:
            await self.turns.acquire()
            self.has_turn = True

    def give_turn(self) -> None:
        if self.has_turn:
            self.has_turn = False
            self.turns.release()

    async def commit(self, staging: Staging) -> int:
        """Commit what is eligible, if anything is, when it is our turn."""
        if not staging.checkpoints:
            return 0
        await self.take_turn()
        try:
            return await staging.commit()
        finally:
            self.give_turn()


async def _sessions(shard: _Shard) -> None:
    run, task = shard.run, shard.task
    targets = [
        _target(run, binding, progress)
        for binding, progress in zip(task.spec.bindings, run.progress.bindings, strict=True)
    ]
    world, clock = run.world, run.world.clock
    while True:
        started = clock.monotonic()
        staging = Staging(shard.identity, targets, world.collections, world.recovery, clock.now)
        await _session(shard, staging)
        if run.ending.until_idle:
            return
        run.progress.phase = "sleeping"
        interval = task.spec.interval_seconds or INTERVAL_S_DEFAULT
        await clock.sleep(max(0.0, interval - (clock.monotonic() - started)))


def _identity(task: str, record: TaskRecord) -> Identity:
    producer = record.producer or producer_id()
    return Identity(task, record.state or EMPTY, producer, Stamper(producer, record.clock))


def _target(run: Run, binding: CaptureBinding, progress: BindingProgress) -> Target:
    collection = binding.collection
    assert collection is not None
    schema = bytes(collection.write_schema)
    readable = bytes(collection.read_schema)
    wants_schema = bool(readable) and uses_inferred_schema(readable)
    return Target(
        collection.name,
        run.world.collections.journal(collection.name),
        Validator(schema),
        Combiner(collection.key, Reducer(schema)),
        progress,
        schema,
        run.world.collections.inferred(collection.name) if wants_schema else None,
        prover(schema, collection.key),
    )


async def _session(shard: _Shard, staging: Staging) -> None:
    run, task = shard.run, shard.task
    run.progress.phase = "opening"
    try:
        async with conversation(run.connector, CAPTURE, "capture") as talk:
            request = Open(
                capture=task.spec,
                version=task.version,
                range=shard.range,
                state=Raw(staging.state if staging.state != b"null" else EMPTY),
            )
            await talk.send(request)
            talk.decode_by(Blocks(staging.provers).runs)
            session = _Session(shard, talk, staging)
            try:
                await session.run()
            except BaseException:
                await uninterrupted(shard.commit(staging))  # What was checkpointed isn't lost.
                raise
    finally:
        staging.give_up()
        shard.give_turn()


class _Session:
    """One process of the connector, from opened to its end."""

    def __init__(self, shard: _Shard, talk: Conversation, staging: Staging) -> None:
        run = shard.run
        self._run = run
        self._shard = shard
        self._talk = talk
        self._staging = staging
        self._clock = run.world.clock
        self._opened = False
        self._acknowledges = False
        self._eligible_since = 0.0

    async def run(self) -> None:
        while True:
            runs = await self._talk.receive_within(self._patience_s())
            if runs is None:
                if not self._opened:
                    raise TransientError(
                        f"can't capture {self._run.task.name!r}: the connector hasn't opened "
                        f"within {OPEN_WAIT_S:.0f} s"
                    )
                if not self._staging.checkpoints:
                    log.info("the connector is quiet", task=self._run.task.name)
                    return
                await self._commit()
                self._run.progress.phase = "idle"
            elif not runs:
                await self._commit()
                return
            else:
                await self._take(runs)

    def _patience_s(self) -> float | None:
        """Return how long to wait for the connector to say something."""
        if not self._opened:
            return OPEN_WAIT_S
        if self._staging.checkpoints:
            return PAUSE_S
        return self._run.ending.quiet_s if self._run.ending.until_idle else None

    async def _take(self, runs: Sequence[tuple[type[Message], list[Any]]]) -> None:
        for kind, messages in runs:
            await self._hear(kind, messages)
        staging = self._staging
        if staging.checkpoints:
            waited = self._clock.monotonic() - self._eligible_since
            if staging.spilled or staging.eligible_bytes >= COMMIT_BYTES or waited >= COMMIT_WAIT_S:
                await self._commit()

    async def _hear(self, kind: type[Message], messages: list[Any]) -> None:
        if kind is CapturedBatch:
            for message in messages:
                self._staging.add_batch(message.binding, message.documents)
            await self._relieve()
        elif kind is Captured:
            self._documents(messages)
            await self._relieve()
        elif kind is Checkpoint:
            for message in messages:
                self._checkpoint(message)
        elif kind is SourcedSchema:
            for message in messages:
                self._staging.add_schema(message.binding, bytes(message.document_schema))
        elif kind is Opened:
            self._opened = True
            self._acknowledges = messages[0].explicit_acknowledgements
            self._run.progress.phase = "running"

    def _documents(self, messages: list[Captured]) -> None:
        staging = self._staging
        binding = messages[0].binding
        if all(message.binding == binding for message in messages):
            staging.add(binding, [bytes(message.doc) for message in messages])
        else:
            groups: dict[int, list[bytes]] = {}
            for message in messages:
                groups.setdefault(message.binding, []).append(bytes(message.doc))
            for each, documents in groups.items():
                staging.add(each, documents)

    async def _relieve(self) -> None:
        staging = self._staging
        if staging.full:
            await self._commit()
            if staging.full:
                await self._shard.take_turn()
                await staging.spill()

    def _checkpoint(self, message: Checkpoint) -> None:
        update = message.state
        if self._shard.range != FULL_RANGE and update and says(update) and not update.merge_patch:
            raise RemoteProtocolError(
                f"can't capture {self._run.task.name!r}: a shard replaces the state that it shares "
                f"with others, rather than to patch its part",
                hint="leave out 'count' of its shards: this connector runs as one",
            )
        if not self._staging.checkpoints:
            self._eligible_since = self._clock.monotonic()
        self._staging.checkpoint(message.state)

    async def _commit(self) -> None:
        checkpoints = await uninterrupted(self._shard.commit(self._staging))
        if not checkpoints:
            return
        self._run.progress.transactions += 1
        self._run.progress.phase = "running"
        if self._acknowledges:
            failpoint("capture.before_acknowledge")
            await self._talk.send_last(ACKNOWLEDGE_WAIT_S, Acknowledge(checkpoints=checkpoints))
            failpoint("capture.after_acknowledge")
