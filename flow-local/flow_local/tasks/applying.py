"""Apply: preparing the endpoint for a built task before it opens, until nothing is left to do."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

import msgspec
from msgspec import Raw

from estuary_cdk.errors import RemoteProtocolError
from estuary_cdk.failpoints import failpoint
from estuary_cdk.logs import get_logger
from estuary_cdk.protocol import capture, materialize
from estuary_cdk.protocol.flow import ConnectorState
from flow_local.connectors import apply_capture, apply_materialization
from flow_local.recovery import Commit, TaskRecord
from flow_local.recovery.patches import EMPTY, updated
from flow_local.tasks.definitions import CaptureTask, Run

APPLIES_MAX: Final = 10

log = get_logger(__name__)

Applied = capture.Applied | materialize.Applied
SpecT = TypeVar("SpecT", capture.CaptureSpec, materialize.MaterializationSpec)
_Ask = Callable[[bytes], Awaitable[Applied]]


async def applied(run: Run, record: TaskRecord, shards: Mapping[str, bytes]) -> dict[str, bytes]:
    """Apply the task's spec; return the connector's states afterwards, by record, all recorded.

    `record` is the task's, `shards` has the states there are by their records' names. A state that
    several have is shown to the connector once, and what it returns is for all of them; those that
    hold something come first, for the work that they tell of is to be done before anything changes.
    Repeats while the connector returns state, at most ten times; then raises RemoteProtocolError.
    """
    run.progress.phase = "applying"
    ask, spec = _asking(run, record)
    version = run.task.version
    if record.built_version != version:
        # Known before anything is done about it: what a first Apply had already made when it was
        # killed is told from what is somebody else's by this alone.
        built = Commit(run.task.name, built=spec, built_version=version)
        await run.world.recovery.commit(built)
        failpoint("apply.built")
    states = {name: state or EMPTY for name, state in shards.items()}
    unsettled = set(states.values())
    for _ in range(APPLIES_MAX):
        again: set[bytes] = set()
        for state in sorted(unsettled, key=lambda each: (each == EMPTY, each)):
            update = await _asked(run, ask, state)
            after = updated(state, update)
            if _more(update):
                again.add(after)
            for name in [name for name, each in states.items() if each == state != after]:
                states[name] = after
                await run.world.recovery.commit(Commit(name, state=after))
        unsettled = again & set(states.values())
        if not unsettled:
            await run.world.recovery.commit(Commit(run.task.name, spec=spec, version=version))
            return states
    raise RemoteProtocolError(
        f"can't apply {run.task.name!r}: after {APPLIES_MAX} times the connector still updates its "
        f"state"
    )


async def _asked(run: Run, ask: _Ask, state: bytes) -> ConnectorState | None:
    answer = await ask(state)
    failpoint("apply.asked")
    if answer.action_description:
        log.info("applied", task=run.task.name, actions=answer.action_description)
    return answer.state


def _more(state: ConnectorState | None) -> bool:
    return state is not None and bytes(state.updated) not in {b"", b"null", EMPTY}


def _asking(run: Run, record: TaskRecord) -> tuple[_Ask, bytes]:
    task, connector = run.task, run.connector
    if isinstance(task, CaptureTask):
        captured, last_capture = task.spec, _last(record, capture.CaptureSpec)

        async def ask_capture(state: bytes) -> Applied:
            request = capture.Apply(
                capture=captured,
                version=task.version,
                last_capture=last_capture,
                last_version=record.version,
                state=Raw(state),
            )
            return await apply_capture(connector, request)

        return ask_capture, msgspec.json.encode(captured)
    materialized, last = task.spec, _last(record, materialize.MaterializationSpec)

    async def ask_materialization(state: bytes) -> Applied:
        request = materialize.Apply(
            materialization=materialized,
            version=task.version,
            last_materialization=last,
            last_version=record.version,
            state=Raw(state),
        )
        return await apply_materialization(connector, request)

    return ask_materialization, msgspec.json.encode(materialized)


def _last(record: TaskRecord, kind: type[SpecT]) -> SpecT | None:
    return msgspec.json.decode(record.spec, type=kind) if record.spec else None
