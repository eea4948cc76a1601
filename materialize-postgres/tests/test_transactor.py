# ruff: noqa: PT012, SIM117 - what fails is anywhere in a session
"""Transactions: fences, splits, zombies, mixtures of new and known keys, deletes, lost rows."""

import re
import threading

import psycopg
import pytest

from estuary_cdk.errors import ConfigError, DataError, Fenced, TransientError
from estuary_cdk.materialize import Keys, RecreateTable, Shard, Stores, TruncateTable
from estuary_cdk.testing.sql_endpoint import mixed, require_emptying_shuts_out
from materialize_postgres.transactor import open_transactor

LOW, HIGH = Shard("acme/task", 0, 0x7FFFFFFF), Shard("acme/task", 0x80000000, 0xFFFFFFFF)


def test_new_and_known_rows_and_deletes_of_one_batch(any_database):
    database = any_database
    binding = database.binding()
    database.create(binding)
    with database.opened(binding, hard_delete=True) as transactor:
        transactor.store(database.stores(*[(key, "old") for key in range(10)]))
        transactor.commit(b"{}")
        rows = [(key, "new", key < 10, key % 5 == 0) for key in range(3, 15)]
        transactor.store(mixed(*rows))
        transactor.commit(b"{}")
    found = dict(database.run("select id, v from t"))
    kept = dict.fromkeys(range(3), "old")
    assert found == kept | {key: "new" for key in range(3, 15) if key % 5}


def test_a_row_that_somebody_deleted_is_there_again(database):
    binding = database.binding()
    database.create(binding)
    with database.opened(binding) as transactor:
        transactor.store(database.stores((1, "a"), (2, "b")))
        transactor.commit(b"{}")
        database.run("delete from t where id = 1")
        transactor.store(database.stores((1, "c"), (2, "d"), exists=True))
        transactor.commit(b"{}")
    assert sorted(database.run("select id, v from t")) == [(1, "c"), (2, "d")]


def test_a_row_that_somebody_inserted_is_an_error_and_nothing_is_kept(database):
    binding = database.binding()
    database.create(binding)
    database.run("insert into t values (2, 'theirs', '{}')")
    with pytest.raises(DataError, match="written by something else"):
        with database.opened(binding) as transactor:
            transactor.store(database.stores((1, "a"), (2, "b")))
            transactor.commit(b"{}")
    assert database.run("select id, v from t") == [(2, "theirs")]


def test_a_transaction_touches_only_the_tables_that_it_has_rows_for(database):
    tables = [database.binding(f"t{index}", index=index) for index in range(30)]
    database.create(*tables)
    with database.opened(*tables) as transactor:
        told: list[str] = []
        for name in ("execute", "copy", "copied_out"):
            whole = getattr(transactor._session, name)

            def spied(sql, *more, whole=whole, **how):
                told.append(sql)
                return whole(sql, *more, **how)

            setattr(transactor._session, name, spied)
        assert database.loaded(transactor, 1, binding=3) == []
        transactor.store(database.stores((1, "a"), binding=7))
        transactor.commit(b"{}")
        assert {word for sql in told for word in re.findall(r"t\d+", sql)} == {"t3", "t7"}
        # Begin, two tables, the checkpoint, commit.
        assert len(told) <= 8


@pytest.mark.parametrize("key", ["a\u0000b", "\u0000", "\ufffd", "x" * 1000])
def test_any_text_may_be_a_key(key, database):
    binding = database.binding(keys=[database.field("id", "string", key=True)])
    database.create(binding)
    with database.opened(binding, hard_delete=True) as transactor:
        for value, exists in (("old", False), ("new", True)):
            batch = database.stores((key, value), exists=exists)
            transactor.store(batch)
            transactor.commit(b"{}")
            assert database.loaded(transactor, key, "another") == batch.documents
        assert database.run("select id, v from t") == [(key.replace("\0", "\ufffd"), "new")]
        transactor.store(database.stores((key, None), exists=True, delete=True))
        transactor.commit(b"{}")
    assert database.run("select id from t") == []


def test_a_table_of_keys_alone(database):
    binding = database.binding(values=[])
    database.create(binding)
    batch = Stores(0, [b"[1]"], [b"[]"], [b'{"id":1}'], [False], [False])
    with database.opened(binding) as transactor:
        transactor.store(batch)
        transactor.commit(b"{}")
        assert database.loaded(transactor, 1, 2) == [b'{"id":1}']


def test_loads_see_what_is_committed_and_nothing_of_the_last_keys(database):
    binding = database.binding()
    database.create(binding)
    with database.opened(binding) as transactor:
        transactor.store(database.stores((1, "a"), (2, "b")))
        transactor.commit(b"{}")
        assert database.loaded(transactor, 1, 3) == [b'{"id":1,"v":"a"}']
        transactor.store(database.stores((1, "c"), exists=True))
        transactor.commit(b"{}")
        assert database.loaded(transactor, 2, 2**70, -(2**70)) == [b'{"id":2,"v":"b"}']


