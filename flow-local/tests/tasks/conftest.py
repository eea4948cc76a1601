"""Worlds and tasks for tests: data directories, specs, connectors that are scripts beside this."""

import contextlib
import sys
from pathlib import Path

import msgspec
import pytest
from msgspec import Raw

from estuary_cdk.protocol.capture import CaptureBinding, CaptureSpec
from estuary_cdk.protocol.flow import CollectionSpec, Inference, Projection, StringInference
from estuary_cdk.protocol.materialize import (
    FieldSelection,
    MaterializationBinding,
    MaterializationSpec,
)
from flow_local.collections import Combiner, Stamper
from flow_local.connectors import local
from flow_local.schema.reductions import Reducer
from flow_local.schema.validation import Validator
from flow_local.supervisor import data_directory
from flow_local.tasks import (
    CaptureTask,
    Ending,
    MaterializationTask,
    Run,
    TaskProgress,
    run_capture,
    run_materialization,
)
from flow_local.tasks.progress import BindingProgress
from flow_local.tasks.staging import Identity, Staging, Target

HERE = Path(__file__).parent
SCHEMA = b'{"type":"object","required":["id"],"properties":{"id":{"type":"integer"}}}'
TIME = Inference(types=["string"], string=StringInference(format="date-time"), exists="MUST")


def collection(name: str, schema: bytes = SCHEMA) -> CollectionSpec:
    return CollectionSpec(
        name=name,
        write_schema=Raw(schema),
        key=["/id"],
        uuid_ptr="/_meta/uuid",
        projections=[
            Projection(ptr="/_meta/flow_truncated", field="_meta/flow_truncated"),
            Projection(ptr="", field="flow_document"),
            Projection(ptr="/_meta/uuid", field="flow_published_at", inference=TIME),
            Projection(ptr="/id", field="id", is_primary_key=True),
            Projection(ptr="/n", field="n", inference=Inference(default=Raw(b'"none"'))),
        ],
    )


def capture_task(config: dict, *, names=("acme/events",), schema=SCHEMA, task="acme/source"):
    spec = CaptureSpec(
        name=task,
        connector_type="LOCAL",
        config=Raw(msgspec.json.encode(config)),
        bindings=[
            CaptureBinding(
                resource_path=[name], collection=collection(name, schema), state_key=f"k{index}"
            )
            for index, name in enumerate(names)
        ],
        interval_seconds=config.get("interval", 300),
    )
    return CaptureTask(spec, local([sys.executable, str(HERE / "fake_source.py")]), "v1")


def materialization_task(
    config: dict, *, names=("acme/events",), schema=SCHEMA, task="acme/destination", delta=False
):
    selection = FieldSelection(
        keys=["id"], values=["_meta/flow_truncated", "n"], document="flow_document"
    )
    spec = MaterializationSpec(
        name=task,
        connector_type="LOCAL",
        config=Raw(msgspec.json.encode({**config, "delta": delta})),
        bindings=[
            MaterializationBinding(
                resource_path=[name],
                collection=collection(name, schema),
                field_selection=selection,
                delta_updates=delta,
                journal_read_suffix=f"materialize/{task}/k{index}",
                state_key=f"k{index}",
            )
            for index, name in enumerate(names)
        ],
    )
    return MaterializationTask(
        spec, local([sys.executable, str(HERE / "fake_destination.py")]), "v1"
    )


def staging_of(world, name="acme/events", schema=SCHEMA, staged_bytes_max=1 << 20) -> Staging:
    target = Target(
        name,
        world.collections.journal(name),
        Validator(schema),
        Combiner(["/id"], Reducer(schema)),
        BindingProgress(name),
        schema,
        world.collections.inferred(name),
    )
    identity = Identity(f"task of {name}", b"{}", b"\1" * 6, Stamper(b"\1" * 6))
    return Staging(
        identity,
        [target],
        world.collections,
        world.recovery,
        world.clock.now,
        staged_bytes_max,
    )


class Stage:
    """A data directory, and runs of tasks on it until they are idle."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.capture_task = capture_task
        self.materialization_task = materialization_task
        self.staging_of = staging_of
        self.events: list = []

    def world(self, clock=None):
        return data_directory(self.path, lambda _, event: self.events.append(event), clock)

    async def run(self, task, *, world=None, quiet_s=5.0, until_idle=True) -> TaskProgress:
        async with contextlib.AsyncExitStack() as stack:
            world = world or await stack.enter_async_context(self.world())
            ending = Ending(until_idle=until_idle, quiet_s=quiet_s)
            ending.sources_ended.set()
            is_capture = isinstance(task, CaptureTask)
            progress = TaskProgress(task.name, "capture" if is_capture else "materialization")
            await (run_capture if is_capture else run_materialization)(
                Run(task, world, progress, ending)
            )
            return progress

    async def publish(self, *documents, name="acme/events", schema=SCHEMA) -> None:
        """Capture documents in one transaction, without a connector."""
        async with self.world() as world:
            staging = staging_of(world, name, schema)
            staging.add(0, [msgspec.json.encode(document) for document in documents])
            staging.checkpoint(None)
            await staging.commit()
            staging.give_up()

    async def documents(self, name: str = "acme/events") -> list[dict]:
        async with self.world() as world:
            reader, end = world.collections.reader(name), world.collections.end(name)
            lines = b""
            while block := reader.read(end):
                lines += block
            reader.close()
            return [msgspec.json.decode(line) for line in lines.splitlines()]

    async def values(self, name: str = "acme/events") -> list[dict]:
        """The documents without what the runtime adds."""
        documents = await self.documents(name)
        return [{k: v for k, v in each.items() if k != "_meta"} for each in documents]

    async def state(self, task: str = "acme/source"):
        async with self.world() as world:
            record = await world.recovery.task(task)
            return msgspec.json.decode(record.state or b"{}")

    def traced(self, path: Path | str) -> list[dict]:
        return [msgspec.json.decode(line) for line in Path(path).read_bytes().splitlines()]


@pytest.fixture
def stage(tmp_path) -> Stage:
    return Stage(tmp_path / "data")
