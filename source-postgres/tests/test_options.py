"""Each option does what its description says."""

import msgspec
import pytest

from estuary_cdk.clock import SystemClock
from estuary_cdk.errors import ConfigError
from estuary_cdk.testing.runtime import CaptureRuntime, reduced
from source_postgres import capture


def names(found) -> list[str]:
    return [msgspec.json.decode(each.resource_config)["stream"] for each in found]


def with_resource(built, index: int, **changes):
    binding = built.bindings[index]
    resource = msgspec.json.decode(binding.resource_config) | changes
    bindings = list(built.bindings)
    bindings[index] = msgspec.structs.replace(
        binding, resource_config=msgspec.Raw(msgspec.json.encode(resource))
    )
    return msgspec.structs.replace(built, bindings=bindings)


def reconfigured(source, built):
    config = msgspec.Raw(msgspec.json.encode(source.config))
    return msgspec.structs.replace(built, config=config)


async def test_a_backfill_leaves_out_rows_older_than_a_transaction(source):
    source.run("create table t (id int primary key, v int)", "insert into t values (1, 0), (2, 0)")
    [[xid]] = source.run("select (txid_current() % (2^32)::bigint)::text")
    source.run("insert into t values (3, 0)", "update t set v = 1 where id = 2")
    source.advanced["min_backfill_xid"] = xid
    for mode in ("", "Normal", "Without Primary Key"):
        built = with_resource(await source.runtime.build(source.config), 0, mode=mode)
        first = await source.caught_up(built)
        assert sorted(doc["id"] for doc in first.of(0)) == [2, 3]
    source.run("update t set v = 9 where id = 1")
    second = await source.caught_up(built, first.state)
    assert [doc["id"] for doc in second.of(0)] == [1]


@pytest.mark.parametrize("skipped", ["public.a", " public.a , x.y", "*.*"])
async def test_backfills_are_skipped_by_name(source, skipped):
    for table in "ab":
        source.run(f"create table {table} (id int primary key)", f"insert into {table} values (1)")
    source.advanced["skip_backfills"] = skipped
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    assert first.of(0) == []
    assert len(first.of(1)) == (0 if skipped == "*.*" else 1)
    source.run("insert into a values (2)", "insert into b values (2)")
    second = await source.caught_up(built, first.state)
    assert [[doc["id"] for doc in second.of(index)] for index in (0, 1)] == [[2], [2]]


@pytest.mark.parametrize(
    ("filters", "advanced", "found"),
    [
        ({}, {}, ["listed"]),
        ({"discover_unpublished_tables": True}, {}, ["Data", "listed", "orders", "orders_2"]),
        (
            {"discover_unpublished_tables": True, "include_schemas": ["sales"]},
            {},
            ["orders", "orders_2"],
        ),
        (
            {"discover_unpublished_tables": True, "include_schemas": ["sales"]},
            {"discover_schemas": ["public"]},
            ["Data", "listed", "orders", "orders_2"],
        ),
        (
            {"discover_unpublished_tables": True, "exclude_schemas": ["sales"]},
            {},
            ["Data", "listed"],
        ),
        (
            {"discover_unpublished_tables": True, "table_patterns": ["orders*", "public.D?ta"]},
            {},
            ["Data", "orders", "orders_2"],
        ),
        (
            {"discover_unpublished_tables": True, "table_patterns": ["sales.orders\\_?", "data"]},
            {},
            ["orders_2"],
        ),
    ],
)
async def test_discovery_lists_what_its_filters_let_through(source, filters, advanced, found):
    source.run(
        "create schema sales",
        "create table sales.orders (id int primary key)",
        "create table sales.orders_2 (id int primary key)",
        'create table "Data" (id int primary key)',
        "create table listed (id int primary key)",
        "create table flow_checkpoints_v1 (id int primary key)",
        "create table flow_watermarks (slot text primary key)",
        "create table materialized (id int primary key, flow_published_at timestamptz)",
        "create view seen as select 1 as id",
        "create unlogged table fast (id int primary key)",
        "create publication flow_publication for table listed",
    )
    source.advanced |= advanced
    source.extra = {"discoveryFilters": filters}
    assert sorted(names(await source.runtime.discover(source.config))) == found