def test_integers_beyond_64_bits_widen_their_column_in_the_middle_of_a_transaction(database):
    field = database.field("v", "integer")
    binding = database.binding(values=[field])
    database.create(binding)
    with database.opened(binding) as transactor:
        transactor.store(database.stores((1, 1), (2, 2)))
        transactor.commit(b"{}")
        transactor.store(database.stores((1, 10), exists=True))
        transactor.store(database.stores((3, 3)))
        transactor.store(database.stores((2**70, 2**80)))
        transactor.store(database.stores((2, -(2**65)), exists=True))
        transactor.commit(b"{}")
        assert len(database.loaded(transactor, 1, 2, 3, 2**70)) == 4
    assert sorted(database.run("select id, v from t")) == [
        (1, 10), (2, -(2**65)), (3, 3), (2**70, 2**80),
    ]  # fmt: skip
    assert [each.type for each in database.table("t").columns][:2] == ["NUMERIC", "NUMERIC"]


def test_a_transaction_larger_than_what_waits_in_memory(database):
    bindings = [database.binding(f"t{index}", index=index) for index in range(3)]
    database.create(*bindings)
    with database.opened(*bindings) as transactor:
        for exists in (False, True):
            for at in range(0, 30_000, 3_000):
                for index in range(3):
                    rows = [(key, "x" * 400) for key in range(at, at + 3_000)]
                    transactor.store(database.stores(*rows, binding=index, exists=exists))
            transactor.commit(b"{}")
    for index in range(3):
        assert database.run(f"select count(*), min(length(v)) from t{index}") == [(30_000, 400)]


def test_a_zombie_is_fenced_and_keeps_nothing(database):
    binding = database.binding()
    database.create(binding)
    with database.opened(binding) as zombie, database.opened(binding) as successor:
        zombie.store(database.stores((1, "zombie")))
        with pytest.raises(Fenced):
            zombie.commit(b'{"n":1}')
        successor.store(database.stores((1, "successor")))
        successor.commit(b'{"n":2}')
    assert database.run("select v from t") == [("successor",)]
    with open_transactor(database.config(), [binding], LOW) as child:
        assert child.fence() == b'{"n":2}'


def test_a_split_takes_over_the_checkpoint_and_a_join_finds_its_own(database):
    binding = database.binding()
    database.create(binding)
    with database.opened(binding) as parent:
        parent.commit(b'{"n":1}')
        with (
            open_transactor(database.config(), [binding], LOW) as low,
            open_transactor(database.config(), [binding], HIGH) as high,
        ):
            assert low.fence() == high.fence() == b'{"n":1}'
            low.commit(b'{"n":2}')
            high.commit(b'{"n":3}')
            with pytest.raises(Fenced):
                parent.commit(b'{"n":4}')
            with database.opened(binding):
                pass
            with pytest.raises(Fenced):
                low.commit(b'{"n":5}')


@pytest.mark.parametrize(
    "emptying",
    [
        TruncateTable,
        lambda binding, there: RecreateTable(binding, there, there.columns, "its key changed"),
    ],
)
def test_a_process_whose_table_is_emptied_under_it_is_shut_out(emptying, database):
    require_emptying_shuts_out(database, emptying)


def test_tasks_dont_fence_each_other(database):
    binding = database.binding()
    database.create(binding)
    other = Shard("acme/other", 0, 0xFFFFFFFF)
    with database.opened(binding) as mine:
        with open_transactor(database.config(), [binding], other) as theirs:
            assert theirs.fence() is None
        mine.commit(b"{}")


def test_a_checkpoint_in_anothers_encoding_is_refused(database):
    binding = database.binding()
    database.create(binding)
    database.run("insert into flow_checkpoints_v1 values ('acme/task', 0, 4294967295, 1, 'CgA=')")
    with pytest.raises(ConfigError, match="isn't JSON"), database.opened(binding):
        pass


@pytest.mark.parametrize("moment", ["store", "commit", "load"])
def test_a_lost_connection_leaves_nothing_of_the_transaction(moment: str, database):
    binding = database.binding()
    database.create(binding)
    others = f"pid <> pg_backend_pid() and datname = '{database.name}'"
    kill = f"select pg_terminate_backend(pid) from pg_stat_activity where {others}"
    with pytest.raises(TransientError):
        with database.opened(binding) as transactor:
            transactor.store(database.stores((1, "a")))
            transactor.commit(b'{"n":1}')
            if moment == "load":
                transactor.stage(Keys(0, [b"[1]"]))
                database.run(kill)
                list(transactor.loaded())
            transactor.store(database.stores(*[(key, "x" * 1000) for key in range(2, 2000)]))
            database.run(kill)
            if moment == "store":
                for at in range(2000, 20_000, 2000):
                    rows = [(key, "x" * 1000) for key in range(at, at + 2000)]
                    transactor.store(database.stores(*rows))
            transactor.commit(b'{"n":2}')
    assert database.run("select id from t") == [(1,)]
    with open_transactor(
        database.config(), [binding], Shard("acme/task", 0, 0xFFFFFFFF)
    ) as next_one:
        assert next_one.fence() == b'{"n":1}'


