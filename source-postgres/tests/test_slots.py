"""No change is lost in silence with a slot, and what the server lacks is said with its remedy."""

import os

import psycopg
import pytest
from source_databases import Source

from estuary_cdk.clock import SystemClock
from estuary_cdk.errors import ConfigError, TransientError
from estuary_cdk.kits.sql_cdc import capturing
from estuary_cdk.testing.postgres import postgres, versions
from source_postgres import slots, stream
from source_postgres.config import Config
from source_postgres.database import Postgres
from source_postgres.documents import Origin


async def begun(source):
    source.run("create table t (id int primary key)", "insert into t values (1)")
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    # The server takes a moment to notice that nobody reads the slot any more.
    active = f"from pg_replication_slots where slot_name = '{slot(source)}' and active"
    source.run(f"select pg_terminate_backend(active_pid) {active}")
    while source.run(f"select {active}"):
        source.run("select pg_sleep(0.05)")
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


async def refused_and_mended(source):
    """Discover, be refused for the slot's sake, run what mends that, and capture."""
    source.run("create table t (id int primary key)", "insert into t values (1)")
    with pytest.raises(ConfigError) as refused:
        await source.runtime.build(source.config)
    [problem] = refused.value.problems
    source.run(*problem.sql)
    built = await source.runtime.build(source.config)
    assert [doc["id"] for doc in (await source.caught_up(built)).of(0)] == [1]
    return str(problem)


async def test_a_physical_slot_is_refused(any_source):
    any_source.run(f"select pg_create_physical_replication_slot('{slot(any_source)}')")
    assert "it is a physical slot" in await refused_and_mended(any_source)


async def test_a_slot_of_another_plugin_is_refused(source_15):
    name = slot(source_15)
    source_15.run(f"select pg_create_logical_replication_slot('{name}', 'test_decoding')")
    told = await refused_and_mended(source_15)
    assert "its plugin is 'test_decoding', not 'pgoutput'" in told


async def test_a_slot_of_another_database_is_refused(source):
    make = f"select pg_create_logical_replication_slot('{slot(source)}', 'pgoutput')"
    source.cluster.execute(make)
    assert "it exists in database 'postgres'" in await refused_and_mended(source)


async def test_a_slot_that_another_capture_reads_is_left_alone(source, monkeypatch):
    built, first = await begun(source)
    monkeypatch.setattr(slots, "BUSY_ATTEMPTS", 1)
    connection = psycopg.connect(
        source.cluster.conninfo, dbname=source.name, replication="database", autocommit=True
    )
    try:
        publication = "publication_names 'flow_publication'"
        statement = f"START_REPLICATION SLOT {slot(source)} LOGICAL 0/0 (proto_version '1', "
        connection.pgconn.exec_(f"{statement}{publication})".encode())
        for state in (first.state, None):
            with pytest.raises(TransientError, match="another capture is already running"):
                await source.caught_up(built, state)
    finally:
        connection.close()


async def test_a_slot_is_made_to_follow_a_failover_where_the_server_can(any_source):
    await begun(any_source)
    if any_source.cluster.version >= 17:
        named = f"where slot_name = '{slot(any_source)}'"
        assert any_source.run(f"select failover from pg_replication_slots {named}") == [(True,)]


@pytest.mark.parametrize("version", [each for each in sorted(versions()) if each >= 13])
@pytest.mark.parametrize("choice", ["error", "backfill"])
async def test_a_slot_whose_wal_the_server_dropped_is_lost(version, choice):
    settings = {"max_slot_wal_keep_size": "1MB", "max_wal_size": "32MB", "min_wal_size": "32MB"}
    name = f"d{os.urandom(5).hex()}"
    with postgres(version, settings=settings) as cluster, cluster.new_database(name):
        source = Source(cluster, name)
        source.advanced["on_slot_loss"] = choice
        built, first = await begun(source)
        for row in range(2, 6):
            source.run(f"insert into t values ({row})", "select pg_switch_wal()", "checkpoint")
        named = f"where slot_name = '{slot(source)}'"
        status = source.run(f"select wal_status from pg_replication_slots {named}")
        assert status == [("lost",)]
        if choice == "error":
            with pytest.raises(ConfigError, match="the server invalidated the slot"):
                await source.caught_up(built, first.state)
        else:
            second = await source.caught_up(built, first.state)
            assert [doc["id"] for doc in second.of(0)] == [1, 2, 3, 4, 5]
        source.connection.close()


