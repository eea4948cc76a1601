"""Tables as people find and leave them: created, altered, rebuilt, never half changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk import failpoints
from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.sql import migrate
from estuary_cdk.materialize import (
    AddColumns,
    AllowRepeats,
    Column,
    MigrateColumn,
    RecreateTable,
    RelaxColumns,
    Table,
    TruncateTable,
)
from materialize_sqlite.database import database
from materialize_sqlite.dialect import SQLITE
from materialize_sqlite.schema import connect

HOSTILE = [
    'say "hi"',
    "it's",
    "DROP TABLE t; --",
    "select",
    "rowid",
    "oid",
    "ünï☃ code",
    " spaces  inside ",
    "a.b",
    "[x]",
    "`tick`",
    "%s ? :x $1 {}",
    "a\n\tb",
]


@pytest.fixture
def armed():
    yield failpoints.arm
    failpoints.arm("")


def sql_of(file, table: str) -> str:
    [(sql,)] = file.query("SELECT sql FROM sqlite_master WHERE name = ?", table)
    return sql


def test_a_new_file_has_no_tables_and_gets_its_checkpoints(file):
    assert file.table("t") is None
    with connect(file.config()) as destination:
        [created] = destination.prepare([("t",)])
        assert created.startswith('CREATE TABLE IF NOT EXISTS "flow_checkpoints_v1"')
        assert destination.prepare([("t",)]) == []


def test_a_created_table_is_as_planned(file):
    binding = file.binding()
    file.create(binding)
    assert file.table("t") == Table(
        ("t",),
        (
            Column("id", "INTEGER", nullable=False),
            Column("v", "TEXT", nullable=True),
            Column("flow_document", "JSON TEXT", nullable=False),
        ),
    )
    assert file.query("SELECT name FROM pragma_table_info('t') WHERE pk") == [("id",)]


def test_a_table_with_delta_updates_has_no_key(file):
    file.create(file.binding(delta=True))
    assert file.query("SELECT name FROM pragma_table_info('t') WHERE pk") == []


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_is_a_name_through_a_tables_whole_life(file, name):
    values = [file.field(other, "string") for other in HOSTILE]
    binding = file.binding(name, values=values)
    file.create(binding)
    table = file.table(name)
    assert [column.name for column in table.columns][1:-1] == HOSTILE
    relaxed = Column(name, "TEXT", nullable=False)
    file.apply(RelaxColumns(binding, table, (relaxed,)))
    field = file.field(f"new {name}", "string", "null")
    added = Column(field.column, "TEXT", nullable=True)
    file.apply(AddColumns(binding, file.table(name), (field,), (added,)))
    with file.opened(binding) as transactor:
        batch = file.stores((1, "x"))
        values_json = [b"[" + b",".join([b'"x"'] * len(HOSTILE)) + b"]"]
        batch = type(batch)(0, batch.keys, values_json, batch.documents, [False], [False])
        transactor.store(batch)
        transactor.store(type(batch)(0, batch.keys, values_json, batch.documents, [True], [False]))
        transactor.commit(b"{}")
        assert len(file.loaded(transactor, 1)) == 1
    [column] = [each for each in file.table(name).columns if each.name == name]
    assert column.nullable
    assert file.query("SELECT count(*) FROM " + SQLITE.quote(name)) == [(1,)]


def test_tables_that_differ_by_case_alone_are_refused(file):
    with connect(file.config()) as destination, pytest.raises(ConfigError, match="one table"):
        destination.tables([("Orders",), ("orders",)])


def test_letters_beyond_ascii_have_case(file):
    with connect(file.config()) as destination:
        assert destination.tables([("Ä",), ("ä",)]) == [None, None]


def test_an_existing_table_is_found_whatever_its_case(file):
    file.create(file.binding("Orders"))
    assert file.table("oRDERS").path == ("Orders",)


@pytest.mark.parametrize(
    ("made", "what"),
    [("CREATE VIEW v AS SELECT 1", "a view"), ("CREATE INDEX v ON t (v)", "an index")],
)
def test_a_name_that_something_else_has_is_refused(file, made, what):
    file.create(file.binding())
    file.query(made)
    with pytest.raises(ConfigError, match=f"it is the name of {what}"):
        file.table("V")


def test_truncating_deletes_all_rows_and_keeps_the_table(file):
    binding = file.binding()
    file.create(binding)
    file.query("INSERT INTO t VALUES (1, 'x', '{}')")
    before = sql_of(file, "t")
    file.apply(TruncateTable(binding, file.table("t")))
    assert file.query("SELECT * FROM t") == []
    assert sql_of(file, "t") == before


def test_recreating_drops_what_was_there(file):
    file.query("CREATE TABLE T (other TEXT)")
    file.query("CREATE INDEX mine ON T (other)")
    binding = file.binding()
    with connect(file.config()) as destination:
        destination.prepare([binding.path])
        columns = file.columns(destination, binding)
    file.apply(RecreateTable(binding, file.table("t"), columns, "the key changed"))
    assert [column.name for column in file.table("t").columns] == ["id", "v", "flow_document"]
    assert file.query("SELECT name FROM sqlite_master WHERE type = 'index' AND sql <> ''") == []


def test_added_columns_are_null_in_old_rows(file):
    binding = file.binding()
    file.create(binding)
    file.query("INSERT INTO t VALUES (1, 'x', '{}')")
    fields = (file.field("a", "integer"), file.field("b", "boolean"))
    columns = (Column("a", "INTEGER", nullable=True), Column("b", "BOOLEAN", nullable=True))
    told = file.apply(AddColumns(binding, file.table("t"), fields, columns))
    assert (
        told == 'ALTER TABLE "t" ADD COLUMN "a" INTEGER;\nALTER TABLE "t" ADD COLUMN "b" BOOLEAN;'
    )
    assert file.query("SELECT a, b FROM t") == [(None, None)]


PEOPLES = [
    "CREATE INDEX by_v ON t (v) WHERE v IS NOT NULL",
    "CREATE VIEW names AS SELECT id, v FROM t",
    "CREATE TABLE log (id INTEGER)",
    "CREATE TRIGGER logged AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.id); END",
    "ALTER TABLE t ADD COLUMN mine TEXT DEFAULT 'it''s (mine)'",
    "ALTER TABLE t ADD COLUMN more INTEGER NOT NULL DEFAULT 7",
]


def rebuilding(file):
    strict = file.field("v", "string")
    binding = file.binding(values=[strict])
    file.create(binding)
    for statement in PEOPLES:
        file.query(statement)
    file.query("INSERT INTO t (id, v, flow_document) VALUES (1, 'x', '{\"n\": 1.0}')")
    return RelaxColumns(binding, file.table("t"), (Column("v", "TEXT", nullable=False),))


def test_a_rebuild_keeps_rows_and_all_that_people_made(file):
    file.apply(rebuilding(file))
    assert file.query("SELECT * FROM t") == [(1, "x", '{"n": 1.0}', "it's (mine)", 7)]
    file.query("INSERT INTO t (id, v, flow_document) VALUES (2, NULL, '{}')")
    assert file.query("SELECT * FROM names") == [(1, "x"), (2, None)]
    assert file.query("SELECT * FROM log") == [(1,), (2,)]
    assert file.query("SELECT mine, more FROM t WHERE id = 2") == [("it's (mine)", 7)]
    made = file.query("SELECT name FROM sqlite_master WHERE type <> 'table' AND sql <> ''")
    assert sorted(made) == [("by_v",), ("logged",), ("names",)]
    assert file.query("SELECT name FROM pragma_table_info('t') WHERE pk") == [("id",)]


def test_a_table_that_goes_over_to_delta_updates_lets_keys_repeat(file):
    binding = file.binding()
    file.create(binding)
    file.query("INSERT INTO t VALUES (1, 'x', '{}')")
    file.apply(AllowRepeats(file.binding(delta=True), file.table("t")))
    file.query("INSERT INTO t VALUES (1, 'y', '{}')")
    assert file.query("SELECT id, v FROM t ORDER BY v") == [(1, "x"), (1, "y")]


def test_a_crash_in_the_middle_of_a_rebuild_changes_nothing(file, armed):
    change = rebuilding(file)
    before = file.query("SELECT * FROM sqlite_master")
    armed("materialize-sqlite.applying=error")
    with pytest.raises(failpoints.FailpointError):
        file.apply(change)
    assert file.query("SELECT * FROM sqlite_master") == before
    assert file.query("SELECT id, v FROM t") == [(1, "x")]


def test_a_table_with_a_generated_column_is_not_rebuilt(file):
    change = rebuilding(file)
    file.query("ALTER TABLE t ADD COLUMN twice INTEGER AS (id * 2)")
    with pytest.raises(ConfigError, match="'twice' is generated"):
        file.apply(change)


MIGRATIONS = [
    ("INTEGER", "REAL", 2**52, float(2**52)),
    ("INTEGER", "TEXT", -(2**63), str(-(2**63))),
    ("INTEGER", "NUMERIC TEXT", 2**63 - 1, str(2**63 - 1)),
    ("INTEGER", "JSON TEXT", 7, "7"),
    ("NUMERIC TEXT", "TEXT", "1.10", "1.10"),
    ("REAL", "NUMERIC TEXT", 0.1, "0.1"),
    ("REAL", "TEXT", 0.1 + 0.2, "0.30000000000000004"),
    ("REAL", "JSON TEXT", -1.5, "-1.5"),
    ("BOOLEAN", "TEXT", True, "true"),
    ("BOOLEAN", "JSON TEXT", False, "false"),
    ("BLOB", "TEXT", b"\x00\xff", "AP8="),
    ("BLOB", "JSON TEXT", b"\x00\xff", '"AP8="'),
    ("TEXT", "NUMERIC TEXT", "1.0", "1.0"),
    ("TEXT", "JSON TEXT", 'a"☃', '"a\\"☃"'),
    ("JSON TEXT", "TEXT", '{"a": 1.0}', '{"a": 1.0}'),
]


def test_every_migration_is_tried_below():
    assert {(before, after) for before, after, _, _ in MIGRATIONS} == set(SQLITE.migrations)


@pytest.mark.parametrize(("before", "after", "stored", "migrated"), MIGRATIONS)
def test_a_migration_keeps_values_and_nulls(file, before, after, stored, migrated):
    file.query(f'CREATE TABLE t (id INTEGER PRIMARY KEY, "v "" v" {before}, flow_document TEXT)')
    file.query("INSERT INTO t VALUES (1, ?, '{}')", stored)
    file.query("INSERT INTO t VALUES (2, NULL, '{}')")
    field = file.field('v " v', "string")
    columns = [Column(field.column, kind, nullable=True) for kind in (before, after)]
    change = MigrateColumn(file.binding(), file.table("t"), field, *columns)
    assert SQLITE.rules().fit(*columns, field).value == "migratable"
    file.apply(change)
    [(kept,), (null,)] = file.query('SELECT "v "" v" FROM t ORDER BY id')
    assert (kept, type(kept), null) == (migrated, type(migrated), None)
    assert file.table("t").columns[1] == columns[1]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_doubles_become_text_that_reads_back_as_the_same_double(numbers):
    column = Column("n", "REAL", nullable=True)
    expression = migrate.cast(SQLITE, column, Column("n", "TEXT", nullable=True))
    with database(":memory:") as db:
        db.execute("CREATE TABLE t (n REAL)")
        db.executemany("INSERT INTO t VALUES (?)", [(number,) for number in numbers])
        texts = [text for (text,) in db.execute(f"SELECT {expression} FROM t ORDER BY rowid")]
    assert list(map(float, texts)) == numbers
