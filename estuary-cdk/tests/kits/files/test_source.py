"""A capture of a store of files: shards, intervals and what it tells of itself."""

import logging
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from pydantic import BaseModel

from estuary_cdk.config import EndpointConfig, setting
from estuary_cdk.kits.files import Files, Selection
from estuary_cdk.kits.files.memory_store import MemoryStore
from estuary_cdk.protocol.flow import RangeSpec
from estuary_cdk.testing.file_task import FileTask

HALVES = (
    RangeSpec(key_begin=0, key_end=0x7FFFFFFF, r_clock_begin=0, r_clock_end=0xFFFFFFFF),
    RangeSpec(key_begin=0x80000000, key_end=0xFFFFFFFF, r_clock_begin=0, r_clock_end=0xFFFFFFFF),
)


class Config(EndpointConfig):
    on_error: str = setting("stop", title="On Error", description="stop or skip.")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def task(store) -> FileTask:
    @asynccontextmanager
    async def opened(_: BaseModel):
        yield store

    capture = Files(
        config=Config,
        opened=opened,
        streams=lambda _: ["files/"],
        selection=lambda config, _: Selection(on_error=config.on_error),
        ascending=lambda _: False,
        docs="https://example.com",
    ).capture()
    return FileTask(capture, {})


def names(session) -> list[str]:
    return [document["_meta"]["file"] for document in session.of(0)]


async def test_shards_split_the_files_by_a_hash_of_their_names(task, store):
    for n in range(60):
        store.put(f"{n}.jsonl", b'{"id":1}\n')
    built = await task.runtime.build(task.config)
    halves = [names(await task.runtime.run(built, key_range=half)) for half in HALVES]
    assert sorted(halves[0] + halves[1]) == sorted(store.contents)
    assert min(map(len, halves)) > 10


async def test_a_binding_waits_for_its_interval_whatever_the_clock_does(task, store):
    task.resources["interval"] = "1h"
    store.put("a.jsonl", b'{"id":1}\n')
    await task.run()
    store.put("b.jsonl", b'{"id":1}\n')
    task.clock.advance(timedelta(minutes=59).total_seconds())
    assert names(await task.run()) == []
    task.state["bindingStateV1"] = {
        name: {**state, "swept_at": "2999-01-01T00:00:00Z"}
        for name, state in task.state["bindingStateV1"].items()
    }
    assert names(await task.run()) == ["b.jsonl"], "a clock that was set back holds nothing up"


async def test_files_that_are_left_out_show_in_the_status_of_every_run(task, store, caplog):
    task.config["on_error"] = "skip"
    store.put("a.jsonl", b"{")
    store.put("b.jsonl", b'{"id":1}\n')
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            await task.run()
        [told] = [each.getMessage() for each in caplog.records if each.name == "status"]
        assert told.startswith(
            "files/: 1 of 2 files can't be read and are left out until they change; "
            "the first: can't read 'a.jsonl' line 1"
        )
