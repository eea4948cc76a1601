"""Built materializations: Validate, field selection, and what to do where they don't fit.

A binding whose selected fields are incompatible with what is in the destination is handled as the
catalog says (`onIncompatibleSchemaChange`): built anew with a higher backfill counter, left out,
or refused. A counter raised here is remembered in the applied spec, so it holds until the catalog's
own is higher.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from msgspec import Raw

from estuary_cdk.errors import ConfigError
from estuary_cdk.protocol import materialize as wire
from estuary_cdk.protocol.flow import CollectionSpec
from estuary_cdk.protocol.materialize import Constraint
from flow_local import connectors
from flow_local.build.lineage import Last, check_paths, inactive
from flow_local.build.selection import Choices, Inputs, Selection, select
from flow_local.build.state_keys import state_key
from flow_local.catalog import FieldChoices, Materialization, MaterializationBinding
from flow_local.collections import Selection as Selected
from flow_local.connectors import Connector


@dataclass(frozen=True, slots=True)
class Binding:
    """A binding on its way to being built: `backfill` may be higher than the catalog's."""

    wanted: MaterializationBinding
    collection: CollectionSpec
    backfill: int
    path: tuple[str, ...] = ()
    live: wire.MaterializationBinding | None = None
    validated: wire.ValidatedBinding = field(default_factory=wire.ValidatedBinding)
    selection: Selection | None = None


@dataclass(frozen=True, slots=True)
class BuiltMaterialization:
    """A built materialization and how it came about.

    `bindings` are in the order of the spec's. `disabled` says why of every binding that was left
    out because it doesn't fit; `disabled_task` why the whole task is to rest.
    """

    spec: wire.MaterializationSpec
    bindings: tuple[Binding, ...]
    disabled: tuple[str, ...] = ()
    disabled_task: str = ""


async def built_materialization(
    task: Materialization,
    collections: Mapping[str, CollectionSpec],
    connector: Connector,
    last: Last,
) -> BuiltMaterialization:
    """Validate a materialization with its connector, select fields, and build it.

    Raises ConfigError that names every field that is wanted and can't be had.
    """
    applied = last.built(wire.MaterializationSpec)
    bindings = [
        Binding(wanted, collections[wanted.source.collection], wanted.backfill)
        for wanted in task.bindings
        if not wanted.disable
    ]
    bindings = await _validated(task, bindings, connector, last, applied)
    raised = [_with_backfill(binding, task) for binding in bindings]
    if raised != bindings:
        bindings = await _validated(task, raised, connector, last, applied)
    _check_conflicts(task, bindings)
    kept, disabled, resting = _settle_incompatible(task, bindings)
    spec = wire.MaterializationSpec(
        name=task.name,
        connector_type=connector.endpoint.connector_type,
        config=Raw(task.endpoint.config),
        bindings=[_built(task.name, binding) for binding in kept],
        inactive_bindings=inactive(
            (*applied.inactive_bindings, *applied.bindings) if applied else (),
            [list(binding.path) for binding in kept],
        ),
    )
    return BuiltMaterialization(spec, tuple(kept), disabled, resting)


async def _validated(
    task: Materialization,
    bindings: Sequence[Binding],
    connector: Connector,
    last: Last,
    applied: wire.MaterializationSpec | None,
) -> list[Binding]:
    """Ask the connector about every binding and select its fields."""
    answer = await connectors.validate_materialization(
        connector,
        wire.Validate(
            name=task.name,
            connector_type=connector.endpoint.connector_type,
            config=Raw(task.endpoint.config),
            bindings=[_question(binding) for binding in bindings],
            last_materialization=applied,
            last_version=last.version,
        ),
    )
    check_paths(task.name, [validated.resource_path for validated in answer.bindings])
    selected = []
    for binding, validated in zip(bindings, answer.bindings, strict=True):
        live = _live(applied, validated.resource_path)
        backfill = max(binding.backfill, live.backfill + last.reset if live else 0)
        found = replace(
            binding,
            path=tuple(validated.resource_path),
            live=live,
            validated=validated,
            backfill=backfill,
        )
        selected.append(replace(found, selection=select(_inputs(found))))
    if any(
        after.backfill != before.backfill for after, before in zip(selected, bindings, strict=True)
    ):
        # A counter that a reset or an earlier build has raised: the connector must know it too.
        return await _validated(task, selected, connector, last, applied)
    return selected


def _question(binding: Binding) -> wire.ValidateBinding:
    return wire.ValidateBinding(
        resource_config=Raw(binding.wanted.resource),
        collection=binding.collection,
        field_config={name: Raw(raw) for name, raw in binding.wanted.fields.require.items()},
        backfill=binding.backfill,
        group_by=list(binding.wanted.fields.group_by or ()),
    )


