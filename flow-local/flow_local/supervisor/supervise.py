"""Keeping tasks running: all at once, each on its own, restarted where that may help.

Cancelling `supervise` stops all tasks: they commit what was checkpointed and end their connectors,
which is bounded by the connectors' graces. `until_stopped` turns the signals of a terminal into
that.

A task whose inferred schemas widened is built anew and goes on. Where tasks end when idle, that
waits until all captures have ended: then it happens once.
"""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from estuary_cdk.errors import CdkError
from estuary_cdk.logs import bind, get_logger
from estuary_cdk.process import COLLECTOR_THRESHOLDS
from flow_local.supervisor.restarts import Restarts
from flow_local.supervisor.status import Board
from flow_local.tasks import (
    CaptureTask,
    Ending,
    Run,
    SchemaWidened,
    Task,
    TaskProgress,
    World,
    run_capture,
    run_materialization,
)

# Young schemas widen often; some of it is waited for before a task is built anew.
REBUILD_PAUSE_S: Final = 1.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """A task that failed for good, and why."""

    task: str
    error: Exception


@dataclass(frozen=True, slots=True)
class Plan:
    """How tasks are run; see `Ending` and `Restarts`.

    `rebuild` builds the task of a name anew, of the schemas recorded now; None where the task is to
    rest. Tasks that were built with inferred schemas need it.
    """

    ending: Ending = field(default_factory=Ending)
    restarts: Restarts = field(default_factory=Restarts)
    rebuild: Callable[[str], Awaitable[Task | None]] | None = None


async def supervise(tasks: Sequence[Task], world: World, plan: Plan, board: Board) -> list[Failure]:
    """Run tasks until all have ended; return those that failed, in order of their failures.

    A failure leaves the other tasks running. Where tasks end when idle, materializations end after
    all captures have. The board shows how far all are.
    """
    failures: list[Failure] = []
    board.tasks = [_progress(task) for task in tasks]
    with _collecting_rarely():
        await _all(tasks, world, plan, board, failures)
    return failures


async def _all(
    tasks: Sequence[Task], world: World, plan: Plan, board: Board, failures: list[Failure]
) -> None:
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        kept: dict[asyncio.Task[None], Task] = {}
        for task, progress in zip(tasks, board.tasks, strict=True):
            keeping = _keep(Run(task, world, progress, plan.ending), plan, failures, stopping)
            kept[group.create_task(keeping, name=task.name)] = task
        try:
            if captures := [each for each, of in kept.items() if isinstance(of, CaptureTask)]:
                await asyncio.wait(captures)
            plan.ending.sources_ended.set()
            world.collections.changes.notify()
            if kept:
                await asyncio.wait(kept)
        finally:
            # A task that fails as it is cancelled tells only of its failure.
            stopping.set()


@contextmanager
def _collecting_rarely() -> Iterator[None]:
    """Look for cycles seldom: transactions hold many small values, none of which is in one."""
    before = gc.get_threshold()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _progress(task: Task) -> TaskProgress:
    return TaskProgress(
        task.name, "capture" if isinstance(task, CaptureTask) else "materialization"
    )


async def _keep(run: Run, plan: Plan, failures: list[Failure], stopping: asyncio.Event) -> None:
    in_a_row, transactions, outdated = 0, 0, False
    with bind(task=run.task.name):
        while not stopping.is_set():
            try:
                if outdated:
                    task = await _rebuilt(run, plan)
                    if task is None:
                        run.progress.phase = "done"
                        return
                    run, outdated = replace(run, task=task), False
                await _once(run)
            except SchemaWidened:
                outdated = True
            except Exception as error:  # noqa: BLE001 - one task's failure is its own
                if run.progress.transactions > transactions:
                    in_a_row, transactions = 0, run.progress.transactions
                in_a_row += 1
                run.progress.error = error
                if stopping.is_set():
                    return
                delay_s = plan.restarts.delay(error, in_a_row, until_idle=run.ending.until_idle)
                if delay_s is None:
                    run.progress.phase = "failed"
                    failures.append(Failure(run.task.name, error))
                    _log_failure(error)
                    return
                run.progress.phase = "restarting"
                run.progress.restarts += 1
                log.warning("task failed and is restarted", reason=str(error), delay_s=delay_s)
                await run.world.clock.sleep(delay_s)
            else:
                run.progress.error = None
                return


async def _rebuilt(run: Run, plan: Plan) -> Task | None:
    assert plan.rebuild is not None, "whoever builds with inferred schemas can do so again"
    run.progress.phase = "waiting"
    if run.ending.until_idle:
        await run.ending.sources_ended.wait()
    else:
        await run.world.clock.sleep(REBUILD_PAUSE_S)
    log.info("task is built anew, for a schema has widened")
    return await plan.rebuild(run.task.name)


async def _once(run: Run) -> None:
    if isinstance(run.task, CaptureTask):
        await run_capture(run)
    else:
        await run_materialization(run)


def _log_failure(error: Exception) -> None:
    if isinstance(error, CdkError):
        log.info("task failed", reason=str(error))
    else:
        log.error("task failed by a bug", reason=repr(error))


async def until_stopped(work: Coroutine[Any, Any, list[Failure]]) -> list[Failure] | None:
    """Run `supervise` until it returns, or until SIGINT or SIGTERM: then stop it, return None."""
    running = asyncio.ensure_future(work)
    with _signals(running):
        try:
            return await running
        except asyncio.CancelledError:
            if not running.done():
                running.cancel()
                await asyncio.wait({running})
                raise
            return None


@contextmanager
def _signals(running: "asyncio.Future[Any]") -> Iterator[None]:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, running.cancel)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
