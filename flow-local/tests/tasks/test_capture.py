import asyncio
import uuid

import pytest

from estuary_cdk.errors import DataError, RemoteProtocolError
from estuary_cdk.testing.clock import FakeClock
from flow_local.connectors import ConnectorFailed


def emit(*documents, binding=0):
    return {"emit": [binding, *documents]}


async def test_documents_and_state_are_committed_together_and_resumed_from(stage, tmp_path):
    trace = tmp_path / "trace"
    steps = [emit({"id": 1}, {"id": 2}), {"patch": {"a": 1}}, emit({"id": 3}), {"patch": {"b": 2}}]
    task = stage.capture_task({"steps": steps, "trace": str(trace)})
    progress = await stage.run(task)
    documents = await stage.documents()
    assert [document["id"] for document in documents] == [1, 2, 3]
    times = [uuid.UUID(document["_meta"]["uuid"]).time for document in documents]
    assert times == sorted(set(times))
    assert await stage.state() == {"a": 1, "b": 2}
    assert progress.bindings[0].documents == 3
    assert progress.phase == "done"
    await stage.run(task)
    assert stage.traced(trace) == [
        {"apply": {}, "last": None},
        {"open": {}},
        {"apply": {"a": 1, "b": 2}, "last": "v1"},
        {"open": {"a": 1, "b": 2}},
    ]


async def test_a_state_without_merge_patch_replaces_all(stage):
    steps = [{"patch": {"a": 1, "b": {"c": 1}}}, {"patch": {"b": {"c": None}}}]
    await stage.run(stage.capture_task({"steps": steps}))
    assert await stage.state() == {"a": 1, "b": {}}
    await stage.run(stage.capture_task({"steps": [{"checkpoint": {"z": 1}}]}))
    assert await stage.state() == {"z": 1}


async def test_numbers_keep_their_spelling(stage):
    line = '{"captured":{"doc":{"id":1,"x":1.0,"y":1e3,"z":123456789012345678901234567890}}}'
    await stage.run(stage.capture_task({"steps": [{"raw": line}, {"patch": {}}]}))
    async with stage.world() as world:
        text = world.collections.reader("acme/events").read(world.collections.end("acme/events"))
    assert b'"x":1.0,"y":1e3,"z":123456789012345678901234567890}' in text


async def test_an_invalid_document_fails_the_task_and_its_transaction_stays_invisible(stage):
    steps = [
        emit({"id": 1}),
        {"patch": {"a": 1}},
        emit({"id": 2}, {"id": "three"}),
        {"patch": {"a": 2}},
    ]
    with pytest.raises(DataError, match="'acme/events': at /id: ") as failure:
        await stage.run(stage.capture_task({"steps": steps}))
    assert failure.value.collection == "acme/events"
    assert failure.value.pointer == "/id"
    assert "three" in failure.value.reason
    assert await stage.values() == [{"id": 1}]
    assert await stage.state() == {"a": 1}


@pytest.mark.parametrize("rest", ['"id":3,,}}}', '"id":3}{}}}', "Traceback"])
async def test_garbage_that_begins_as_a_document_is_named(stage, rest):
    line = '{"captured":{"binding":0,"doc":{' + rest
    steps = [emit({"id": 1}), {"raw": line}, {"quiet": 1}]
    with pytest.raises(RemoteProtocolError) as failure:
        await stage.run(stage.capture_task({"steps": steps}))
    sentence = f"can't capture 'acme/source': can't read message {line.encode()!r}: "
    assert str(failure.value).startswith(sentence)
    assert "stdout carries the protocol alone" in str(failure.value)
    assert await stage.values() == []


async def test_odd_spellings_of_documents_come_through(stage):
    lines = [
        '{"captured":{"binding":0,"doc":{"id":1},"x":{"b":2}}}',
        '{"captured":{"doc_json":{"id":2},"binding":"0"}}',
        '{"captured":{"binding":0,"doc":{"id":3,"n":1.0}}}',
        '{"captured": {"binding": 0, "doc": {"id": 4} } }',
    ]
    steps = [*({"raw": line} for line in lines), {"patch": {}}]
    await stage.run(stage.capture_task({"steps": steps}))
    assert [each["id"] for each in await stage.values()] == [1, 2, 3, 4]


async def test_an_exit_within_a_checkpoint_keeps_what_was_checkpointed_alone(stage):
    steps = [emit({"id": 1}), {"patch": {"a": 1}}, emit({"id": 2}), {"exit": 0}]
    with pytest.raises(RemoteProtocolError, match=r"'acme/source'.*in the middle of its work"):
        await stage.run(stage.capture_task({"steps": steps}))
    assert await stage.values() == [{"id": 1}]
    assert await stage.state() == {"a": 1}


async def test_a_failing_connector_is_told_with_its_last_words(stage):
    steps = [emit({"id": 1}), {"patch": {"a": 1}}, {"exit": 3}]
    with pytest.raises(ConnectorFailed, match=r"exited with status 3: told to exit 3"):
        await stage.run(stage.capture_task({"steps": steps}))
    assert await stage.state() == {"a": 1}


