"""Tables: made, changed in place, changed by another column, and found as they are."""

from dataclasses import replace

import pytest

from estuary_cdk.errors import ConfigError
from estuary_cdk.failpoints import FailpointError, arm
from estuary_cdk.kits.sql import ColumnType
from estuary_cdk.materialize import (
    AddColumns,
    Column,
    MigrateColumn,
    RecreateTable,
    RelaxColumns,
    Rules,
    TruncateTable,
)
from estuary_cdk.materialize.destination import Fit
from estuary_cdk.testing.sql_endpoint import field
from materialize_bigquery import dialect
from materialize_bigquery.schema import connect

NOTHING = field("v", "string")


@pytest.fixture(autouse=True)
def _disarmed():
    yield
    arm("")


def test_a_table_is_parted_clustered_and_told_about(dataset):
    day = dataset.field("day", "string", format="date")
    parted = dataset.binding(
        values=[day],
        partitioning={"type": "Time", "column": "day", "granularity": "MONTH"},
        clustering=["day", "id"],
    )
    dataset.create(parted)
    found = dataset.client.get_table(f"{dataset.project}.{dataset.name}.t")
    assert found.time_partitioning.type_ == "MONTH"
    assert found.time_partitioning.field == "day"
    assert found.clustering_fields == ["day", "id"]
    assert found.description == "Generated for materialization of collection acme/collection"
    assert next(each.description for each in found.schema) == "the document's /id (integer)"
    with dataset.opened(parted) as transactor:
        transactor.store(dataset.stores((1, "2024-01-31")))
        transactor.apply(transactor.staged())
    assert [str(row["day"]) for row in dataset.rows("t")] == ["2024-01-31"]


def test_tables_in_other_datasets_are_made_with_them(dataset):
    binding = dataset.binding(dataset=f"{dataset.name}_other")
    try:
        dataset.create(binding)
        with connect(dataset.config()) as destination:
            assert destination.prepare([binding.path]) == []
            [there] = destination.tables([binding.path])
        assert there is not None
        with dataset.opened(binding) as transactor:
            transactor.store(dataset.stores((1, "a")))
            transactor.apply(transactor.staged())
            assert dataset.loaded(transactor, 1) == [b'{"id":1,"v":"a"}']
    finally:
        name = f"{dataset.project}.{dataset.name}_other"
        dataset.client.delete_dataset(name, delete_contents=True, not_found_ok=True)


def test_columns_are_added_and_relaxed_at_once(dataset):
    binding = dataset.binding()
    dataset.create(binding)
    fields = (dataset.field("a", "integer"), dataset.field("b", "object", exists="MAY"))
    added = (Column("a", "INT64", nullable=True), Column("b", "JSON", nullable=True))
    there = dataset.table("t")
    relaxed = tuple(replace(each, nullable=True) for each in there.columns if not each.nullable)
    dataset.apply(AddColumns(binding, there, fields, added), RelaxColumns(binding, there, relaxed))
    # A crash may come after it, and it is planned again.
    dataset.apply(AddColumns(binding, there, fields, added))
    assert dataset.table("t").columns == (
        Column("id", "INT64", nullable=True),
        Column("v", "STRING", nullable=True),
        Column("flow_document", "STRING", nullable=True),
        *added,
    )


# From each type to each that holds it: a value before, and what is there after.
MIGRATED = {
    ("INT64", "NUMERIC"): ("1", "1"),
    ("INT64", "FLOAT64"): ("1", "1.0"),
    ("INT64", "STRING"): ("1", "1"),
    ("INT64", "JSON"): ("1", "1"),
    ("NUMERIC", "BIGNUMERIC"): ("NUMERIC '1.5'", "1.5"),
    ("NUMERIC", "FLOAT64"): ("NUMERIC '1.5'", "1.5"),
    ("FLOAT64", "STRING"): ("1.5", "1.5"),
    ("BOOL", "STRING"): ("TRUE", "true"),
    ("BOOL", "JSON"): ("TRUE", "true"),
    ("DATE", "STRING"): ("DATE '0001-01-31'", "0001-01-31"),
    ("DATE", "JSON"): ("DATE '2024-01-31'", '"2024-01-31"'),
    ("TIMESTAMP", "STRING"): ("TIMESTAMP '2024-01-31 10:00:00.5Z'", "2024-01-31T10:00:00.5Z"),
    ("TIME", "STRING"): ("TIME '10:00:00.5'", "10:00:00.5Z"),
    ("BYTES", "STRING"): ("FROM_BASE64('AP8=')", "AP8="),
    ("STRING", "BYTES"): ("'AP8='", "b'\\x00\\xff'"),
    ("STRING", "JSON"): ("'a\"b'", '"a\\"b"'),
    ("JSON", "STRING"): ("JSON '{\"a\":1}'", '{"a":1}'),
}


def migrated(dataset, before: str, after: str) -> None:
    binding = dataset.binding(values=[])
    there = dataset.table("t")
    field = dataset.field("v", "string", "null")
    old, new = Column("v", before, nullable=True), Column("v", after, nullable=True)
    dataset.apply(MigrateColumn(binding, there, field, old, new))


