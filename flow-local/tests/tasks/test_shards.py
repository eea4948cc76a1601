import sqlite3
import sys
from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.errors import ConfigError, RemoteProtocolError
from estuary_cdk.protocol.flow import FULL_RANGE
from flow_local.connectors import local
from flow_local.recovery import Commit, opened
from flow_local.schema.projections import projections
from flow_local.schema.shape_schemas import shape_of
from flow_local.tasks.shards import latest, owned, ranges, record_of

SUMS = (
    b'{"type":"object","required":["id"],"properties":{"id":{"type":"integer"},'
    b'"n":{"type":"integer","reduce":{"strategy":"sum"}}},"reduce":{"strategy":"merge"}}'
)


@given(st.integers(1, 64), st.integers(1, 4))
def test_ranges_cover_all_keys_once_and_those_of_a_multiple_are_parts(count, factor):
    shards = ranges(count)
    assert (shards[0].key_begin, shards[-1].key_end) == (0, 0xFFFFFFFF)
    assert all(a.key_end + 1 == b.key_begin for a, b in pairwise(shards))
    sizes = {each.key_end - each.key_begin for each in shards}
    assert max(sizes) - min(sizes) <= 1
    for part in ranges(count * factor):
        around = [s for s in shards if s.key_begin <= part.key_begin and part.key_end <= s.key_end]
        assert len(around) == 1


@given(st.integers(1, 8), st.lists(st.binary(max_size=8), max_size=9))
def test_every_key_has_one_owner(count, keys):
    answers = [owned(each, keys) for each in ranges(count)]
    assert [sum(column) for column in zip(*answers, strict=True)] == [1] * len(keys)


def test_only_a_single_shard_is_recorded_under_the_tasks_name():
    assert ranges(1) == [FULL_RANGE]
    assert record_of("acme/x", FULL_RANGE) == "acme/x"
    names = [record_of("acme/x", each) for each in ranges(2)]
    assert names == ["acme/x#00000000-7fffffff", "acme/x#80000000-ffffffff"]
    quarters = [record_of("acme/x", each) for each in ranges(4)]
    assert latest([*names, *quarters[:2]]) == [names[1], *quarters[:2]]


@pytest.fixture
def table(stage, tmp_path):
    """A task of SQLite tables with so many shards, and what it stored."""

    class Table:
        path = tmp_path / "out.db"

        def task(self, shards: int):
            task = stage.materialization_task({}, schema=SUMS)
            config = msgspec.Raw(msgspec.json.encode({"path": str(self.path)}))
            [binding] = task.spec.bindings
            resource = msgspec.Raw(b'{"table":"events"}')
            found = projections(shape_of(SUMS), ["/id"])
            binding = msgspec.structs.replace(
                binding,
                resource_config=resource,
                resource_path=["events"],
                collection=msgspec.structs.replace(binding.collection, projections=found),
            )
            spec = msgspec.structs.replace(task.spec, config=config, bindings=[binding])
            endpoint = local([sys.executable, "-m", "materialize_sqlite"])
            return replace(task, spec=spec, endpoint=endpoint, shards=shards)

        def query(self, text: str) -> list[tuple]:
            connection = sqlite3.connect(self.path)
            try:
                return connection.execute(text).fetchall()
            finally:
                connection.close()

    return Table()


async def test_shards_store_each_document_once_and_may_be_cut_in_parts(stage, table):
    for count in (1, 2, 4):
        await stage.publish(*({"id": i, "n": 1} for i in range(50)), schema=SUMS)
        progress = await stage.run(table.task(count))
        assert progress.bindings[0].documents == 50
    rows = table.query("SELECT id, n FROM events ORDER BY id")
    assert rows == [(i, 3) for i in range(50)]
    fences = table.query("SELECT key_begin, key_end FROM flow_checkpoints_v1 ORDER BY 2 - 1, 1")
    assert len(fences) == 7
    with pytest.raises(ConfigError, match="as 2 shards: it has run as 4 shards, and these"):
        await stage.run(table.task(2))
    await stage.run(table.task(4))
    assert table.query("SELECT sum(n) FROM events") == [(150,)]


async def test_parts_of_a_shard_begin_where_the_destination_says_it_ended(stage, table):
    await stage.publish(*({"id": i, "n": 1} for i in range(20)), schema=SUMS)
    await stage.run(table.task(1))
    async with stage.world() as world:
        record = await world.recovery.task("acme/destination")
    await stage.publish(*({"id": i, "n": 1} for i in range(30)), schema=SUMS)
    await stage.run(table.task(1))
    async with stage.world() as world:  # We crashed before our commit.
        await world.recovery.commit(Commit("acme/destination", checkpoint=record.checkpoint))
    await stage.run(table.task(2))
    assert table.query("SELECT sum(n), count(*) FROM events") == [(50, 30)]


async def test_a_reset_task_may_have_any_number_of_shards(stage, table):
    await stage.publish({"id": 1}, schema=SUMS)
    await stage.run(table.task(2))
    with opened(stage.path) as database:
        assert len(database.shards("acme/destination")) == 2
        assert database.tasks() == ["acme/destination", "task of acme/events"]
        database.reset("acme/destination")
        assert database.shards("acme/destination") == []


async def test_a_shard_fences_older_runs_of_its_range_and_no_other_range(stage, table):
    await stage.publish(*({"id": i, "n": 1} for i in range(20)), schema=SUMS)
    await stage.run(table.task(2))
    fences = dict(table.query("SELECT key_begin, fence FROM flow_checkpoints_v1"))
    await stage.run(table.task(2))
    again = dict(table.query("SELECT key_begin, fence FROM flow_checkpoints_v1"))
    assert all(again[begin] == fence + 1 for begin, fence in fences.items())


async def test_shards_of_a_capture_get_ranges_and_share_their_state(stage, tmp_path):
    trace = tmp_path / "trace"
    config = {"by_range": True, "trace": str(trace)}
    task = replace(stage.capture_task(config, schema=SUMS), shards=3)
    await stage.run(task)
    begins = [each.key_begin for each in ranges(3)]
    assert sorted(each["range"] for each in stage.traced(trace) if "range" in each) == begins
    assert await stage.state() == {str(begin): 1 for begin in begins}
    assert sorted(each["id"] for each in await stage.values()) == begins
    await stage.run(replace(task, shards=2))
    assert await stage.state() == {str(b): 1 for b in {*begins, *(r.key_begin for r in ranges(2))}}


async def test_a_shard_that_replaces_the_shared_state_is_refused(stage):
    task = stage.capture_task({"steps": [{"checkpoint": {"a": 1}}]})
    await stage.run(task)
    with pytest.raises(RemoteProtocolError, match="a shard replaces the state that it shares"):
        await stage.run(replace(task, shards=2))
