"""`status`: what the recovery database knows of tasks and collections."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import msgspec
import typer

from estuary_cdk.protocol.capture import CaptureSpec
from estuary_cdk.protocol.materialize import MaterializationSpec
from flow_local.cli.projects import Project
from flow_local.cli.tables import columns, sized, stdout
from flow_local.recovery import Database, TaskRecord
from flow_local.tasks.shards import record_of, recorded
from flow_local.tasks.sources import Checkpoint


@dataclass(frozen=True, slots=True)
class BindingStatus:
    """A binding as applied last; `backlog_bytes` wait to be materialized, 0 for captures."""

    collection: str
    resource: str
    committed_bytes: int
    backlog_bytes: int


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """A task as committed last."""

    task: str
    kind: str
    version: str
    state_bytes: int
    bindings: tuple[BindingStatus, ...]
    in_catalog: bool = True


def show_status(project: Project, *, as_json: bool) -> None:
    """Print the tasks that ever ran here; with `as_json` one line of JSON each."""
    catalog = project.catalog(secrets=False) if project.source.exists() else None
    names = {*catalog.captures, *catalog.materializations} if catalog else None
    statuses = []
    if project.has_run:
        with project.recorded() as database:
            statuses = list(_statuses(database, names))
    if as_json:
        for status in statuses:
            typer.echo(msgspec.json.encode(asdict(status)))
        return
    never = sorted((names or set()) - {status.task for status in statuses})
    _show(statuses, never, str(project.data_directory))


def _statuses(database: Database, names: set[str] | None) -> Iterator[TaskStatus]:
    ends = database.ends()
    for name in database.tasks():
        record = database.task(name)
        yield TaskStatus(
            task=name,
            kind=_kind(record),
            version=record.version,
            state_bytes=len(record.state),
            bindings=tuple(_bindings(record, _offsets(database, name), ends)),
            in_catalog=names is None or name in names,
        )


def _kind(record: TaskRecord) -> str:
    return "materialization" if _is_materialization(record.spec) else "capture"


def _is_materialization(spec: bytes) -> bool:
    if not spec:
        return False
    bindings = msgspec.json.decode(spec, type=_Spec).bindings
    return any("fieldSelection" in binding for binding in bindings)


class _Spec(msgspec.Struct):
    bindings: list[dict[str, msgspec.Raw]] = []


def _offsets(database: Database, name: str) -> dict[str, int]:
    """Return through where all shards of a task have read each source."""
    ranges = recorded(database.shards(name))
    shards = [database.task(record_of(name, each)) for each in ranges]
    each = [Checkpoint(shard.checkpoint).offsets for shard in shards]
    return {name: min(offsets.get(name, 0) for offsets in each) for name in set().union(*each)}


def _bindings(
    record: TaskRecord, offsets: dict[str, int], ends: dict[str, int]
) -> Iterator[BindingStatus]:
    if not record.spec:
        return
    if not _is_materialization(record.spec):
        for captured in msgspec.json.decode(record.spec, type=CaptureSpec).bindings:
            name = captured.collection.name if captured.collection else ""
            yield BindingStatus(name, "/".join(captured.resource_path), ends.get(name, 0), 0)
        return
    for binding in msgspec.json.decode(record.spec, type=MaterializationSpec).bindings:
        name = binding.collection.name if binding.collection else ""
        end = ends.get(name, 0)
        done = offsets.get(f"{name};{binding.journal_read_suffix}", 0)
        yield BindingStatus(name, "/".join(binding.resource_path), end, max(0, end - done))


def _show(statuses: list[TaskStatus], never: list[str], directory: str) -> None:
    if not statuses:
        typer.echo(f"Nothing has run in {directory} yet.")
    else:
        figures = ("Committed", "Waiting")
        table = columns("Task", "Resource", "Collection", *figures, right=figures)
        for status in statuses:
            told = status.task if status.in_catalog else f"{status.task} (not in the catalog)"
            if not status.bindings:
                table.add_row(told, "", "", "", "")
            for binding in status.bindings:
                waiting = sized(binding.backlog_bytes) if status.kind == "materialization" else ""
                committed = sized(binding.committed_bytes)
                table.add_row(told, binding.resource, binding.collection, committed, waiting)
                told = ""
        stdout().print(table)
    for name in never:
        typer.echo(f"{name} has not run yet.")
