"""`run`: the catalog's tasks from their build to their end.

All tasks are built before any runs, and nothing is written before all are built: a mistake in the
catalog leaves everything as it was. A connector that is killed as it answers is asked again.
"""

import asyncio
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from estuary_cdk.clock import Clock, SystemClock
from estuary_cdk.errors import CdkError, TransientError
from estuary_cdk.logs import get_logger
from flow_local.build.lineage import Last
from flow_local.build.tasks import AnotherTry, Built, Surroundings, built, never
from flow_local.catalog import Catalog
from flow_local.cli.endings import FAILED, UNHEALTHY, CommandFailed, code_of, refused
from flow_local.cli.options import LogFormat, Logging
from flow_local.cli.projects import Project
from flow_local.cli.relays import kept, log_to_stderr, relay
from flow_local.cli.views import Screen, View, log_view, terminal_view
from flow_local.connectors import ConnectorFailed, Spares, spares
from flow_local.supervisor import (
    Board,
    Failure,
    Plan,
    Restarts,
    data_directory,
    supervise,
    until_stopped,
)
from flow_local.tasks import CaptureTask, Ending, Task, World

if TYPE_CHECKING:
    from rich.console import Console

KEPT_LEVEL: Final = "info"
# Once a first schema is inferred: how long for the others, and for young ones to widen.
INFERENCE_WAIT_S: Final = 10.0
INFERENCE_PAUSE_S: Final = 1.0
# Nothing runs yet, so somebody may be waiting to hear what is wrong.
BUILD_RETRIES: Final = Restarts(in_a_row_max=4, delay_s=0.5)

Until = Callable[[Clock], Awaitable[None]]

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How to run: until nothing is left to do, for how long at most, how much to log.

    The tasks are stopped once `until` returns, if it does so before they end; what it raises is
    raised.
    """

    until_idle: bool = False
    timeout_s: float | None = None
    logging: Logging = field(default_factory=Logging)
    until: Until | None = None


def screen_of_stderr(form: LogFormat | None = None) -> Screen:
    """Return the live table where stderr is a terminal for people, else the log."""
    if not sys.stderr.isatty() or form is LogFormat.JSON:
        return Screen(log_view)
    from rich.console import Console

    console = Console(stderr=True, markup=False, highlight=False)
    return Screen(terminal_view(console), console)


def run_catalog(project: Project, options: RunOptions, screen: Screen) -> Board:
    """Run tasks until they end or somebody stops them; return how far they came.

    Raises Diagnostics and CommandFailed.
    """
    # A table tells what information would.
    level = options.logging.level or ("warn" if screen.console else KEPT_LEVEL)
    log_to_stderr(level, options.logging.form, screen.console)
    loaded = project.catalog()
    project.chosen(loaded)
    board = Board()
    runner = _Runner(project, loaded, options, board, screen.view)
    failures = asyncio.run(until_stopped(runner.run()))
    if failures is None:
        _tell_stopped(screen.console)
        if options.until_idle:
            raise CommandFailed(FAILED, ["stopped before all was done; run it again to go on"])
        return board
    if failures:
        raise _failed(failures)
    return board


def _tell_stopped(console: "Console | None") -> None:
    if console is None:
        log.info("stopped")
    else:
        console.print("Stopped. What was committed stays; run it again to go on.")


@dataclass(frozen=True, slots=True)
class _Runner:
    project: Project
    loaded: Catalog
    options: RunOptions
    board: Board
    view: View

    async def run(self) -> list[Failure]:
        """Return the tasks that failed; raises CommandFailed where none could run, or in time."""
        try:
            async with asyncio.timeout(self.options.timeout_s) as limit:
                return await self._run()
        except TimeoutError:
            if not limit.expired():
                raise
        raise CommandFailed(UNHEALTHY, self._unfinished())

    async def _run(self) -> list[Failure]:
        level = self.options.logging.level or KEPT_LEVEL
        async with spares() as held, AsyncExitStack() as stack:
            logs = stack.enter_context(kept(self.project.data_directory, level))
            world = None
            if self.project.has_run:
                world = await stack.enter_async_context(self._directory(held))
            result = await self._built(world, held)
            if world is None:
                world = await stack.enter_async_context(self._directory(held))
            logs.begin()
            done: set[str] = set()
            if result.waiting:
                if failures := await self._inferring(result, world):
                    return failures
                if self.options.until_idle:
                    done = {task.name for task in self._before_inference(result)}
                result = await self._built(world, held)
            _tell_left_out(result)
            tasks = [task for task in self._in_order(result) if task.name not in done]
            return await self._supervised(
                tasks, world, until_idle=self.options.until_idle, until=self.options.until
            )

    async def _inferring(self, result: Built, world: World) -> list[Failure]:
        """Run what comes first until it is idle, or until there are schemas for what waits."""
        wanted = {name for waiting in result.waiting.values() for name in waiting}
        until = None if self.options.until_idle else _inferred(world, wanted)
        first = self._before_inference(result)
        return await self._supervised(first, world, until_idle=True, until=until)

    def _before_inference(self, result: Built) -> list[Task]:
        """Return what runs first, so that the schemas that others wait for can be inferred.

        Where all tasks end when idle, that is all that are ready, for they needn't run twice.
        """
        wanted = {name for waiting in result.waiting.values() for name in waiting}
        return [
            task
            for task in self._in_order(result)
            if self.options.until_idle
            or (isinstance(task, CaptureTask) and wanted.intersection(task.collections))
        ]

    def _in_order(self, result: Built) -> list[Task]:
        names = (*self.loaded.captures, *self.loaded.materializations)
        return [result.tasks[name] for name in names if name in result.tasks]

    def _directory(self, held: Spares) -> AbstractAsyncContextManager[World]:
        level = self.options.logging.level or KEPT_LEVEL
        return data_directory(self.project.data_directory, relay, SystemClock(), level, held)

    async def _rebuilt(self, world: World, name: str) -> Task | None:
        result = await self._asked(world, (name,), world.spares, never)  # The supervisor tries it.
        for error in result.failures.values():
            if isinstance(error.__cause__, TransientError | ConnectorFailed):
                raise error.__cause__  # It may pass, which the supervisor must recognise.
            raise error
        _tell_left_out(result)
        return result.tasks.get(name)

    async def _built(self, world: World | None, held: Spares) -> Built:
        """Build all tasks; raises CommandFailed where one can't be."""
        result = await self._asked(world, self.project.names, held, _another_try)
        if result.failures:
            raise refused(result.failures.values())
        return result

    async def _asked(
        self,
        world: World | None,
        names: Sequence[str],
        held: Spares | None,
        another_try: AnotherTry,
    ) -> Built:
        lasts: dict[str, Last] = {}
        inferred: Mapping[str, bytes] = {}
        if world is not None:
            for name in (*self.loaded.captures, *self.loaded.materializations):
                record = await world.recovery.task(name)
                lasts[name] = Last(record.built, record.built_version, record.reset)
            inferred = dict(world.recovery.schemas)
        surroundings = Surroundings(
            last=lambda name: lasts.get(name, Last()),
            inferred=inferred,
            on_event=relay,
            log_level=self.options.logging.level or KEPT_LEVEL,
            spares=held,
            another_try=another_try,
        )
        return await built(self.loaded, surroundings, names)

    async def _supervised(
        self, tasks: Sequence[Task], world: World, *, until_idle: bool, until: Until | None
    ) -> list[Failure]:
        if not tasks:
            return []
        plan = Plan(Ending(until_idle=until_idle), rebuild=lambda name: self._rebuilt(world, name))
        async with self.view(self.board, world.clock):
            work = supervise(tasks, world, plan, self.board)
            return await _until(work, until, world.clock)

    def _unfinished(self) -> list[str]:
        """Say of each task that isn't done where it is."""
        seconds = self.options.timeout_s
        return [
            f"can't finish {task.name!r} within {seconds:g} s: it is {task.phase}"
            + (f": {task.error}" if task.error else "")
            for task in self.board.tasks
            if task.phase != "done"
        ] or [f"can't finish within {seconds:g} s"]