def test_a_deadlock_ends_the_transaction_as_something_that_passes(database):
    binding = database.binding()
    database.create(binding)
    with database.opened(binding) as transactor:
        transactor.store(database.stores((1, "a"), (2, "b")))
        transactor.commit(b'{"n":1}')
        with psycopg.connect(database.cluster.conninfo, dbname=database.name) as other:
            other.execute("set deadlock_timeout = '10s'")
            other.execute("update t set v = 'theirs' where id = 2")
            transactor.store(database.stores((3, "c")))
            transactor.stage(Keys(0, [b"[1]"]))
            list(transactor.loaded())
            blocked = threading.Thread(target=lambda: blocks(other))
            transactor.store(database.stores((1, "mine"), exists=True))
            transactor._strategy.settle()
            blocked.start()
            while not database.run("select 1 from pg_locks where not granted"):
                pass
            transactor.store(database.stores((2, "mine"), exists=True))
            with pytest.raises(TransientError, match="deadlock"):
                transactor.commit(b'{"n":2}')
            blocked.join()
    assert sorted(database.run("select id, v from t")) == [(1, "theirs"), (2, "theirs")]


def blocks(connection) -> None:
    connection.execute("update t set v = 'theirs' where id = 1")
    connection.commit()


def test_a_read_only_server_is_told(database):
    binding = database.binding()
    database.create(binding)
    database.run(f'alter database "{database.name}" set default_transaction_read_only = on')
    with pytest.raises(ConfigError, match="read-only"), database.opened(binding):
        pass


def test_a_column_of_another_type_is_told(database):
    binding = database.binding()
    database.create(binding)
    database.run("alter table t alter v type int using null")
    with pytest.raises(DataError, match="changed by someone else"):
        with database.opened(binding) as transactor:
            transactor.store(database.stores((1, "text")))
            transactor.commit(b"{}")


def test_a_table_or_column_that_was_dropped_is_told(database):
    binding = database.binding()
    database.create(binding)
    with database.opened(binding) as transactor:
        database.run("alter table t drop v")
        with pytest.raises(ConfigError, match="start the task again"):
            transactor.store(database.stores((1, "text")))
            transactor.commit(b"{}")


@pytest.mark.parametrize("chosen", [False, True])
def test_long_values_are_compressed_by_lz4_where_nobody_chose_otherwise(chosen, any_database):
    database = any_database
    if database.cluster.version < 14:
        pytest.skip("the server has but one way to compress")
    if chosen:
        setting = "set default_toast_compression = 'pglz'"
        database.run(f'alter database "{database.name}" {setting}')
    [(offered,)] = database.run(
        "select 'lz4' = any (enumvals) from pg_settings where name = 'default_toast_compression'"
    )
    binding = database.binding()
    database.create(binding)
    with database.opened(binding) as transactor:
        transactor.store(database.stores((1, "long " * 10_000)))
        transactor.commit(b"{}")
    by = "lz4" if offered and not chosen else "pglz"
    assert database.run("select pg_column_compression(flow_document) from t") == [(by,)]


def test_settings_of_the_user_change_nothing(database):
    database.run(
        f"""alter database "{database.name}" set intervalstyle = 'sql_standard'""",
        f"""alter database "{database.name}" set datestyle = 'German'""",
        f"""alter database "{database.name}" set timezone = 'Asia/Kathmandu'""",
        f"""alter database "{database.name}" set statement_timeout = '200ms'""",
        f"""alter database "{database.name}" set default_transaction_isolation = 'serializable'""",
        f"""alter database "{database.name}" set standard_conforming_strings = off""",
        f"""alter database "{database.name}" set search_path = ''""",
    )
    binding = database.binding()
    database.create(binding)
    database.run(
        "set statement_timeout = 0",
        "create function public.slow() returns trigger language plpgsql as "
        "$$ begin perform pg_sleep(0.25); return new; end $$",
        "create trigger slow before insert on public.t for each row execute function public.slow()",
    )
    with database.opened(binding) as transactor:
        transactor.store(database.stores((1, "a\\b")))
        transactor.commit(b"{}")
        assert database.loaded(transactor, 1) == [b'{"id":1,"v":"a\\\\b"}']
