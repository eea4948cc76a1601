"""What a task is to the runtime: a built spec, where its connector runs, and all around it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from estuary_cdk.clock import Clock
from estuary_cdk.protocol.capture import CaptureSpec
from estuary_cdk.protocol.materialize import MaterializationSpec
from flow_local.collections import Collections, Selection
from flow_local.connectors import Connector, Endpoint, LogEvent, Spares
from flow_local.recovery import Recovery
from flow_local.tasks.ending import Ending
from flow_local.tasks.progress import TaskProgress

INTERVAL_S_DEFAULT: Final = 300


@dataclass(frozen=True, slots=True)
class CaptureTask:
    """A built capture; every binding has its collection. `version` changes whenever `spec` does.

    It runs as so many `shards`: with more than one, its connector must heed key ranges.
    """

    spec: CaptureSpec
    endpoint: Endpoint
    version: str
    shards: int = 1

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def collections(self) -> list[str]:
        """The collection of each binding, in order."""
        return [b.collection.name for b in self.spec.bindings if b.collection is not None]


@dataclass(frozen=True, slots=True)
class MaterializationTask:
    """A built materialization; every binding has its collection and a field selection.

    A binding reads its collection under its `journal_read_suffix`. `version` changes whenever
    `spec` does. `inferred` has the schemas that it was built with, of the collections whose read
    schema refers to what is inferred; it reads no document that came after one of them widened.
    `packed_values` adds values in their packed form to every store, for connectors that read no
    other. `selections` says of each binding which documents it reads; () is all.
    """

    spec: MaterializationSpec
    endpoint: Endpoint
    version: str
    inferred: Mapping[str, bytes] = field(default_factory=dict)
    packed_values: bool = False
    shards: int = 1
    selections: Sequence[Selection] = ()

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def collections(self) -> list[str]:
        """The collection of each binding, in order."""
        return [b.collection.name for b in self.spec.bindings if b.collection is not None]


Task = CaptureTask | MaterializationTask


class SchemaWidened(Exception):  # noqa: N818 - the end of a run, not a mistake
    """Ends the run of a task that must be built anew: an inferred schema it was built with has
    widened. All that it had committed stays; nothing else was done.
    """


@dataclass(frozen=True, slots=True)
class World:
    """What a task works with; shared by all tasks of a process, but for progress and ending."""

    collections: Collections
    recovery: Recovery
    clock: Clock
    on_event: Callable[[str, LogEvent], None]
    log_level: str = "info"
    spares: Spares | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one task: until it is cancelled, fails, or is told by `ending` that all is done.

    Cancelling a run is how it is stopped: a capture commits what was checkpointed, a
    materialization gives up what it didn't commit; then the connector's process is ended.
    """

    task: Task
    world: World
    progress: TaskProgress
    ending: Ending

    @property
    def connector(self) -> Connector:
        """The task's connector; what it logs is handed on with the task's name."""
        name, world = self.task.name, self.world
        return Connector(
            self.task.endpoint,
            name,
            lambda event: world.on_event(name, event),
            world.log_level,
            world.spares,
        )
