"""A served materialization, message by message."""

import asyncio
import gc
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest
from msgspec import Raw, json

from estuary_cdk import process
from estuary_cdk.errors import (
    ConfigError,
    ContractError,
    DataError,
    Fenced,
    LocalProtocolError,
    RemoteProtocolError,
)
from estuary_cdk.materialize import Loaded
from estuary_cdk.materialize.runner import serve
from estuary_cdk.materialize.transactions import BATCHES_MAX
from estuary_cdk.protocol.flow import FULL_RANGE
from estuary_cdk.protocol.materialize import (
    Acknowledge,
    Acknowledged,
    Flush,
    Flushed,
    Load,
    Open,
    Opened,
    StartCommit,
    StartedCommit,
    Store,
)
from estuary_cdk.testing.materialize_runtime import BindingModel, MaterializeRuntime
from estuary_cdk.testing.memory_destination import (
    MemoryServer,
    RemoteTransactor,
    StagingTransactor,
    memory_materialization,
)
from estuary_cdk.testing.patience import HANGS_S
from estuary_cdk.testing.selection import collection, optional, required
from estuary_cdk.transport import pair

USERS = collection("acme/users", ["/id"], {"id": required("integer"), "n": optional("integer")})
STORE = b'{"store":{"key":[%d],"values":[null,1],"doc":{"id":%d}}}\n'


def users(table="users", **more):
    return BindingModel(USERS, json.encode({"table": table}), **more)


def runtime_of(materialization, recovery=None):
    return MaterializeRuntime(
        lambda reader, writer: serve(materialization, reader, writer), recovery
    )


async def applied(materialization, *models):
    runtime = runtime_of(materialization)
    spec = await runtime.build(b"{}", models or [users()])
    await runtime.apply(spec)
    return runtime, spec


@contextmanager
def raises(kind, match):
    """Expect an error, alone or in a group."""
    with pytest.raises(BaseException) as caught:
        yield
    errors = [caught.value]
    while isinstance(errors[0], BaseExceptionGroup):
        errors = [each for error in errors for each in error.exceptions]
    assert any(isinstance(each, kind) and match in str(each) for each in errors), errors


async def opened(peer, spec, **more):
    await peer.send(Open(materialization=spec, range=FULL_RANGE, **more))
    await peer.expect(Opened)
    await peer.send(Acknowledge())


async def test_unknown_config_keys_are_named():
    runtime = runtime_of(memory_materialization(MemoryServer(), RemoteTransactor))
    with raises(ConfigError, "did you mean 'hardDelete'"):
        await runtime.validate(b'{"hardDeletes":true}', [users()])


async def test_mistakes_in_several_bindings_are_told_together():
    runtime = runtime_of(memory_materialization(MemoryServer(), RemoteTransactor))
    broken = replace(users(), resource=b'{"tabel":"x"}')
    with pytest.raises(ExceptionGroup) as caught:
        await runtime.validate(b"{}", [broken, users(), broken])
    assert [str(each)[:37] for each in caught.value.exceptions] == [
        "can't use the resource config of bind"
    ] * 2
    assert "binding 2" in str(caught.value.exceptions[1])


async def test_two_bindings_dont_share_a_table():
    runtime = runtime_of(memory_materialization(MemoryServer(), RemoteTransactor))
    with raises(ConfigError, "several bindings into table 'users'"):
        await runtime.validate(b"{}", [users(), users()])


async def test_the_checkpoint_comes_back_byte_for_byte():
    materialization = memory_materialization(MemoryServer(), RemoteTransactor)
    runtime, spec = await applied(materialization)
    text = b'{"sources":{"a;b":{"readThrough":"12","producers":[]}},"ackIntents":{}, "x":1.0}'
    async with runtime.session(spec) as session:
        assert session.opened.runtime_checkpoint == Raw()
        await session.transaction([], text)
    async with runtime.session(spec) as session:
        assert bytes(session.opened.runtime_checkpoint) == text


