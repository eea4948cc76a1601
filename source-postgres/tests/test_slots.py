"""No change is lost in silence with a slot, and what the server lacks is said with its remedy."""

import pytest

from estuary_cdk.errors import ConfigError, TransientError


async def begun(source):
    source.run("create table t (id int primary key)", "insert into t values (1)")
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    # The server takes a moment to notice that nobody reads the slot any more.
    source.run(
        "select pg_terminate_backend(active_pid, 5000) from pg_replication_slots "
        f"where slot_name = '{slot(source)}' and active"
    )
    return built, first


def slot(source) -> str:
    return f"slot_{source.name}"


async def test_a_slot_that_is_gone_is_an_error_with_a_remedy(any_source):
    built, first = await begun(any_source)
    any_source.run(f"select pg_drop_replication_slot('{slot(any_source)}')")
    with pytest.raises(ConfigError, match=r"does not exist any more.*backfill all bindings"):
        await any_source.caught_up(built, first.state)


async def test_a_slot_made_anew_by_another_is_an_error(source):
    built, first = await begun(source)
    source.run(
        f"select pg_drop_replication_slot('{slot(source)}')",
        "insert into t values (2)",
        f"select pg_create_logical_replication_slot('{slot(source)}', 'pgoutput')",
    )
    with pytest.raises(ConfigError, match="moved on or created again"):
        await source.caught_up(built, first.state)


async def test_a_slot_that_was_moved_is_an_error(source):
    built, first = await begun(source)
    source.run(
        "insert into t values (2)",
        f"select pg_replication_slot_advance('{slot(source)}', pg_current_wal_lsn())",
    )
    with pytest.raises(ConfigError, match="changes may be lost"):
        await source.caught_up(built, first.state)


async def test_a_lost_slot_backfills_everything_where_that_was_chosen(source):
    source.advanced["on_slot_loss"] = "backfill"
    built, first = await begun(source)
    source.run(f"select pg_drop_replication_slot('{slot(source)}')", "insert into t values (2)")
    second = await source.caught_up(built, first.state)
    assert [doc["id"] for doc in second.of(0)] == [1, 2]
    assert second.state["cursor"] != first.state["cursor"]


async def test_a_slot_of_another_plugin_or_database_is_refused(source):
    source.run("create table t (id int primary key)")
    source.run(f"select pg_create_logical_replication_slot('{slot(source)}', 'test_decoding')") if (
        (source.cluster.bin.parent / "lib" / "test_decoding.so").exists()
    ) else source.run(f"select pg_create_physical_replication_slot('{slot(source)}')")
    with pytest.raises(ConfigError, match="can't use replication slot"):
        await source.runtime.build(source.config)


async def test_a_server_behind_the_position_is_refused(source):
    built, first = await begun(source)
    state = first.state | {"cursor": "FFFF/0"}
    with pytest.raises(ConfigError, match="another server"):
        await source.caught_up(built, state)


async def test_what_the_server_lacks_is_told_together(source):
    source.run(
        "create table t (id int primary key)",
        "create role poor login password 'x'",
        "revoke create on schema public from public",
    )
    try:
        source.extra = {"user": "poor"}
        with pytest.raises(ConfigError) as refused:
            await source.runtime.discover(source.config)
        text = str(refused.value)
        assert 'ALTER USER "poor" WITH REPLICATION' in text
        assert 'CREATE PUBLICATION "flow_publication"' in text
        source.run("alter role poor replication", "create publication flow_publication")
        source.extra = {}
        built = await source.runtime.build(source.config)
        source.run("alter publication flow_publication drop table t")
        source.extra = {"user": "poor"}
        with pytest.raises(ConfigError) as refused:
            await source.runtime.build(source.config)
        assert 'GRANT SELECT ON "public"."t" TO "poor"' in str(refused.value)
        assert 'ADD TABLE "public"."t"' in str(refused.value)
        assert built
    finally:
        source.run("drop owned by poor", "drop role poor")


async def test_a_wrong_database_is_named(source):
    source.extra = {"database": "nowhere"}
    with pytest.raises(ConfigError, match="'nowhere' does not exist"):
        await source.runtime.discover(source.config)


async def test_a_server_that_isnt_there_is_worth_another_try(source):
    source.extra = {"address": "127.0.0.1:1"}
    with pytest.raises(TransientError, match="can't connect"):
        await source.runtime.discover(source.config)


async def test_poolers_are_refused(source):
    source.extra = {"address": "db.pooler.supabase.com:5432"}
    with pytest.raises(ConfigError, match="must be a direct connection"):
        await source.runtime.discover(source.config)
