"""A materialization's number of shards changes: the old ones settle, the new ones go on from there.

    settle    every old shard stores all that was committed when this began, and what its connector
              had staged: then all of them have read everything up to one place
    adopt     every new range is opened and commits that place to the destination, in a transaction
              without documents: what an earlier shard of that range has left there is overwritten
    record    the old shards' progress is replaced by that of the new ones, in one commit

Killed before the last, all of it is done again: it is repeatable up to there.
"""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from estuary_cdk.failpoints import failpoint
from estuary_cdk.logs import get_logger
from estuary_cdk.protocol.flow import ConnectorState, RangeSpec
from estuary_cdk.protocol.message import present
from flow_local.recovery import TaskRecord
from flow_local.recovery.patches import EMPTY, updated
from flow_local.tasks.definitions import MaterializationTask, Run, SchemaWidened
from flow_local.tasks.ending import Ending, together
from flow_local.tasks.exchange import Exchange
from flow_local.tasks.exchange import together as conversing
from flow_local.tasks.opening import Opening, opened
from flow_local.tasks.shards import Part, handed_over, record_of
from flow_local.tasks.sources import Checkpoint, source_name

log = get_logger(__name__)


class Settle(Protocol):
    """Runs one shard up to the limits of its collections; tells whether it couldn't get there."""

    def __call__(
        self, run: Run, task: MaterializationTask, key_range: RangeSpec, limits: Mapping[str, int]
    ) -> Awaitable[bool]: ...


async def recut(
    run: Run,
    task: MaterializationTask,
    known: Sequence[RangeSpec],
    wanted: Sequence[RangeSpec],
    settle: Settle | None,
) -> None:
    """Turn the shards that have run into those that are wanted; without `settle`, none has run.

    Raises ConfigError where that can't be, and nothing has changed but that the old shards stored
    what there was; SchemaWidened where the task has to be built anew first.
    """
    log.info("the number of shards changes", before=len(known), now=len(wanted))
    if settle is not None:
        await _settled(run, task, known, settle)
    recovery = run.world.recovery
    parts = [Part(each, await recovery.task(record_of(task.name, each))) for each in known]
    bindings = (*task.spec.bindings, *task.spec.inactive_bindings)
    sources = {source_name(binding) for binding in bindings}
    heirs = [(each, handed_over(task.name, parts, each, sources)) for each in wanted]
    failpoint("recut.settled")
    if settle is not None:
        heirs = await together([_adopted(run, task, each, record) for each, record in heirs])
    failpoint("recut.adopted")
    await recovery.recut(task.name, {record_of(task.name, each): heir for each, heir in heirs})


async def _settled(
    run: Run, task: MaterializationTask, known: Sequence[RangeSpec], settle: Settle
) -> None:
    limits = {name: run.world.collections.end(name) for name in task.collections}
    ending = Ending(until_idle=True)
    ending.sources_ended.set()
    settling = replace(run, ending=ending)
    if any(await together([_one(settle, settling, task, each, limits) for each in known])):
        raise SchemaWidened(task.name)


async def _one(
    settle: Settle,
    run: Run,
    task: MaterializationTask,
    key_range: RangeSpec,
    limits: Mapping[str, int],
) -> bool:
    return await settle(run, task, key_range, limits)


async def _adopted(
    run: Run, task: MaterializationTask, key_range: RangeSpec, record: TaskRecord
) -> tuple[RangeSpec, TaskRecord]:
    """Have the destination know where a new range goes on; return what to record of it."""
    opening = Opening(task.spec, task.version, key_range, record.state, task.packed_values)
    async with opened(run.connector, opening, "materialize") as (exchange, answer):
        adoption = _Adoption(record)
        keeps_checkpoint = present(answer.runtime_checkpoint)
        work = adoption.made(exchange, task, keeps_checkpoint=keeps_checkpoint)
        await conversing(exchange.receive(), work)
    return key_range, replace(record, state=adoption.state)


class _Adoption:
    """A session without documents; `state` is the connector's, all along."""

    def __init__(self, record: TaskRecord) -> None:
        self.state = record.state or EMPTY
        self._checkpoint = Checkpoint(record.checkpoint).advanced({})

    async def made(
        self, exchange: Exchange, task: MaterializationTask, *, keeps_checkpoint: bool
    ) -> None:
        no_keys = [b"" for _ in task.spec.bindings]
        await exchange.begin(exchange.prepared(no_keys), None)
        acknowledged = (await exchange.acknowledged).state
        self._note(acknowledged)
        if keeps_checkpoint:
            flushed = await exchange.flush(acknowledged)
            self._note(flushed)
            started = await exchange.commit(self._checkpoint, flushed)
            self._note(started)
            await exchange.begin(exchange.prepared(no_keys), started)
            self._note((await exchange.acknowledged).state)
        await exchange.end()

    def _note(self, update: ConnectorState | None) -> None:
        self.state = updated(self.state, update)
