import asyncio
import sqlite3
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil
import pytest

from estuary_cdk.errors import ConfigError, RemoteProtocolError, TransientError
from estuary_cdk.testing.patience import HANGS_S
from flow_local.connectors import ConnectorFailed
from flow_local.recovery import Commit
from flow_local.tasks import Ending, Run, TaskProgress, intake, run_materialization

MERGE = (
    b'{"type":"object","required":["id"],"properties":{"id":{"type":"integer"},'
    b'"n":{"type":"integer","reduce":{"strategy":"sum"}}},'
    b'"if":{"properties":{"_meta":{"properties":{"op":{"const":"d"}},"required":["op"]}},'
    b'"required":["_meta"]},"then":{"reduce":{"strategy":"merge","delete":true}},'
    b'"else":{"reduce":{"strategy":"merge"}}}'
)
DELETE = {"_meta": {"op": "d"}}


@pytest.fixture
def publish(stage):
    """Commit documents to a collection, each call in a transaction of its own."""

    async def publish(*documents, name="acme/events"):
        await stage.publish(*documents, name=name, schema=MERGE)

    return publish


@pytest.fixture
def table(tmp_path):
    """What the destination has: binding and key to document without what the runtime adds."""

    def table():
        connection = sqlite3.connect(tmp_path / "out.db")
        rows = connection.execute("SELECT binding, key, doc FROM docs").fetchall()
        connection.close()
        found = {}
        for binding, key, text in rows:
            document = msgspec.json.decode(text)
            document.pop("_meta")
            found[binding, *msgspec.json.decode(key)] = document
        return found

    return table


@pytest.fixture
def config(tmp_path):
    return {"path": str(tmp_path / "out.db"), "trace": str(tmp_path / "trace")}


def _said(config) -> list[dict]:
    try:
        lines = Path(config["trace"]).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [msgspec.json.decode(line) for line in lines]


async def test_a_binding_lags_from_when_it_has_read_documents_until_they_are_stored(
    stage, publish, config
):
    before = datetime.now(UTC)
    await publish({"id": 1})
    failing = stage.materialization_task({**config, "die_before_commit": True}, schema=MERGE)
    progress = TaskProgress(failing.name, "materialization")
    async with stage.world() as world:
        ending = Ending(until_idle=True)
        ending.sources_ended.set()
        with pytest.raises(ConnectorFailed):
            await run_materialization(Run(failing, world, progress, ending))
        [since_s] = progress.bindings[0].waiting_since_s.values()
        age_s = world.clock.monotonic() - since_s
        assert 0 <= age_s <= (world.clock.now() - before).total_seconds() + 0.001
        task = stage.materialization_task(config, schema=MERGE)
        await run_materialization(Run(task, world, progress, ending))
    assert progress.bindings[0].waiting_since_s == {}


@pytest.mark.parametrize("dies", [True, False])
async def test_the_next_transaction_is_read_while_the_last_is_committed(
    stage, publish, table, config, tmp_path, dies
):
    names = ("acme/events", "acme/others")
    await publish({"id": 1, "n": 1})
    go = tmp_path / "go"
    config |= {"remote": True, "commit_when": str(go)}
    task = stage.materialization_task(
        {**config, "die_before_commit": dies}, names=names, schema=MERGE
    )
    progress = TaskProgress(task.name, "materialization")
    async with stage.world() as world, asyncio.timeout(HANGS_S):
        ending = Ending(until_idle=True)
        running = asyncio.ensure_future(run_materialization(Run(task, world, progress, ending)))
        while not any("startCommit" in each for each in _said(config)):
            await asyncio.sleep(0.02)
        staging = stage.staging_of(world, "acme/others", MERGE)
        staging.add(0, [b'{"id":2,"n":5}'])
        staging.checkpoint(None)
        await staging.commit()
        staging.give_up()
        while not progress.bindings[1].waiting_since_s:  # Until it is read.
            await asyncio.sleep(0.02)
        assert progress.transactions == 0
        ending.sources_ended.set()
        go.touch()
        [ended] = await asyncio.gather(running, return_exceptions=True)
        assert isinstance(ended, ConnectorFailed) == dies
    await stage.run(stage.materialization_task(config, names=names, schema=MERGE))
    assert table() == {(0, 1): {"id": 1, "n": 1}, (1, 2): {"id": 2, "n": 5}}
    assert progress.transactions == (0 if dies else 2)


@pytest.mark.parametrize("remote", [True, False])
async def test_documents_are_reduced_onto_what_is_stored(stage, publish, table, config, remote):
    task = stage.materialization_task({**config, "remote": remote}, schema=MERGE)
    await publish({"id": 1, "n": 1}, {"id": 2, "n": 5})
    await stage.run(task)
    assert table() == {(0, 1): {"id": 1, "n": 1}, (0, 2): {"id": 2, "n": 5}}
    await publish({"id": 2, "n": 1}, {"id": 3, "n": 7})
    await publish({"id": 2, "n": 1, "x": True})
    await stage.run(task)
    assert table()[0, 2] == {"id": 2, "n": 7, "x": True}
    assert table()[0, 3] == {"id": 3, "n": 7}
    await stage.run(task)
    assert table()[0, 2] == {"id": 2, "n": 7, "x": True}


