"""A capture answers every request, captures once opened, and ends as it should."""

import asyncio

import msgspec
import pytest
from counting import Resource, State, counting
from msgspec import Raw

from estuary_cdk.errors import (
    ConfigError,
    ContractError,
    LocalProtocolError,
    RemoteProtocolError,
    TransientError,
)
from estuary_cdk.protocol import capture as messages
from estuary_cdk.protocol.codec import CAPTURE_REQUESTS, Codec, encode_json
from estuary_cdk.protocol.flow import CollectionSpec
from estuary_cdk.testing.clock import FakeClock
from estuary_cdk.testing.runtime import (
    CaptureRuntime,
    after_checkpoints,
    after_messages,
)
from estuary_cdk.transport import pair


def runtime_of(**changes) -> CaptureRuntime:
    return CaptureRuntime(counting(**changes).serve)


async def lines(capture, *requests: messages.Request | bytes) -> list[dict]:
    """Everything a capture says to requests that are all there from the start."""
    reader, writer = pair()
    codec = Codec(CAPTURE_REQUESTS)
    block = b"".join(r if isinstance(r, bytes) else codec.encode(r) for r in requests)
    await reader.write(block)
    await reader.close()
    said = b""

    async def serve() -> None:
        await capture.serve(reader, writer)
        await writer.close()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        while out := await writer.read():
            said += out
    return [msgspec.json.decode(line) for line in said.splitlines()]


async def test_one_process_answers_spec_and_then_everything_else():
    config = Raw(b'{"counters":1}')
    said = await lines(
        counting(),
        b'{"spec":{},"$internal":"YQ=="}\n\n{"spec":null,"discover":{"config":{"counters":1}}}\n',
        messages.Spec(),
        messages.Apply(capture=messages.CaptureSpec(config=config)),
    )
    assert [list(each) for each in said] == [["spec"], ["discovered"], ["spec"], ["applied"]]
    assert said[0]["spec"]["protocol"] == 3032023
    assert said[0]["spec"]["resourcePathPointers"] == ["/space", "/name"]
    assert said[3]["applied"] == {"actionDescription": "prepared 0 counters"}


async def test_discovered_resources_carry_schema_key_and_path():
    [first, second] = await runtime_of().discover({})
    assert first.recommended_name == "counter0"
    assert msgspec.json.decode(first.resource_config) == {
        "name": "counter0",
        "limit": 10,
        "step": 3,
    }
    assert first.key == ["/n"]
    assert [first.resource_path, second.resource_path] == [["counter0"], ["counter1"]]


async def test_two_discovered_resources_of_one_path_are_the_authors_mistake():
    async def discover(_config):
        found = [Resource(name="a"), Resource(name="a")]
        from estuary_cdk.capture import DiscoveredResource

        return [DiscoveredResource("a", each, {}) for each in found]

    with pytest.raises(ContractError, match="another resource has the same path"):
        await runtime_of(discover=discover).discover({})


async def test_validation_names_everything_wrong_at_once():
    def binding(**config):
        return messages.CaptureBinding(
            resource_config=Raw(encode_json(config)), collection=CollectionSpec(name="acme/c")
        )

    built = messages.CaptureSpec(
        config=Raw(b'{"conters":1}'),
        bindings=[binding(name="a"), binding(nam="b"), binding(name=""), binding(name="a")],
    )
    with pytest.raises(ConfigError) as raised:
        await runtime_of().validate(built)
    message = str(raised.value)
    assert "endpoint config: /conters: unknown key, did you mean 'counters'?" in message
    assert "binding 1 (acme/c): /name: required, but missing; /nam: unknown key" in message
    assert "binding 2 (acme/c): /space and /name must not be empty" in message
    assert "can't use bindings 0 and 3 together: both are 'a'" in message


async def test_a_refused_credential_is_the_users_sentence():
    runtime = runtime_of()
    with pytest.raises(ConfigError, match="the token is wrong"):
        await runtime.build({"token": "wrong"})


