"""What the server lacks is told together, and running the SQL that is told mends it."""

import os

import msgspec
import psycopg
import pytest
from source_databases import Source

from estuary_cdk.errors import ConfigError
from estuary_cdk.testing.postgres import postgres
from source_postgres.prerequisites import Problem, version_problems


@pytest.fixture
def poor(source):
    """A user who may log in, and nothing else."""
    name = f"poor_{source.name}"
    source.run(f"create role {name} login password 'x'")
    source.extra = {"user": name}
    yield name
    source.run(f"drop owned by {name}", f"drop role {name}")


async def refused(source, built=None) -> list[Problem]:
    """Return the problems that a validation, or else a discovery, lists."""
    if built is None:
        asking = source.runtime.discover(source.config)
    else:
        asking = source.runtime.validate(changed(source, built))
    with pytest.raises(ConfigError) as error:
        await asking
    return error.value.problems


def changed(source, built):
    return msgspec.structs.replace(built, config=msgspec.Raw(msgspec.json.encode(source.config)))


def mend(source, problems, *causes: str) -> None:
    """Check the causes, one by one, and run what mends them."""
    assert len(problems) == len(causes), [str(problem) for problem in problems]
    for problem, cause in zip(problems, causes, strict=True):
        assert cause in problem.cause
        assert problem.sql, problem
        source.run(*problem.sql)


async def test_all_that_a_user_lacks_is_told_and_mended(source, poor):
    source.run('create schema "S"', 'create table "S"."T" (id int primary key, v text)')
    source.run('insert into "S"."T" values (1, \'x\')')
    problems = await refused(source)
    mend(source, problems, "must have the REPLICATION role", "publication 'flow_publication' does")
    source.extra = {}
    built = await source.runtime.build(source.config)
    source.run('alter publication flow_publication drop table "S"."T"')
    source.extra = {"user": poor}
    mend(source, await refused(source, built), "cannot use its schema")
    mend(source, await refused(source, built), "cannot read from table 'S.T'", "couldn't be added")
    await source.runtime.validate(changed(source, built))
    session = await source.caught_up(changed(source, built))
    assert [doc["id"] for doc in session.of(0)] == [1]


async def test_a_column_that_may_not_be_read_is_named(source, poor):
    source.run("create table t (id int primary key, secret text)")
    built = await source.runtime.build(source.config | {"user": "postgres"})
    source.run(f"alter role {poor} replication", f"grant select (id) on t to {poor}")
    [problem] = await refused(source, built)
    assert "columns ['secret'] of table 'public.t'" in problem.cause
    mend(source, [problem], "cannot read")
    await source.runtime.validate(changed(source, built))


async def test_a_publication_without_all_changes_is_mended(source):
    source.run("create publication flow_publication with (publish = 'insert')")
    mend(source, await refused(source), "leaves out changes")
    await source.runtime.discover(source.config)


async def test_a_publication_is_made_as_it_has_to_be_for_partitions(source):
    source.run("create table p (id int primary key) partition by range (id)")
    source.run("create table p1 partition of p for values from (0) to (10)")
    for leaves, table in ((False, "p"), (True, "p1")):
        source.run("drop publication if exists flow_publication")
        source.advanced["capture_as_partitions"] = leaves
        built = await source.runtime.build(source.config)
        assert built.bindings[0].resource_path == ["public", table]
        first = await source.caught_up(built)
        source.run("truncate p", f"insert into p values ({1 + leaves})")
        second = await source.caught_up(built, first.state)
        assert 1 + leaves in [doc["id"] for doc in second.of(0)]


@pytest.mark.parametrize("leaves", [False, True])
async def test_a_publication_that_hides_partitions_or_roots_is_mended(source, leaves):
    source.run(
        "create table p (id int primary key) partition by range (id)",
        "create table p1 partition of p for values from (0) to (10)",
        "create publication flow_publication for table p",
        f"alter publication flow_publication set (publish_via_partition_root = {leaves})",
    )
    source.advanced["capture_as_partitions"] = leaves
    with pytest.raises(ConfigError) as error:
        await source.runtime.build(source.config)
    mend(source, error.value.problems, "would be captured")
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run("insert into p values (5)")
    second = await source.caught_up(built, first.state)
    assert [doc["id"] for doc in second.of(0)] == [5]