async def test_the_conversation_is_the_protocols(stage, publish, config):
    task = stage.materialization_task(config, schema=MERGE)
    await publish({"id": 1, "n": 1}, {"id": 2, "n": 5})
    await stage.run(task)
    await publish({"id": 2, "n": 1}, {"id": 3, "n": 7})
    await stage.run(task)
    said = stage.traced(config["trace"])
    assert [next(iter(each)) for each in said] == [
        *("open", "acknowledge", "flush", "store", "store", "startCommit", "acknowledge"),
        *("open", "acknowledge", "load", "flush", "store", "store", "startCommit", "acknowledge"),
    ]
    assert said[9] == {"load": {"binding": 0, "key": [2], "keyPacked": "FQI="}}
    stores = [each["store"] for each in said if "store" in each]
    assert [store["key"] for store in stores] == [[1], [2], [2], [3]]
    assert [store.get("exists", False) for store in stores] == [False, False, True, False]
    assert stores[2]["values"] == [False, 6]
    source = "acme/events;materialize/acme/destination/k0"
    ends = [
        each["startCommit"]["runtimeCheckpoint"]["sources"][source]
        for each in said
        if "startCommit" in each
    ]
    assert int(ends[0]["readThrough"]) < int(ends[1]["readThrough"])
    patches = [each["acknowledge"] for each in said if "acknowledge" in each]
    assert patches[0] == {}
    assert patches[1] == {"statePatches": [{"stores": 2}]}
    assert await stage.state("acme/destination") == {"stores": 2}


async def test_numbers_keep_their_spelling(stage, config, tmp_path):
    line = '{"captured":{"doc":{"id":1,"n":1e3,"y":1.0,"z":123456789012345678901234567890}}}'
    await stage.run(stage.capture_task({"steps": [{"raw": line}, {"patch": {}}]}))
    await stage.run(stage.materialization_task(config))
    store = next(
        line for line in (tmp_path / "trace").read_bytes().splitlines() if b'"store"' in line
    )
    assert b'"values":[false,1e3]' in store
    assert b'"n":1e3,"y":1.0,"z":123456789012345678901234567890}' in store


async def test_deletes_and_what_follows_them(stage, publish, table, config):
    task = stage.materialization_task(config, schema=MERGE)
    await publish({"id": 1, "n": 1}, {"id": 2, "n": 1}, {"id": 3, "n": 1})
    await stage.run(task)
    await publish({"id": 1, **DELETE})
    await publish({"id": 2, **DELETE})
    await publish({"id": 2, "n": 10})
    await publish({"id": 4, "n": 1})
    await publish({"id": 4, **DELETE})
    await stage.run(task)
    assert table() == {(0, 2): {"id": 2, "n": 10}, (0, 3): {"id": 3, "n": 1}}
    await publish({"id": 1, "n": 5})
    await stage.run(task)
    assert table()[0, 1] == {"id": 1, "n": 5}


async def test_new_keys_are_not_loaded_but_when_the_connector_wants_all(stage, publish, config):
    for round_ in range(2):
        await publish({"id": 10 * round_ + 1}, {"id": 10 * round_ + 2})
        await stage.run(stage.materialization_task(config, schema=MERGE))
    assert not any("load" in each for each in stage.traced(config["trace"]))
    await publish({"id": 50})
    await stage.run(stage.materialization_task({**config, "no_optimization": True}, schema=MERGE))
    assert sum("load" in each for each in stage.traced(config["trace"])) == 1
    # Keys stored meanwhile are known to be there once new keys aren't loaded any more.
    await publish({"id": 50, "n": 1})
    await stage.run(stage.materialization_task(config, schema=MERGE))


async def test_a_checkpoint_of_the_endpoint_overrides_ours(stage, publish, table, config, tmp_path):
    task = stage.materialization_task({**config, "remote": True}, schema=MERGE)
    await publish({"id": 1, "n": 1})
    await stage.run(task)
    await publish({"id": 2, "n": 1})
    await stage.run(task)
    # A table that was lost is filled again from the start, and what is in it is looked up.
    (tmp_path / "out.db").unlink()
    await stage.run(task)
    assert set(table()) == {(0, 1), (0, 2)}
    assert sum("load" in each for each in stage.traced(config["trace"])) == 2


async def test_a_transaction_the_endpoint_has_and_we_have_not_is_not_repeated(
    stage, publish, table, config
):
    task = stage.materialization_task({**config, "remote": True}, schema=MERGE)
    await publish({"id": 1, "n": 1})
    await stage.run(task)
    async with stage.world() as world:
        record = await world.recovery.task("acme/destination")
    await publish({"id": 1, "n": 1})
    await stage.run(task)
    async with stage.world() as world:  # We crashed before our commit.
        commit = Commit("acme/destination", checkpoint=record.checkpoint, state=record.state)
        await world.recovery.commit(commit)
    await stage.run(task)
    assert table() == {(0, 1): {"id": 1, "n": 2}}


