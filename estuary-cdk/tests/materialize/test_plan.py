"""Planned changes: what they are, and that none is left once they are done."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.errors import ConfigError
from estuary_cdk.materialize import (
    AddColumns,
    AllowRepeats,
    Binding,
    Column,
    CreateTable,
    Field,
    MigrateColumn,
    RecreateTable,
    RelaxColumns,
    Table,
    TruncateTable,
)
from estuary_cdk.materialize.changes import description
from estuary_cdk.materialize.plan import changes, columns_of, misfits
from estuary_cdk.protocol.materialize import (
    FieldSelection,
    MaterializationBinding,
    MaterializationSpec,
)
from estuary_cdk.testing.memory_destination import RULES, MemoryDestination, MemoryServer
from estuary_cdk.testing.selection import optional, required

PATH = ("users",)


def field(name, inference, *, is_key=False):
    pointer = "" if name == "flow_document" else f"/{name}"
    return Field(name, name, pointer, inference, is_key)


def binding(values=(), **more):
    return Binding(
        **{
            "index": 0,
            "resource": None,
            "path": PATH,
            "collection": "acme/users",
            "keys": (field("id", required("integer"), is_key=True),),
            "values": tuple(field(name, inference) for name, inference in values),
            "document": field("flow_document", required("object")),
            "delta_updates": False,
            "backfill": 0,
            "state_key": "users",
            **more,
        }
    )


def last_of(before):
    selection = FieldSelection(
        keys=[each.name for each in before.keys],
        values=[each.name for each in before.values],
        document="flow_document",
    )
    return MaterializationSpec(
        bindings=[
            MaterializationBinding(
                resource_path=list(before.path),
                field_selection=selection,
                delta_updates=before.delta_updates,
                backfill=before.backfill,
            )
        ]
    )


def table_of(before):
    return Table(before.path, columns_of(before, RULES))


def planned(before, after):
    return changes([after], [table_of(before)], last_of(before), RULES)


NAMED = binding([("name", required("string"))])


def test_a_missing_table_is_created_with_keys_then_values_then_document():
    [change] = changes([NAMED], [None], None, RULES)
    assert isinstance(change, CreateTable)
    assert change.columns == (
        Column("id", "integer", nullable=False),
        Column("name", "string", nullable=False),
        Column("flow_document", "json", nullable=False),
    )


def test_nothing_changes_for_the_same_binding():
    assert planned(NAMED, NAMED) == []


def test_a_new_field_is_added_as_nullable_however_required():
    [change] = planned(binding(), NAMED)
    assert isinstance(change, AddColumns)
    assert change.columns == (Column("name", "string", nullable=True),)


def test_a_field_that_may_be_missing_relaxes_its_column():
    [change] = planned(NAMED, binding([("name", optional("string"))]))
    assert isinstance(change, RelaxColumns)
    assert [column.name for column in change.columns] == ["name"]


def test_a_column_nobody_selects_is_relaxed_and_kept():
    [change] = planned(NAMED, binding())
    assert isinstance(change, RelaxColumns)
    assert [column.name for column in change.columns] == ["name"]


def test_a_column_is_never_tightened():
    assert planned(binding([("name", optional("string"))]), NAMED) == []


def test_a_wider_type_is_migrated():
    before = binding([("n", required("integer"))])
    [change] = planned(before, binding([("n", required("number"))]))
    assert isinstance(change, MigrateColumn)
    assert (change.before.type, change.after.type) == ("integer", "number")


def test_a_type_that_cant_be_reached_is_left_and_told():
    before, after = binding([("n", optional("string"))]), binding([("n", optional("integer"))])
    assert planned(before, after) == []
    [(existing, wanted)] = misfits(after, table_of(before), RULES)
    assert (existing.type, wanted.type) == ("string", "integer")


def test_a_key_without_a_column_is_refused():
    table = Table(PATH, (Column("flow_document", "json", nullable=False),))
    with pytest.raises(ConfigError, match=r"no column 'id'.*backfill"):
        changes([NAMED], [table], None, RULES)


def test_standard_updates_that_become_delta_updates_may_repeat_keys():
    [change] = planned(NAMED, replace(NAMED, delta_updates=True))
    assert isinstance(change, AllowRepeats)


def test_a_backfill_empties_a_table_that_fits():
    found = planned(binding(), replace(NAMED, backfill=1))
    assert [type(change) for change in found] == [TruncateTable, AddColumns]


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (
            replace(NAMED, keys=(field("name", required("string"), is_key=True),), values=()),
            "its key changed",
        ),
        (replace(NAMED, delta_updates=True), "it changes between standard and delta updates"),
        (
            replace(NAMED, values=(field("name", required("integer")),)),
            "column 'name' is string and has to be integer",
        ),
        (
            replace(NAMED, keys=(field("id", required("string"), is_key=True),)),
            "column 'id' is integer and has to be string",
        ),
    ],
)
def test_a_backfill_creates_a_table_anew_that_cant_stay(after, reason):
    [change] = planned(NAMED, replace(after, backfill=1))
    assert isinstance(change, RecreateTable)
    assert change.reason == reason


def test_a_binding_that_was_disabled_is_remembered():
    last = last_of(NAMED)
    disabled = MaterializationSpec(inactive_bindings=last.bindings)
    after = replace(NAMED, backfill=1)
    [change] = changes([after], [table_of(NAMED)], disabled, RULES)
    assert isinstance(change, TruncateTable)


def test_a_table_that_is_there_after_a_crash_is_not_created_again():
    assert changes([NAMED], [table_of(NAMED)], None, RULES) == []


INFERENCES = [
    kind(*types)
    for kind in (required, optional)
    for types in (("integer",), ("number",), ("string",), ("boolean", "null"), ("object",))
]
BINDINGS = st.builds(
    lambda values, delta, backfill: binding(
        list(values.items()), delta_updates=delta, backfill=backfill
    ),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from(INFERENCES)),
    st.booleans(),
    st.integers(0, 1),
)


@given(st.lists(BINDINGS, min_size=1, max_size=5))
def test_nothing_is_left_to_do_once_it_is_done(history):
    destination = MemoryDestination(MemoryServer())
    last = None
    for each in history:
        kept = destination.tables([PATH])[0]
        todo = changes([each], [kept], last, RULES)
        for change in todo:
            assert destination.apply(change) == description(change)
        last = last_of(each)
        [table] = destination.tables([PATH])
        assert changes([each], [table], last, RULES) == []
        names = {column.name for column in table.columns}
        assert {column.column for column in each.fields} <= names
        if kept is not None and not any(isinstance(c, RecreateTable) for c in todo):
            assert {column.name for column in kept.columns} <= names