async def test_the_resource_path_leaves_out_what_is_not_set():
    runtime = runtime_of()
    built = await runtime.build({"counters": 1})
    assert built.bindings[0].resource_path == ["counter0"]
    spaced = msgspec.structs.replace(
        built.bindings[0], resource_config=Raw(b'{"name":"a b","space":"s"}')
    )
    rebuilt = await runtime.validate(msgspec.structs.replace(built, bindings=[spaced]))
    assert rebuilt.bindings[0].resource_path == ["s", "a b"]
    assert rebuilt.bindings[0].state_key == "s%2Fa%20b"


async def test_a_collection_index_stands_for_a_linked_collection():
    seen = []

    async def pull(pull):
        seen.extend(binding.collection.name for binding in pull.bindings)

    bindings = [
        messages.CaptureBinding(resource_config=Raw(b'{"name":"a"}'), state_key="a"),
        messages.CaptureBinding(
            resource_config=Raw(b'{"name":"b"}'), state_key="b", collection_index=1
        ),
    ]
    linked = [CollectionSpec(name="acme/x"), CollectionSpec(name="acme/y")]
    built = messages.CaptureSpec(bindings=bindings, linked_collections=linked)
    await runtime_of(pull=pull).run(built)
    assert seen == ["acme/x", "acme/y"]


async def test_a_pull_that_returns_ends_the_session():
    runtime = runtime_of()
    session = await runtime.run(await runtime.build({}))
    assert session.ended
    for binding in (0, 1):
        assert [doc["n"] for doc in session.of(binding)] == list(range(10))
    assert session.state == {"bindingStateV1": {"counter0": {"next": 10}, "counter1": {"next": 10}}}


@pytest.mark.parametrize("messages_taken", range(1, 30))
async def test_killed_at_any_message_it_resumes_where_it_committed(messages_taken):
    runtime = runtime_of()
    built = await runtime.build({})
    session = await runtime.run(built, until=after_messages(messages_taken), kill=True)
    resumed = await runtime.run(built, state=session.state)
    for binding in (0, 1):
        captured = session.of(binding) + resumed.of(binding)
        assert [doc["n"] for doc in captured] == list(range(10))


async def test_a_backfill_counter_starts_a_binding_over():
    runtime = runtime_of()
    built = await runtime.build({"counters": 1})
    session = await runtime.run(built)
    again = await runtime.build({"counters": 1}, backfill=1)
    restarted = await runtime.run(again, state=session.state)
    assert len(restarted.documents) == 10
    assert set(restarted.state["bindingStateV1"]) == {"counter0", "counter0.v1"}


async def test_a_state_of_another_making_is_refused_with_the_way_out():
    runtime = runtime_of()
    built = await runtime.build({"counters": 1})
    with pytest.raises(ConfigError, match="increase the binding's backfill counter"):
        await runtime.run(built, state={"bindingStateV1": {"counter0": {"cursor": 1}}})


async def test_the_end_of_requests_stops_an_idle_capture():
    async def pull(pull):
        async with pull.transaction() as transaction:
            transaction.checkpoint()
        await asyncio.Event().wait()

    runtime = runtime_of(pull=pull)
    session = await runtime.run(await runtime.build({}), until=after_checkpoints(1))
    assert session.transcript == ["Opened", "Checkpoint"]


async def test_an_open_transaction_ends_before_the_capture_stops():
    proceed = asyncio.Event()

    async def pull(pull):
        [binding, _] = pull.bindings
        async with pull.transaction() as transaction:
            transaction.checkpoint(binding, State(next=1))
        async with pull.transaction() as transaction:
            await transaction.emit(binding, [b'{"n":1}'])
            await pull.stopping.wait()
            proceed.set()
            transaction.checkpoint(binding, State(next=2))
        async with pull.transaction() as transaction:
            raise AssertionError("no transaction begins after the stop")

    runtime = runtime_of(pull=pull)
    session = await runtime.run(await runtime.build({}), until=after_checkpoints(1))
    assert proceed.is_set()
    assert session.of(0) == [{"n": 1}]
    assert session.state == {"bindingStateV1": {"counter0": {"next": 2}}}