async def test_a_slot_that_is_about_to_be_lost_is_warned_of(caplog):
    settings = {"max_slot_wal_keep_size": "1MB"}
    name = f"d{os.urandom(5).hex()}"
    with postgres(settings=settings) as cluster, cluster.new_database(name):
        source = Source(cluster, name)
        await begun(source)
        for row in range(2, 6):
            source.run(f"insert into t values ({row})", "select pg_switch_wal()")
        source.connection.close()
        config = Config.model_validate(source.config)
        database = Postgres(config, Origin(), SystemClock())
        try:
            await database.check()
        finally:
            await database.close()
    assert "the server is about to drop changes that the slot needs" in caplog.messages


async def test_a_slot_lost_while_it_is_read_is_known_as_lost(source):
    built, first = await begun(source)
    seen = []

    def drop(session) -> bool:
        if session.checkpoints == 1 and not seen:
            seen.append(1)
            reader = (
                f"select active_pid from pg_replication_slots where slot_name = '{slot(source)}'"
            )
            [[pid]] = source.run(reader)
            source.run(
                f"select pg_terminate_backend({pid}, 5000)",
                f"select pg_drop_replication_slot('{slot(source)}')",
                "insert into t values (2)",
            )
        return False

    with pytest.raises(TransientError):
        await source.caught_up(built, first.state, until=drop)
    with pytest.raises(ConfigError, match="does not exist any more"):
        await source.caught_up(built, source.runtime.sessions[-1].state)


async def test_a_capture_without_the_right_to_send_heartbeats_goes_on(source):
    user = f"plain_{source.name}"
    emitters = [
        f"{name}({', '.join(types)})"
        for name, types in source.run(
            "select proname::text, proargtypes::regtype[]::text[] from pg_proc "
            "where proname = 'pg_logical_emit_message'"
        )
    ]
    source.run(
        f"create role {user} login replication password 'x'",
        "create table t (id int primary key)",
        f"grant select on t to {user}",
        "create publication flow_publication for table t",
        *(f"revoke execute on function {each} from public" for each in emitters),
    )
    try:
        source.extra = {"user": user}
        built = await source.runtime.build(source.config)
        state: dict = {}
        got = []
        for row in range(5):
            # Something that isn't on disk yet, whenever the fence is asked for.
            source.run("set synchronous_commit = off", f"insert into t values ({row})")
            session = await source.caught_up(built, state)
            state = session.state
            got += [doc["id"] for doc in session.of(0)]
        source.run("set synchronous_commit = on", "insert into t values (9)")
        got += [doc["id"] for doc in (await source.caught_up(built, state)).of(0)]
        assert sorted(got) == [0, 1, 2, 3, 4, 9]
    finally:
        source.run(f"drop owned by {user}", f"drop role {user}")


async def test_wal_of_tables_that_arent_captured_doesnt_pile_up(source, monkeypatch):
    monkeypatch.setattr(capturing, "IDLE_CHECKPOINT_S", 0.0)
    monkeypatch.setattr(stream, "FEEDBACK_S", 0.1)
    source.run(
        "create table t (id int primary key)",
        "create table busy (id int, text text)",
        "create publication flow_publication for table t",
    )
    source.extra = {"discoveryFilters": {}}
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    with source.cluster_connection() as connection:
        monitor = (
            "select pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8 "
            f"from pg_replication_slots where slot_name = '{slot(source)}'"
        )
        retained, written = [], []

        def write(session) -> bool:
            # Each is a checkpoint of an idle capture: there is nothing else to commit.
            if len(written) < 30:
                written.append(1)
                connection.execute(
                    b"insert into busy select i, repeat('x', 200) from generate_series(1, 3000) i"
                )
                connection.execute(b"checkpoint")
            else:
                # So that the server sends how far it is even though there is nothing to send.
                connection.execute(b"select pg_log_standby_snapshot()")
            retained.append(source.run(monitor)[0][0])
            return len(written) == 30 and retained[-1] < 1 << 20

        session = await source.running(built, first.state, write)
    assert session.documents == []
    assert sum(written) * 3000 * 200 > 10 << 20
    assert retained[-1] < 1 << 20


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