async def test_a_connector_that_adopts_tables_has_every_key_loaded():
    materialization = replace(
        memory_materialization(MemoryServer(), RemoteTransactor), adopt_existing=lambda *_: True
    )
    runtime, spec = await applied(materialization)
    async with runtime.session(spec) as session:
        assert session.opened.disable_load_optimization


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"load":{"binding":5,"key":[1]}}\n', "binding 5"),
        (b'{"store":{"key":[1],"values":[],"doc":{}}}\n', "it isn't legal now"),
        (b'{"acknowledge":{}}\n', "it isn't legal now"),
        (b"garbage\n", "can't read message"),
    ],
)
async def test_what_the_protocol_forbids_ends_the_session(line, reason):
    runtime, spec = await applied(memory_materialization(MemoryServer(), RemoteTransactor))
    async with runtime.conversation() as peer:
        await opened(peer, spec)
        await peer.requests.write(line)
        with raises(RemoteProtocolError, reason):
            while True:
                await peer.receive()


@pytest.mark.parametrize("stage", ["open", "acknowledge", "load", "flush", "store", "commit"])
async def test_the_end_of_requests_is_an_error_wherever_something_is_half_done(stage):
    server = MemoryServer()
    runtime, spec = await applied(memory_materialization(server, RemoteTransactor))
    failed = False
    try:
        async with runtime.conversation() as peer:
            await _until(peer, spec, stage)
            await peer.break_off()
    except* RemoteProtocolError:
        failed = True
    assert failed == (stage not in {"open", "acknowledge", "commit"})
    assert len(server.tables[("users",)].rows) == (stage == "commit")


async def _until(peer, spec, stage):
    """Have a transaction up to a stage, the answer to it included."""
    await peer.send(Open(materialization=spec, range=FULL_RANGE))
    await peer.expect(Opened)
    steps = [
        ("acknowledge", b'{"acknowledge":{}}\n', Acknowledge, Acknowledged),
        ("load", b'{"load":{"key":[1]}}\n', Load, None),
        ("flush", b'{"flush":{}}\n', Flush, Flushed),
        ("store", STORE % (1, 1), Store, None),
        ("commit", b'{"startCommit":{}}\n', StartCommit, StartedCommit),
    ]
    for name, line, kind, answer in steps:
        if stage == "open":
            return
        await peer.send_block(kind, 1, line)
        if answer is not None:
            await peer.expect(answer)
        if name == stage:
            return


class SlowApply(StagingTransactor):
    """Applies when it is let, and notes the order of calls."""

    def __init__(self, *args):
        super().__init__(*args)
        self.calls = []
        self.may_apply = threading.Event()
        self.may_apply.set()
        stage, loaded = self.stage, self.loaded
        self.stage = lambda keys: (self.calls.append("stage"), stage(keys))[1]
        self.loaded = lambda: (self.calls.append("loaded"), loaded())[1]

    def apply(self, staged):
        assert self.may_apply.wait(HANGS_S)
        self.calls.append("apply")
        super().apply(staged)


def keeping(kind):
    """Return a factory of transactors and the list of those it made."""
    made = []

    def factory(*args):
        made.append(kind(*args))
        return made[-1]

    return factory, made


async def test_keys_that_come_early_are_looked_up_after_the_apply():
    factory, made = keeping(SlowApply)
    runtime, spec = await applied(memory_materialization(MemoryServer(), factory))
    async with runtime.conversation() as peer:
        await opened(peer, spec)
        await peer.expect(Acknowledged)
        await peer.send(Flush())
        await peer.expect(Flushed)
        await peer.send_block(Store, 1, STORE % (1, 1))
        await peer.send(StartCommit())
        await peer.expect(StartedCommit)
        made[0].may_apply.clear()
        await peer.send(Acknowledge())
        await peer.send_block(Load, 1, b'{"load":{"key":[1]}}\n')
        made[0].may_apply.set()
        await peer.expect(Acknowledged)
        await peer.send(Flush())
        kind, run = await peer.receive()
        assert (kind.__name__, bytes(run[0].doc)) == ("Loaded", b'{"id":1}')
    assert made[0].calls == ["apply", "stage", "loaded"]


async def test_a_slow_destination_stops_the_reading():
    factory, made = keeping(SlowApply)
    runtime, spec = await applied(memory_materialization(MemoryServer(), factory))
    async with runtime.conversation() as peer:
        await opened(peer, spec)
        await peer.expect(Acknowledged)
        await peer.send(Flush())
        await peer.expect(Flushed)
        await peer.send_block(Store, 1, STORE % (1, 1))
        await peer.send(StartCommit())
        await peer.expect(StartedCommit)
        made[0].may_apply.clear()
        await peer.send(Acknowledge())
        taken = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                while taken < 100:
                    await peer.send_block(Load, 1, b'{"load":{"key":[%d]}}\n' % taken)
                    taken += 1
        made[0].may_apply.set()
    # What is queued, what waits to be, and what the stream itself holds.
    assert taken <= BATCHES_MAX + 2 + 2