def test_every_migration_keeps_the_values(dataset):
    """One table has a column for each."""
    pairs = {f"c{index}": pair for index, pair in enumerate(MIGRATED)}
    fields = [dataset.field(name, "string", "null") for name in pairs]
    binding = dataset.binding(values=fields)
    with connect(dataset.config()) as destination:
        destination.prepare([binding.path])
    columns = ", ".join(f"{name} {dialect.spelled(before)}" for name, (before, _) in pairs.items())
    dataset.run(f"CREATE TABLE `{{d}}.t` (id INT64, {columns})")
    values = ", ".join(MIGRATED[pair][0] for pair in pairs.values())
    dataset.run(f"INSERT INTO `{{d}}.t` (id, {', '.join(pairs)}) VALUES (1, {values})")
    there = dataset.table("t")
    changes = [
        MigrateColumn(
            binding,
            there,
            field,
            Column(name, before, nullable=True),
            Column(name, after, nullable=True),
        )
        for field, (name, (before, after)) in zip(fields, pairs.items(), strict=True)
    ]
    dataset.apply(*changes)
    after = dataset.table("t")
    types = {column.name: column.type for column in after.columns}
    assert {name: types[name] for name in pairs} == {n: pair[1] for n, pair in pairs.items()}
    [row] = dataset.rows("t")
    for name, pair in pairs.items():
        wanted = MIGRATED[pair][1]
        if pair[1] == "JSON":
            query = f"SELECT TO_JSON_STRING({name}) FROM `{{d}}.t`"
            assert dataset.run(query) == [(wanted,)], pair
        elif pair[1] in {"NUMERIC", "BIGNUMERIC", "FLOAT64"}:
            assert float(row[name]) == float(wanted), pair
        else:
            assert str(row[name]) == wanted, pair


def test_what_is_planned_is_what_can_be_done():
    """Every pair of types: what is judged to migrate has a statement, what holds needs none."""
    rules: Rules = dialect.BIGQUERY.rules()
    kinds = {each.sql for each in vars(dialect).values() if isinstance(each, ColumnType)}
    judged = {
        (before, after): rules.fit(Column("v", before, True), Column("v", after, True), NOTHING)
        for before in kinds
        for after in kinds
    }
    for pair, fit in judged.items():
        known = {
            Fit.COMPATIBLE: pair[0] == pair[1] or pair in dialect.HOLDS,
            Fit.MIGRATABLE: pair in dialect.MIGRATIONS and pair not in dialect.HOLDS,
            Fit.INCOMPATIBLE: pair not in dialect.MIGRATIONS and pair not in dialect.HOLDS,
        }
        assert known[fit], pair
    assert judged["STRING", "INT64"] is Fit.COMPATIBLE
    assert judged["FLOAT64", "INT64"] is Fit.INCOMPATIBLE
    for before, wider in dialect.WIDER.items():
        assert (before, wider.sql) in dialect.MIGRATIONS
        assert judged[wider.sql, before] is Fit.COMPATIBLE


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_change_of_type_that_broke_off_is_finished_or_undone(step, dataset):
    binding = dataset.binding(values=[dataset.field("v", "integer", "null")])
    dataset.create(binding)
    dataset.run("INSERT INTO `{d}.t` (id, v, flow_document) VALUES (1, 5, 'x')")
    arm(f"materialize-bigquery.applying=error@{step}")
    with pytest.raises(FailpointError):
        migrated(dataset, "INT64", "STRING")
    there = {column.name: column.type for column in dataset.table("t").columns}
    assert there == {
        "id": "INT64",
        "v": "INT64" if step < 3 else "STRING",
        "flow_document": "STRING",
    }
    if there["v"] == "INT64":
        migrated(dataset, "INT64", "STRING")
    with dataset.opened(dataset.binding(values=[dataset.field("v", "string", "null")])) as opened:
        opened.store(dataset.stores((2, "six")))
        opened.apply(opened.staged())
    assert sorted(dataset.run("SELECT id, v FROM `{d}.t`")) == [(1, "5"), (2, "six")]


def test_a_backfill_empties_or_makes_anew(dataset):
    binding = dataset.binding()
    dataset.create(binding)
    dataset.run("INSERT INTO `{d}.t` (id, flow_document) VALUES (1, 'x')")
    dataset.apply(TruncateTable(binding, dataset.table("t")))
    assert dataset.rows("t") == []
    columns = (Column("id", "STRING", nullable=False), Column("v", "INT64", nullable=True))
    other = replace(binding, document=None)
    dataset.apply(RecreateTable(other, dataset.table("t"), columns, "its key changed"))
    assert dataset.table("t").columns == columns


def test_a_view_is_no_table(dataset):
    dataset.create(dataset.binding())
    dataset.run("CREATE VIEW `{d}.v` AS SELECT 1 AS one")
    with (
        connect(dataset.config()) as destination,
        pytest.raises(ConfigError, match="is the name of something else: VIEW"),
    ):
        destination.tables([(dataset.project, dataset.name, "v")])


def test_a_dataset_in_another_region_is_a_mistake_that_names_both(dataset):
    dataset.create(dataset.binding())
    with (
        pytest.raises(ConfigError, match="it is in region 'US', and the config says 'EU'"),
        connect(dataset.config(region="EU")),
    ):
        pass
