"""The SQL of every statement in three dialects, and that hostile names stay names."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from estuary_cdk.kits.sql import (
    ANSI,
    ColumnType,
    Dialect,
    Target,
    TargetColumn,
    quoted,
    readings,
    statements,
)
from estuary_cdk.kits.sql.flattening import Kind
from estuary_cdk.materialize import Column

HOSTILE = 'say "hi"; DROP TABLE `x` --'


def on_duplicate(quote: Callable[[str], str], _keys: Sequence[str], others: Sequence[str]) -> str:
    changes = ", ".join(f"{quote(name)} = VALUES({quote(name)})" for name in others)
    return f"ON DUPLICATE KEY UPDATE {changes}"


NUMBERED = replace(ANSI, name="Numbered", placeholder=lambda position: f"${position}")
BACKTICKED = replace(
    ANSI,
    name="Backticked",
    quote=quoted("`"),
    placeholder=lambda _position: "%s",
    upsert=on_duplicate,
    create_suffix=" CHARACTER SET=utf8mb4",
    key_text="VARCHAR(256)",
)
DIALECTS = {"ansi": ANSI, "numbered": NUMBERED, "backticked": BACKTICKED}


class SqlFiles(SingleFileSnapshotExtension):
    _write_mode = WriteMode.TEXT
    file_extension = "sql"


def column(name: str, kind: Kind) -> TargetColumn:
    return TargetColumn(name, ANSI.types.kinds[kind])


TARGET = Target(
    path=("main", HOSTILE),
    keys=(column("id", Kind.INTEGER), column("Select", Kind.STRING)),
    values=(column("naïve ☃", Kind.NUMBER), column("a`b\"c'd", Kind.OBJECT)),
    document=column("flow_document", Kind.OBJECT),
)
COLUMNS = [
    Column("id", "BIGINT", nullable=False),
    Column("Select", "TEXT", nullable=False),
    Column(HOSTILE, "TEXT", nullable=True),
]


def all_statements(dialect: Dialect) -> dict[str, str]:
    path = TARGET.path
    return {
        "create table": statements.create_table(dialect, path, COLUMNS, ["id", "Select"]),
        "create table without a key": statements.create_table(dialect, path, COLUMNS, []),
        "drop table": statements.drop_table(dialect, path),
        "delete all": statements.delete_all(dialect, path),
        "add column": statements.add_column(dialect, path, COLUMNS[2]),
        "drop column": statements.drop_column(dialect, path, HOSTILE),
        "rename column": statements.rename_column(dialect, path, HOSTILE, "tame"),
        "rename table": statements.rename_table(dialect, path, "tame"),
        "fill column": statements.fill_column(dialect, path, HOSTILE, "1 + 1"),
        "copy rows": statements.copy_rows(dialect, path, ("b",), {HOSTILE: "1 + 1"}),
        "insert": statements.insert(dialect, TARGET),
        "insert two": statements.insert(dialect, TARGET, 2),
        "upsert": statements.upsert(dialect, TARGET),
        "update": statements.update(dialect, TARGET),
        "delete": statements.delete(dialect, TARGET),
        "load": statements.load(dialect, TARGET, 2),
        "create staging": statements.create_staging(dialect, "flow_keys_0", TARGET),
        "stage key": statements.stage_key(dialect, "flow_keys_0", TARGET),
        "load staged": statements.load_staged(dialect, "flow_keys_0", TARGET),
        "create checkpoints": statements.create_checkpoints(dialect, ("a.b",)),
        "bump fences": statements.bump_fences(dialect),
        "find fence": statements.find_fence(dialect),
        "insert fence": statements.insert_fence(dialect),
        "update checkpoint": statements.update_checkpoint(dialect),
    }


@pytest.mark.parametrize("name", DIALECTS)
def test_every_statement_reads_as_its_snapshot(name: str, snapshot: SnapshotAssertion):
    told = [f"-- {what}\n{sql};\n" for what, sql in all_statements(DIALECTS[name]).items()]
    assert "\n".join(told) == snapshot(extension_class=SqlFiles)


def test_a_zero_character_is_no_part_of_a_name():
    with pytest.raises(ValueError, match="zero character"):
        ANSI.quote("a\x00b")


NAMES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), min_size=1)


@given(table=NAMES, names=st.lists(NAMES, min_size=2, max_size=4, unique_by=str.lower))
def test_any_text_is_a_name_and_nothing_else(table: str, names: list[str]):
    if table.lower().startswith("sqlite_"):
        return
    db = sqlite3.connect(":memory:")
    try:
        columns = [Column(name, "TEXT", nullable=True) for name in names]
        db.execute(statements.create_table(ANSI, (table,), columns, names[:1]))
        assert [
            row[1] for row in db.execute("SELECT * FROM pragma_table_info(?)", [table])
        ] == names
        into = Target((table,), (column(names[0], Kind.STRING),), (), None)
        db.execute(statements.insert(ANSI, into), ["x"])
        assert db.execute(f"SELECT count(*) FROM {ANSI.quote(table)}").fetchone() == (1,)
    finally:
        db.close()


def test_an_upsert_leaves_columns_it_does_not_name():
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT, mine TEXT)")
    db.execute("INSERT INTO t VALUES (1, 'old', 'kept')")
    into = Target(("t",), (column("id", Kind.INTEGER),), (column("v", Kind.STRING),), None)
    db.execute(statements.upsert(ANSI, into, 2), [1, "new", 2, "other"])
    assert db.execute("SELECT * FROM t").fetchall() == [(1, "new", "kept"), (2, "other", None)]
    db.close()


def test_a_table_of_keys_alone_can_be_upserted():
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY)")
    into = Target(("t",), (column("id", Kind.INTEGER),), (), None)
    db.execute(statements.upsert(ANSI, into), [1])
    db.execute(statements.upsert(ANSI, into), [1])
    assert db.execute("SELECT count(*) FROM t").fetchone() == (1,)
    db.close()


def test_staged_keys_load_what_keys_in_the_statement_load():
    db = sqlite3.connect(":memory:")
    db.execute("CREATE TABLE t (a BIGINT, b TEXT, flow_document TEXT, PRIMARY KEY (a, b))")
    db.executemany(
        "INSERT INTO t VALUES (?, ?, ?)", [(1, "x", "1x"), (1, "y", "1y"), (2, "x", "2x")]
    )
    keys = (column("a", Kind.INTEGER), column("b", Kind.STRING))
    of = Target(("t",), keys, (), column("flow_document", Kind.OBJECT))
    wanted = [(1, "y"), (2, "x"), (3, "z")]
    db.execute(statements.create_staging(ANSI, "k", of))
    db.executemany(statements.stage_key(ANSI, "k", of), wanted)
    staged = db.execute(statements.load_staged(ANSI, "k", of)).fetchall()
    direct = db.execute(statements.load(ANSI, of, 3), [v for key in wanted for v in key]).fetchall()
    assert sorted(staged) == sorted(direct) == [("1y",), ("2x",)]
    db.close()


def test_a_document_is_wrapped_as_its_type_says_where_it_is_stored_and_where_it_is_loaded():
    kind = ColumnType("TEXT", readings.JSON_TEXT, bind="CAST({} AS TEXT)", fetch="CAST({} AS BLOB)")
    keys = (column("id", Kind.INTEGER),)
    of = Target(("t",), keys, (), TargetColumn("flow_document", kind))
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE t (id BIGINT PRIMARY KEY, flow_document TEXT)")
        db.execute(statements.insert(ANSI, of), (1, b'{"n":1.0}'))
        assert db.execute("SELECT flow_document FROM t").fetchall() == [('{"n":1.0}',)]
        assert db.execute(statements.load(ANSI, of, 1), (1,)).fetchall() == [(b'{"n":1.0}',)]


def test_a_target_without_a_document_has_nothing_to_load():
    with pytest.raises(ValueError, match="no document"):
        statements.load(ANSI, replace(TARGET, document=None), 1)
