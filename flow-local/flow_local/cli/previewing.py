"""`preview`: one task against its connector, what it does printed in flowctl's lines.

Captures read their endpoint. Materializations read a fixture, or what is committed to the
project's collections; they do write to their endpoint.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Raw

from estuary_cdk.clock import SystemClock
from estuary_cdk.errors import ConfigError
from estuary_cdk.protocol.materialize import MaterializationSpec
from flow_local import preview
from flow_local.build.tasks import Surroundings, built
from flow_local.catalog import Capture, Catalog, Materialization
from flow_local.catalog.durations import duration
from flow_local.cli.asking import LOG_LEVEL, connector_of, placed
from flow_local.cli.endings import refused
from flow_local.cli.options import Logging
from flow_local.cli.projects import Project
from flow_local.cli.relays import LEVELS, log_to_stderr, relay
from flow_local.connectors import ConnectorFailed
from flow_local.recovery import Database
from flow_local.supervisor import Failure, until_stopped
from flow_local.tasks import MaterializationTask, Task

STDIN: Final = "-"


@dataclass(frozen=True, slots=True)
class PreviewOptions:
    """As typed: see the command's help."""

    sessions: str | None = None
    timeout: str | None = None
    delay: str | None = None
    fixture: str | None = None
    initial_state: str = "{}"
    output_state: bool = False
    output_apply: bool = False
    logging: Logging = field(default_factory=Logging)
    shards: int = 1


def preview_task(project: Project, options: PreviewOptions) -> None:
    """Run one task's sessions and print what they do, until done or told to stop.

    Raises ConfigError where it isn't one task that is meant, or an option can't be used.
    """
    level = options.logging.level or _level_of_rust(os.environ) or LOG_LEVEL
    log_to_stderr(level, options.logging.form)
    plan = _plan(options)
    loaded = project.catalog()
    task = _chosen(project, loaded, has_fixture=options.fixture is not None)
    fixture = _fixture(options.fixture, task)
    asyncio.run(_Previewer(project, loaded, plan, fixture, level).run(task))


def _level_of_rust(environment: Mapping[str, str]) -> str | None:
    """Return the level that scripts for flowctl ask for, if it is one for everything."""
    levels = [part for part in environment.get("RUST_LOG", "").split(",") if part in LEVELS]
    return levels[0] if levels else None


def _plan(options: PreviewOptions) -> preview.Plan:
    if options.fixture is not None and options.delay is not None:
        raise ConfigError(
            "can't use --delay with --fixture: a fixture says itself where its transactions end"
        )
    if options.shards != 1:
        raise ConfigError(
            f"can't use --shards {options.shards}: a preview is of one shard",
            hint="leave it out",
        )
    timeout = _seconds("--timeout", options.timeout)
    return preview.Plan(
        sessions=_sessions(options.sessions),
        timeout_s=timeout or None,
        delay_s=_seconds("--delay", options.delay) or 0.0,
        initial_state=_state(options.initial_state),
        output_state=options.output_state,
        output_apply=options.output_apply,
    )


def _sessions(text: str | None) -> tuple[int, ...]:
    if text is None:
        return (preview.UNLIMITED,)
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"can't use --sessions {text!r}: it isn't numbers with commas between"
        ) from error