class FailingStage(RemoteTransactor):
    def __init__(self, *args):
        super().__init__(*args)
        self.stage = self._fail

    def _fail(self, _keys):
        raise DataError("can't look up: the disk is gone")


async def test_a_failure_ends_the_session_while_it_waits_for_messages():
    runtime, spec = await applied(memory_materialization(MemoryServer(), FailingStage))
    async with runtime.conversation() as peer:
        await opened(peer, spec)
        await peer.send_block(Load, 1, b'{"load":{"key":[1]}}\n')
        with raises(DataError, "the disk is gone"):
            while True:
                await peer.receive()


class FailingStore(RemoteTransactor):
    def store(self, _batch):
        raise DataError("can't store: the disk is full")


async def test_nothing_is_committed_after_a_store_that_failed():
    server = MemoryServer()
    runtime, spec = await applied(memory_materialization(server, FailingStore))
    with raises(DataError, "the disk is full"):
        async with runtime.session(spec) as session:
            await session.transaction([(0, b'{"id":1}')], b'{"sources":{}}')
    assert [fence.checkpoint for fence in server.fences.values()] == [None]


class Inventing(RemoteTransactor):
    def __init__(self, *args):
        super().__init__(*args)
        self.loaded = lambda: [Loaded(0, [b'{"id":1}', b'{"id":2}'])]


class Misbound(RemoteTransactor):
    def __init__(self, *args):
        super().__init__(*args)
        self.loaded = lambda: [Loaded(3, [b'{"id":1}'])]


@pytest.mark.parametrize(
    ("transactor", "kind", "reason"),
    [
        (Inventing, LocalProtocolError, "more keys than were asked for"),
        (Misbound, ContractError, "binding 3"),
    ],
)
async def test_documents_nobody_asked_for_are_not_sent(transactor, kind, reason):
    runtime, spec = await applied(memory_materialization(MemoryServer(), transactor))
    with raises(kind, reason):
        async with runtime.session(spec) as session:
            await session.transaction([(0, b'{"id":1}')])


class Patternless:
    def __init__(self, *args):
        del args

    def stage(self, keys): ...

    def loaded(self): ...

    def store(self, batch): ...


async def test_a_transactor_follows_exactly_one_pattern():
    runtime, spec = await applied(memory_materialization(MemoryServer(), Patternless))
    with raises(ContractError, "fit 0 commit patterns"):
        async with runtime.session(spec):
            pass


async def test_contexts_are_left_with_what_went_wrong_in_the_thread_that_entered_them():
    seen = []
    inner = memory_materialization(MemoryServer(), FailingStore)

    @contextmanager
    def watched(config, bindings, shard):
        thread = threading.get_ident()
        try:
            with inner.open(config, bindings, shard) as transactor:
                yield transactor
        except BaseException as error:
            seen.append((threading.get_ident() == thread, type(error).__name__))
            raise

    runtime, spec = await applied(replace(inner, open=watched))
    with raises(DataError, "the disk is full"):
        async with runtime.session(spec) as session:
            await session.transaction([(0, b'{"id":1}')])
    assert seen == [(True, "ExceptionGroup")]


async def test_staged_work_is_applied_before_its_table_changes():
    server = MemoryServer()
    materialization = memory_materialization(server, StagingTransactor)
    runtime = runtime_of(materialization)
    spec = await runtime.build(b"{}", [users(exclude=frozenset({"n"}))])
    await runtime.apply(spec)
    await _left_staged(runtime, spec)
    assert server.tables[("users",)].rows == {}
    descriptions = await runtime.apply(await runtime.build(b"{}", [users()]))
    assert descriptions == ["add columns to table 'users': 'n'"]
    [row] = server.tables[("users",)].rows.values()
    assert row["flow_document"] == b'{"id":1}'
    assert runtime.recovery.state == {"users": {"staged": {}}}