def _inputs(binding: Binding) -> Inputs:
    live = binding.live
    same = live is not None and live.backfill == binding.backfill
    return Inputs(
        projections=binding.collection.projections,
        key=binding.collection.key,
        constraints=_constraints(binding.validated),
        choices=_choices(binding.wanted.fields),
        live=live.field_selection if live is not None and same else None,
        case_insensitive=binding.validated.case_insensitive_fields,
    )


def _choices(fields: FieldChoices) -> Choices:
    return Choices(fields.group_by, fields.require, fields.exclude, fields.recommended_depth)


def _constraints(validated: wire.ValidatedBinding) -> dict[str, list[Constraint]]:
    constraints = {name: [constraint] for name, constraint in validated.constraints.items()}
    for each in validated.projection_constraints:
        constraints.setdefault(each.field, []).append(each.constraint)
    return constraints


def _live(
    applied: wire.MaterializationSpec | None, path: Sequence[str]
) -> wire.MaterializationBinding | None:
    if applied is None:
        return None
    for binding in (*applied.bindings, *applied.inactive_bindings):
        if binding.resource_path == list(path):
            return binding
    return None


def _reaction(task: Materialization, binding: Binding) -> str:
    return binding.wanted.on_incompatible_schema_change or task.on_incompatible_schema_change


def _with_backfill(binding: Binding, task: Materialization) -> Binding:
    """Raise the counter of a binding that only a backfill can make fit, if that was asked for."""
    selection = binding.selection
    if selection is None or not selection.incompatible or selection.conflicts:
        return binding
    if _reaction(task, binding) != "backfill":
        return binding
    return replace(binding, backfill=binding.backfill + 1)


def _check_conflicts(task: Materialization, bindings: Sequence[Binding]) -> None:
    problems = [
        f"field {verdict.field!r} of {'/'.join(binding.path)!r}: {verdict.reason}"
        for binding in bindings
        if binding.selection is not None
        for verdict in binding.selection.conflicts
    ]
    problems += [
        f"field {verdict.field!r} of {'/'.join(binding.path)!r}: {verdict.reason}"
        for binding in bindings
        if binding.selection is not None and _reaction(task, binding) in {"abort", "backfill"}
        for verdict in binding.selection.incompatible
    ]
    if problems:
        raise ConfigError(
            f"can't build {task.name!r}: {'; '.join(problems)}",
            hint="change the binding's fields, or raise its backfill counter",
        )


def _settle_incompatible(
    task: Materialization, bindings: Sequence[Binding]
) -> tuple[list[Binding], tuple[str, ...], str]:
    """Leave out what the catalog wants left out: bindings, or the whole task."""
    kept, disabled, resting = [], [], ""
    for binding in bindings:
        incompatible = binding.selection.incompatible if binding.selection else ()
        if not incompatible:
            kept.append(binding)
            continue
        told = "; ".join(f"field {v.field!r}: {v.reason}" for v in incompatible)
        why = f"{'/'.join(binding.path)}: {told}"
        disabled.append(why)
        if _reaction(task, binding) == "disableTask":
            resting = why
    return kept, tuple(disabled), resting


def _built(task: str, binding: Binding) -> wire.MaterializationBinding:
    assert binding.selection is not None
    key = state_key(binding.path, binding.backfill)
    return wire.MaterializationBinding(
        resource_config=Raw(binding.wanted.resource),
        resource_path=list(binding.path),
        collection=binding.collection,
        priority=binding.wanted.priority,
        field_selection=binding.selection.fields,
        delta_updates=binding.validated.delta_updates,
        journal_read_suffix=f"materialize/{task}/{key}",
        not_before=_spelt(binding.wanted.source.not_before),
        not_after=_spelt(binding.wanted.source.not_after),
        backfill=binding.backfill,
        state_key=key,
        ser_policy=binding.validated.ser_policy,
    )


def _spelt(time: datetime | None) -> str:
    return "" if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def selected(binding: Binding) -> Selected:
    """Return which documents of its source a binding reads."""
    source = binding.wanted.source
    pointers = {each.field: each.ptr for each in binding.collection.projections}
    partitions = source.partitions
    if partitions is None:
        return Selected(not_before=source.not_before, not_after=source.not_after)
    include, exclude = (
        {pointers[name]: values for name, values in each.items()}
        for each in (partitions.include, partitions.exclude)
    )
    return Selected(include, exclude, source.not_before, source.not_after)