def _seconds(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return float(text) if text.replace(".", "", 1).isdigit() else duration(text).total_seconds()
    except ValueError as error:
        raise ConfigError(
            f"can't use {option} {text!r}: {error}", hint="write for example 30s or 1m"
        ) from error


def _state(text: str) -> bytes:
    try:
        msgspec.json.decode(text, type=dict[str, Raw])
    except msgspec.MsgspecError as error:
        raise ConfigError(f"can't use --initial-state {text!r}: {error}") from error
    return text.encode()


def _chosen(project: Project, loaded: Catalog, *, has_fixture: bool) -> Capture | Materialization:
    """Return the task that is meant: the one that is named, or the only one that it can be."""
    tasks = project.chosen(loaded)
    kind = Materialization if has_fixture else Capture
    of_kind = [task for task in tasks if isinstance(task, kind)]
    found = tasks if len(tasks) == 1 else of_kind
    if len(found) != 1:
        names = ", ".join(repr(task.name) for task in tasks)
        raise ConfigError(
            f"can't preview {str(project.source)!r}: it has {len(tasks)} tasks",
            hint=f"choose one with --name: {names}",
        )
    return found[0]


def _fixture(path: str | None, task: Capture | Materialization) -> preview.Fixture | None:
    if path is None:
        return None
    if isinstance(task, Capture):
        raise ConfigError(
            f"can't use --fixture with {task.name!r}: a capture reads its endpoint",
            hint="fixtures are for materializations",
        )
    try:
        text = sys.stdin.buffer.read() if path == STDIN else Path(path).read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"can't read fixture {path!r}: {reason}") from error
    return preview.fixture(text, path)


def _write(lines: bytes) -> None:
    sys.stdout.buffer.write(lines)
    sys.stdout.buffer.flush()


@dataclass(frozen=True, slots=True)
class _Previewer:
    project: Project
    loaded: Catalog
    plan: preview.Plan
    fixture: preview.Fixture | None
    level: str

    async def run(self, task: Capture | Materialization) -> None:
        with ExitStack() as stack, placed(task):
            database = None
            if self.project.has_run:
                database = stack.enter_context(self.project.recorded())
            inferred = database.inferred() if database else {}
            has_run = database is not None and database.task(task.name).spec != b""
            built_task = await self._built(task, inferred, has_run=has_run)
            running = self._running(task, built_task, database)

            async def work() -> list[Failure]:
                await running.run()
                return []

            await until_stopped(work())
        if self.plan.output_state:
            _write(preview.final_state_line(running.state))

    async def _built(
        self, task: Capture | Materialization, inferred: Mapping[str, bytes], *, has_run: bool
    ) -> Task:
        if self.fixture is not None:
            inferred = {**preview.inferred(self.fixture), **inferred}
        around = Surroundings(inferred=inferred, on_event=relay, log_level=self.level)
        result = await built(self.loaded, around, [task.name])
        if failure := result.failures.get(task.name):
            if has_run and isinstance(failure.__cause__, ConnectorFailed):
                failure.hint = "this task has run here, of which a preview, like flowctl's, knows "
                failure.hint += "nothing: give it a destination of its own"
            raise refused([failure])
        if waiting := result.waiting.get(task.name):
            raise ConfigError(
                f"can't preview {task.name!r}: nothing was inferred yet of "
                f"{', '.join(map(repr, waiting))}",
                hint="run the captures first: flow-local run --until-idle",
            )
        if resting := result.resting.get(task.name):
            raise ConfigError(f"can't preview {task.name!r}: it is to rest: {resting}")
        return result.tasks[task.name]

    def _running(
        self, task: Capture | Materialization, built_task: Task, database: Database | None
    ) -> preview.CapturePreview | preview.MaterializationPreview:
        clock = SystemClock()
        connector = connector_of(task, self.level)
        packs = isinstance(built_task, MaterializationTask) and built_task.packed_values
        one = preview.Preview(built_task.spec, connector, self.plan, _write, clock, packs)
        if isinstance(task, Capture):
            return preview.CapturePreview(one)
        return preview.MaterializationPreview(one, self._feed(one, built_task, database))

    def _feed(self, one: preview.Preview, task: Task, database: Database | None) -> preview.Feed:
        assert isinstance(one.spec, MaterializationSpec)
        assert isinstance(task, MaterializationTask)
        if self.fixture is not None:
            return preview.FixtureFeed(self.fixture, one.spec)
        if database is None:
            raise ConfigError(
                f"can't preview {one.name!r}: its collections are empty, nothing has run here yet",
                hint="run the captures first, or give documents with --fixture",
            )
        root = self.project.data_directory
        return preview.CollectionsFeed(
            one.spec, root, database.ends, one.clock, self.plan.delay_s, task.selections
        )