async def test_a_transaction_that_takes_too_long_is_discarded_at_the_stop():
    async def pull(pull):
        async with pull.transaction() as transaction:
            transaction.checkpoint()
        async with pull.transaction() as transaction:
            await transaction.emit(pull.bindings[0], [b'{"n":1}'])
            await asyncio.Event().wait()

    clock = FakeClock()
    capture = counting(pull=pull)
    runtime = CaptureRuntime(lambda reader, writer: capture.serve(reader, writer, clock=clock))
    session = await runtime.run(await runtime.build({}), until=after_checkpoints(1))
    assert session.documents == []
    assert clock.elapsed == 3.0


async def test_a_transaction_broken_off_half_written_fails_the_process():
    async def pull(pull):
        async with pull.transaction() as transaction:
            transaction.checkpoint()
        async with pull.transaction() as transaction:
            await transaction.emit(pull.bindings[0], [b'{"n":"%s"}' % (b"x" * (2 << 20))])
            await asyncio.Event().wait()

    clock = FakeClock()
    capture = counting(pull=pull)
    runtime = CaptureRuntime(lambda reader, writer: capture.serve(reader, writer, clock=clock))
    with pytest.raises(TransientError, match="broken off"):
        await runtime.run(await runtime.build({}), until=after_checkpoints(1))
    assert runtime.sessions[-1].documents == []
    assert runtime.sessions[-1].discarded == 1


async def test_a_cancelled_conversation_stops_as_at_the_end_of_requests():
    reader, writer = pair()
    started = asyncio.Event()

    async def pull(pull):
        async with pull.transaction() as transaction:
            started.set()
            await pull.stopping.wait()
            transaction.checkpoint()

    built = await runtime_of().build({})
    await reader.write(Codec(CAPTURE_REQUESTS).encode(messages.Open(capture=built)))
    serving = asyncio.ensure_future(counting(pull=pull).serve(reader, writer))
    await started.wait()
    serving.cancel()
    await serving
    assert b"opened" in await writer.read()
    assert b"checkpoint" in await writer.read()


async def test_an_error_of_the_pull_function_is_the_conversations():
    async def pull(pull):
        raise ConfigError("can't find the counter")

    runtime = runtime_of(pull=pull)
    built = await runtime.build({})
    with pytest.raises(ExceptionGroup) as raised:
        await runtime.run(built)
    assert raised.group_contains(ConfigError, match="can't find the counter")


async def test_an_acknowledge_that_was_not_asked_for_is_the_runtimes_mistake():
    started = asyncio.Event()

    async def pull(pull):
        started.set()
        await asyncio.Event().wait()

    built = await runtime_of().build({})
    capture = counting(pull=pull)
    with pytest.raises(ExceptionGroup) as raised:
        await lines(capture, messages.Open(capture=built), messages.Acknowledge(checkpoints=1))
    assert raised.group_contains(RemoteProtocolError, match="didn't ask for acknowledgements")


async def test_acknowledgements_confirm_transactions_in_their_order():
    confirmed = []

    async def pull(pull):
        for n in range(3):
            async with pull.transaction() as transaction:
                transaction.on_acknowledged(lambda n=n: confirmed.append(n))
                transaction.checkpoint()
        await transaction.acknowledged()

    runtime = runtime_of(pull=pull, acknowledgements=True)
    session = await runtime.run(await runtime.build({}))
    assert session.checkpoints == 3
    assert confirmed == [0, 1, 2]


async def test_nothing_is_confirmed_before_the_runtime_says_so():
    async def pull(pull):
        async with pull.transaction() as transaction:
            transaction.checkpoint()
        await transaction.acknowledged()
        raise AssertionError("confirmed without an acknowledgement")

    capture = counting(pull=pull, acknowledgements=True)
    runtime = CaptureRuntime(capture.serve, acknowledge=False)
    session = await runtime.run(await runtime.build({}), until=after_checkpoints(1))
    assert session.checkpoints == 1


async def test_an_open_in_the_wrong_place_is_refused():
    built = await runtime_of().build({})
    with pytest.raises(ExceptionGroup) as raised:
        await lines(counting(), messages.Open(capture=built), messages.Open(capture=built))
    assert raised.group_contains((RemoteProtocolError, LocalProtocolError), match="can't accept")