async def _another_try(error: CdkError, tries: int) -> bool:
    delay_s = BUILD_RETRIES.delay(error, tries, until_idle=True)
    if delay_s is None:
        return False
    log.warning("task can't be built yet and is tried again", reason=str(error), delay_s=delay_s)
    await SystemClock().sleep(delay_s)
    return True


def _inferred(world: World, wanted: Set[str]) -> Until:
    """Return what waits for schemas of collections: some may stay without documents for long."""
    changes, schemas = world.collections.changes, world.recovery.schemas

    async def known(names: Set[str], *, every: bool) -> None:
        while not (names <= schemas.keys() if every else names & schemas.keys()):
            await changes.since(changes.version)

    async def until(clock: Clock) -> None:
        missing = wanted - schemas.keys()
        await known(missing, every=False)
        with suppress(TimeoutError):
            async with asyncio.timeout(INFERENCE_WAIT_S):
                await known(missing, every=True)
        await clock.sleep(INFERENCE_PAUSE_S)

    return until


async def _until(
    running: Coroutine[Any, Any, list[Failure]],
    until: Until | None,
    clock: Clock,
) -> list[Failure]:
    if until is None:
        return await running

    async def watching() -> None:
        await until(clock)
        supervising.cancel()

    try:
        async with asyncio.TaskGroup() as group:
            supervising = group.create_task(running)
            watcher = group.create_task(watching())
            await asyncio.wait({supervising})
            watcher.cancel()
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [] if supervising.cancelled() else supervising.result()


def _tell_left_out(result: Built) -> None:
    for name, waiting in result.waiting.items():
        log.warning("task waits until its collections have documents", task=name, waits=waiting)
    for name, why in result.resting.items():
        log.warning("task rests, as the catalog wants it", task=name, reason=why)
    for name, materialized in result.materializations.items():
        for why in materialized.disabled:
            log.warning("binding left out, as the catalog wants it", task=name, reason=why)


def _failed(failures: Sequence[Failure]) -> CommandFailed:
    """Return the end of a run whose tasks failed: a sentence each, after a bug's traceback."""
    sentences = []
    for failure in failures:
        error = failure.error
        if not isinstance(error, CdkError):
            traceback.print_exception(error)
        named = repr(failure.task) in str(error)
        sentences.append(str(error) if named else f"task {failure.task!r} failed: {error!s}")
    return CommandFailed(max(code_of(failure.error) for failure in failures), sentences)