async def test_staged_work_is_applied_before_its_binding_goes():
    server = MemoryServer()
    runtime, spec = await applied(memory_materialization(server, StagingTransactor))
    await _left_staged(runtime, spec)
    await runtime.apply(await runtime.build(b"{}", [users("others")]))
    assert len(server.tables[("users",)].rows) == 1


async def test_staged_work_isnt_applied_to_a_table_that_starts_anew():
    server = MemoryServer()
    runtime, spec = await applied(memory_materialization(server, StagingTransactor))
    await _left_staged(runtime, spec)
    spec = await runtime.build(b"{}", [users(backfill=1)])
    await runtime.apply(spec)
    async with runtime.session(spec) as session:
        await session.transaction([])
    assert server.tables[("users",)].rows == {}


async def _left_staged(runtime, spec):
    """Commit a document in the recovery log and stop before it is applied."""
    async with runtime.conversation() as peer:
        await opened(peer, spec)
        await peer.expect(Acknowledged)
        await peer.send(Flush())
        await peer.expect(Flushed)
        values = b",".join([b"null"] * len(spec.bindings[0].field_selection.values))
        line = b'{"store":{"key":[1],"values":[%b],"doc":{"id":1}}}\n' % values
        await peer.send_block(Store, 1, line)
        await peer.send(StartCommit())
        started = await peer.expect(StartedCommit)
        runtime.recovery.update(started.state)
        await peer.end()


async def test_the_first_shard_applies_what_all_shards_staged():
    server = MemoryServer()
    runtime, spec = await applied(memory_materialization(server, StagingTransactor))
    for task_range in ((0, 0x7FFFFFFF), (0x80000000, 0xFFFFFFFF)):
        shared = await _acknowledged_with_patches(runtime, spec, task_range)
        assert (len(server.tables[("users",)].rows) == 1) == (task_range[0] == 0)
        assert bool(shared.state) == (task_range[0] == 0)
        server.tables[("users",)].rows.clear()


async def _acknowledged_with_patches(runtime, spec, task_range):
    begin, end = task_range
    async with runtime.conversation() as peer:
        ranged = type(FULL_RANGE)(key_begin=begin, key_end=end)
        await peer.send(Open(materialization=spec, range=ranged))
        await peer.expect(Opened)
        await peer.send(Acknowledge())
        await peer.expect(Acknowledged)
        await peer.send(Flush())
        await peer.expect(Flushed)
        await peer.send_block(Store, 1, STORE % (1, 1))
        await peer.send(StartCommit())
        started = await peer.expect(StartedCommit)
        patches = b"[" + bytes(started.state.updated) + b"\t]"
        await peer.send(Acknowledge(state_patches=Raw(patches)))
        acknowledged = await peer.expect(Acknowledged)
        await peer.end()
    return acknowledged


class AlwaysFenced(RemoteTransactor):
    def commit(self, checkpoint):
        raise Fenced("can't commit: a newer instance took over")


async def test_a_fenced_instance_exits_without_an_error_of_its_own(caplog):
    materialization = memory_materialization(MemoryServer(), AlwaysFenced)
    _, spec = await applied(materialization)
    requests, responses = pair()
    open_line = json.encode({"open": Open(materialization=spec, range=FULL_RANGE)})
    exiting = asyncio.ensure_future(
        process.served(
            lambda reader, writer: serve(materialization, reader, writer), requests, responses
        )
    )
    await requests.write(open_line + b"\n")
    await responses.read()
    await requests.write(b'{"acknowledge":{}}\n')
    await responses.read()
    await requests.write(b'{"flush":{}}\n')
    await responses.read()
    await requests.write(b'{"startCommit":{}}\n')
    assert await exiting == 1
    assert [record.levelname for record in caplog.records if record.levelno > 20] == ["WARNING"]


async def test_failures_of_calls_under_way_are_told_once(caplog):
    runtime, spec = await applied(memory_materialization(MemoryServer(), FailingStore))
    with raises(DataError, "the disk is full"):
        async with runtime.conversation() as peer:
            await opened(peer, spec)
            await peer.expect(Acknowledged)
            await peer.send(Flush())
            await peer.expect(Flushed)
            for key in range(4):
                await peer.send_block(Store, 1, STORE % (key, key))
            await peer.break_off()
    del peer
    gc.collect()
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []
