"""Tables as they are created and changed, on every version of the server there is."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from estuary_cdk.errors import ConfigError
from estuary_cdk.failpoints import FailpointError, arm
from estuary_cdk.materialize import (
    AddColumns,
    AllowRepeats,
    Column,
    CreateTable,
    Fit,
    MigrateColumn,
    RecreateTable,
    RelaxColumns,
    Table,
    TruncateTable,
)
from materialize_postgres.dialect import HOLDS, MIGRATIONS, POSTGRES
from materialize_postgres.schema import connect

# A value of each type as a literal, and how it is spelled in a document.
VALUES = {
    "SMALLINT": ("-32768", "-32768"),
    "INTEGER": ("-2147483648", "-2147483648"),
    "REAL": ("'0.1'::real", "0.1"),
    "CIDR": ("'10.0.0.1/32'::cidr", "10.0.0.1/32"),
    "TIME WITHOUT TIME ZONE": ("'14:30:00.5'::time", "14:30:00.5+00"),
    "TIMESTAMP WITHOUT TIME ZONE": (
        "'2024-02-29 10:00:10.5'::timestamp",
        "2024-02-29 10:00:10.5+00",
    ),
    "BIGINT": ("9007199254740993", "9007199254740993"),
    "NUMERIC": ("12345678901234567890.10", "12345678901234567890.10"),
    "DOUBLE PRECISION": ("'0.30000000000000004'::float8", "0.30000000000000004"),
    "BOOLEAN": ("true", "true"),
    "DATE": ("'0001-01-01 BC'::date", "0000-01-01"),
    "TIMESTAMP WITH TIME ZONE": (
        "'0001-06-01 10:00:10.5Z BC'::timestamptz",
        "0000-06-01T10:00:10.5Z",
    ),
    "TIME WITH TIME ZONE": ("'14:30:00+02'::timetz", "14:30:00+02:00"),
    "INTERVAL": ("'1 day 2 hours'::interval", "P1DT2H"),
    "INET": ("'10.0.0.1'::inet", "10.0.0.1"),
    "MACADDR": ("'08:00:2b:01:02:03'::macaddr", "08:00:2b:01:02:03"),
    "MACADDR8": ("'08:00:2b:01:02:03:04:05'::macaddr8", "08:00:2b:01:02:03:04:05"),
    "UUID": (f"'{'a0' * 16}'::uuid", "a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0"),
    "BYTEA": ("'abc'::bytea", "YWJj"),
    "JSON": ("'{\"a\":1.0}'::json", '{"a":1.0}'),
    "JSONB": ("'{\"a\":1.0}'::jsonb", '{"a": 1.0}'),
    "TEXT": ("'AP8='", "AP8="),
    "ENUM": ("'b'", "b"),
}  # fmt: skip
QUOTED = set(VALUES) - {
    "SMALLINT",
    "INTEGER",
    "REAL",
    "BIGINT",
    "NUMERIC",
    "DOUBLE PRECISION",
    "BOOLEAN",
    "JSON",
    "JSONB",
}
CAST = {
    ("BIGINT", "DOUBLE PRECISION"): "9.007199254740992e+15",
    ("NUMERIC", "DOUBLE PRECISION"): "1.2345678901234567e+19",
    ("TEXT", "BYTEA"): "\\x00ff",
    ("JSON", "JSONB"): '{"a": 1.0}',
    ("JSONB", "JSON"): '{"a": 1.0}',
}


def expected(before: str, after: str) -> str:
    if (before, after) in CAST:
        return CAST[before, after]
    text = VALUES[before][1]
    return f'"{text}"' if after == "JSONB" and before in QUOTED else text


@pytest.mark.parametrize(("before", "after"), sorted(MIGRATIONS))
def test_a_column_migrates_and_keeps_its_values(before: str, after: str, database):
    literal, _ = VALUES[before]
    database.run("create type enum as enum ('a', 'b')")
    database.run(f"create table t (id bigint, v {before} not null)")
    database.run(f"insert into t values (1, {literal})")
    migrated(database, before, after)
    assert database.run("select v::text from t") == [(expected(before, after),)]
    assert database.table("t").columns[1] == Column("v", after, nullable=False)


def test_bytes_migrate_to_base64_without_line_breaks(database):
    database.run(
        "create table t (id bigint, v bytea)", "insert into t values (1, repeat('abc', 40)::bytea)"
    )
    migrated(database, "BYTEA", "TEXT")
    assert database.run("select v from t") == [("YWJj" * 40,)]


def migrated(database, before: str, after: str) -> None:
    binding = database.binding()
    change = MigrateColumn(
        binding,
        database.table("t"),
        binding.values[0],
        Column("v", before, nullable=False),
        Column("v", after, nullable=False),
    )
    database.apply(change)


def test_every_other_change_of_type_needs_a_backfill():
    fit = POSTGRES.rules().fit
    field = None
    for before, after in product(VALUES, VALUES):
        judged = fit(Column("v", before.lower(), True), Column("v", after, True), field)
        if before == after or (before, after) in HOLDS:
            assert judged is Fit.COMPATIBLE
        elif (before, after) in MIGRATIONS:
            assert judged is Fit.MIGRATABLE
        else:
            assert judged is Fit.INCOMPATIBLE
    assert fit(Column("v", "NUMERIC", True), Column("v", "TEXT", True), field) is Fit.MIGRATABLE
    assert fit(Column("v", "TEXT", True), Column("v", "BIGINT", True), field) is Fit.INCOMPATIBLE
    assert (
        fit(Column("v", "NUMERIC(5,2)", True), Column("v", "NUMERIC", True), field)
        is Fit.INCOMPATIBLE
    )


def test_every_change_works_on_every_server(any_database):
    database = any_database
    binding = database.binding()
    database.create(binding)
    database.run("insert into t values (1, 'a', '{}')")
    more = database.field("n", "integer")
    wider = database.binding(values=[*binding.values, more])
    table = database.table("t")
    database.apply(
        AddColumns(wider, table, (more,), (Column("n", "BIGINT", nullable=True),)),
        RelaxColumns(wider, table, (Column("flow_document", "JSON", nullable=True),)),
        MigrateColumn(
            wider,
            table,
            more,
            Column("n", "BIGINT", nullable=True),
            Column("n", "NUMERIC", nullable=True),
        ),
        AllowRepeats(wider, table),
    )
    database.run("insert into t values (1, 'b', null, 1e30)")
    assert database.table("t").columns == (
        Column("id", "BIGINT", nullable=False),
        Column("v", "TEXT", nullable=True),
        Column("flow_document", "JSON", nullable=True),
        Column("n", "NUMERIC", nullable=True),
    )
    database.apply(TruncateTable(wider, table))
    assert database.run("select * from t") == []
    database.apply(RecreateTable(binding, table, table.columns[:3], "its key changed"))
    assert len(database.table("t").columns) == 3


def test_repeats_are_allowed_where_nothing_forbids_them(database):
    binding = database.binding(delta=True)
    database.create(binding)
    assert database.apply(AllowRepeats(binding, database.table("t"))) == ""


@pytest.mark.parametrize("moment", ["applying", "applied"])
def test_a_change_that_fails_is_made_whole_or_not_at_all(moment: str, database):
    binding = database.binding()
    database.create(binding)
    fields = tuple(database.field(name, "integer") for name in "xyz")
    columns = tuple(Column(each.column, "BIGINT", nullable=True) for each in fields)
    before = database.table("t")
    arm(f"materialize-postgres.{moment}=error")
    try:
        with pytest.raises(FailpointError):
            database.apply(AddColumns(binding, before, fields, columns))
    finally:
        arm("")
    added = len(database.table("t").columns) - len(before.columns)
    assert added == (0 if moment == "applying" else 3)


def test_schemas_are_created_once(database):
    with connect(database.config(schema="meta data")) as destination:
        done = destination.prepare([("meta data", "t"), ("other", "u")])
        assert done[:2] == [
            'CREATE SCHEMA IF NOT EXISTS "meta data"',
            'CREATE SCHEMA IF NOT EXISTS "other"',
        ]
        assert destination.prepare([("meta data", "t"), ("other", "u")]) == []
    assert database.run('select count(*) from "meta data".flow_checkpoints_v1') == [(0,)]


def test_tables_and_columns_tell_what_they_hold(database):
    title = {"title": "Its title", "description": "What it's for \\ 100%"}
    binding = database.binding(values=[database.field("v", "string", **title)])
    database.create(binding)
    [(table, column)] = database.run(
        "select obj_description('t'::regclass), col_description('t'::regclass, 2)"
    )
    assert table == "Generated for materialization of collection acme/collection"
    assert column == "Its title: What it's for \\ 100%\nthe document's /v (string)"


def test_sql_of_the_user_runs_with_the_table_or_not_at_all(database):
    def with_sql(sql: str) -> Any:
        binding = database.binding()
        resource = binding.resource.model_copy(update={"additional_table_create_sql": sql})
        return replace(binding, resource=resource)

    with pytest.raises(ConfigError, match="nowhere"):
        database.create(with_sql("create index on t (nowhere)"))
    assert database.table("t") is None
    database.create(with_sql("create index mine on t (v);"))
    assert database.run("select 1 from pg_indexes where indexname = 'mine'") == [(1,)]


def test_what_isnt_a_table_is_refused(database):
    database.run("create view v as select 1")
    with pytest.raises(ConfigError, match="a view"):
        database.table("v")


def test_a_view_that_depends_on_the_column_is_named(database):
    binding = database.binding(values=[database.field("v", "integer")])
    database.create(binding)
    database.run("create view uses_it as select v from t")
    with pytest.raises(ConfigError, match="uses_it"):
        migrated(database, "BIGINT", "TEXT")


def test_creating_a_table_that_is_there_is_refused(database):
    binding = database.binding()
    database.create(binding)
    with (
        connect(database.config()) as destination,
        pytest.raises(ConfigError, match="already exists"),
    ):
        destination.apply(CreateTable(binding, database.columns(destination, binding)))


def test_tables_tell_their_columns_in_order(database):
    database.run(
        "create table t (b varchar(5), a numeric(5,2) not null, gone int)",
        "alter table t drop gone",
    )
    assert database.table("t") == Table(
        ("public", "t"),
        (
            Column("b", "CHARACTER VARYING(5)", nullable=True),
            Column("a", "NUMERIC(5,2)", nullable=False),
        ),
    )
