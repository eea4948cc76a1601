"""Staged rows into their tables: which statement it is, and that it is prepared once."""

import pytest

PREPARED = (
    "select name, prepare_time, statement from pg_prepared_statements where name like 'flow%'"
)
CLOCK = """
create function tick() returns trigger language plpgsql as
$$ begin update ticks set n = n + 1; return new; end $$
"""
TICKS = ("create table ticks (n int)", "insert into ticks values (0)", CLOCK)


def prepared(transactor) -> dict[str, tuple[object, str]]:
    found = transactor._session.execute(PREPARED).fetchall()
    return {name: (when, statement) for name, when, statement in found}


def run(database, transactor, *, changed=(), deleted=(), new=()) -> None:
    if new:
        transactor.store(database.stores(*new))
    if changed:
        transactor.store(database.stores(*changed, exists=True))
    if deleted:
        gone = [(key, None) for key in deleted]
        transactor.store(database.stores(*gone, exists=True, delete=True))
    transactor.commit(b"{}")


def test_each_statement_is_prepared_once_for_all_transactions(any_database):
    database = any_database
    tables = [database.binding("a"), database.binding("b", index=1)]
    database.create(*tables)
    with database.opened(*tables, hard_delete=True) as transactor:
        run(database, transactor, new=[(key, "old") for key in range(9)])
        run(database, transactor, changed=[(1, "x"), (2, "x")], deleted=[3])
        first = prepared(transactor)
        run(database, transactor, changed=[(2, "y"), (4, "y")], deleted=[5])
        assert prepared(transactor) == first
        assert sorted(first) == ["flow_delete_0_delete_staged", "flow_store_0"]
        assert "ON CONFLICT" in first["flow_store_0"][1]
    found = dict(database.run("select id, v from a"))
    assert found == {0: "old", 1: "x", 2: "y", 4: "y", 6: "old", 7: "old", 8: "old"}


def test_a_plan_of_joins_is_made_anew_for_tables_that_grew(database):
    table = database.binding()
    database.create(table)
    with database.opened(table, hard_delete=True) as transactor:
        run(database, transactor, new=[(1, "a"), (2, "b"), (3, "c")])
        run(database, transactor, deleted=[1])
        first = prepared(transactor)
        run(database, transactor, new=[(key, "more") for key in range(10, 500)])
        run(database, transactor, deleted=[2])
        assert prepared(transactor) != first
    assert database.run("select count(*) from t") == [(491,)]


def test_columns_that_change_within_a_session_are_stored_into(database):
    table = database.binding(values=[database.field("v", "integer")])
    database.create(table)
    with database.opened(table) as transactor:
        run(database, transactor, new=[(1, 1), (2, 2)])
        run(database, transactor, changed=[(1, 10)])
        run(database, transactor, changed=[(1, 2**70), (2, 20)])
        database.run('alter table t add column theirs int, alter column "v" drop not null')
        run(database, transactor, changed=[(2, 30)])
    assert database.run("select id, v from t order by id") == [(1, 2**70), (2, 30)]


def test_a_row_that_is_missing_comes_back_where_changes_are_updates(database):
    database.run(*TICKS)
    table = database.binding()
    database.create(table)
    with database.opened(table) as transactor:
        run(database, transactor, new=[(1, "a"), (2, "b")])
    database.run(SIDE_EFFECTS["a trigger for inserts"][0], "delete from t where id = 1")
    with database.opened(table) as transactor:
        run(database, transactor, changed=[(1, "x"), (2, "y")])
        names = ["flow_store_0_insert_missing", "flow_store_0_update_staged"]
        assert sorted(prepared(transactor)) == names
    assert database.run("select id, v from t order by id") == [(1, "x"), (2, "y")]
    assert database.run("select n from ticks") == [(1,)]


SIDE_EFFECTS = {
    "nothing": ("", True),
    "a column": ("alter table t add column theirs int", True),
    "an index": ("create index on t (v)", True),
    "a default of ours": ("alter table t alter v set default 'x'", True),
    "a trigger for updates": (
        "create trigger theirs after update on t for each row execute function tick()",
        True,
    ),
    "a trigger for inserts": (
        "create trigger theirs before insert on t for each row execute function tick()",
        False,
    ),
    "a sequence": ("alter table t add column theirs serial", False),
    "an identity": ("alter table t add column theirs int generated always as identity", False),
    "a rule": ("create rule theirs as on insert to t do also update ticks set n = n + 1", False),
    "security of rows": ("alter table t enable row level security", False),
    "no key": ("alter table t drop constraint t_pkey", False),
    "another key": ("alter table t drop constraint t_pkey, add primary key (id, v)", False),
}


@pytest.mark.parametrize("case", SIDE_EFFECTS)
def test_rows_that_change_have_no_effect_that_inserts_have(case, database):
    change, upserts = SIDE_EFFECTS[case]
    database.run(*TICKS)
    table = database.binding()
    database.create(table)
    with database.opened(table) as transactor:
        run(database, transactor, new=[(1, "a"), (2, "b"), (3, "c")])
    database.run(*filter(None, [change]))
    drawn = "select last_value from pg_sequences where schemaname = 'public'"
    before = database.run(drawn)
    with database.opened(table) as transactor:
        run(database, transactor, changed=[(1, "x"), (2, "y")])
        statements = [statement for _, statement in prepared(transactor).values()]
        assert ["ON CONFLICT" in each for each in statements] == [upserts]
    assert database.run("select id, v from t order by id") == [(1, "x"), (2, "y"), (3, "c")]
    assert database.run(drawn) == before
    if case != "a trigger for updates":
        assert database.run("select n from ticks") == [(0,)]
