"""Migrations keep every value, and a crash between any two statements loses nothing."""

import sqlite3

import pytest

from estuary_cdk.errors import ContractError
from estuary_cdk.kits.sql import ANSI, migrate
from estuary_cdk.materialize import Column, Table

PATH = ('t "x"',)
BEFORE = Column('n "quoted"', "BIGINT", nullable=False)
AFTER = Column('n "quoted"', "TEXT", nullable=True)


@pytest.fixture
def db():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    table = ANSI.table(PATH)
    connection.execute(
        f"CREATE TABLE {table} (id BIGINT PRIMARY KEY, {ANSI.quote(BEFORE.name)} BIGINT NOT NULL)"
    )
    connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", [(1, 2**62), (2, -5)])
    yield connection
    connection.close()


def existing(db: sqlite3.Connection) -> Table:
    found = db.execute("SELECT name, type, [notnull] FROM pragma_table_info(?)", PATH)
    return Table(
        PATH, tuple(Column(name, type_, nullable=not strict) for name, type_, strict in found)
    )


def values(db: sqlite3.Connection) -> list[object]:
    return [
        row[1]
        for row in db.execute(f"SELECT id, {ANSI.quote(BEFORE.name)} FROM {ANSI.table(PATH)}")
    ]


STEPS = len(migrate.migrate_column(ANSI, PATH, BEFORE, AFTER))


@pytest.mark.parametrize("crash_after", range(STEPS + 1))
def test_a_migration_resumes_wherever_it_crashed(db, crash_after: int):
    for statement in migrate.migrate_column(ANSI, PATH, BEFORE, AFTER)[:crash_after]:
        db.execute(statement)
    promised = migrate.mended(existing(db))
    for statement in migrate.mend(ANSI, existing(db)):
        db.execute(statement)
    assert existing(db) == promised
    [column] = [each for each in existing(db).columns if each.name == BEFORE.name]
    if column.type == BEFORE.type:
        for statement in migrate.migrate_column(ANSI, PATH, column, AFTER):
            db.execute(statement)
    assert values(db) == [str(2**62), "-5"]
    assert [each.name for each in existing(db).columns] == ["id", BEFORE.name]


def test_a_whole_table_needs_no_mending(db):
    assert migrate.mend(ANSI, existing(db)) == []
    assert migrate.mended(existing(db)) == existing(db)


def test_a_rebuilt_table_keeps_its_rows_in_new_columns(db):
    columns = [Column("id", "BIGINT", nullable=False), AFTER]
    casts = {AFTER.name: migrate.cast(ANSI, BEFORE, AFTER)}
    for statement in migrate.rebuild(ANSI, existing(db), columns, ["id"], casts):
        db.execute(statement)
    assert existing(db) == Table(PATH, tuple(columns))
    assert values(db) == [str(2**62), "-5"]


def test_added_columns_are_null_in_old_rows(db):
    [statement] = migrate.add_columns(ANSI, PATH, [Column("new; --", "TEXT", nullable=True)])
    db.execute(statement)
    assert db.execute(f'SELECT "new; --" FROM {ANSI.table(PATH)}').fetchall() == [(None,), (None,)]


def test_relaxing_is_one_statement_per_column():
    assert migrate.relax(ANSI, ("a", "b"), [BEFORE]) == [
        'ALTER TABLE "a"."b" ALTER COLUMN "n ""quoted""" DROP NOT NULL'
    ]


def test_a_dialect_that_must_rebuild_says_so():
    from dataclasses import replace

    with pytest.raises(ContractError, match="no statement"):
        migrate.relax(replace(ANSI, drop_not_null=None), PATH, [BEFORE])
