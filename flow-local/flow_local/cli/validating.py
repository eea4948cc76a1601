"""`validate`: the catalog as its connectors see it, field by field."""

import asyncio
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from estuary_cdk.protocol.materialize import FieldSelection
from flow_local.build.lineage import Last
from flow_local.build.materializations import Binding, BuiltMaterialization
from flow_local.build.selection import Outcome, Verdict
from flow_local.build.tasks import Built, Surroundings, built
from flow_local.catalog import Catalog
from flow_local.cli.asking import LOG_LEVEL
from flow_local.cli.endings import refused
from flow_local.cli.options import Logging
from flow_local.cli.projects import Project
from flow_local.cli.relays import log_to_stderr, relay
from flow_local.cli.tables import columns, stdout
from flow_local.tasks import CaptureTask


def validate_catalog(project: Project, logging: Logging) -> None:
    """Validate each task with its connector and print what becomes of its bindings and fields.

    Raises CommandFailed with a sentence for each task that doesn't fit.
    """
    level = logging.level or LOG_LEVEL
    log_to_stderr(level, logging.form)
    loaded = project.catalog()
    project.chosen(loaded)
    result = asyncio.run(_built(project, loaded, level))
    _show(result, stdout())
    if result.failures:
        raise refused(result.failures.values())


async def _built(project: Project, loaded: Catalog, level: str) -> Built:
    lasts: dict[str, Last] = {}
    inferred: Mapping[str, bytes] = {}
    if project.has_run:
        with project.recorded() as database:
            inferred = database.inferred()
            for name in database.tasks():
                record = database.task(name)
                lasts[name] = Last(record.built, record.built_version, record.reset)
    surroundings = Surroundings(
        last=lambda name: lasts.get(name, Last()),
        inferred=inferred,
        on_event=relay,
        log_level=level,
    )
    return await built(loaded, surroundings, project.names)


def _show(result: Built, console: Console) -> None:
    for name, task in result.tasks.items():
        if isinstance(task, CaptureTask):
            console.print(f"{name}:")
            console.print(_captured(task))
    for name, materialized in result.materializations.items():
        for binding in materialized.bindings:
            kind = "delta updates" if binding.validated.delta_updates else "standard updates"
            path = "/".join(binding.path)
            console.print(f"\n{name}: {binding.collection.name} into {path} ({kind})")
            console.print(_fields(binding))
        _tell_disabled(name, materialized, console)
    for name, waiting in result.waiting.items():
        console.print(
            f"{name}: waits until something was captured into {', '.join(waiting)}, whose schema "
            f"is inferred from its documents"
        )


def _tell_disabled(name: str, materialized: BuiltMaterialization, console: Console) -> None:
    for why in materialized.disabled:
        console.print(f"{name}: binding left out: {why}")
    if materialized.disabled_task:
        console.print(f"{name}: the task rests: {materialized.disabled_task}")


def _captured(task: CaptureTask) -> Table:
    table = columns("Resource", "Collection", "Key")
    for binding in task.spec.bindings:
        assert binding.collection is not None
        key = ", ".join(binding.collection.key)
        table.add_row("/".join(binding.resource_path), binding.collection.name, key)
    return table


def _fields(binding: Binding) -> Table:
    table = columns("Field", "Type", "As", "", "Why")
    if binding.selection is not None:
        for verdict in binding.selection.verdicts:
            taken = verdict.outcome is Outcome.SELECTED
            role = _role(binding.selection.fields, verdict.field)
            told = "selected" if taken else verdict.outcome.value
            table.add_row(verdict.field, _type(verdict), role, told, verdict.reason)
    return table


def _role(fields: FieldSelection, name: str) -> str:
    if name in fields.keys:
        return "key"
    if name == fields.document:
        return "document"
    return "value" if name in fields.values else ""


def _type(verdict: Verdict) -> str:
    if verdict.projection is None:
        return ""
    return "|".join(verdict.projection.inference.types)
