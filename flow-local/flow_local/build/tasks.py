"""All tasks of a catalog, built: what can run, what has to wait, and what can't be built."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from estuary_cdk.errors import CdkError, ConfigError
from flow_local.build.captures import built_capture
from flow_local.build.collections import built_collection, waits_for_inference
from flow_local.build.endpoints import launchable, packs_values
from flow_local.build.lineage import Last, version_of
from flow_local.build.materializations import BuiltMaterialization, built_materialization, selected
from flow_local.catalog import Capture, Catalog, CatalogError, Materialization
from flow_local.connectors import Connector, LogEvent, Spares
from flow_local.schema.bundles import uses_inferred_schema
from flow_local.tasks.definitions import CaptureTask, MaterializationTask, Task

# Each build launches a process; more at once than this help no one on one machine.
BUILDS_AT_ONCE: Final = 4

OnEvent = Callable[[str, LogEvent], None]
AnotherTry = Callable[[CdkError, int], Awaitable[bool]]


async def never(_error: CdkError, _tries: int) -> bool:
    """Try nothing again: somebody asked, and is told at once."""
    return False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a build depends on besides the catalog.

    `last` returns what was built last of a task; `inferred` has the schemas inferred so far by
    collection; `on_event` gets what connectors log, with the task's name. `another_try` is asked
    after a failure whether to build the task again, with how often it was tried, and waits first.
    """

    last: Callable[[str], Last] = lambda _: Last()
    inferred: Mapping[str, bytes] = field(default_factory=dict)
    on_event: OnEvent = lambda _task, _event: None
    log_level: str = "info"
    spares: Spares | None = None
    another_try: AnotherTry = never


@dataclass
class Built:
    """What became of each task that was asked for, by name.

    `waiting` names the collections of which nothing was inferred yet; `resting` says why the
    catalog wants a task disabled; `failures` are what users have to mend.
    """

    tasks: dict[str, Task] = field(default_factory=dict)
    materializations: dict[str, BuiltMaterialization] = field(default_factory=dict)
    waiting: dict[str, tuple[str, ...]] = field(default_factory=dict)
    resting: dict[str, str] = field(default_factory=dict)
    failures: dict[str, CdkError] = field(default_factory=dict)


async def built(catalog: Catalog, surroundings: Surroundings, names: Collection[str] = ()) -> Built:
    """Build the tasks of a catalog, or those `names` lists; a failure of one is none of another.

    Raises ConfigError for a name that the catalog doesn't have.
    """
    chosen: dict[str, Capture | Materialization] = {
        **catalog.captures,
        **catalog.materializations,
    }
    for name in names:
        if name not in chosen:
            known = ", ".join(map(repr, chosen)) or "none"
            raise ConfigError(f"can't find task {name!r} in {catalog.path}: it has {known}")
    result = Built()
    gate = asyncio.Semaphore(BUILDS_AT_ONCE)

    async def attempt(task: Capture | Materialization) -> CdkError | None:
        async with gate:
            try:
                await _build(catalog, surroundings, task, result)
            except CdkError as error:
                return error
        return None

    async def build(task: Capture | Materialization) -> None:
        tries = 1
        while error := await attempt(task):
            if not await surroundings.another_try(error, tries):
                result.failures[task.name] = _located(task, error)
                return
            tries += 1

    async with asyncio.TaskGroup() as group:
        for name, task in chosen.items():
            if (not names or name in names) and not task.shards.disable:
                group.create_task(build(task))
    return result


async def _build(
    catalog: Catalog,
    surroundings: Surroundings,
    task: Capture | Materialization,
    result: Built,
) -> None:
    endpoint = await asyncio.to_thread(launchable, task.endpoint)  # It may pull an image.
    connector = Connector(
        endpoint,
        task.name,
        lambda event: surroundings.on_event(task.name, event),
        surroundings.log_level,
        surroundings.spares,
    )
    last = surroundings.last(task.name)
    collections = {
        name: built_collection(catalog.collections[name], surroundings.inferred)
        for name in _collections(task)
    }
    if isinstance(task, Capture):
        captured = await built_capture(task, collections, connector, last)
        result.tasks[task.name] = CaptureTask(
            captured, endpoint, version_of(captured), shards=task.shards.count
        )
        return
    waiting = tuple(
        name
        for name in collections
        if waits_for_inference(catalog.collections[name], surroundings.inferred)
    )
    if waiting:
        result.waiting[task.name] = waiting
        return
    materialized = await built_materialization(task, collections, connector, last)
    result.materializations[task.name] = materialized
    if materialized.disabled_task:
        result.resting[task.name] = materialized.disabled_task
        return
    result.tasks[task.name] = MaterializationTask(
        materialized.spec,
        endpoint,
        version_of(materialized.spec),
        inferred={
            name: surroundings.inferred[name]
            for name in collections
            if uses_inferred_schema(catalog.collections[name].read_schema)
        },
        packed_values=packs_values(task.endpoint, task.shards.flags or {}),
        shards=task.shards.count,
        selections=tuple(selected(binding) for binding in materialized.bindings),
    )


def _collections(task: Capture | Materialization) -> list[str]:
    if isinstance(task, Capture):
        return [binding.target for binding in task.bindings if not binding.disable]
    return [binding.source.collection for binding in task.bindings if not binding.disable]


def _located(task: Capture | Materialization, error: CdkError) -> CdkError:
    """Add the place of the task's endpoint, which is where most mistakes are mended."""
    if isinstance(error, CatalogError):
        return error
    located = CatalogError(error.message, location=task.endpoint.location, hint=error.hint)
    located.__cause__ = error
    return located
