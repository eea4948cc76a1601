"""Answers to spec, validate and apply; blocking but for the first.

Whatever is wrong with several bindings is told for all of them at once.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Raw

from estuary_cdk.config import parse
from estuary_cdk.errors import ConfigError
from estuary_cdk.failpoints import failpoint
from estuary_cdk.jsonschema import config_schema
from estuary_cdk.logs import get_logger
from estuary_cdk.materialize import plan
from estuary_cdk.materialize.bindings import Binding, Path, Shard, Table
from estuary_cdk.materialize.changes import (
    AddColumns,
    AllowRepeats,
    Change,
    MigrateColumn,
    RelaxColumns,
    description,
)
from estuary_cdk.materialize.commits import AppliedCommits
from estuary_cdk.materialize.constraints import Proposal, constraints
from estuary_cdk.materialize.destination import Destination, Rules
from estuary_cdk.materialize.materialization import Materialization
from estuary_cdk.materialize.patterns import PostCommitApply
from estuary_cdk.materialize.specs import bindings_of, collection_of, last_binding
from estuary_cdk.materialize.staging import Ledger, pending
from estuary_cdk.protocol.flow import KEY_END_MAX, PROTOCOL_VERSION, ConnectorState
from estuary_cdk.protocol.materialize import (
    Applied,
    Apply,
    MaterializationSpec,
    SpecResponse,
    Validate,
    Validated,
    ValidatedBinding,
)

log = get_logger(__name__)

Materializing = Materialization[Any, Any]


def specification(materialization: Materializing) -> SpecResponse:
    """Say what the connector is and how it is configured."""
    return SpecResponse(
        protocol=PROTOCOL_VERSION,
        config_schema=Raw(config_schema(materialization.config)),
        resource_config_schema=Raw(config_schema(materialization.resource)),
        documentation_url=materialization.docs,
    )


def validated(materialization: Materializing, request: Validate) -> Validated:
    """Judge every binding against what is at the destination.

    Raises ConfigError, or a group of them, for what can't be materialized as asked.
    """
    config = parse(materialization.config, bytes(request.config), "the endpoint config")
    resources = _collected(
        "bindings", [_reading(materialization, request, i) for i in range(len(request.bindings))]
    )
    paths = [materialization.path(config, resource) for resource in resources]
    _require_distinct(paths)
    with materialization.connect(config) as destination:
        tables = destination.tables(paths)
        rules = destination.rules

    def judging(index: int) -> Any:
        resource, path = resources[index], paths[index]
        delta_updates = materialization.delta_updates(config, resource)
        asked = request.bindings[index]
        proposal = Proposal(
            collection=collection_of(asked, request.linked_collections),
            path=path,
            delta_updates=delta_updates,
            backfill=asked.backfill,
            rules=rules,
            field_config=asked.field_config,
            group_by=asked.group_by,
            existing=tables[index],
            last=last_binding(request.last_materialization, path),
            adopt_existing=materialization.adopt_existing(config, resource),
            rebuilds=materialization.rebuilds(config),
        )
        return lambda: ValidatedBinding(
            resource_path=list(path),
            projection_constraints=constraints(proposal),
            delta_updates=delta_updates,
            case_insensitive_fields=rules.case_insensitive,
            ser_policy=materialization.ser_policy(config),
        )

    return Validated(bindings=_collected("bindings", [judging(i) for i in range(len(paths))]))


def _reading(materialization: Materializing, request: Validate, index: int) -> Any:
    asked = request.bindings[index]
    what = f"the resource config of binding {index}"
    return lambda: parse(materialization.resource, bytes(asked.resource_config), what)


def _collected(what: str, thunks: Sequence[Any]) -> list[Any]:
    """Call all and return the results, or raise the ConfigErrors of all that failed."""
    results, errors = [], []
    for thunk in thunks:
        try:
            results.append(thunk())
        except ConfigError as error:
            errors.append(error)
    if len(errors) > 1:
        raise ExceptionGroup(f"can't use {len(errors)} {what}", errors)
    if errors:
        raise errors[0]
    return results


def _require_distinct(paths: Sequence[Path]) -> None:
    for path in paths:
        if paths.count(path) > 1:
            raise ConfigError(
                f"can't materialize several bindings into table {'.'.join(path)!r}",
                hint="give each binding a table of its own",
            )


def applied(materialization: Materializing, request: Apply) -> Applied:
    """Bring the destination to the built materialization; repeatable.

    Staged work for tables that are to change in place is applied first, on its own: the runtime
    then asks again.
    """
    spec, last = request.materialization, request.last_materialization
    config = parse(materialization.config, bytes(spec.config), "the endpoint config")
    with materialization.connect(config) as destination:
        bindings = bindings_of(materialization, spec, destination.rules)
        paths = [binding.path for binding in bindings]
        done = list(destination.prepare(paths))
        tables = destination.tables(paths)
        planned = plan.changes(bindings, tables, last, destination.rules)
        state = bytes(request.state)
        drained = _drained(materialization, config, _touched(planned, spec, last), state)
        if drained is not None:
            return Applied(action_description="\n".join(done), state=drained)
        _warn_of_misfits(bindings, tables, planned, destination.rules)
        done += [_made(destination, change) for change in planned]
    return Applied(action_description="\n".join(done))


def _made(destination: Destination, change: Change) -> str:
    failpoint("materialize.apply")
    log.info("changing the destination", change=description(change))
    said = destination.apply(change)
    failpoint("materialize.applied")
    return said


def _touched(
    planned: Sequence[Change], spec: MaterializationSpec, last: MaterializationSpec | None
) -> MaterializationSpec | None:
    """Return the last spec cut to bindings that change in place or go; None where none does."""
    if last is None:
        return None
    altered = {
        change.binding.path
        for change in planned
        if isinstance(change, AddColumns | RelaxColumns | MigrateColumn | AllowRepeats)
    }
    kept = {tuple(binding.resource_path): binding.state_key for binding in spec.bindings}
    touched = [
        binding
        for binding in last.bindings
        if (path := tuple(binding.resource_path)) not in kept
        or (path in altered and kept[path] == binding.state_key)
    ]
    return MaterializationSpec(
        name=last.name, bindings=touched, linked_collections=last.linked_collections
    )


def _drained(
    materialization: Materializing,
    config: Any,
    touched: MaterializationSpec | None,
    state: bytes,
) -> ConnectorState | None:
    """Apply what is staged for bindings as they were; return the update, None if nothing was."""
    found = pending(state)
    if touched is None or not found:
        return None
    shard = Shard(touched.name, 0, KEY_END_MAX)
    ledger = Ledger(shard, tuple(binding.state_key for binding in touched.bindings))
    if not ledger.known(found):
        return None
    with materialization.connect(config) as destination:
        bindings = bindings_of(materialization, touched, destination.rules)
    with materialization.open(config, bindings, shard) as transactor:
        if not isinstance(transactor, PostCommitApply):
            return None
        return AppliedCommits(transactor, ledger, found).acknowledge(b"")


def _warn_of_misfits(
    bindings: Sequence[Binding[Any]],
    tables: Sequence[Table | None],
    planned: Sequence[Change],
    rules: Rules,
) -> None:
    """Warn of columns that changed under us: whether they take the values shows when storing."""
    replaced = {change.binding.path for change in planned} - {
        change.binding.path
        for change in planned
        if isinstance(change, AddColumns | RelaxColumns | MigrateColumn | AllowRepeats)
    }
    for binding, table in zip(bindings, tables, strict=True):
        if table is None or binding.path in replaced:
            continue
        for existing, wanted in plan.misfits(binding, table, rules):
            log.warning(
                "a column has a type that doesn't fit its field",
                table=".".join(binding.path),
                column=existing.name,
                type=existing.type,
                wanted=wanted.type,
            )