async def test_checkpoints_are_acknowledged_if_that_was_asked_for(stage, tmp_path):
    trace = tmp_path / "trace"
    steps = [emit({"id": 1}), {"patch": {}}, {"patch": {}}, {"wait": 2}, {"patch": {}}, {"wait": 1}]
    await stage.run(stage.capture_task({"steps": steps, "trace": str(trace), "acknowledge": True}))
    counts = [
        each["acknowledge"]["checkpoints"] for each in stage.traced(trace) if "acknowledge" in each
    ]
    assert sum(counts) == 3


async def test_a_connector_that_ends_without_waiting_to_be_acknowledged_ends_well(stage):
    steps = [emit({"id": 1}), {"patch": {"a": 1}}]
    for _ in range(3):
        await stage.run(stage.capture_task({"steps": steps, "acknowledge": True}))
    assert await stage.state() == {"a": 1}


async def test_a_document_of_no_binding_is_the_connectors_mistake(stage):
    steps = [emit({"id": 1}, binding=1), {"patch": {}}]
    with pytest.raises(RemoteProtocolError, match="spoke of binding 1, but there are 1"):
        await stage.run(stage.capture_task({"steps": steps}))
    assert await stage.values() == []


async def test_documents_reach_the_collections_of_their_bindings(stage):
    steps = [emit({"id": 1}), emit({"id": 2}, binding=1), emit({"id": 3}), {"patch": {}}]
    await stage.run(stage.capture_task({"steps": steps}, names=("acme/a", "acme/b")))
    assert await stage.values("acme/a") == [{"id": 1}, {"id": 3}]
    assert await stage.values("acme/b") == [{"id": 2}]


async def test_documents_of_one_key_are_combined(stage):
    schema = (
        b'{"type":"object","reduce":{"strategy":"merge"},'
        b'"properties":{"n":{"type":"integer","reduce":{"strategy":"sum"}}}}'
    )
    steps = [emit({"id": 1, "n": 1}, {"id": 2, "n": 5}, {"id": 1, "n": 2}), {"patch": {}}]
    await stage.run(stage.capture_task({"steps": steps}, schema=schema))
    assert await stage.values() == [{"id": 1, "n": 3}, {"id": 2, "n": 5}]


async def test_a_quiet_connector_counts_as_idle_and_is_ended(stage):
    steps = [emit({"id": 1}), {"patch": {"a": 1}}, {"hang": True}]
    progress = await stage.run(stage.capture_task({"steps": steps}), quiet_s=1.0)
    assert progress.phase == "done"
    assert await stage.values() == [{"id": 1}]


async def test_sessions_start_an_interval_after_each_other(stage, tmp_path):
    clock, trace = FakeClock(autojump=False), tmp_path / "trace"
    task = stage.capture_task({"steps": [], "trace": str(trace), "interval": 60})
    async with stage.world(clock) as world:
        running = asyncio.ensure_future(stage.run(task, world=world, until_idle=False))
        while not any(sleep > 1 for sleep in clock.sleeps):
            await asyncio.sleep(0.01)
        assert clock.sleeps[-1] == 60.0
        clock.advance(60)
        while sum("open" in each for each in stage.traced(trace)) < 2:
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_a_stop_commits_what_was_checkpointed(stage):
    steps = [emit({"id": 1}), {"patch": {"a": 1}}, emit({"id": 2}), {"quiet": True}]
    task = stage.capture_task({"steps": steps})
    async with stage.world() as world:
        running = asyncio.ensure_future(stage.run(task, world=world, until_idle=False))
        while not world.collections.end("acme/events"):
            await asyncio.sleep(0.01)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert await stage.values() == [{"id": 1}]
    assert await stage.state() == {"a": 1}


async def test_apply_repeats_while_it_returns_state(stage, tmp_path):
    trace = tmp_path / "trace"
    config = {"steps": [], "trace": str(trace), "apply_states": [{"slot": "x"}, {"slot": "y"}]}
    await stage.run(stage.capture_task(config))
    assert [each["apply"] for each in stage.traced(trace) if "apply" in each] == [
        {},
        {"applies": 1, "slot": "x"},
        {"applies": 2, "slot": "y"},
    ]
    assert await stage.state() == {"applies": 2, "slot": "y"}


async def test_apply_does_not_repeat_for_ever(stage):
    config = {"steps": [], "apply_states": [{}] * 20}
    with pytest.raises(RemoteProtocolError, match="after 10 times the connector still updates"):
        await stage.run(stage.capture_task(config))


async def test_two_captures_of_one_collection_keep_out_of_each_others_commits(stage):
    tasks = [
        stage.capture_task({"count": 300, "keys": 1000, "every": 7}, task=f"acme/source{n}")
        for n in range(2)
    ]
    async with stage.world() as world:
        await asyncio.gather(*(stage.run(task, world=world) for task in tasks))
    numbers = sorted(each["n"] for each in await stage.values())
    assert numbers == sorted([*range(300), *range(300)])
