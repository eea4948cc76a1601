import sqlite3
import sys
from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk import failpoints
from estuary_cdk.errors import ConfigError, RemoteProtocolError
from estuary_cdk.protocol.flow import FULL_RANGE
from flow_local.connectors import local
from flow_local.recovery import Commit, TaskRecord, opened
from flow_local.schema.projections import projections
from flow_local.schema.shape_schemas import shape_of
from flow_local.tasks.shards import Part, handed_over, owned, ranges, record_of, recorded

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
    assert recorded(names) == ranges(2)
    assert recorded([]) == [FULL_RANGE]


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


async def test_any_number_of_shards_may_follow_any_other(stage, table):
    counts = (1, 2, 3, 1)  # Into parts, across each other, into one.
    for run, count in enumerate(counts, start=1):
        await stage.publish(*({"id": i, "n": 1} for i in range(50)), schema=SUMS)
        progress = await stage.run(table.task(count))
        assert progress.bindings[0].documents == 50
        rows = table.query("SELECT id, n FROM events ORDER BY id")
        assert rows == [(i, run) for i in range(50)]
        with opened(stage.path) as database:
            assert recorded(database.shards("acme/destination")) == ranges(count)
    await stage.run(table.task(counts[-1]))
    assert table.query("SELECT sum(n) FROM events") == [(50 * len(counts),)]


@pytest.mark.parametrize("point", ["recut.settled", "recut.adopted"])
async def test_a_change_of_shards_that_is_cut_off_is_made_again(stage, table, point):
    async def published(count):
        await stage.publish(*({"id": i, "n": 1} for i in range(20)), schema=SUMS)
        await stage.run(table.task(count))

    await published(2)
    await published(1)  # What the two had read stays in the destination, and is out of date.
    failpoints.arm(f"{point}=error")
    with pytest.raises(failpoints.FailpointError):
        await published(2)
    await published(2)
    assert table.query("SELECT id, n FROM events ORDER BY id") == [(i, 4) for i in range(20)]


async def test_shards_are_joined_where_the_destination_says_they_ended(stage, table):
    async def crashed(*names):
        async with stage.world() as world:  # As if our last commit hadn't been made.
            for name in names:
                await world.recovery.commit(Commit(name, checkpoint=before[name]))

    names = [record_of("acme/destination", each) for each in ranges(2)]
    await stage.publish(*({"id": i, "n": 1} for i in range(20)), schema=SUMS)
    await stage.run(table.task(2))
    async with stage.world() as world:
        before = {name: (await world.recovery.task(name)).checkpoint for name in names}
    await stage.publish(*({"id": i, "n": 1} for i in range(30)), schema=SUMS)
    await stage.run(table.task(2))
    await crashed(names[0])
    await stage.run(table.task(1))
    assert table.query("SELECT sum(n), count(*) FROM events") == [(50, 30)]


async def test_shards_whose_connectors_keep_different_states_stay_apart(stage, tmp_path):
    task = stage.materialization_task({"path": str(tmp_path / "out.db")})
    await stage.publish(*({"id": i} for i in range(5)))
    await stage.run(replace(task, shards=2))
    with opened(stage.path) as database:
        before = {name: database.task(name) for name in database.shards(task.name)}
    with pytest.raises(ConfigError) as failure:
        await stage.run(task)
    assert str(failure.value) == (
        "can't change the number of shards of 'acme/destination': their connectors keep different "
        "states at '/stores', which can't be one (set their count back, or reset the task: "
        "flow-local reset acme/destination)"
    )
    with opened(stage.path) as database:
        assert {name: database.task(name) for name in database.shards(task.name)} == before
    await stage.publish({"id": 9})
    await stage.run(replace(task, shards=2))


def test_what_shards_keep_is_handed_to_whoever_gets_a_part_of_their_range():
    halves = [
        Part(each, TaskRecord(state=state, checkpoint=b"{}", max_keys=max_keys))
        for each, state, max_keys in zip(
            ranges(2),
            [b'{"a":{"x":1.0}}', b'{"a":{"x":1.0,"y":2},"b":[]}'],
            [{"k": b"2"}, {"k": b"3", "l": b"1"}],
            strict=True,
        )
    ]
    first, middle, last = [handed_over("acme/x", halves, each, []) for each in ranges(3)]
    assert (first.state, dict(first.max_keys)) == (b'{"a":{"x":1.0}}', {"k": b"2"})
    assert middle.state == b'{"a":{"x":1.0,"y":2},"b":[]}'
    assert dict(middle.max_keys) == dict(last.max_keys) == {"k": b"3", "l": b"1"}


def test_shards_that_stopped_at_different_places_of_what_is_not_read_stay_apart():
    records = [
        TaskRecord(checkpoint=b'{"sources":{"acme/events;s":{"readThrough":"%d"}}}' % offset)
        for offset in (10, 20)
    ]
    parts = [Part(each, record) for each, record in zip(ranges(2), records, strict=True)]
    assert handed_over("acme/x", parts, FULL_RANGE, []).checkpoint
    with pytest.raises(ConfigError, match="they have read 'acme/events' up to different places"):
        handed_over("acme/x", parts, FULL_RANGE, ["acme/events;s"])


@pytest.mark.parametrize("count", [1, 3])
async def test_state_that_apply_returns_is_that_of_all_shards(stage, tmp_path, count):
    config = {"path": str(tmp_path / "out.db"), "apply_states": [{"a": 1}, {"b": 2}]}
    task = replace(stage.materialization_task(config), shards=count)
    for _ in range(2):
        await stage.run(task)
        with opened(stage.path) as database:
            states = [
                msgspec.json.decode(database.task(record_of(task.name, each)).state)
                for each in ranges(count)
            ]
        assert states == [{"a": 1, "b": 2}] * count


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