async def test_a_transaction_that_failed_is_made_again(stage, publish, table, config):
    await publish({"id": 1, "n": 1}, {"id": 2, "n": 1})
    for trouble in ({"reject": 2}, {"die_before_commit": True}):
        broken = stage.materialization_task({**config, "remote": True, **trouble}, schema=MERGE)
        with pytest.raises(ConnectorFailed, match="can't materialize 'acme/destination'"):
            await stage.run(broken)
        assert table() == {}
    await stage.run(stage.materialization_task({**config, "remote": True}, schema=MERGE))
    assert table() == {(0, 1): {"id": 1, "n": 1}, (0, 2): {"id": 2, "n": 1}}


async def test_delta_updates_load_nothing_and_store_what_they_get(stage, publish, config):
    task = stage.materialization_task(config, schema=MERGE, delta=True)
    await publish({"id": 1, "n": 1}, {"id": 2, "n": 1}, {"id": 1, "n": 2})
    await publish({"id": 1, "n": 4})
    await stage.run(task)
    await publish({"id": 1, "n": 8})
    await stage.run(task)
    said = stage.traced(config["trace"])
    assert not any("load" in each for each in said)
    stores = [
        (each["store"]["key"], each["store"]["values"][1]) for each in said if "store" in each
    ]
    assert stores == [([1], 7), ([2], 1), ([1], 8)]
    assert not any(each["store"].get("exists") for each in said if "store" in each)


async def test_bindings_read_their_own_collections(stage, publish, table, config):
    await publish({"id": 1}, name="acme/a")
    await publish({"id": 2}, name="acme/b")
    task = stage.materialization_task(config, names=("acme/a", "acme/b", "acme/a"), schema=MERGE)
    await stage.run(task)
    assert set(table()) == {(0, 1), (1, 2), (2, 1)}


async def test_a_document_that_was_not_asked_for_is_the_connectors_mistake(stage, publish, config):
    await publish({"id": 1})
    await stage.run(stage.materialization_task(config, schema=MERGE))
    await publish({"id": 1})
    with pytest.raises(RemoteProtocolError, match=r"'acme/destination'.*\[987654\]|more keys"):
        await stage.run(stage.materialization_task({**config, "stray": True}, schema=MERGE))


async def test_a_collection_that_was_replaced_is_noticed(stage, publish, config, tmp_path):
    task = stage.materialization_task(config, schema=MERGE)
    await publish({"id": 1})
    await stage.run(task)
    async with stage.world() as world:
        await world.recovery.commit(Commit("acme/x", ends={"acme/events": 0}))
    with pytest.raises(ConfigError, match=r"has read \d+ bytes of collection 'acme/events', which"):
        await stage.run(task)


async def test_committed_documents_arrive_while_both_run(stage, publish, table, config):
    source = stage.capture_task({"count": 2000, "keys": 50, "every": 10}, schema=MERGE)
    task = stage.materialization_task({**config, "remote": True}, schema=MERGE)
    async with stage.world() as world:
        running = asyncio.ensure_future(stage.run(task, world=world, until_idle=False))
        await stage.run(source, world=world)
        async with asyncio.timeout(HANGS_S):
            while sum(d["n"] for d in (await _rows(table)).values()) < sum(range(2000)):
                await asyncio.sleep(0.02)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert len(table()) == 50


async def _rows(table):
    try:
        return table()
    except sqlite3.OperationalError:
        return {}


async def test_a_commit_that_is_made_while_the_next_is_looked_for_is_not_waited_for_again(
    stage, publish, table, config, monkeypatch
):
    turn = intake.Intake.turn

    async def slow(self, portion) -> bool:
        found = await turn(self, portion)
        await asyncio.sleep(0.3)
        return found

    monkeypatch.setattr(intake.Intake, "turn", slow)
    await publish({"id": 1, "n": 1})
    async with asyncio.timeout(HANGS_S):
        await stage.run(stage.materialization_task(config, schema=MERGE))
    assert table() == {(0, 1): {"id": 1, "n": 1}}


async def test_large_transactions_are_gathered_apart_and_survive_the_death_of_that_process(
    stage, publish, table, config, monkeypatch
):
    monkeypatch.setattr(intake, "APART_BYTES_MIN", 1)
    monkeypatch.setattr(intake, "PORTION_DOCUMENTS_MAX", 500)
    monkeypatch.setattr(intake, "PROCESSORS", 3)
    documents = [{"id": n, "n": 1, "pad": "x" * 900} for n in range(6_000)]
    await publish(*documents)  # Several blocks of the journal, one of which isn't cut.
    task = stage.materialization_task(config, schema=MERGE)
    running = asyncio.ensure_future(stage.run(task))
    async with asyncio.timeout(HANGS_S):
        while not (found := _gathering()):
            assert not running.done(), "nothing was gathered apart"
            await asyncio.sleep(0.001)
    found[0].kill()
    with pytest.raises(TransientError, match="gather documents"):
        await running
    assert _gathering() == []
    await stage.run(task)
    assert table() == {(0, each["id"]): each for each in documents}


def _gathering() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # It may end while we look.
            if "flow_local.gathering.worker" in child.cmdline():
                found.append(child)
    return found
