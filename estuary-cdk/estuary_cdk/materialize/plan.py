"""What must change at a destination for bindings to fit: pure, and nothing once it has been done.

A table that isn't there is created. One whose binding asks for a backfill is emptied, or created
anew where its columns or key can't stay. Any other is widened in place: columns are added, may
become null, change their type where the destination can. A column is never dropped, not even one
that nobody selects any more: it may be null from then on. Tables of removed bindings are left
alone.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from estuary_cdk.errors import ConfigError
from estuary_cdk.materialize.bindings import Binding, Column, Field, Table
from estuary_cdk.materialize.changes import (
    AddColumns,
    AllowRepeats,
    Change,
    CreateTable,
    MigrateColumn,
    RecreateTable,
    RelaxColumns,
    TruncateTable,
)
from estuary_cdk.materialize.destination import Fit, Forbidden, Rules
from estuary_cdk.materialize.specs import last_binding
from estuary_cdk.protocol.materialize import MaterializationBinding, MaterializationSpec


def changes(
    bindings: Sequence[Binding[Any]],
    existing: Sequence[Table | None],
    last: MaterializationSpec | None,
    rules: Rules,
) -> list[Change]:
    """Return what to do, in order, for the bindings to fit the tables that are there now.

    `last` is the spec that was applied before. Raises ConfigError where only a backfill would help.
    """
    planned: list[Change] = []
    for binding, table in zip(bindings, existing, strict=True):
        planned += _table_changes(binding, table, last_binding(last, binding.path), rules)
    return planned


def columns_of(binding: Binding[Any], rules: Rules) -> tuple[Column, ...]:
    """Return the columns of a binding's table if it were new."""
    return tuple(_wanted(field, rules) for field in binding.fields)


def column_named(table: Table, name: str, rules: Rules) -> Column | None:
    """Return a table's column of a name, as the destination tells names apart."""
    sought = rules.identity(name)
    return next((each for each in table.columns if rules.identity(each.name) == sought), None)


def fit(existing: Column, wanted: Column, field: Field, rules: Rules) -> Fit:
    """Judge whether an existing column takes a field; a key's column never migrates."""
    judged = rules.fit(existing, wanted, field)
    return Fit.INCOMPATIBLE if judged is Fit.MIGRATABLE and field.is_key else judged


def misfits(binding: Binding[Any], table: Table, rules: Rules) -> list[tuple[Column, Column]]:
    """Return existing columns beside what they should be and can't become."""
    pairs = (
        (column_named(table, field.column, rules), _wanted(field, rules), field)
        for field in binding.fields
    )
    return [
        (existing, wanted)
        for existing, wanted, field in pairs
        if existing is not None and fit(existing, wanted, field, rules) is Fit.INCOMPATIBLE
    ]


def _wanted(field: Field, rules: Rules) -> Column:
    chosen = rules.column_type(field)
    if isinstance(chosen, Forbidden):
        raise ConfigError(f"can't materialize field {field.name!r}: {chosen.reason}")
    return Column(field.column, chosen, field.nullable)


def _table_changes(
    binding: Binding[Any], table: Table | None, last: MaterializationBinding | None, rules: Rules
) -> list[Change]:
    if table is None:
        return [CreateTable(binding, columns_of(binding, rules))]
    if last is None or last.backfill == binding.backfill:
        switched = last is not None and binding.delta_updates and not last.delta_updates
        allow: list[Change] = [AllowRepeats(binding, table)] if switched else []
        return [*allow, *_widenings(binding, table, rules)]
    reason = _why_recreate(binding, table, last, rules)
    if reason:
        return [RecreateTable(binding, table, columns_of(binding, rules), reason)]
    return [TruncateTable(binding, table), *_widenings(binding, table, rules)]


def _why_recreate(
    binding: Binding[Any], table: Table, last: MaterializationBinding, rules: Rules
) -> str:
    """Return why an emptied table wouldn't do for a backfill; empty if it does."""
    if last.field_selection.keys != [field.name for field in binding.keys]:
        return "its key changed"
    if last.delta_updates != binding.delta_updates:
        return "it changes between standard and delta updates"
    if any(column_named(table, field.column, rules) is None for field in binding.keys):
        return "a column of its key is missing"
    for existing, wanted in misfits(binding, table, rules):
        return f"column {existing.name!r} is {existing.type} and has to be {wanted.type}"
    return ""


def _widenings(binding: Binding[Any], table: Table, rules: Rules) -> Iterator[Change]:
    added = tuple(f for f in binding.fields if column_named(table, f.column, rules) is None)
    _require_keys_present(binding, added)
    if added:
        # The rows that are there have no value for it, whatever the schema says.
        columns = tuple(Column(f.column, _wanted(f, rules).type, nullable=True) for f in added)
        yield AddColumns(binding, table, added, columns)
    relaxed = _relaxed(binding, table, rules)
    if relaxed:
        yield RelaxColumns(binding, table, relaxed)
    for field in binding.fields:
        existing = column_named(table, field.column, rules)
        wanted = _wanted(field, rules)
        if existing is not None and fit(existing, wanted, field, rules) is Fit.MIGRATABLE:
            nullable = existing.nullable or field.nullable
            before = Column(existing.name, existing.type, nullable)
            after = Column(existing.name, wanted.type, nullable)
            yield MigrateColumn(binding, table, field, before, after)


def _require_keys_present(binding: Binding[Any], added: Sequence[Field]) -> None:
    missing = [field.column for field in added if field.is_key]
    if missing and not binding.delta_updates:
        raise ConfigError(
            f"can't materialize {binding.collection!r} into table {'.'.join(binding.path)!r}: "
            f"the table has no column {missing[0]!r}, which is part of the key",
            hint="backfill the binding",
        )


def _relaxed(binding: Binding[Any], table: Table, rules: Rules) -> tuple[Column, ...]:
    """Return columns that must be null at times and can't yet; as they are to be."""
    filled = {rules.identity(f.column) for f in binding.fields if not f.nullable}
    return tuple(
        Column(each.name, each.type, nullable=True)
        for each in table.columns
        if not each.nullable and rules.identity(each.name) not in filled
    )