@pytest.mark.parametrize(
    "table",
    [
        "create table t (id int)",
        "create table t (id int primary key deferrable)",
        "create table t (id int primary key); alter table t replica identity nothing",
    ],
)
async def test_no_table_is_published_whose_updates_would_then_fail(source, table):
    source.run(*table.split(";"), "insert into t values (1)")
    with pytest.raises(ConfigError) as error:
        await source.runtime.build(source.config)
    source.run("update t set id = 2")
    mend(source, error.value.problems, "has no replica identity")
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run("update t set id = 3")
    second = await source.caught_up(built, first.state)
    assert second.of(0)[-1]["id"] == 3


async def test_a_published_table_without_identity_is_warned_of(source, caplog):
    source.run("create table t (id int)", "create publication flow_publication for table t")
    built = await source.runtime.build(source.config)
    assert "updates and deletions of a table without replica identity fail on the server" in (
        caplog.messages
    )
    session = await source.caught_up(built)
    source.run("insert into t values (1)")
    assert [doc["id"] for doc in (await source.caught_up(built, session.state)).of(0)] == [1]


@pytest.mark.parametrize(
    ("made", "why", "mended"),
    [
        (None, "there is no table of that name", False),
        ("create view t as select 1 as id", "it is a view", False),
        ("create unlogged table t (id int primary key)", "it is unlogged", True),
    ],
)
async def test_a_table_that_cant_be_captured_is_told_why(source, made, why, mended):
    source.run("create table t (id int primary key)")
    built = await source.runtime.build(source.config)
    source.run("drop table t", *([made] if made else []))
    problems = await refused(source, built)
    assert why in problems[0].cause
    if mended:
        source.run(*problems[0].sql)
        await source.runtime.validate(built)


def test_an_old_version_is_told():
    [problem] = version_problems(110022)
    assert "minimum supported Postgres version is 12.0" in str(problem)
    assert "11.22" in str(problem)
    assert not version_problems(120000)


def restart(source) -> None:
    source.connection.close()
    source.cluster.stop()
    source.cluster.start()
    source.connection = psycopg.connect(
        source.cluster.conninfo, dbname=source.name, autocommit=True
    )


async def test_a_server_that_isnt_set_up_is_mended_with_one_restart():
    settings = {"wal_level": "replica", "max_replication_slots": "1", "max_wal_senders": "1"}
    name = f"d{os.urandom(5).hex()}"
    with postgres(settings=settings) as cluster, cluster.new_database(name):
        source = Source(cluster, name)
        source.run("create table t (id int primary key)", "insert into t values (1)")
        source.run("select pg_create_physical_replication_slot('other')")
        with psycopg.connect(cluster.conninfo, replication="true", autocommit=True):
            problems = await refused(source)
        for problem in problems:
            assert problem.sql[-1].startswith("ALTER SYSTEM") == ("restart" in problem.how)
        mend(
            source,
            problems,
            "current wal_level = 'replica'",
            "all 1 replication slots are in use",
            "all 1 WAL senders are in use",
        )
        restart(source)
        built = await source.runtime.build(source.config)
        session = await source.caught_up(built)
        assert [doc["id"] for doc in session.of(0)] == [1]
        source.connection.close()


async def test_a_slot_of_ours_that_is_in_use_isnt_counted_against_us():
    settings = {"max_replication_slots": "1", "max_wal_senders": "1"}
    name = f"d{os.urandom(5).hex()}"
    with postgres(settings=settings) as cluster, cluster.new_database(name):
        source = Source(cluster, name)
        source.run("create table t (id int primary key)")
        built = await source.runtime.build(source.config)

        found = []

        def ask(session) -> bool:
            # The slot and the WAL sender are taken, by this very capture.
            rows = source.run("select count(*) from pg_replication_slots where active")
            found.append(rows[0][0])
            return bool(rows[0][0])

        session = await source.running(built, None, ask)
        assert found[-1] == 1
        await source.caught_up(built, session.state)
        source.connection.close()


async def test_a_limit_of_the_wal_that_is_kept_is_reported(clusters, caplog):
    caplog.set_level("INFO")
    with postgres(settings={"max_slot_wal_keep_size": "512MB"}) as cluster:
        name = f"d{os.urandom(5).hex()}"
        with cluster.new_database(name):
            source = Source(cluster, name)
            await source.runtime.discover(source.config)
            source.connection.close()
    said = next(record for record in caplog.records if "beyond a limit" in record.message)
    assert "max_slot_wal_keep_size = -1" in str(vars(said))