async def test_history_keeps_every_change_apart(source):
    source.run("create table t (id int primary key)")
    source.extra["historyMode"] = True
    [found] = await source.runtime.discover(source.config)
    [meta, _] = msgspec.json.decode(found.document_schema)["allOf"]
    kept = meta["properties"]["_meta"]["properties"]["source"]["reduce"]
    assert kept == {"strategy": "lastWriteWins", "associative": False}
    source.extra["historyMode"] = False
    [found] = await source.runtime.discover(source.config)
    [meta, _] = msgspec.json.decode(found.document_schema)["allOf"]
    assert "reduce" not in meta["properties"]["_meta"]["properties"]["source"]


async def test_the_tag_goes_with_every_document(source):
    source.run("create table t (id int primary key)", "insert into t values (1)")
    source.advanced["source_tag"] = 'eu "1"'
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run("insert into t values (2)", "delete from t where id = 1")
    second = await source.caught_up(built, first.state)
    tags = [doc["_meta"]["source"]["tag"] for doc in first.of(0) + second.of(0)]
    assert tags == ['eu "1"'] * 3


async def test_a_read_only_capture_writes_nothing(source):
    user = f"reader_{source.name}"
    source.run(
        "create table t (id int primary key)",
        "create table u (id int primary key)",
        "insert into t values (1)",
        "create publication flow_publication for table t",
        f"create role {user} superuser login",
        f"alter role {user} set default_transaction_read_only = on",
    )
    try:
        source.extra["user"] = user
        source.advanced["read_only_capture"] = True
        with pytest.raises(ConfigError, match=r'ADD TABLE "public"\."u"'):
            await source.runtime.build(source.config)
        source.run("drop table u")
        built = await source.runtime.build(source.config)
        first = await source.caught_up(built)
        source.run("insert into t values (2)")
        second = await source.caught_up(built, first.state)
        assert [doc["id"] for doc in first.of(0) + second.of(0)] == [1, 2]
        source.run("drop publication flow_publication")
        with pytest.raises(ConfigError, match="run as a superuser: CREATE PUBLICATION"):
            await source.runtime.build(source.config)
    finally:
        source.run(f"drop role {user}")


async def test_rediscovery_comes_at_its_interval(source):
    source.run("create table t (id int primary key)")
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.advanced["rediscovery_interval"] = "1m"

    altered = []

    class Jumping:
        """A clock on which an interval passes at once, when there is something to discover."""

        def __init__(self) -> None:
            clock = SystemClock()
            self.now, self.sleep, self._monotonic = clock.now, clock.sleep, clock.monotonic

        def monotonic(self) -> float:
            return self._monotonic() + (100.0 if altered else 0.0)

    async def serve(reader, writer) -> None:
        await capture.serve(reader, writer, clock=Jumping())

    source.runtime = CaptureRuntime(serve)

    def alter(session) -> bool:
        if session.checkpoints and not altered:
            altered.append(1)
            source.run("alter table t add column extra text")
        return any(b'"extra"' in schema for _, schema in session.schemas[1:])

    session = await source.running(reconfigured(source, built), first.state, alter)
    assert b'"extra"' in session.schemas[-1][1]
    assert session.documents == []


async def test_generated_columns_are_left_out_everywhere(any_source):
    stored = "full_name text generated always as (name || '!') stored"
    source = any_source
    source.run(
        f"create table t (id int primary key, name text, {stored})",
        "insert into t (id, name) values (1, 'a')",
    )
    if source.cluster.version >= 18:
        source.run("alter table t add column twice text generated always as (name || name) virtual")
        source.run(
            "create publication flow_publication for table t "
            "with (publish_via_partition_root = true, publish_generated_columns = stored)"
        )
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run("insert into t (id, name) values (2, 'b')", "update t set name = 'c' where id = 1")
    second = await source.caught_up(built, first.state)
    [collection] = reduced(first.documents + second.documents, built)
    assert sorted(collection.values(), key=lambda row: row["id"]) == [
        {"id": 1, "name": "c"},
        {"id": 2, "name": "b"},
    ]


async def test_a_key_of_a_generated_column_is_none(source):
    source.run("create table t (v int, id int generated always as (v + 1) stored primary key)")
    source.run("alter table t replica identity full")
    [found] = await source.runtime.discover(source.config)
    assert found.is_fallback_key
    assert msgspec.json.decode(found.resource_config)["mode"] == "Without Primary Key"


@pytest.mark.parametrize("timeout", ["", "0", "30s", "30m"])
async def test_queries_have_the_time_they_are_given(source, timeout):
    source.run("create table t (id int primary key)", "insert into t values (1)")
    source.advanced["statement_timeout"] = timeout
    built = await source.runtime.build(source.config)
    assert len((await source.caught_up(built)).of(0)) == 1
