"""Tables of every kind: what identifies their rows, how wide they are, and what becomes of them."""

import msgspec
import pytest

from estuary_cdk.errors import ConfigError
from estuary_cdk.testing.runtime import reduced

IDENTITIES = {
    "default": "alter table t replica identity default",
    "full": "alter table t replica identity full",
    "index": "alter table t replica identity using index other",
}


def without_meta(document) -> dict:
    return {name: value for name, value in document.items() if name != "_meta"}


@pytest.mark.parametrize("identity", IDENTITIES)
async def test_deletions_and_changed_keys_carry_the_replica_identity(source, identity):
    source.run(
        "create table t (id int primary key, other int not null, v text)",
        "create unique index other on t (other)",
        IDENTITIES[identity],
        "insert into t values (1, 10, 'a'), (2, 20, 'b')",
    )
    built = await source.runtime.build(source.config)
    key = "other" if identity == "index" else "id"
    assert built.bindings[0].collection.key == [f"/{key}"]
    first = await source.caught_up(built)
    source.run(f"update t set {key} = {key} + 100 where id = 1", "delete from t where v = 'b'")
    second = await source.caught_up(built, first.state)
    changed, gone = (1, 2) if key == "id" else (10, 20)
    whole = identity == "full"
    row = {"id": 1, "other": 10, "v": "a"}
    assert [(doc["_meta"]["op"], without_meta(doc)) for doc in second.of(0)] == [
        ("d", row if whole else {key: changed}),
        ("c", row | {key: changed + 100}),
        ("d", {"id": 2, "other": 20, "v": "b"} if whole else {key: gone}),
    ]
    [left] = reduced(first.documents + second.documents, built)[0].values()
    assert left == row | {key: changed + 100}


async def test_a_table_that_identifies_no_rows_tells_of_new_ones(source):
    source.run(
        "create table t (id int primary key, v text)",
        "alter table t replica identity nothing",
        "create publication flow_publication for table t",
        "insert into t values (1, 'a')",
    )
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run("insert into t values (2, 'b')")
    second = await source.caught_up(built, first.state)
    told = [without_meta(doc) for doc in first.of(0) + second.of(0)]
    assert told == [{"id": 1, "v": "a"}, {"id": 2, "v": "b"}]


async def test_a_table_of_1600_columns_is_captured(source):
    names = [f"c{index}" for index in range(1600)]
    columns = ", ".join(f"{name} bool" for name in names[1:])
    source.run(
        f"create table t (c0 int primary key, {columns})",
        "insert into t (c0, c1, c1599) values (1, true, false)",
    )
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run("update t set c800 = true")
    second = await source.caught_up(built, first.state)
    row = dict.fromkeys(names) | {"c0": 1, "c1": True, "c1599": False}
    assert without_meta(first.of(0)[0]) == row
    assert without_meta(second.of(0)[0]) == row | {"c800": True}


async def test_columns_that_change_while_the_capture_runs_are_captured_as_they_are(source):
    source.run(
        "create table t (id int primary key, a int, b int, "
        "g int generated always as (a * 2) stored)",
        "insert into t (id, a, b) values (1, 1, 1)",
    )
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run(
        "insert into t (id, a, b) values (2, 2, 2)",
        "alter table t drop column b",
        "insert into t (id, a) values (3, 3)",
        "alter table t drop column g, alter column a type text using 'n' || a",
        "insert into t (id, a) values (4, 'four')",
        "alter table t rename column a to z",
        "insert into t (id, z) values (5, 'five')",
    )
    second = await source.caught_up(built, first.state)
    assert [without_meta(doc) for doc in first.of(0) + second.of(0)] == [
        {"id": 1, "a": 1, "b": 1},
        {"id": 2, "a": 2, "b": 2},
        {"id": 3, "a": 3},
        {"id": 4, "a": "four"},
        {"id": 5, "z": "five"},
    ]


async def test_leaves_are_captured_as_tables_where_they_are_asked_for(source):
    source.run(
        "create table p (id int primary key, v int) partition by range (id)",
        "create table p1 partition of p for values from (0) to (10)",
        "create table p2 partition of p for values from (10) to (20)",
        "insert into p values (1, 1), (11, 1)",
    )
    source.advanced["capture_as_partitions"] = True
    built = await source.runtime.build(source.config)
    assert [binding.resource_path[1] for binding in built.bindings] == ["p1", "p2"]
    first = await source.caught_up(built)
    source.run("update p set v = 2")
    second = await source.caught_up(built, first.state)
    for index, row in enumerate([1, 11]):
        told = [without_meta(doc) for doc in first.of(index) + second.of(index)]
        assert told == [{"id": row, "v": 1}, {"id": row, "v": 2}]


async def test_a_truncated_table_is_read_again_behind_its_truncation(source):
    source.run("create table t (id int primary key)", "insert into t values (1), (2)")
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run("insert into t values (3)", "truncate t", "insert into t values (4)")
    second = await source.caught_up(built, first.state)
    state = second.state["bindingStateV1"][next(iter(second.state["bindingStateV1"]))]
    assert (state["mode"], state["backfilled"]) == ("Active", 1)
    assert [doc["id"] for doc in second.of(0)][-1] == 4
    assert msgspec.json.encode(second.of(0)[-1]).count(b'"snapshot":true') == 1


async def test_a_key_that_deletions_do_not_tell_is_refused_with_its_remedy(source):
    source.run(
        "create table t (id int primary key, other int not null, v text)",
        "create unique index other on t (other)",
    )
    built = await source.runtime.build(source.config)
    assert built.bindings[0].collection.key == ["/id"]
    first = await source.caught_up(built)
    source.run("alter table t replica identity using index other")
    with pytest.raises(ConfigError, match="do not tell its column 'id'") as refused:
        await source.caught_up(built, first.state)
    assert 'ALTER TABLE "public"."t" REPLICA IDENTITY FULL' in str(refused.value)
    source.run(
        "alter table t replica identity full", "insert into t values (1, 10, 'a')",
        "update t set id = 2", "delete from t",
    )  # fmt: skip
    second = await source.caught_up(built, first.state)
    told = [(doc["_meta"]["op"], doc["id"]) for doc in second.of(0)]
    assert told == [("c", 1), ("d", 1), ("c", 2), ("d", 2)]
