"""A source reads its streams as their kinds promise, across failures and restarts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import msgspec
import pytest
from example_source import DAY, MINUTE, OPENED, Shop, shop_source
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estuary_cdk.capture import Batch, Checkpoint, Log, Paged, Source, Window
from estuary_cdk.errors import ConfigError, ContractError, TransientError
from estuary_cdk.protocol.flow import KEY_END_MAX, RangeSpec
from estuary_cdk.testing.clock import FakeClock
from estuary_cdk.testing.runtime import (
    CaptureRuntime,
    Session,
    after_checkpoints,
    after_messages,
    reduced,
)

CONFIG = {"token": "sesame"}
HOUR = timedelta(hours=1)


def runtime_of(source: Source, clock: FakeClock) -> CaptureRuntime:
    return CaptureRuntime(lambda reader, writer: source.serve(reader, writer, clock=clock))


def after(clock: FakeClock, duration: timedelta):
    """Stop at the first message after this much time of the fake clock."""
    until = clock.now() + duration
    return lambda _: clock.now() >= until


async def captured(shop: Shop, name: str, **options) -> tuple[Session, FakeClock]:
    """What a stream of the shop gives in a day, or until told."""
    clock = options.pop("clock", None) or FakeClock()
    runtime = runtime_of(shop_source(shop, name), clock)
    built = await runtime.build(CONFIG)
    until = options.pop("until", None) or after(clock, 2 * HOUR)
    return await runtime.run(built, until=until, **options), clock


async def test_a_refused_token_is_the_users_sentence_at_discovery():
    with pytest.raises(ConfigError, match="the token is refused"):
        await runtime_of(shop_source(Shop()), FakeClock()).discover({"token": "open"})


async def test_discovery_lists_streams_with_schema_key_and_interval():
    found = await runtime_of(shop_source(Shop()), FakeClock()).discover(CONFIG)
    assert [each.recommended_name for each in found] == ["orders", "users", "changes", "archive"]
    assert [each.key for each in found] == [["/id"], ["/_meta/row_id"], ["/id"], ["/id"]]
    assert [each.is_fallback_key for each in found] == [False, True, False, False]
    assert msgspec.json.decode(found[0].resource_config) == {
        "name": "orders",
        "interval": "PT5M",
        "schedule": "",
    }
    schema = msgspec.json.decode(found[0].document_schema)
    assert schema["required"] == ["_meta", "at", "id"]
    assert schema["properties"]["id"]["type"] == "integer"
    assert schema["x-infer-schema"]
    assert schema["then"] == {"reduce": {"strategy": "merge", "delete": True}}
    assert msgspec.json.decode(found[1].document_schema)["required"] == ["_meta"]


async def test_a_stream_that_does_not_exist_is_named_with_one_that_does():
    runtime = runtime_of(shop_source(Shop()), FakeClock())
    built = await runtime.build(CONFIG, only=["orders"])
    raw = msgspec.Raw(b'{"name":"order"}')
    [binding] = built.bindings
    renamed = msgspec.structs.replace(
        built, bindings=[msgspec.structs.replace(binding, resource_config=raw)]
    )
    with pytest.raises(ConfigError, match="no such stream, did you mean 'orders'"):
        await runtime.validate(renamed)


async def test_a_snapshot_into_a_collection_with_another_key_is_refused():
    runtime = runtime_of(shop_source(Shop()), FakeClock())
    built = await runtime.build(CONFIG, only=["users"])
    [binding] = built.bindings
    collection = msgspec.structs.replace(binding.collection, key=["/name"])
    rekeyed = msgspec.structs.replace(
        built, bindings=[msgspec.structs.replace(binding, collection=collection)]
    )
    with pytest.raises(ConfigError, match=r"its key is \['/name'\]"):
        await runtime.validate(rekeyed)


async def test_history_and_tail_of_a_windowed_stream_tile_time():
    shop = Shop(orders={OPENED + n * DAY: n for n in range(40)})
    clock = FakeClock()
    session, _ = await captured(shop, "orders", clock=clock, until=after(clock, DAY / 2))
    windows = sorted(shop.asked, key=lambda window: window.start)
    assert windows[0].start == OPENED
    for before, window in pairwise(windows):
        assert before.end == window.start
    assert (
        session.state["bindingStateV1"]["orders"]["windows"]["history"]
        == (session.state["bindingStateV1"]["orders"]["windows"]["cutoff"])
    )


async def test_a_windowed_stream_captures_each_order_once_it_is_complete():
    clock = FakeClock()
    shop = Shop(orders={OPENED + n * DAY: n for n in range(31)})
    shop.orders |= {clock.now() + n * HOUR: 31 + n for n in range(9)}
    session, _ = await captured(shop, "orders", clock=clock, until=after(clock, 9 * HOUR))
    assert sorted(doc["id"] for doc in session.of(0)) == list(range(40))
    assert all(doc["_meta"] == {"op": "u"} for doc in session.of(0))
    latest = max(window.end for window in shop.asked)
    assert latest <= clock.now() - 5 * MINUTE


async def test_documents_come_with_the_position_that_covers_them():
    shop = Shop(changes=["a", "b", "c"])
    session, _ = await captured(shop, "changes", until=after_checkpoints(3))
    assert session.sizes == [0, 2, 1]
    assert [s["bindingStateV1"]["changes"]["log"]["position"] for s in session.states] == [0, 2, 3]


async def test_a_log_that_caught_up_is_asked_again_after_its_interval():
    shop = Shop(changes=["a"])
    clock = FakeClock()
    source = shop_source(shop, "changes")
    runtime = runtime_of(source, clock)
    built = await runtime.build(CONFIG)

    def until(session: Session) -> bool:
        if len(shop.changes) == 1:
            # The second change arrives while the stream rests.
            shop.changes.append("b")
        return len(session.documents) == 2

    session = await runtime.run(built, until=until)
    assert [doc["id"] for doc in session.of(0)] == [1, 2]


async def test_an_unchanged_snapshot_is_not_emitted_again():
    shop = Shop(users=["ada", "bob"])
    session, _ = await captured(shop, "users", until=after_checkpoints(5))
    assert [doc["_meta"] for doc in session.of(0)] == [
        {"op": "c", "row_id": 0},
        {"op": "c", "row_id": 1},
    ]
    assert len(shop.asked) >= 4


async def test_a_user_who_is_gone_is_deleted_after_a_restart():
    shop = Shop(users=["ada", "bob", "eve"])
    first, clock = await captured(shop, "users", until=after_checkpoints(2))
    shop.users.remove("bob")
    second, _ = await captured(
        shop, "users", state=first.state, clock=clock, until=after_checkpoints(2)
    )
    assert second.of(0) == [
        {"_meta": {"op": "u", "row_id": 0}, "name": "ada"},
        {"_meta": {"op": "u", "row_id": 1}, "name": "eve"},
        {"_meta": {"op": "d", "row_id": 2}},
    ]


async def test_pages_resume_at_the_token_and_start_over_when_it_is_time():
    shop = Shop(archive=[[1, 2], [3], [4]])
    first, clock = await captured(shop, "archive", until=after_checkpoints(2), kill=True)
    shop.asked.clear()
    start = clock.now()
    second, clock = await captured(
        shop, "archive", state=first.state, clock=clock, until=after_checkpoints(2)
    )
    assert shop.asked[:2] == ["2", None]
    assert [doc["id"] for doc in second.of(0)][:1] == [4]
    assert clock.now() >= start + DAY


async def test_a_page_that_leads_to_itself_is_the_authors_mistake():
    async def forever(_client, _token):
        return Batch([], "same")

    source = shop_source(Shop())
    looping = Source(
        config=source.config,
        connect=source.connect,
        streams=[Paged("loop", key=["/id"], read=forever)],
    )
    runtime = runtime_of(looping, FakeClock())
    with pytest.raises(ExceptionGroup) as raised:
        await runtime.run(await runtime.build(CONFIG))
    assert raised.group_contains(ContractError, match="the page after 'same' is itself")


def log_source(read, start: object = 0) -> Source:
    source = shop_source(Shop())
    stream = Log("log", key=["/id"], read=read, start=start)
    return Source(config=source.config, connect=source.connect, streams=[stream])


@pytest.mark.parametrize("positions", [[2, 2], [3, 1], ["4"], [True], [0]])
async def test_positions_that_do_not_increase_are_the_authors_mistake(positions):
    async def read(_client, _position):
        for position in positions:
            yield Checkpoint(position)

    runtime = runtime_of(log_source(read), FakeClock())
    with pytest.raises(ExceptionGroup) as raised:
        await runtime.run(await runtime.build(CONFIG))
    assert raised.group_contains(ContractError, match="positions must increase")


async def test_documents_after_the_last_checkpoint_are_the_authors_mistake():
    async def read(_client, _position):
        yield Checkpoint(1)
        yield {"id": 1}

    runtime = runtime_of(log_source(read), FakeClock())
    with pytest.raises(ExceptionGroup) as raised:
        await runtime.run(await runtime.build(CONFIG))
    assert raised.group_contains(ContractError, match="documents followed the last Checkpoint")


async def test_a_time_is_a_position_and_resumes_as_the_same_time():
    seen = []

    async def read(_client, position):
        seen.append(position)
        yield Checkpoint(position + timedelta(microseconds=1))

    source = log_source(read, datetime(2024, 1, 1, tzinfo=UTC))
    runtime = runtime_of(source, FakeClock())
    built = await runtime.build(CONFIG)
    session = await runtime.run(built, until=after_checkpoints(2), kill=True)
    last = seen[0] + timedelta(microseconds=1)
    seen.clear()
    await runtime.run(built, state=session.state, until=after_checkpoints(1))
    assert seen[0] == last


async def test_what_may_pass_is_tried_again_with_growing_pauses():
    shop = Shop(changes=["a"], failures=4)
    session, clock = await captured(shop, "changes", until=lambda s: bool(s.documents))
    assert [doc["id"] for doc in session.of(0)] == [1]
    assert clock.sleeps[:4] == [1.0, 2.0, 4.0, 8.0]


async def test_what_does_not_pass_ends_the_capture():
    shop = Shop(changes=["a"], failures=100)
    with pytest.raises(ExceptionGroup) as raised:
        await captured(shop, "changes")
    assert raised.group_contains(TransientError, match="closed for a moment")
    assert len(shop.asked) == 6


async def test_a_schedule_reads_history_again_beside_the_tail():
    shop = Shop(orders={OPENED: 1})
    clock = FakeClock()
    runtime = runtime_of(shop_source(shop, "orders"), clock)
    built = await runtime.build(CONFIG)
    raw = msgspec.Raw(b'{"name":"orders","schedule":"0 0 1 * *","interval":"1d"}')
    [binding] = built.bindings
    scheduled = msgspec.structs.replace(
        built, bindings=[msgspec.structs.replace(binding, resource_config=raw)]
    )
    await runtime.run(scheduled, until=after(clock, 35 * DAY))
    reads = [window for window in shop.asked if window.start == OPENED]
    assert reads[0] == Window(OPENED, OPENED + 7 * DAY)
    assert len(reads) == 2


async def test_a_large_history_is_committed_as_it_comes_without_moving_the_position():
    def pages(_client, window):
        async def items():
            if window.start == OPENED:
                for n in range(30):
                    yield [b'{"id":%d,"pad":"%s"}' % (n, b"x" * 100_000)]

        return items()

    shop = Shop()
    source = shop_source(shop, "orders")
    large = replace(source, streams=[replace(source.streams[0], read=pages)])
    runtime = runtime_of(large, FakeClock())
    session = await runtime.run(await runtime.build(CONFIG), until=lambda s: len(s.documents) == 30)
    histories = [s["bindingStateV1"]["orders"]["windows"]["history"] for s in session.states]
    assert histories[:3] == ["2023-12-01T00:00:00Z"] * 3
    assert max(session.sizes) < 15


steps = st.lists(st.tuples(st.integers(1, 25), st.booleans()), max_size=4)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
async def test_killed_anywhere_and_resumed_equals_uninterrupted(steps):
    async def collections(crashes) -> list:
        shop = Shop(
            orders={OPENED + n * DAY: n for n in range(20)},
            users=["ada", "bob", "eve"],
            changes=list("abcdefg"),
            archive=[[1], [2, 3], [4]],
        )
        clock = FakeClock()
        runtime = runtime_of(shop_source(shop), clock)
        built = await runtime.build(CONFIG)
        documents, state = [], {}
        for messages, shrink in crashes:
            session = await runtime.run(
                built, state=state, until=after_messages(messages), kill=True
            )
            documents += session.documents
            state = session.state
            if shrink and len(shop.users) > 1:
                shop.users.pop()
        shop.users[1:] = ["zoe"]
        clock.advance(3600)
        session = await runtime.run(built, state=state, until=after(clock, HOUR))
        return reduced(documents + session.documents, built)

    assert await collections(steps) == await collections([])


async def test_shards_share_the_streams_among_them():
    shop = Shop(users=["ada"], changes=["a"], archive=[[1]])
    clock = FakeClock()
    runtime = runtime_of(shop_source(shop), clock)
    built = await runtime.build(CONFIG)
    halves = [
        RangeSpec(key_end=KEY_END_MAX // 2),
        RangeSpec(key_begin=KEY_END_MAX // 2 + 1, key_end=KEY_END_MAX),
    ]
    seen = []
    for half, streams in zip(halves, [1, 3], strict=True):
        session = await runtime.run(
            built,
            key_range=half,
            until=lambda s, n=streams: len(s.state.get("bindingStateV1", {})) >= n,
        )
        seen.append(set(session.state["bindingStateV1"]))
    assert seen[0] | seen[1] == {"orders", "users", "changes", "archive"}
    assert not seen[0] & seen[1]
    assert all(seen)
